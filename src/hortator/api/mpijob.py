"""MPIJob ``kubeflow.org/v2beta1``: a typed view of it, its defaults, its rules, and the words of its status.

The view covers what the operator decides upon; pod templates stay plain dicts and are never decoded. Behaviour is that of
the Kubeflow MPI Operator 0.8 unless a comment says otherwise. The CustomResourceDefinition is in
:mod:`hortator.api.mpijob_crd`; what to do about a job is left to the operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hortator.apimachinery import names
from hortator.apimachinery.fielderrors import FieldError, Path, invalid, not_supported, required, type_invalid

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "VERSION",
    "MPIJob",
    "Metadata",
    "ReplicaSpec",
    "RunPolicy",
    "SchedulingPolicy",
    "Spec",
    "default",
    "parse",
    "validate",
]

GROUP = "kubeflow.org"
VERSION = "v2beta1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "MPIJob"
PLURAL = "mpijobs"

# Labels of pods, which scripts, Kueue and topology-aware scheduling select by.
LABEL_OPERATOR = "training.kubeflow.org/operator-name"
LABEL_JOB = "training.kubeflow.org/job-name"
LABEL_ROLE = "training.kubeflow.org/job-role"
LABEL_INDEX = "training.kubeflow.org/replica-index"
OPERATOR_NAME = "mpi-operator"

LAUNCHER = "Launcher"
WORKER = "Worker"

CLEAN_NONE = "None"
CLEAN_RUNNING = "Running"
CLEAN_ALL = "All"
CLEAN_POD_POLICIES = (CLEAN_NONE, CLEAN_RUNNING, CLEAN_ALL)
RESTART_POLICIES = ("Never", "OnFailure")
OPEN_MPI = "OpenMPI"
INTEL = "Intel"
MPICH = "MPICH"
IMPLEMENTATIONS = (OPEN_MPI, INTEL, MPICH)
AT_STARTUP = "AtStartup"
WAIT_FOR_WORKERS_READY = "WaitForWorkersReady"
LAUNCHER_CREATION_POLICIES = (AT_STARTUP, WAIT_FOR_WORKERS_READY)
MANAGED_BY_US = "kubeflow.org/mpi-operator"
MANAGED_BY = (MANAGED_BY_US, "kueue.x-k8s.io/multikueue")
SSH_MOUNT_PATH = "/root/.ssh"

# Condition types.
CREATED = "Created"
RUNNING = "Running"
SUSPENDED = "Suspended"
SUCCEEDED = "Succeeded"
FAILED = "Failed"

# Reasons of conditions and Events.
REASON_CREATED = "MPIJobCreated"
REASON_RUNNING = "MPIJobRunning"
REASON_SUSPENDED = "MPIJobSuspended"
REASON_RESUMED = "MPIJobResumed"
REASON_SUCCEEDED = "MPIJobSucceeded"
REASON_FAILED = "MPIJobFailed"
REASON_EVICTED = "MPIJobEvicted"
REASON_VALIDATION = "ValidationError"
REASON_EXISTS = "ErrResourceExists"
REASON_RESTART_POLICY = "SetPodTemplateRestartPolicy"
#: Ours: the API server refused an object made from the job's templates, so it can never run as it stands.
REASON_REFUSED = "InvalidSpec"


class SchedulingPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """``spec.runPolicy.schedulingPolicy``: wishes of a gang."""

    min_available: int | None = None
    queue: str | None = None
    min_resources: dict[str, Any] | None = None
    priority_class: str | None = None
    schedule_timeout_seconds: int | None = None


class RunPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """``spec.runPolicy``."""

    clean_pod_policy: str | None = None
    ttl_seconds_after_finished: int | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    scheduling_policy: SchedulingPolicy | None = None
    suspend: bool | None = None
    managed_by: str | None = None


class ReplicaSpec(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of ``spec.mpiReplicaSpecs``. ``template`` is a whole PodTemplateSpec, undecoded."""

    replicas: int | None = None
    restart_policy: str | None = None
    template: dict[str, Any] | None = None

    @property
    def pod_spec(self) -> Mapping[str, Any]:
        """The template's pod spec, or an empty mapping."""
        spec: Mapping[str, Any] = (self.template or {}).get("spec") or {}
        return spec


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """``spec``. Fields are None where the object has none; :func:`default` fills them."""

    slots_per_worker: int | None = None
    run_launcher_as_worker: bool | None = None
    run_policy: RunPolicy | None = None
    mpi_replica_specs: dict[str, ReplicaSpec | None] | None = None
    ssh_auth_mount_path: str | None = None
    launcher_creation_policy: str | None = None
    mpi_implementation: str | None = None


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The part of ``metadata`` that is read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class MPIJob(msgspec.Struct, frozen=True):
    """A job as the operator reads it. The properties are meaningful after :func:`default` and :func:`validate`."""

    metadata: Metadata = Metadata()
    spec: Spec = Spec()
    status: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """``metadata.namespace``."""
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        """``metadata.uid``."""
        return self.metadata.uid

    @property
    def policy(self) -> RunPolicy:
        """``spec.runPolicy``; an empty one when absent."""
        return self.spec.run_policy or RunPolicy()

    @property
    def launcher(self) -> ReplicaSpec:
        """The launcher's replica spec; an empty one when absent."""
        return (self.spec.mpi_replica_specs or {}).get(LAUNCHER) or ReplicaSpec()

    @property
    def worker(self) -> ReplicaSpec | None:
        """The workers' replica spec, or None for a job that has none."""
        return (self.spec.mpi_replica_specs or {}).get(WORKER)

    @property
    def workers(self) -> int:
        """How many workers the job asks for."""
        return (self.worker.replicas or 0) if self.worker is not None else 0

    @property
    def slots(self) -> int:
        """Slots of each worker."""
        return 1 if self.spec.slots_per_worker is None else self.spec.slots_per_worker

    @property
    def implementation(self) -> str:
        """``OpenMPI``, ``Intel`` or ``MPICH``."""
        return self.spec.mpi_implementation or OPEN_MPI

    @property
    def launcher_as_worker(self) -> bool:
        """Whether the launcher takes ranks too."""
        return bool(self.spec.run_launcher_as_worker)

    @property
    def waits_for_workers(self) -> bool:
        """Whether the launcher starts only after every worker is Ready.

        Upstream acts so upon every value but ``AtStartup``, known or not.
        """
        return (self.spec.launcher_creation_policy or AT_STARTUP) != AT_STARTUP

    @property
    def suspended(self) -> bool:
        """Whether the job shall not run now."""
        return bool(self.policy.suspend)

    @property
    def clean_pod_policy(self) -> str:
        """What happens to workers of a finished job: ``None``, ``Running`` or ``All``."""
        return self.policy.clean_pod_policy or CLEAN_NONE

    @property
    def managed_by_us(self) -> bool:
        """False when ``managedBy`` hands the job to somebody else, whom we must not disturb."""
        return self.policy.managed_by in (None, MANAGED_BY_US)


def parse(obj: Mapping[str, Any]) -> MPIJob:
    """Return the view of an object. Raises :class:`msgspec.ValidationError` where a field has the wrong type.

    An API server that has our CustomResourceDefinition stores no such object.
    """
    return msgspec.convert(obj, MPIJob)


def default(job: MPIJob) -> MPIJob:
    """Return the job with the operator's defaults, which are upstream's (``default.go``, 0.8); never written back."""
    spec = job.spec
    policy = spec.run_policy or RunPolicy()
    if policy.clean_pod_policy is None:
        policy = msgspec.structs.replace(policy, clean_pod_policy=CLEAN_NONE)
    replicas = spec.mpi_replica_specs
    if replicas is not None:
        replicas = dict(replicas)
        launcher, worker = replicas.get(LAUNCHER), replicas.get(WORKER)
        if launcher is not None:
            replicas[LAUNCHER] = _default_replica(launcher, 1, "OnFailure")
        if worker is not None:
            # Zero workers are then refused: a Worker block must say how many it wants.
            replicas[WORKER] = _default_replica(worker, 0, "Never")
    return MPIJob(
        metadata=job.metadata,
        status=job.status,
        spec=Spec(
            slots_per_worker=1 if spec.slots_per_worker is None else spec.slots_per_worker,
            run_launcher_as_worker=bool(spec.run_launcher_as_worker),
            run_policy=policy,
            mpi_replica_specs=replicas,
            ssh_auth_mount_path=spec.ssh_auth_mount_path or SSH_MOUNT_PATH,
            launcher_creation_policy=spec.launcher_creation_policy or AT_STARTUP,
            mpi_implementation=spec.mpi_implementation or OPEN_MPI,
        ),
    )


def _default_replica(spec: ReplicaSpec, replicas: int, restart_policy: str) -> ReplicaSpec:
    return ReplicaSpec(
        replicas=replicas if spec.replicas is None else spec.replicas,
        restart_policy=spec.restart_policy or restart_policy,
        template=spec.template,
    )


def validate(job: MPIJob) -> list[FieldError]:
    """Return every rule that a (defaulted) job breaks; rules, kinds and paths are upstream's (``validation.go``, 0.8)."""
    return [*_name(job), *_spec(job.spec, Path("spec"))]


def _name(job: MPIJob) -> Iterable[FieldError]:
    # The longest host name of the job decides, since pods and Service could not be made otherwise.
    hostname = f"{job.name}-worker-{max(1, job.workers) - 1}"
    errors = names.dns1035_label(hostname)
    if errors:
        detail = f"will not be able to create pods and services with the invalid DNS label {hostname!r}: "
        yield invalid("metadata.name", job.name, detail + ", ".join(errors))


def _spec(spec: Spec, path: Path) -> Iterable[FieldError]:
    yield from _replicas(spec.mpi_replica_specs, path.child("mpiReplicaSpecs"))
    if spec.slots_per_worker is None:
        yield required(path.child("slotsPerWorker"), "must have number of slots per worker")
    else:
        yield from _not_negative(spec.slots_per_worker, path.child("slotsPerWorker"))
    yield from _run_policy(spec.run_policy or RunPolicy(), path.child("runPolicy"))
    if not spec.ssh_auth_mount_path:
        yield required(path.child("sshAuthMountPath"), "must have a mount path for SSH credentials")
    if spec.mpi_implementation not in IMPLEMENTATIONS:
        yield not_supported(
            path.child("mpiImplementation"), spec.mpi_implementation or "", sorted(IMPLEMENTATIONS)
        )


def _run_policy(policy: RunPolicy, path: Path) -> Iterable[FieldError]:
    clean = path.child("cleanPodPolicy")
    if policy.clean_pod_policy is None:
        yield required(clean, "must have clean Pod policy")
    elif policy.clean_pod_policy not in CLEAN_POD_POLICIES:
        yield not_supported(clean, policy.clean_pod_policy, sorted(CLEAN_POD_POLICIES))
    yield from _not_negative(policy.ttl_seconds_after_finished, path.child("ttlSecondsAfterFinished"))
    yield from _not_negative(policy.active_deadline_seconds, path.child("activeDeadlineSeconds"))
    yield from _not_negative(policy.backoff_limit, path.child("backoffLimit"))
    if policy.managed_by is not None and policy.managed_by not in MANAGED_BY:
        yield not_supported(path.child("managedBy"), policy.managed_by, sorted(MANAGED_BY))


def _replicas(replicas: Mapping[str, ReplicaSpec | None] | None, path: Path) -> Iterable[FieldError]:
    if replicas is None:
        yield required(path, "must have replica specs")
        return
    launcher, worker = replicas.get(LAUNCHER), replicas.get(WORKER)
    if launcher is None:
        yield required(path.key(LAUNCHER), f"must have {LAUNCHER} replica spec")
    else:
        yield from _replica(launcher, path.key(LAUNCHER))
        if launcher.replicas is not None and launcher.replicas != 1:
            yield invalid(path.key(LAUNCHER).child("replicas"), launcher.replicas, "must be 1")
    if worker is not None:
        yield from _replica(worker, path.key(WORKER))
        if worker.replicas is not None and worker.replicas <= 0:
            detail = "must be greater than or equal to 1"
            yield invalid(path.key(WORKER).child("replicas"), worker.replicas, detail)


def _replica(spec: ReplicaSpec, path: Path) -> Iterable[FieldError]:
    if spec.replicas is None:
        yield required(path.child("replicas"), "must define number of replicas")
    if spec.restart_policy not in RESTART_POLICIES:
        yield not_supported(path.child("restartPolicy"), spec.restart_policy or "", sorted(RESTART_POLICIES))
    containers = spec.pod_spec.get("containers")
    where = path.child("template", "spec", "containers")
    if not containers:
        yield required(where, "must define at least one container")
    elif not isinstance(containers, list) or not all(isinstance(each, dict) for each in containers):
        yield type_invalid(where, containers, "must be a list of containers")


def _not_negative(value: int | None, path: Path) -> Iterable[FieldError]:
    if value is not None and value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")

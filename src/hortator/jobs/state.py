"""What a job is doing, read from its Kubernetes objects: one vocabulary for every kind of job.

Pure. States are Slurm's short codes; reasons are a closed list (:data:`REASONS`). What a job needs is compiled elsewhere;
how it is printed is the command's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ANNOTATION_CANCELLED",
    "REASONS",
    "STATES",
    "JobView",
    "is_launcher",
    "pods_of",
    "view",
    "worker_index",
]

ANNOTATION_CANCELLED = "hortator.dev/cancelled"
ANNOTATION_COMMAND = "hortator.dev/command"
ANNOTATION_RANKS = "hortator.dev/ranks"
ANNOTATION_TAGGED = "hortator.dev/tagged-output"

STATES = {
    "PD": "pending",
    "CF": "configuring",
    "R": "running",
    "CG": "completing",
    "CD": "completed",
    "F": "failed",
    "CA": "cancelled",
    "TO": "timed out",
    "OOM": "out of memory",
    "S": "suspended",
}

#: Reason code -> what to do about it: wait, act (change the job) or ask (an admin).
REASONS = {
    "WaitingForResources": "wait",
    "Fragmented": "wait",
    "NeverFits": "act",
    "Misconfigured": "act",
    "Held": "ask",
    "NodesUnavailable": "ask",
    "Mounting": "wait",
    "Wiring": "wait",
}

_JOB_NAME = "training.kubeflow.org/job-name"
_JOB_ROLE = "training.kubeflow.org/job-role"
_REPLICA_INDEX = "training.kubeflow.org/replica-index"

_MISCONFIGURED = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
    "StartError",
}

#: Kinds of volumes that a node makes out of nothing, or of what the pod itself says.
_ALWAYS_THERE = {"emptyDir", "downwardAPI", "projected"}


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as people see it. Times are RFC 3339, empty when not reached; ``exit_code`` is None until it ended."""

    name: str
    namespace: str
    kind: str
    state: str
    reason: str
    message: str
    ranks: int | None
    workers: int
    workers_ready: int
    created: str
    started: str
    ended: str
    exit_code: int | None
    nodes: tuple[str, ...]
    command: str

    @property
    def finished(self) -> bool:
        """Whether it has come to its end, good or bad."""
        return self.state in ("CD", "F", "CA", "TO", "OOM")

    @property
    def state_name(self) -> str:
        """The state in words."""
        return STATES[self.state]


def pods_of(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pods of a job, launcher first, then workers by index (a plain Job's by name)."""
    name, namespace = job["metadata"]["name"], job["metadata"].get("namespace", "")
    mine = []
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        if pod["metadata"].get("namespace", "") != namespace:
            continue
        key = _JOB_NAME if job["kind"] == "MPIJob" else "batch.kubernetes.io/job-name"
        if labels.get(key) == name:
            mine.append(pod)
    return sorted(mine, key=lambda pod: (not is_launcher(pod), worker_index(pod), pod["metadata"]["name"]))


def is_launcher(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is the launcher of an MPIJob."""
    return (pod["metadata"].get("labels") or {}).get(_JOB_ROLE) == "launcher"


def worker_index(pod: Mapping[str, Any]) -> int:
    """Return the worker's number, counted from 0; 0 where a pod has none."""
    text = (pod["metadata"].get("labels") or {}).get(_REPLICA_INDEX, "")
    return int(text) if text.isdigit() else 0


def view(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> JobView:
    """Return what a job (an MPIJob or a batch Job) is doing; ``pods`` are its own (:func:`pods_of`)."""
    meta, spec, status = job["metadata"], job.get("spec") or {}, job.get("status") or {}
    annotations = meta.get("annotations") or {}
    mpi = job["kind"] == "MPIJob"
    workers = [pod for pod in pods if not is_launcher(pod)] if mpi else list(pods)
    ready = sum(1 for pod in workers if _phase(pod) in ("Running", "Succeeded"))
    wanted = _wanted_workers(spec) if mpi else int(spec.get("parallelism") or 1)
    state, reason, message = _state(job, pods, workers_ready=ready, workers_wanted=wanted)
    exit_code = _exit_code(state, pods, mpi=mpi)
    nodes = tuple(dict.fromkeys(node for pod in workers if (node := (pod.get("spec") or {}).get("nodeName"))))
    return JobView(
        name=meta["name"],
        namespace=meta.get("namespace", ""),
        kind=job["kind"],
        state=state,
        reason=reason,
        message=message,
        ranks=_ranks(annotations, spec, wanted) if mpi else None,
        workers=wanted,
        workers_ready=ready,
        created=meta.get("creationTimestamp", ""),
        started=status.get("startTime") or "",
        ended=_ended(status),
        exit_code=exit_code,
        nodes=nodes,
        command=_command(annotations, spec, mpi=mpi),
    )


def _wanted_workers(spec: Mapping[str, Any]) -> int:
    replicas = (spec.get("mpiReplicaSpecs") or {}).get("Worker") or {}
    return int(replicas.get("replicas") or 0)


def _ranks(annotations: Mapping[str, str], spec: Mapping[str, Any], workers: int) -> int:
    said = annotations.get(ANNOTATION_RANKS, "")
    if said.isdigit():
        return int(said)
    hosts = workers + (1 if spec.get("runLauncherAsWorker") else 0)
    return hosts * int(spec.get("slotsPerWorker") or 1)


def _command(annotations: Mapping[str, str], spec: Mapping[str, Any], *, mpi: bool) -> str:
    if ANNOTATION_COMMAND in annotations:
        return annotations[ANNOTATION_COMMAND]
    template = (
        ((spec.get("mpiReplicaSpecs") or {}).get("Launcher") or {}).get("template")
        if mpi
        else spec.get("template")
    ) or {}
    containers = (template.get("spec") or {}).get("containers") or [{}]
    return " ".join([*(containers[0].get("command") or []), *(containers[0].get("args") or [])])


def _phase(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == "True":
            return dict(condition)
    return None


def _ended(status: Mapping[str, Any]) -> str:
    if status.get("completionTime"):
        return str(status["completionTime"])
    failed = _condition(status, "Failed")
    return str((failed or {}).get("lastTransitionTime") or "")


def _state(
    job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], *, workers_ready: int, workers_wanted: int
) -> tuple[str, str, str]:
    meta, status = job["metadata"], job.get("status") or {}
    if _condition(status, "Succeeded") or _condition(status, "Complete"):
        return "CD", "", ""
    failed = _condition(status, "Failed")
    if ANNOTATION_CANCELLED in (meta.get("annotations") or {}):
        busy = any(_phase(pod) in ("Running", "Pending") for pod in pods) and not failed
        return ("CG" if busy else "CA"), "", (meta["annotations"][ANNOTATION_CANCELLED])
    if failed:
        if "DeadlineExceeded" in failed.get("reason", ""):
            return "TO", "", failed.get("message", "")
        oom = next((culprit for pod in pods if (culprit := _oom_killed(pod))), "")
        return ("OOM", "", oom) if oom else ("F", "", _failure(pods) or failed.get("message", ""))
    if meta.get("deletionTimestamp"):
        return "CG", "", "being deleted"
    if _suspended(job):
        return "S", "Held", "suspended; it starts when spec.suspend becomes false"
    return _waiting_or_running(job, pods, workers_ready=workers_ready, workers_wanted=workers_wanted)


def _suspended(job: Mapping[str, Any]) -> bool:
    spec = job.get("spec") or {}
    holder = (spec.get("runPolicy") or {}) if job["kind"] == "MPIJob" else spec
    return bool(holder.get("suspend"))


def _waiting_or_running(
    job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], *, workers_ready: int, workers_wanted: int
) -> tuple[str, str, str]:
    for pod in pods:
        reason, message = _pod_waits(pod)
        if reason == "Misconfigured":
            return "CF", reason, message
    for pod in pods:
        reason, message = _pod_waits(pod)
        if reason:
            return "PD", reason, message
    starting = _starting(pods, f"{workers_ready}/{workers_wanted} workers")
    if job["kind"] == "MPIJob":
        launcher = [pod for pod in pods if is_launcher(pod)]
        if launcher and all(_phase(pod) in ("Succeeded", "Failed") for pod in launcher):
            return "CG", "", "its launcher has ended"
        if not any(_phase(pod) == "Running" for pod in launcher) or workers_ready < workers_wanted:
            return starting if pods else ("PD", "", "the operator has not started it yet")
        return "R", "", ""
    if any(_phase(pod) == "Running" for pod in pods):
        return "R", "", ""
    return starting if pods else ("PD", "", "no pod yet")


def _starting(pods: Sequence[Mapping[str, Any]], progress: str) -> tuple[str, str, str]:
    """Return what pods that have their nodes wait for: the volumes of one of them, else each other."""
    for pod in pods:
        names = [
            volume["name"]
            for volume in (pod.get("spec") or {}).get("volumes") or ()
            if not _ALWAYS_THERE & volume.keys()
        ]
        if names and _mounts(pod):
            return "CF", "Mounting", f"{', '.join(names)} of {pod['metadata']['name']}"
    return "CF", "Wiring", progress


def _mounts(pod: Mapping[str, Any]) -> bool:
    """Whether a node has taken the pod and not got its volumes yet: they come before anything can be started."""
    conditions = {
        each["type"]: each.get("status") for each in (pod.get("status") or {}).get("conditions") or ()
    }
    return _phase(pod) == "Pending" and conditions.get("PodReadyToStartContainers") == "False"


def _pod_waits(pod: Mapping[str, Any]) -> tuple[str, str]:
    status = pod.get("status") or {}
    if _phase(pod) not in ("Pending", "Running"):
        return "", ""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unscheduled(condition.get("reason", ""), condition.get("message", ""))
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _MISCONFIGURED:
            return (
                "Misconfigured",
                f"{pod['metadata']['name']}: {waiting.get('message') or waiting['reason']}",
            )
    return "", ""


def _unscheduled(reason: str, message: str) -> tuple[str, str]:
    if reason == "SchedulingGated":
        return "Held", message or "held by a scheduling gate"
    if "Insufficient" in message or "Too many pods" in message or "free ports" in message:
        return "WaitingForResources", message
    if "were unschedulable" in message or "no nodes available" in message or "not-ready" in message:
        return "NodesUnavailable", message
    if message:
        return "NeverFits", message
    return "WaitingForResources", "not scheduled yet"


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return dict(ended)
    return None


def _oom_killed(pod: Mapping[str, Any]) -> str:
    ended = _terminated(pod) or {}
    return (
        f"{pod['metadata']['name']} was killed: out of memory" if ended.get("reason") == "OOMKilled" else ""
    )


def _failure(pods: Sequence[Mapping[str, Any]]) -> str:
    for pod in pods:
        ended = _terminated(pod)
        if ended and ended.get("exitCode"):
            text = (ended.get("message") or "").strip()
            return f"{pod['metadata']['name']} exited with {ended['exitCode']}" + (
                f": {text}" if text else ""
            )
    return ""


def _exit_code(state: str, pods: Sequence[Mapping[str, Any]], *, mpi: bool) -> int | None:
    fixed = {"CD": 0, "TO": 124, "CA": 130, "OOM": 137}
    if state in fixed:
        return fixed[state]
    if state != "F":
        return None
    codes = [
        int(ended["exitCode"])
        for pod in pods
        if (not mpi or is_launcher(pod)) and (ended := _terminated(pod)) and ended.get("exitCode") is not None
    ]
    return max(codes, default=1) or 1

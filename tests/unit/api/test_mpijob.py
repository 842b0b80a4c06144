from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hortator.api import mpijob as api
from support.builders import mpijob


def _view(obj: dict[str, Any]) -> api.MPIJob:
    return api.default(api.parse(obj))


def _errors(job: api.MPIJob) -> dict[str, str]:
    return {str(error.path): error.kind.name for error in api.validate(job)}


def test_an_empty_spec_gets_upstreams_defaults() -> None:
    job = api.default(api.parse({"spec": {}}))
    assert job.slots == 1
    assert job.clean_pod_policy == "None"
    assert job.spec.ssh_auth_mount_path == "/root/.ssh"
    assert job.implementation == "OpenMPI"
    assert not job.waits_for_workers
    assert job.managed_by_us


def test_what_is_set_is_kept() -> None:
    policy = {
        "cleanPodPolicy": "Running",
        "ttlSecondsAfterFinished": 2,
        "activeDeadlineSeconds": 3,
        "backoffLimit": 4,
    }
    spec = {
        "slotsPerWorker": 10,
        "runPolicy": policy,
        "sshAuthMountPath": "/home/u/.ssh",
        "mpiImplementation": "MPICH",
    }
    job = api.default(api.parse({"spec": spec}))
    assert (job.slots, job.clean_pod_policy, job.implementation) == (10, "Running", "MPICH")
    assert (job.policy.ttl_seconds_after_finished, job.policy.active_deadline_seconds) == (2, 3)
    assert job.policy.backoff_limit == 4
    assert job.spec.ssh_auth_mount_path == "/home/u/.ssh"


@pytest.mark.parametrize(
    ("role", "replicas", "restart"), [("Launcher", 1, "OnFailure"), ("Worker", 0, "Never")]
)
def test_a_role_gets_its_defaults(role: str, replicas: int, restart: str) -> None:
    job = api.default(api.parse({"spec": {"mpiReplicaSpecs": {role: {}}}}))
    spec = (job.spec.mpi_replica_specs or {})[role]
    assert spec is not None
    assert (spec.replicas, spec.restart_policy) == (replicas, restart)


@pytest.mark.parametrize("implementation", ["OpenMPI", "Intel", "MPICH"])
@pytest.mark.parametrize("workers", [0, 3])
def test_a_proper_job_is_valid(implementation: str, workers: int) -> None:
    made = mpijob().implementation(implementation)
    job = _view((made.workers(workers) if workers else made).build())
    assert api.validate(job) == []


def test_an_empty_job_breaks_every_rule() -> None:
    assert _errors(api.MPIJob()) == {
        "metadata.name": "INVALID",
        "spec.mpiReplicaSpecs": "REQUIRED",
        "spec.slotsPerWorker": "REQUIRED",
        "spec.runPolicy.cleanPodPolicy": "REQUIRED",
        "spec.sshAuthMountPath": "REQUIRED",
        "spec.mpiImplementation": "NOT_SUPPORTED",
    }


WORKER = "spec.mpiReplicaSpecs[Worker]"
LAUNCHER = "spec.mpiReplicaSpecs[Launcher]"


@pytest.mark.parametrize(
    ("path", "value", "field", "kind"),
    [
        ("metadata.name", "1-foo", "metadata.name", "INVALID"),
        ("metadata.name", "a" * 55, "metadata.name", "INVALID"),
        ("metadata.name", "dotted.name", "metadata.name", "INVALID"),
        ("spec.slotsPerWorker", -1, "spec.slotsPerWorker", "INVALID"),
        ("spec.runPolicy.cleanPodPolicy", "unknown", "spec.runPolicy.cleanPodPolicy", "NOT_SUPPORTED"),
        ("spec.runPolicy.ttlSecondsAfterFinished", -1, "spec.runPolicy.ttlSecondsAfterFinished", "INVALID"),
        ("spec.runPolicy.activeDeadlineSeconds", -1, "spec.runPolicy.activeDeadlineSeconds", "INVALID"),
        ("spec.runPolicy.backoffLimit", -1, "spec.runPolicy.backoffLimit", "INVALID"),
        ("spec.runPolicy.managedBy", "somebody/else", "spec.runPolicy.managedBy", "NOT_SUPPORTED"),
        ("spec.mpiImplementation", "LAM", "spec.mpiImplementation", "NOT_SUPPORTED"),
        ("spec.mpiReplicaSpecs", {}, LAUNCHER, "REQUIRED"),
        ("spec.mpiReplicaSpecs.Launcher.replicas", 2, f"{LAUNCHER}.replicas", "INVALID"),
        (
            "spec.mpiReplicaSpecs.Launcher.restartPolicy",
            "Always",
            f"{LAUNCHER}.restartPolicy",
            "NOT_SUPPORTED",
        ),
        ("spec.mpiReplicaSpecs.Worker.replicas", 0, f"{WORKER}.replicas", "INVALID"),
        ("spec.mpiReplicaSpecs.Worker.restartPolicy", "ExitCode", f"{WORKER}.restartPolicy", "NOT_SUPPORTED"),
        ("spec.mpiReplicaSpecs.Worker.template", {}, f"{WORKER}.template.spec.containers", "REQUIRED"),
        (
            "spec.mpiReplicaSpecs.Worker.template.spec.containers",
            ["x"],
            f"{WORKER}.template.spec.containers",
            "TYPE_INVALID",
        ),
    ],
)
def test_a_broken_rule_names_its_field(path: str, value: Any, field: str, kind: str) -> None:
    job = _view(mpijob().workers(2).with_(path, value).build())
    assert _errors(job) == {field: kind}


def test_the_last_workers_host_name_decides_about_the_jobs_name() -> None:
    name = "a" * 52
    assert api.validate(_view(mpijob(name).workers(100).build())) == []
    assert _errors(_view(mpijob(name).workers(1001).build())) == {"metadata.name": "INVALID"}


def test_missing_fields_of_a_role_are_all_named_when_nothing_was_defaulted() -> None:
    job = api.parse({"spec": {"mpiReplicaSpecs": {"Launcher": {}, "Worker": {}}}})
    found = _errors(job)
    for role in (LAUNCHER, WORKER):
        assert found[f"{role}.replicas"] == "REQUIRED"
        assert found[f"{role}.restartPolicy"] == "NOT_SUPPORTED"
        assert found[f"{role}.template.spec.containers"] == "REQUIRED"


def test_a_wrong_type_is_refused_with_its_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"spec\.slotsPerWorker"):
        api.parse(mpijob().with_("spec.slotsPerWorker", "two").build())


def test_other_keys_of_the_replica_specs_mean_nothing() -> None:
    assert api.validate(_view(mpijob().with_("spec.mpiReplicaSpecs.Extra", {}).build())) == []


@pytest.mark.parametrize(
    ("managed_by", "ours"),
    [
        (None, True),
        ("kubeflow.org/mpi-operator", True),
        ("kueue.x-k8s.io/multikueue", False),
        ("other", False),
    ],
)
def test_who_manages_a_job(managed_by: str | None, ours: bool) -> None:
    assert _view(mpijob().policy(managedBy=managed_by).build()).managed_by_us is ours

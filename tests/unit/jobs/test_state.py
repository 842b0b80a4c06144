"""What a job is doing, read from its objects."""

from __future__ import annotations

from typing import Any

import pytest

from hortator.jobs.state import ANNOTATION_CANCELLED, pods_of, view


def mpijob(*conditions: tuple[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "MPIJob",
        "metadata": {"name": "pi", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"slotsPerWorker": 2, "mpiReplicaSpecs": {"Worker": {"replicas": 2}}} | spec,
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "reason": reason, "message": ""}
                for kind, reason in conditions
            ]
        },
    }


def pod(role: str, phase: str = "Running", index: int = 0, **status: Any) -> dict[str, Any]:
    name = "pi-launcher-x" if role == "launcher" else f"pi-worker-{index}"
    labels = {
        "training.kubeflow.org/job-name": "pi",
        "training.kubeflow.org/job-role": role,
        "training.kubeflow.org/replica-index": str(index),
    }
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": "n1"} if phase != "Pending" else {},
        "status": {"phase": phase} | status,
    }


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return pod("worker", "Pending", conditions=[condition])


def ended(code: int, reason: str = "Error", role: str = "launcher") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return pod(role, "Failed", containerStatuses=[{"state": state}])


FULL = [pod("launcher"), pod("worker", index=0), pod("worker", index=1)]
FAILED = ("Failed", "BackoffLimitExceeded")


@pytest.mark.parametrize(
    ("job", "pods", "state", "reason", "code"),
    [
        (mpijob(), [], "PD", "", None),
        (mpijob(), FULL[:2], "CF", "Wiring", None),
        (mpijob(), FULL, "R", "", None),
        (mpijob(), [pod("launcher", "Succeeded"), *FULL[1:]], "CG", "", None),
        (mpijob(("Succeeded", "MPIJobSucceeded")), FULL, "CD", "", 0),
        (mpijob(FAILED), [ended(3)], "F", "", 3),
        (mpijob(FAILED), [], "F", "", 1),
        (mpijob(FAILED), [ended(1), ended(137, "OOMKilled", "worker")], "OOM", "", 137),
        (mpijob(("Failed", "DeadlineExceeded")), [], "TO", "", 124),
        (mpijob(runPolicy={"suspend": True}), [], "S", "Held", None),
        (
            mpijob(),
            [unscheduled("0/1 nodes are available: 1 Insufficient cpu.")],
            "PD",
            "WaitingForResources",
            None,
        ),
        (mpijob(), [unscheduled("", "SchedulingGated")], "PD", "Held", None),
        (
            mpijob(),
            [unscheduled("0/1 nodes are available: 1 node(s) were unschedulable.")],
            "PD",
            "NodesUnavailable",
            None,
        ),
        (
            mpijob(),
            [unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint(s).")],
            "PD",
            "NeverFits",
            None,
        ),
    ],
)
def test_state_and_exit_code(
    job: dict[str, Any], pods: list[dict[str, Any]], state: str, reason: str, code: int | None
) -> None:
    seen = view(job, pods)
    assert (seen.state, seen.reason, seen.exit_code) == (state, reason, code)


def test_a_cancelled_job_is_cancelled_once_its_pods_have_gone() -> None:
    job = mpijob(runPolicy={"suspend": True})
    job["metadata"]["annotations"] = {ANNOTATION_CANCELLED: "cancelled by ada"}
    assert view(job, FULL).state == "CG"
    assert (view(job, []).state, view(job, []).exit_code) == ("CA", 130)


def test_a_command_that_does_not_exist_is_named() -> None:
    waiting = {"waiting": {"reason": "StartError", "message": "no such file: solver"}}
    seen = view(mpijob(), [pod("launcher", "Pending", containerStatuses=[{"state": waiting}])])
    assert (seen.reason, seen.message) == ("Misconfigured", "pi-launcher-x: no such file: solver")


def mounting(*volumes: dict[str, Any], ready: str = "False") -> dict[str, Any]:
    found = pod("worker", "Pending", conditions=[{"type": "PodReadyToStartContainers", "status": ready}])
    found["spec"]["volumes"] = list(volumes)
    return found


HOME = {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}
DATA = {"name": "data", "secret": {"secretName": "s"}}
SCRATCH = {"name": "scratch", "emptyDir": {}}


@pytest.mark.parametrize(
    ("waits", "reason", "message"),
    [
        (mounting(SCRATCH, HOME, DATA), "Mounting", "home, data of pi-worker-0"),
        (mounting(SCRATCH), "Wiring", "1/2 workers"),
        (mounting(HOME, ready="True"), "Wiring", "1/2 workers"),
        (pod("worker", "Pending"), "Wiring", "1/2 workers"),
    ],
    ids=["volumes", "nothing that could be missing", "volumes are there", "a cluster that does not tell"],
)
def test_a_job_whose_volumes_are_not_there_mounts(waits: dict[str, Any], reason: str, message: str) -> None:
    seen = view(mpijob(), [pod("launcher"), waits, pod("worker", index=1)])
    assert (seen.state, seen.reason, seen.message) == ("CF", reason, message)


def test_pods_of_a_job_are_launcher_then_workers_by_number() -> None:
    pods = [pod("worker", index=i) for i in (10, 2)] + [pod("launcher")]
    other = pod("worker", index=1)
    other["metadata"]["labels"]["training.kubeflow.org/job-name"] = "other"
    names = [found["metadata"]["name"] for found in pods_of(mpijob(), [*pods, other])]
    assert names == ["pi-launcher-x", "pi-worker-2", "pi-worker-10"]

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hortator.api import mpijob as api
from hortator.operator.mpijob import objects
from hortator.operator.mpijob.observe import Observed
from hortator.operator.mpijob.settings import Settings
from hortator.operator.mpijob.status import make_status, transitions
from support.builders import MPIJobBuilder, job, mpijob, pod

START = datetime(2026, 1, 1, tzinfo=UTC)
SSH = Settings()


class World:
    """A job over time: :meth:`look` records what is there now in its status, as a reconcile would."""

    def __init__(self, builder: MPIJobBuilder) -> None:
        self.builder = builder
        self.now = START
        self.launcher: dict[str, Any] | None = None
        self.launcher_pods: list[dict[str, Any]] = []
        self.workers: dict[int, dict[str, Any]] = {}
        self.events: list[tuple[str, str]] = []

    @property
    def view(self) -> api.MPIJob:
        return api.default(api.parse(self.builder.build()))

    def launch(
        self, phase: str | None = None, ended: str = "", reason: str = "", message: str = "", **status: Any
    ) -> None:
        self.launcher = job(
            objects.launcher_job(self.view, SSH, suspend=False), ended, reason, message, **status
        )
        template = objects.launcher_template(self.view, SSH)
        body = {"kind": "Pod", **template, "metadata": {**template["metadata"], "name": "pi-launcher-a"}}
        self.launcher_pods = [pod(body, phase)] if phase else []

    def work(self, *phases: str, **status: Any) -> None:
        self.workers = {
            index: pod(objects.worker(self.view, index, SSH), phase, **status)
            for index, phase in enumerate(phases)
        }

    def look(self, refusal: str = "") -> dict[str, Any]:
        self.now += timedelta(seconds=10)
        found = Observed(
            job=self.view,
            launcher=self.launcher,
            launcher_pods=tuple(self.launcher_pods),
            workers=self.workers,
        )
        status = make_status(found, now=self.now, refusal=refusal)
        self.events += [(notice.type, notice.reason) for notice in transitions(found.job, status)]
        self.builder = self.builder.status(status)
        found = dataclasses.replace(found, job=self.view)
        again = make_status(found, now=self.now + timedelta(seconds=1), refusal=refusal)
        assert again == status, "the status does not come to rest"
        return status


def conditions(status: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["type"], each["status"], each["reason"]) for each in status["conditions"]]


CREATED = ("Created", "True", "MPIJobCreated")


def test_a_new_job() -> None:
    world = World(mpijob().workers(2))
    world.launch()
    world.work("Pending", "Pending")
    status = world.look()
    assert conditions(status) == [CREATED]
    assert status["replicaStatuses"] == {"Launcher": {}, "Worker": {}}
    assert status["startTime"] == "2026-01-01T00:00:10Z"
    assert world.events == [("Normal", "MPIJobCreated")]


def test_the_launcher_has_no_entry_before_it_exists() -> None:
    assert World(mpijob().workers(2).waiting()).look()["replicaStatuses"] == {"Worker": {}}


@pytest.mark.parametrize(
    ("launcher", "workers", "running", "counts"),
    [
        ("Running", ["Pending", "Pending"], False, {"Launcher": {"active": 1}, "Worker": {}}),
        ("Running", ["Running", "Pending"], False, {"Launcher": {"active": 1}, "Worker": {"active": 1}}),
        ("Running", ["Running", "Running"], True, {"Launcher": {"active": 1}, "Worker": {"active": 2}}),
        ("Pending", ["Running", "Running"], False, {"Launcher": {}, "Worker": {"active": 2}}),
        (
            "Running",
            ["Running", "Failed"],
            False,
            {"Launcher": {"active": 1}, "Worker": {"active": 1, "failed": 1}},
        ),
    ],
)
def test_running_means_launcher_and_all_workers(
    launcher: str, workers: list[str], running: bool, counts: dict[str, Any]
) -> None:
    world = World(mpijob().workers(2))
    world.launch(launcher)
    world.work(*workers)
    status = world.look()
    assert (("Running", "True", "MPIJobRunning") in conditions(status)) is running
    assert status["replicaStatuses"] == counts


def test_a_life_has_one_event_for_each_transition() -> None:
    world = World(mpijob().workers(1))
    world.launch()
    world.look()
    world.launch("Running")
    world.work("Running")
    for _ in range(3):
        world.look()
    world.launch("Succeeded", "Complete", completionTime="2026-01-01T00:00:30Z")
    for _ in range(3):
        status = world.look()
    assert world.events == [
        ("Normal", "MPIJobCreated"),
        ("Normal", "MPIJobRunning"),
        ("Normal", "MPIJobSucceeded"),
    ]
    assert conditions(status) == [
        ("Running", "False", "MPIJobRunning"),
        CREATED,
        ("Succeeded", "True", "MPIJobSucceeded"),
    ]
    assert status["completionTime"] == "2026-01-01T00:00:30Z"
    assert status["replicaStatuses"] == {"Launcher": {"succeeded": 1}, "Worker": {}}


def test_a_success_never_seen_running() -> None:
    world = World(mpijob().workers(1))
    world.launch("Running", "Complete", completionTime="2026-01-01T00:00:05Z")
    status = world.look()
    assert conditions(status)[-1] == ("Succeeded", "True", "MPIJobSucceeded")
    running = next(each for each in status["conditions"] if each["type"] == "Running")
    assert (running["status"], running["lastTransitionTime"]) == ("False", "2026-01-01T00:00:05Z")


def test_a_failure_tells_of_the_newest_pod() -> None:
    world = World(mpijob().workers(1))
    world.launch("Failed", "Failed", "BackoffLimitExceeded", "too many", failed=2)
    old, new = (
        {
            **world.launcher_pods[0],
            "metadata": {
                "name": f"pi-launcher-{second}",
                "creationTimestamp": f"2026-01-01T00:00:0{second}Z",
            },
            "status": {"phase": "Failed", "reason": reason, "message": "gone"},
        }
        for second, reason in ((1, "Old"), (2, "New"))
    )
    world.launcher_pods = [new, old]
    status = world.look()
    failed = status["conditions"][-1]
    assert (failed["type"], failed["reason"], failed["message"]) == (
        "Failed",
        "BackoffLimitExceeded/New",
        "too many: gone",
    )
    assert status["replicaStatuses"]["Launcher"] == {"failed": 2}
    assert status["completionTime"] == "2026-01-01T00:00:10Z"
    assert world.events[-1] == ("Warning", "BackoffLimitExceeded/New")


def test_a_failure_without_a_pods_message_tells_the_exit_code() -> None:
    world = World(mpijob().workers(1))
    world.launch("Failed", "Failed", "BackoffLimitExceeded", "too many", failed=1)
    ended = [{"name": "main", "state": {"terminated": {"exitCode": 3}}}]
    world.launcher_pods[0]["status"]["containerStatuses"] = ended
    message = world.look()["conditions"][-1]["message"]
    assert message == "too many: container main of pi-launcher-a exited with 3"


@pytest.mark.parametrize(
    ("reason", "expected"), [("", "MPIJobFailed"), ("DeadlineExceeded", "DeadlineExceeded")]
)
def test_other_failures_keep_the_jobs_reason(reason: str, expected: str) -> None:
    world = World(mpijob())
    world.launch(None, "Failed", reason)
    assert conditions(world.look())[-1] == ("Failed", "True", expected)


def test_a_failed_pod_is_no_failed_job() -> None:
    world = World(mpijob())
    world.launch("Failed", failed=1)
    status = world.look()
    assert conditions(status) == [CREATED]
    assert status["replicaStatuses"]["Launcher"] == {"failed": 1}


def test_created_suspended_then_resumed() -> None:
    world = World(mpijob().workers(2).suspended())
    status = world.look()
    assert "startTime" not in status
    assert conditions(status) == [
        ("Running", "False", "MPIJobSuspended"),
        CREATED,
        ("Suspended", "True", "MPIJobSuspended"),
    ]
    world.builder = world.builder.suspended(False)
    status = world.look()
    assert status["startTime"] == "2026-01-01T00:00:20Z"
    assert conditions(status) == [
        ("Running", "False", "MPIJobSuspended"),
        ("Suspended", "False", "MPIJobResumed"),
        CREATED,
    ]
    assert world.events == [
        ("Normal", "MPIJobCreated"),
        ("Normal", "MPIJobSuspended"),
        ("Normal", "MPIJobResumed"),
    ]


def test_suspended_while_running_and_resumed_twice() -> None:
    world = World(mpijob().workers(1))
    for round_ in range(2):
        world.launch("Running")
        world.work("Running")
        assert conditions(world.look())[-1] == ("Running", "True", "MPIJobRunning")
        world.builder = world.builder.suspended()
        status = world.look()
        assert conditions(status)[-1] == ("Suspended", "True", "MPIJobSuspended")
        assert ("Running", "False", "MPIJobSuspended") in conditions(status)
        # Its pod is still there.
        assert status["replicaStatuses"]["Launcher"] == {"active": 1}
        world.launch()
        world.work()
        world.look()
        world.builder = world.builder.suspended(False)
        status = world.look()
        assert status["startTime"] == f"2026-01-01T00:00:{(round_ + 1) * 40}Z" or round_ == 1
    reasons = [reason for _, reason in world.events]
    assert reasons == ["MPIJobCreated", *["MPIJobRunning", "MPIJobSuspended", "MPIJobResumed"] * 2]


def test_an_evicted_worker_fails_the_job_until_the_launcher_succeeds() -> None:
    world = World(mpijob().workers(2))
    world.launch("Running")
    world.work("Running", "Running")
    world.look()
    world.workers[1]["status"] = {"phase": "Failed", "reason": "Evicted"}
    status = world.look()
    assert conditions(status)[-1] == ("Failed", "True", "MPIJobEvicted")
    assert "completionTime" not in status
    world.look()
    world.launch("Succeeded", "Complete", completionTime="2026-01-01T00:01:00Z")
    status = world.look()
    assert conditions(status)[-1] == ("Succeeded", "True", "MPIJobSucceeded")
    assert ("Failed", "False", "MPIJobEvicted") in conditions(status)
    assert [reason for _, reason in world.events].count("MPIJobEvicted") == 1


def test_a_refused_template_ends_the_job() -> None:
    world = World(mpijob().workers(1))
    status = world.look(refusal="the API server refused Pod pi-worker-0: no")
    assert conditions(status)[-1] == ("Failed", "True", "InvalidSpec")
    assert status["conditions"][-1]["message"] == "the API server refused Pod pi-worker-0: no"
    assert status["completionTime"]


@pytest.mark.parametrize(("policy", "left"), [("None", {"active": 1}), ("Running", {}), ("All", {})])
def test_a_finished_jobs_status_rests(policy: str, left: dict[str, int]) -> None:
    world = World(mpijob().workers(1).policy(cleanPodPolicy=policy))
    world.launch("Succeeded", "Complete", completionTime="2026-01-01T00:00:05Z")
    world.look()
    status = {**world.look(), "replicaStatuses": {"Worker": {"active": 1}}}
    world.builder = world.builder.status(status)
    world.work("Failed", reason="Evicted")
    assert world.look()["replicaStatuses"]["Worker"] == left


def test_long_messages_are_cut() -> None:
    world = World(mpijob())
    world.launch(None, "Failed", "X", "m" * 2000)
    message = world.look()["conditions"][-1]["message"]
    assert len(message) == 1024
    assert message.endswith("...")

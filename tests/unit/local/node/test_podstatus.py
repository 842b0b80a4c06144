from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hortator.local.node.pod import Container, Ended, Observed, make_plan
from hortator.local.node.podstatus import Identity, make_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05Z"
IDENTITY = Identity(host_ip="127.0.0.1", pod_ip="127.64.0.1", start_time=NOW)
RUNNING = Container(state="running", started=True, ready=True, started_at=NOW)


def done(code: int, **more: Any) -> Container:
    ended = Ended(code, "Completed" if code == 0 else "Error", started_at=NOW, finished_at=NOW)
    return Container(state="ended", ended=ended, **more)


def status_of(
    containers: dict[str, Container],
    *,
    init: tuple[str, ...] = (),
    policy: str = "Always",
    conditions: list[dict[str, Any]] | None = None,
    prepared: bool = True,
    ending: str = "",
    generation: int = 0,
    **spec: Any,
) -> dict[str, Any]:
    observed = Observed(
        pod={
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": generation},
            "spec": {
                "restartPolicy": policy,
                "initContainers": [{"name": name} for name in init],
                "containers": [{"name": name, "image": "i"} for name in containers if name not in init],
                **spec,
            },
            "status": {"conditions": conditions or []},
        },
        containers=containers,
        prepared=prepared,
        clock=100.0,
        started_clock=0.0,
        ending=ending,
    )
    return make_status(observed, make_plan(observed), IDENTITY, NOW)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in status["conditions"] if each["type"] == kind)
    return found


@pytest.mark.parametrize(
    ("containers", "more", "phase"),
    [
        ({"a": Container()}, {}, "Pending"),
        ({"a": Container(state="starting")}, {}, "Pending"),
        ({"a": RUNNING}, {}, "Running"),
        ({"a": RUNNING, "b": Container()}, {}, "Pending"),
        ({"i": RUNNING, "a": Container()}, {"init": ("i",)}, "Pending"),
        ({"i": done(1), "a": Container()}, {"init": ("i",), "policy": "Never"}, "Failed"),
        ({"i": done(1), "a": Container()}, {"init": ("i",), "policy": "OnFailure"}, "Pending"),
        ({"a": done(0)}, {"policy": "Never"}, "Succeeded"),
        ({"a": done(1)}, {"policy": "Never"}, "Failed"),
        ({"a": done(0), "b": done(2)}, {"policy": "Never"}, "Failed"),
        ({"a": done(1), "b": RUNNING}, {"policy": "Never"}, "Running"),
        ({"a": done(1, backoff=10.0, ended_clock=99.0)}, {"policy": "OnFailure"}, "Running"),
        ({"a": done(0, backoff=10.0, ended_clock=99.0)}, {}, "Running"),
        ({"a": done(0)}, {"ending": "Terminated"}, "Failed"),
    ],
)
def test_the_phase(containers: dict[str, Container], more: dict[str, Any], phase: str) -> None:
    assert status_of(containers, **more)["phase"] == phase


def test_what_waits_says_for_what() -> None:
    status = status_of({"i": RUNNING, "a": Container()}, init=("i",))
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    status = status_of({"a": Container(reason="CreateContainerConfigError", message="why")})
    waiting = {"reason": "CreateContainerConfigError", "message": "why"}
    assert status["containerStatuses"][0]["state"] == {"waiting": waiting}


def test_back_off_is_a_waiting_state_whose_last_state_tells_the_end() -> None:
    status = status_of({"a": done(1, backoff=20.0, ended_clock=99.0, restarts=2)})["containerStatuses"][0]
    assert status["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": "back-off 20s restarting failed container=a pod=p_ns(u)",
    }
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert (status["ready"], status["restartCount"]) == (False, 2)


@pytest.mark.parametrize(("backoff", "text"), [(10.0, "10s"), (80.0, "1m20s"), (300.0, "5m0s")])
def test_back_off_is_written_as_durations_of_go(backoff: float, text: str) -> None:
    status = status_of({"a": done(1, backoff=backoff, ended_clock=99.0)})["containerStatuses"][0]
    assert status["state"]["waiting"]["message"].startswith(f"back-off {text} restarting")


def test_a_container_whose_start_is_not_behind_it_still_waits() -> None:
    status = status_of({"a": Container(state="starting", started_at=NOW, container_id="hort://1")})
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}


def test_termination_messages_share_what_a_pod_may_say() -> None:
    containers = {
        name: Container(state="ended", ended=Ended(1, "Error", message="é" * 2048)) for name in "abcd"
    }
    for status in status_of(containers, policy="Never")["containerStatuses"]:
        assert status["state"]["terminated"]["message"] == "é" * 1536


def test_the_status_tells_which_generation_of_the_spec_it_is_of() -> None:
    status = status_of({"a": RUNNING}, generation=3)
    assert status["observedGeneration"] == 3
    assert condition(status, "Ready")["observedGeneration"] == 3


def test_conditions_of_a_pod_that_runs() -> None:
    status = status_of({"a": RUNNING})
    for kind in ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"):
        assert condition(status, kind)["status"] == "True"


def test_unready_containers_are_named() -> None:
    ready = condition(status_of({"a": RUNNING, "b": Container(state="running", started_at=NOW)}), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [b]"


def test_a_pod_that_has_ended_says_how() -> None:
    assert condition(status_of({"a": done(0)}, policy="Never"), "Ready")["reason"] == "PodCompleted"
    assert condition(status_of({"a": done(1)}, policy="Never"), "Ready")["reason"] == "PodFailed"


def test_readiness_gates_hold_ready_only() -> None:
    gates = {"readinessGates": [{"conditionType": "x/y"}]}
    status = status_of({"a": RUNNING}, **gates)
    assert condition(status, "ContainersReady")["status"] == "True"
    assert condition(status, "Ready")["reason"] == "ReadinessGatesNotReady"
    status = status_of({"a": RUNNING}, conditions=[{"type": "x/y", "status": "True"}], **gates)
    assert condition(status, "Ready")["status"] == "True"


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    before = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"},
        {"type": "Initialized", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"},
    ]
    status = status_of({"a": RUNNING}, conditions=before)
    assert condition(status, "Ready")["lastTransitionTime"] == "2025-01-01T00:00:00Z"
    assert condition(status, "Initialized")["lastTransitionTime"] == STAMP


def test_the_reason_of_a_pod_that_was_ended() -> None:
    status = status_of({"a": done(143)}, ending="Terminated")
    assert (status["phase"], status["reason"]) == ("Failed", "Terminated")

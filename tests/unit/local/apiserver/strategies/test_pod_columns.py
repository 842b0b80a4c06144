from typing import Any

import pytest

from support.strategies import cells

READY = {"type": "Ready", "status": "True"}


def running(name: str = "a", *, ready: bool = True, **rest: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "state": {"running": {}}, **rest}


def waiting(reason: str, name: str = "a") -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason}}}


def ended(code: int, reason: str = "", *, signal: int = 0, name: str = "a") -> dict[str, Any]:
    terminated: dict[str, Any] = {"exitCode": code}
    if reason:
        terminated["reason"] = reason
    if signal:
        terminated["signal"] = signal
    return {"name": name, "state": {"terminated": terminated}}


def shown(
    status: dict[str, Any], *, init: tuple[dict[str, Any], ...] = (), count: int = 1, **metadata: Any
) -> dict[str, Any]:
    containers = [{"name": chr(97 + index)} for index in range(count)]
    spec = {"containers": containers, "initContainers": list(init)}
    return cells("pods", {"metadata": {"name": "p", **metadata}, "spec": spec, "status": status})


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            "SchedulingGated",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Running", "containerStatuses": [running()]}, "Running"),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, "ContainerCreating"),
        ({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}, "CrashLoopBackOff"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}, "Completed"),
        ({"phase": "Failed", "containerStatuses": [ended(3, "Error")]}, "Error"),
        ({"phase": "Failed", "containerStatuses": [ended(137, "OOMKilled")]}, "OOMKilled"),
        ({"phase": "Failed", "containerStatuses": [ended(3)]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [ended(0, signal=9)]}, "Signal:9"),
        (
            {
                "phase": "Running",
                "containerStatuses": [ended(0, "Completed"), running("b")],
                "conditions": [READY],
            },
            "Running",
        ),
        ({"phase": "Running", "containerStatuses": [ended(0, "Completed"), running("b")]}, "NotReady"),
        (
            {"phase": "Running", "containerStatuses": [ended(0, "Completed"), ended(1, "Error", name="b")]},
            "Error",
        ),
    ],
)
def test_the_status_of_a_pod_past_its_initialization(status: dict[str, Any], word: str) -> None:
    assert shown(status, count=2)["Status"] == word


ONE, TWO, SIDECAR = {"name": "i"}, {"name": "j"}, {"name": "s", "restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("init", "statuses", "word"),
    [
        ((ONE, TWO), [running("i")], "Init:0/2"),
        ((ONE, TWO), [ended(0, name="i"), running("j")], "Init:1/2"),
        ((ONE,), [waiting("PodInitializing", "i")], "Init:0/1"),
        ((ONE,), [waiting("CreateContainerError", "i")], "Init:CreateContainerError"),
        ((ONE,), [ended(2, name="i")], "Init:ExitCode:2"),
        ((ONE,), [ended(2, "Error", name="i")], "Init:Error"),
        ((ONE,), [ended(2, signal=15, name="i")], "Init:Signal:15"),
        ((SIDECAR, ONE), [running("s", started=True), running("i")], "Init:1/2"),
        ((SIDECAR,), [running("s", started=False)], "Init:0/1"),
    ],
)
def test_the_status_of_a_pod_that_initializes(init: Any, statuses: list[Any], word: str) -> None:
    assert shown({"phase": "Pending", "initContainerStatuses": statuses}, init=init)["Status"] == word


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Running"}, "Terminating"),
        ({"phase": "Running", "reason": "NodeLost"}, "Unknown"),
        ({"phase": "Succeeded"}, "Succeeded"),
    ],
)
def test_the_status_of_a_pod_that_is_being_deleted(status: dict[str, Any], word: str) -> None:
    assert shown(status, deletionTimestamp="2026-03-01T12:00:00Z")["Status"] == word


def test_sidecars_count_as_containers() -> None:
    status = {
        "phase": "Running",
        "initContainerStatuses": [running("s", started=True, restartCount=2)],
        "containerStatuses": [running(restartCount=1)],
    }
    row = shown(status, init=(SIDECAR,))
    assert (row["Ready"], row["Restarts"]) == ("2/2", "3")


def test_init_containers_that_are_done_do_not_count_restarts() -> None:
    done = {**ended(0, name="i"), "restartCount": 5}
    row = shown(
        {"phase": "Running", "initContainerStatuses": [done], "containerStatuses": [running()]}, init=(ONE,)
    )
    assert row["Restarts"] == "0"


def test_restarts_say_when_the_last_one_was() -> None:
    last = {"terminated": {"finishedAt": "2026-03-01T11:55:00Z"}}
    row = shown({"phase": "Running", "containerStatuses": [running(restartCount=2, lastState=last)]})
    assert row["Restarts"] == "2 (5m ago)"


def test_wide_columns() -> None:
    gates = [{"conditionType": "a"}, {"conditionType": "b"}]
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "readinessGates": gates},
        "status": {"podIPs": [{"ip": "127.0.0.2"}], "conditions": [{"type": "a", "status": "True"}]},
    }
    row = cells("pods", pod)
    assert (row["IP"], row["Node"], row["Nominated Node"], row["Readiness Gates"]) == (
        "127.0.0.2",
        "n",
        "<none>",
        "1/2",
    )

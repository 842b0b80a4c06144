"""The plan of a pod's life, as a table: what is known of its containers, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from hortator.local.node.pod import (
    Action,
    Container,
    Ended,
    Observed,
    Remove,
    Start,
    Stop,
    make_plan,
)

WAITING = Container()
RUNNING = Container(state="running", started=True, ready=True)


def done(code: int = 0, **more: Any) -> Container:
    return Container(state="ended", ended=Ended(code, "Completed" if code == 0 else "Error"), **more)


def seen(
    containers: dict[str, Container],
    *,
    init: tuple[str, ...] = (),
    sidecars: tuple[str, ...] = (),
    policy: str = "Always",
    deleting: bool = False,
    clock: float = 100.0,
    prepared: bool = True,
    ending: str = "",
    hooked: tuple[str, ...] = (),
    own: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    **spec: Any,
) -> Observed:
    inits = [
        {"name": name, **({"restartPolicy": "Always"} if name in sidecars else {})}
        for name in containers
        if name in init or name in sidecars
    ]
    mains = [
        {
            "name": name,
            **({"lifecycle": {"postStart": {"sleep": {}}}} if name in hooked else {}),
            **own.get(name, {}),
        }
        for name in containers
        if name not in init and name not in sidecars
    ]
    metadata: dict[str, Any] = {"name": "p", "namespace": "ns", "uid": "u"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Observed(
        pod={
            "metadata": metadata,
            "spec": {"restartPolicy": policy, "initContainers": inits, "containers": mains, **spec},
        },
        containers=containers,
        prepared=prepared,
        clock=clock,
        started_clock=0.0,
        ending=ending,
    )


CASES: list[tuple[str, Observed, list[Action]]] = [
    ("nothing before volumes are there", seen({"a": WAITING}, prepared=False), []),
    ("mains start together", seen({"a": WAITING, "b": WAITING}), [Start("a"), Start("b")]),
    ("what starts is not started twice", seen({"a": Container(state="starting")}), []),
    (
        "init containers come first",
        seen({"i": WAITING, "j": WAITING, "a": WAITING}, init=("i", "j")),
        [Start("i")],
    ),
    (
        "one init container at a time",
        seen({"i": done(), "j": WAITING, "a": WAITING}, init=("i", "j")),
        [Start("j")],
    ),
    ("mains wait for init containers", seen({"i": RUNNING, "a": WAITING}, init=("i",)), []),
    ("mains follow init containers", seen({"i": done(), "a": WAITING}, init=("i",)), [Start("a")]),
    (
        "a failed init container is repeated",
        seen({"i": done(1), "a": WAITING}, init=("i",)),
        [Start("i", again=True)],
    ),
    (
        "also with OnFailure",
        seen({"i": done(1), "a": WAITING}, init=("i",), policy="OnFailure"),
        [Start("i", True)],
    ),
    ("not with Never", seen({"i": done(1), "a": WAITING}, init=("i",), policy="Never"), []),
    (
        "a sidecar is started in its place",
        seen({"s": WAITING, "i": WAITING, "a": WAITING}, init=("i",), sidecars=("s",)),
        [Start("s")],
    ),
    (
        "the next waits until a sidecar has started",
        seen({"s": Container(state="running"), "i": WAITING, "a": WAITING}, init=("i",), sidecars=("s",)),
        [],
    ),
    (
        "then it goes on",
        seen({"s": RUNNING, "i": WAITING, "a": WAITING}, init=("i",), sidecars=("s",)),
        [Start("i")],
    ),
    (
        "a sidecar that ends is restarted",
        seen({"s": done(), "a": RUNNING}, sidecars=("s",), policy="Never"),
        [Start("s", True)],
    ),
    ("Always restarts what succeeded", seen({"a": done()}), [Start("a", again=True)]),
    ("OnFailure restarts what failed", seen({"a": done(1)}, policy="OnFailure"), [Start("a", again=True)]),
    ("OnFailure leaves what succeeded", seen({"a": done()}, policy="OnFailure"), []),
    ("Never leaves what failed", seen({"a": done(1), "b": RUNNING}, policy="Never"), []),
    ("back-off holds a restart", seen({"a": done(1, backoff=10.0, ended_clock=95.0)}), []),
    (
        "not after a run of more than ten minutes",
        seen({"a": done(1, backoff=300.0, started_clock=100.0, ended_clock=701.0)}, clock=701.0),
        [Start("a", again=True)],
    ),
    (
        "a container's own policy counts",
        seen({"a": done(1), "b": RUNNING}, own={"a": {"restartPolicy": "Never"}}),
        [],
    ),
    (
        "a postStart hook holds up what follows",
        seen({"a": WAITING, "b": WAITING}, hooked=("a",)),
        [Start("a")],
    ),
    ("while it runs", seen({"a": Container(state="starting"), "b": WAITING}, hooked=("a",)), []),
    ("not longer", seen({"a": RUNNING, "b": WAITING}, hooked=("a",)), [Start("b")]),
    (
        "nor when its container waits for something else",
        seen({"a": Container(retry_clock=101.0), "b": WAITING}, hooked=("a",)),
        [Start("b")],
    ),
    ("until it is over", seen({"a": done(1, backoff=10.0, ended_clock=90.0)}), [Start("a", again=True)]),
    (
        "sidecars end after the mains",
        seen({"s": RUNNING, "a": done()}, sidecars=("s",), policy="Never"),
        [Stop("s", "Completed")],
    ),
    (
        "from the last to the first",
        seen({"s": RUNNING, "t": RUNNING, "a": done()}, sidecars=("s", "t"), policy="Never"),
        [Stop("t", "Completed")],
    ),
    (
        "deletion stops mains first",
        seen({"s": RUNNING, "a": RUNNING}, sidecars=("s",), deleting=True),
        [Stop("a", "Deleted")],
    ),
    ("and says so once", seen({"a": Container(state="running", stopping=True)}, deleting=True), []),
    ("then the object goes", seen({"a": done(137)}, deleting=True), [Remove()]),
    ("a pod that never ran goes at once", seen({"a": WAITING}, deleting=True, prepared=False), [Remove()]),
    ("a deadline stops it", seen({"a": RUNNING}, activeDeadlineSeconds=100), [Stop("a", "DeadlineExceeded")]),
    ("not before it is due", seen({"a": RUNNING}, activeDeadlineSeconds=101), []),
    ("a node that stops ends it", seen({"a": RUNNING}, ending="Terminated"), [Stop("a", "Terminated")]),
    ("a postponed start waits", seen({"a": Container(retry_clock=101.0)}), []),
]


@pytest.mark.parametrize(
    ("observed", "actions"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_is_done(observed: Observed, actions: list[Action]) -> None:
    assert list(make_plan(observed).actions) == actions


@pytest.mark.parametrize(
    ("observed", "wake"),
    [
        (seen({"a": done(1, backoff=10.0, ended_clock=95.0)}), 105.0),
        (seen({"a": RUNNING}, activeDeadlineSeconds=500), 500.0),
        (seen({"a": Container(retry_clock=101.0)}), 101.0),
        (seen({"a": Container(retry_clock=float("inf"))}), None),
        (seen({"a": RUNNING}), None),
    ],
)
def test_when_it_looks_again(observed: Observed, wake: float | None) -> None:
    assert make_plan(observed).wake == wake


@pytest.mark.parametrize(
    ("observed", "over"),
    [
        (seen({"a": done()}, policy="Never"), True),
        (seen({"a": done(1)}, policy="Never"), True),
        (seen({"a": done(1)}, policy="OnFailure"), False),
        (seen({"a": done(), "b": RUNNING}, policy="Never"), False),
        (seen({"s": RUNNING, "a": done()}, sidecars=("s",), policy="Never"), False),
        (seen({"i": done(1), "a": WAITING}, init=("i",), policy="Never"), True),
        (seen({"a": done(143)}, ending="Terminated"), True),
        (seen({"a": done(1)}, own={"a": {"restartPolicy": "Never"}}), True),
        (seen({"a": done(1)}, policy="Never", own={"a": {"restartPolicy": "OnFailure"}}), False),
    ],
)
def test_when_a_pod_is_over(observed: Observed, over: bool) -> None:
    assert make_plan(observed).over is over

"""Scheduling: why a pod waits, in the scheduler's own words."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from support.server import MERGE, Server
from support.staying import until

Object = dict[str, Any]
NODES = "/api/v1/nodes"


class Place:
    """Nodes that nobody runs, reserved by a label for one test, and pods that want to be on them."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.at = f"/api/v1/namespaces/{namespace}"
        self.label = {"only": uuid.uuid4().hex[:8]}
        self.names: list[str] = []

    def node(self, cpu: str = "2", **spec: Any) -> str:
        name = f"n-{uuid.uuid4().hex[:8]}"
        self.names.append(name)
        self.server.post(NODES, {"metadata": {"name": name, "labels": self.label}, "spec": spec}).ok  # noqa: B018
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Test",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        room = {"cpu": cpu, "memory": "1Gi", "pods": "2"}
        status = {"allocatable": room, "capacity": room, "conditions": [ready]}
        self.server.patch(f"{NODES}/{name}/status", {"status": status}, MERGE).ok  # noqa: B018
        # The controllers of both servers mark a new node until they have seen that it is ready.
        until(lambda: not self._marks(name), "that the node may be used")
        return name

    def _marks(self, name: str) -> list[Object]:
        taints = self.server.get(f"{NODES}/{name}").ok["spec"].get("taints") or []
        return [taint for taint in taints if taint["key"] == "node.kubernetes.io/not-ready"]

    def pod(self, name: str = "p", *, cpu: str = "1", **spec: Any) -> None:
        container = {
            "name": "main",
            "image": "none",
            "command": ["true"],
            "resources": {"requests": {"cpu": cpu}},
        }
        wanted = {
            "nodeSelector": self.label,
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            **spec,
        }
        self.server.post(f"{self.at}/pods", {"metadata": {"name": name}, "spec": wanted}).ok  # noqa: B018

    def get(self, name: str = "p") -> Object:
        return dict(self.server.get(f"{self.at}/pods/{name}").ok)

    def waits(self, name: str = "p") -> tuple[str, str]:
        """Return reason and message of why a pod is not placed; the count of all nodes is the test's own."""

        def condition() -> Object:
            found = self.get(name)["status"].get("conditions") or []
            return next(
                (each for each in found if each["type"] == "PodScheduled" and each["status"] == "False"), {}
            )

        until(lambda: bool(condition().get("message")), "why it waits")
        return condition()["reason"], condition()["message"]

    def placed(self, name: str = "p") -> str:
        until(lambda: bool(self.get(name)["spec"].get("nodeName")), f"that {name} is placed")
        return str(self.get(name)["spec"]["nodeName"])


@pytest.fixture
def place(server: Server, namespace: str) -> Iterator[Place]:
    made = Place(server, namespace)
    yield made
    for pod in server.get(f"{made.at}/pods").ok["items"]:
        server.delete(f"{made.at}/pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    for name in made.names:
        server.delete(f"{NODES}/{name}")


@pytest.fixture
def others(server: Server) -> int:
    """How many nodes there are that the test did not make."""
    return len(server.get(NODES).ok["items"])


def test_a_pod_goes_where_it_fits(place: Place) -> None:
    small, large = place.node("1"), place.node("4")
    place.pod(cpu="2")
    assert place.placed() == large
    place.pod("q", nodeSelector={"kubernetes.io/hostname": "none"})
    assert place.waits("q")[0] == "Unschedulable"
    assert small in place.names


#: What the scheduler's plugin for resource claims adds, which has no work in these tests.
CLAIMS = "no new claims to deallocate, "


def test_too_little_of_something(place: Place, others: int) -> None:
    place.node("1")
    place.pod(cpu="3")
    reason, message = place.waits()
    assert reason == "Unschedulable"
    foreign = f", {others} node(s) didn't match Pod's node affinity/selector" if others else ""
    total = others + 1
    assert message.replace(CLAIMS, "") == (
        f"0/{total} nodes are available: 1 Insufficient cpu{foreign}. preemption: 0/{total} nodes are available: "
        f"{total} Preemption is not helpful for scheduling."
    )


@pytest.mark.differs(
    "the scheduler's sentence does not say that there are no claims to deallocate",
    why="the scheduler knows no resource claims",
)
def test_the_sentence_speaks_of_claims(place: Place) -> None:
    place.node("1")
    place.pod(cpu="3")
    assert CLAIMS in place.waits()[1]


def test_a_taint_that_is_not_tolerated(place: Place) -> None:
    taint = {"key": "mine", "value": "yes", "effect": "NoSchedule"}
    name = place.node(taints=[taint])
    place.pod()
    assert "1 node(s) had untolerated taint" in place.waits()[1]
    place.pod("q", tolerations=[{"key": "mine", "operator": "Exists"}])
    assert place.placed("q") == name


@pytest.mark.differs(
    "the scheduler's sentence names the taint that is not tolerated",
    why="who reads it wants to know which; Kubernetes only counts taints",
)
def test_taints_are_counted(place: Place) -> None:
    place.node(taints=[{"key": "mine", "value": "yes", "effect": "NoSchedule"}])
    place.pod()
    assert "1 node(s) had untolerated taint(s)" in place.waits()[1]


def test_a_cordoned_node(place: Place) -> None:
    place.node(unschedulable=True)
    place.pod()
    assert "1 node(s) were unschedulable" in place.waits()[1]


def test_reasons_are_sorted(place: Place) -> None:
    place.node("1")
    place.node(unschedulable=True)
    place.pod(cpu="2")
    message = place.waits()[1]
    assert message.index("1 Insufficient cpu") < message.index("1 node(s) were unschedulable")


def test_a_gate_holds_a_pod(place: Place) -> None:
    name = place.node()
    place.pod(schedulingGates=[{"name": "example.com/wait"}])
    assert place.waits()[0] == "SchedulingGated"
    place.server.patch(f"{place.at}/pods/p", {"spec": {"schedulingGates": None}}, MERGE).ok  # noqa: B018
    assert place.placed() == name


def test_pods_that_keep_apart(place: Place) -> None:
    place.node("4")
    term = {"topologyKey": "only", "labelSelector": {"matchLabels": {"a": "b"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    body = {"metadata": {"name": "first", "labels": {"a": "b"}}}
    container = {"name": "main", "image": "none", "command": ["true"]}
    first = {**body, "spec": {"nodeSelector": place.label, "containers": [container]}}
    place.server.post(f"{place.at}/pods", first).ok  # noqa: B018
    place.placed("first")
    place.pod(affinity=affinity)
    assert "1 node(s) didn't match pod anti-affinity rules" in place.waits()[1]


def test_a_node_takes_so_many_pods(place: Place) -> None:
    place.node("4")
    for name in ("a", "b"):
        place.pod(name, cpu="100m")
        place.placed(name)
    place.pod("c", cpu="100m")
    assert "1 Too many pods" in place.waits("c")[1]


def test_room_that_comes_is_used(place: Place) -> None:
    name = place.node("1")
    place.pod("a")
    place.placed("a")
    place.pod("b")
    place.waits("b")
    place.server.delete(f"{place.at}/pods/a", {"gracePeriodSeconds": 0}).ok  # noqa: B018
    assert place.placed("b") == name


def gone_or_going(place: Place, pod: str) -> bool:
    answer = place.server.get(f"{place.at}/pods/{pod}")
    return answer.status == 404 or "deletionTimestamp" in answer.ok["metadata"]


def nominated(place: Place, pod: str) -> str:
    """Return the node that a pod is placed on, or shall be."""
    found = place.get(pod)
    return str(found["spec"].get("nodeName") or found["status"].get("nominatedNodeName") or "")


def test_the_more_important_pod_takes_the_place(place: Place) -> None:
    name = place.node("1")
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    high = f"high-{uuid.uuid4().hex[:8]}"
    place.server.post(classes, {"metadata": {"name": high}, "value": 1000}).ok  # noqa: B018
    try:
        place.pod("a")
        place.placed("a")
        place.pod("b", priorityClassName=high)
        until(lambda: gone_or_going(place, "a"), "that the other goes")
        until(lambda: nominated(place, "b") == name, "its nomination")
    finally:
        place.server.delete(f"{classes}/{high}")


def test_why_is_told_in_an_event_too(place: Place) -> None:
    place.node("1")
    place.pod(cpu="3")
    message = place.waits()[1]
    query = {"fieldSelector": "involvedObject.name=p,reason=FailedScheduling"}

    def told() -> list[str]:
        return [event["message"] for event in place.server.get(f"{place.at}/events", query=query).ok["items"]]

    until(lambda: message in told(), "the event")

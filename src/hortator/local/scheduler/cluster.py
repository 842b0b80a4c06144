"""What stands where: nodes with running sums of what their pods hold, kept up to date pod by pod.

:class:`Cluster` is the scheduler's memory. It knows pods that the watch reported and pods that were just
decided (assumed), so that a decision never waits for the watch. Whether a pod may go somewhere is ``fit``'s
question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from hortator.local.scheduler.pods import PodInfo
from hortator.local.scheduler.requests import amounts
from hortator.local.scheduler.terms import Taint

__all__ = ["Cluster", "NodeInfo"]

HARD_EFFECTS = ("NoSchedule", "NoExecute")


class NodeInfo:
    """One node and the sums over its pods. ``pods`` is keyed by UID."""

    __slots__ = (
        "allocatable",
        "allowed_pods",
        "labels",
        "machine",
        "name",
        "owners",
        "pods",
        "requested",
        "scored_cpu",
        "scored_memory",
        "soft_taints",
        "taints",
        "unschedulable",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.pods: dict[str, PodInfo] = {}
        self.requested: dict[str, int] = {}
        self.owners: dict[str, int] = {}
        self.scored_cpu = 0
        self.scored_memory = 0
        self.labels: Mapping[str, str] = {}
        self.machine = name
        self.taints: tuple[Taint, ...] = ()
        self.soft_taints: tuple[Taint, ...] = ()
        self.unschedulable = False
        self.allocatable: Mapping[str, int] = {}
        self.allowed_pods = 0

    def describe(self, node: Mapping[str, Any]) -> bool:
        """Take over what the Node object says; return whether that can change a decision."""
        before = (
            self.labels,
            self.taints,
            self.soft_taints,
            self.unschedulable,
            self.allocatable,
            self.machine,
        )
        spec, status = node.get("spec") or {}, node.get("status") or {}
        taints = tuple(
            Taint(one["key"], one.get("value") or "", one["effect"]) for one in spec.get("taints") or ()
        )
        self.labels = node["metadata"].get("labels") or {}
        self.taints = tuple(one for one in taints if one.effect in HARD_EFFECTS)
        self.soft_taints = tuple(one for one in taints if one.effect == "PreferNoSchedule")
        self.unschedulable = bool(spec.get("unschedulable"))
        self.allocatable = amounts(status.get("allocatable") or status.get("capacity"))
        self.allowed_pods = self.allocatable.get("pods", 0)
        # Nodes of one machine share its network, hence its ports.
        self.machine = (status.get("nodeInfo") or {}).get("machineID") or self.name
        after = (
            self.labels,
            self.taints,
            self.soft_taints,
            self.unschedulable,
            self.allocatable,
            self.machine,
        )
        return before != after

    def add(self, pod: PodInfo) -> None:
        """Count a pod in."""
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove(self, pod: PodInfo) -> None:
        """Count a pod out. Raises ``KeyError`` when it is not there."""
        del self.pods[pod.uid]
        self._count(pod, -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        requested = self.requested
        for name, value in pod.requests.items():
            requested[name] = requested.get(name, 0) + sign * value
        self.scored_cpu += sign * pod.scored_cpu
        self.scored_memory += sign * pod.scored_memory
        if pod.owner:
            left = self.owners.get(pod.owner, 0) + sign
            if left:
                self.owners[pod.owner] = left
            else:
                del self.owners[pod.owner]


class Cluster:
    """All nodes and the pods on them, by watch or by assumption."""

    def __init__(self) -> None:
        #: Nodes that exist, in order of arrival.
        self.nodes: dict[str, NodeInfo] = {}
        #: Labels of the namespaces, for affinity terms that select namespaces.
        self.namespaces: dict[str, Mapping[str, str]] = {}
        #: Bound and assumed pods whose presence attracts or repels others.
        self.affine: dict[str, PodInfo] = {}
        #: Pods that wait for the end of their victims, by node.
        self.nominated: dict[str, dict[str, PodInfo]] = {}
        self._placed: dict[str, PodInfo] = {}
        self._assumed: set[str] = set()
        self._homeless: dict[str, dict[str, PodInfo]] = {}
        self._port_users: dict[str, dict[str, PodInfo]] = {}

    def set_node(self, node: Mapping[str, Any]) -> bool:
        """Add or refresh a node; return whether that can change a decision."""
        name = node["metadata"]["name"]
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = NodeInfo(name)
            info.describe(node)
            for pod in self._homeless.pop(name, {}).values():
                self._settle(info, pod)
            return True
        machine = info.machine
        changed = info.describe(node)
        if machine != info.machine:
            for pod in info.pods.values():
                self._port_users.get(machine, {}).pop(pod.uid, None)
                if pod.ports:
                    self._port_users.setdefault(info.machine, {})[pod.uid] = pod
        return changed

    def drop_node(self, name: str) -> None:
        """Forget a node; its pods are remembered until they go or the node comes back."""
        info = self.nodes.pop(name, None)
        if info is None:
            return
        for pod in list(info.pods.values()):
            self._unsettle(info, pod)
            self._homeless.setdefault(name, {})[pod.uid] = pod

    def node_of(self, uid: str) -> str:
        """Return the node on which a pod is or is assumed to be, or an empty string."""
        pod = self._placed.get(uid)
        return pod.node if pod else ""

    def is_assumed(self, uid: str) -> bool:
        """Tell whether a pod stands where it does by decision only, the watch not having shown it yet."""
        return uid in self._assumed

    def assume(self, pod: PodInfo, node: str) -> None:
        """Count a pod on a node before the watch shows it there."""
        self.place(_moved(pod, node))
        self._assumed.add(pod.uid)

    def place(self, pod: PodInfo) -> bool:
        """Count a bound pod; return False when nothing changed because it stood there already."""
        self._assumed.discard(pod.uid)
        self.denominate(pod.uid)
        old = self._placed.get(pod.uid)
        if old is not None:
            if old.node == pod.node and old.labels == pod.labels and old.deleting == pod.deleting:
                return False
            self.remove(old.uid)
        self._placed[pod.uid] = pod
        info = self.nodes.get(pod.node)
        if info is None:
            self._homeless.setdefault(pod.node, {})[pod.uid] = pod
        else:
            self._settle(info, pod)
        return True

    def remove(self, uid: str) -> bool:
        """Count a pod out (it ended, was deleted, or could not be bound); return whether it was counted."""
        self._assumed.discard(uid)
        self.denominate(uid)
        pod = self._placed.pop(uid, None)
        if pod is None:
            return False
        info = self.nodes.get(pod.node)
        if info is not None and uid in info.pods:
            self._unsettle(info, pod)
        else:
            waiting = self._homeless.get(pod.node, {})
            waiting.pop(uid, None)
            if not waiting:
                self._homeless.pop(pod.node, None)
        return True

    def nominate(self, pod: PodInfo, node: str) -> None:
        """Keep room on a node for a pod whose victims are ending there."""
        self.denominate(pod.uid)
        self.nominated.setdefault(node, {})[pod.uid] = pod

    def denominate(self, uid: str) -> None:
        """Give up the room kept for a pod, if any."""
        for node, pods in list(self.nominated.items()):
            if pods.pop(uid, None) is not None and not pods:
                del self.nominated[node]

    def nominated_to(self, uid: str) -> str:
        """Return the node on which room is kept for a pod, or an empty string."""
        return next((node for node, pods in self.nominated.items() if uid in pods), "")

    def port_users(self, machine: str) -> Mapping[str, PodInfo]:
        """Return the pods with ports on a machine, by UID."""
        return self._port_users.get(machine, {})

    @contextmanager
    def trial(self, node: NodeInfo) -> Iterator[Trial]:
        """Let a caller add and remove pods of one node on trial; everything is as before afterwards."""
        trial = Trial(self, node)
        try:
            yield trial
        finally:
            trial.undo()

    def _settle(self, info: NodeInfo, pod: PodInfo) -> None:
        info.add(pod)
        if pod.ports:
            self._port_users.setdefault(info.machine, {})[pod.uid] = pod
        if pod.has_affinity:
            self.affine[pod.uid] = pod

    def _unsettle(self, info: NodeInfo, pod: PodInfo) -> None:
        info.remove(pod)
        if pod.ports:
            self._port_users.get(info.machine, {}).pop(pod.uid, None)
        self.affine.pop(pod.uid, None)


class Trial:
    """Pods added to and removed from one node for the length of a question."""

    def __init__(self, cluster: Cluster, node: NodeInfo) -> None:
        self._cluster = cluster
        self._node = node
        self._steps: list[tuple[bool, PodInfo]] = []

    def add(self, pod: PodInfo) -> None:
        """Put a pod on the node."""
        self._do(True, _moved(pod, self._node.name))

    def remove(self, pod: PodInfo) -> None:
        """Take a pod off the node."""
        self._do(False, pod)

    def undo(self) -> None:
        """Take every step back."""
        while self._steps:
            added, pod = self._steps.pop()
            self._change(not added, pod)

    def _do(self, add: bool, pod: PodInfo) -> None:
        self._change(add, pod)
        self._steps.append((add, pod))

    def _change(self, add: bool, pod: PodInfo) -> None:
        if add:
            self._cluster._settle(self._node, pod)
        else:
            self._cluster._unsettle(self._node, pod)


def _moved(pod: PodInfo, node: str) -> PodInfo:
    return pod if pod.node == node else msgspec.structs.replace(pod, node=node)

"""The scheduler's loop: watch, decide, and write down what was decided.

Decisions are made one after the other, highest priority first, and never wait for the API: a placed pod is
counted at once (assumed), and a second set of workers writes bindings, conditions and Events. What is decided
is ``decide``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hortator.apimachinery import meta
from hortator.kube.errors import ApiError, NotFound, Unavailable
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from hortator.local.scheduler.cluster import Cluster
from hortator.local.scheduler.decide import Decision, decide
from hortator.local.scheduler.messages import truncated
from hortator.local.scheduler.pending import Pending
from hortator.local.scheduler.pods import PodInfo, is_terminal, pod_info
from hortator.local.scheduler.terms import NodeTerm, node_terms

if TYPE_CHECKING:
    from hortator.kube.events import Recorder

__all__ = ["Scheduler", "build_scheduler"]

NAME = "default-scheduler"
GATED = "Scheduling is blocked due to non-empty scheduling gates"

Object = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Bind:
    pod: PodInfo
    node: str


@dataclass(frozen=True, slots=True)
class _Refuse:
    """Say that a pod waits, and end the victims that make room for it."""

    pod: PodInfo
    reason: str
    message: str
    nominated: str = ""
    victims: tuple[PodInfo, ...] = ()


def build_scheduler(
    manager: Manager, *, recorder: Recorder, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Scheduler:
    """Add the scheduler to a manager; it runs with it. ``now`` is the wall clock for conditions."""
    return Scheduler(manager, recorder=recorder, now=now)


class Scheduler:
    """Binds the pods whose ``schedulerName`` is ``default-scheduler``."""

    def __init__(self, manager: Manager, *, recorder: Recorder, now: Callable[[], datetime]) -> None:
        self.cluster = Cluster()
        self.pending = Pending()
        self._client = manager.client
        self._recorder = recorder
        self._now = now
        self._outbox: dict[Key, _Bind | _Refuse] = {}
        self._pods = manager.informer(PODS)
        self._claims = manager.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = manager.informer(PERSISTENT_VOLUMES)
        self._decider = manager.add(Controller("scheduler", self._schedule, workers=1, max_delay=5.0))
        self._writer = manager.add(Controller("scheduler writer", self._write, workers=8, max_delay=10.0))
        manager.informer(NODES).on_change(self._node_changed)
        manager.informer(NAMESPACES).on_change(self._namespace_changed)
        self._claims.on_change(lambda kind, claim, old: self._stir())
        self._volumes.on_change(lambda kind, volume, old: self._stir())
        self._pods.on_change(self._pod_changed)

    # What is seen

    def _node_changed(self, kind: str, node: Object, _: Object | None) -> None:
        if kind == "deleted":
            self.cluster.drop_node(node["metadata"]["name"])
        elif not self.cluster.set_node(node):
            return
        self._stir()

    def _namespace_changed(self, kind: str, namespace: Object, _: Object | None) -> None:
        name = meta.name_of(namespace)
        if kind == "deleted":
            self.cluster.namespaces.pop(name, None)
        elif self.cluster.namespaces.get(name) != (labels := meta.labels_of(namespace)):
            self.cluster.namespaces[name] = labels
            self._stir()

    def _pod_changed(self, kind: str, pod: Object, old: Object | None) -> None:
        uid = meta.uid_of(pod)
        if kind == "deleted" or is_terminal(pod):
            self.pending.drop(uid)
            if self.cluster.remove(uid):
                self._stir()
            return
        placed = pod["spec"].get("nodeName") or ""
        if placed:
            self.pending.drop(uid)
            seen = old is not None and _same_wishes(pod, old) and not self.cluster.is_assumed(uid)
            if (not seen or self.cluster.node_of(uid) != placed) and self.cluster.place(pod_info(pod)):
                self._stir()
            return
        if self.cluster.is_assumed(uid):
            return
        if old is not None and uid in self.pending and _same_wishes(pod, old):
            self.pending.refresh(pod_info(pod))
            return
        self._wish(pod_info(pod))

    def _wish(self, pod: PodInfo) -> None:
        if pod.scheduler != NAME:
            return
        if pod.gates or pod.deleting:
            self.pending.drop(pod.uid)
            self.cluster.denominate(pod.uid)
            if pod.gates and not pod.deleting:
                self._send(_Refuse(pod, "SchedulingGated", GATED))
            return
        if pod.nominated and not self.cluster.nominated_to(pod.uid):
            self.cluster.nominate(pod, pod.nominated)
        self.pending.put(pod)
        self._decider.enqueue("")

    def _stir(self) -> None:
        if len(self.pending):
            self.pending.stir()
            self._decider.enqueue("")

    # What is decided

    async def _schedule(self, _: str) -> Result:
        """Decide about every pod that is ready."""
        clock = asyncio.get_running_loop().time
        while True:
            pod, seconds = self.pending.following(clock())
            if pod is None:
                return Result(requeue_after=seconds)
            self._decide(pod, clock())
            # Nothing long may hold the loop: others go between two decisions.
            await asyncio.sleep(0)

    def _decide(self, pod: PodInfo, now: float) -> None:
        try:
            decision = decide(
                self.cluster, pod, blocked=self._blocked(pod), volumes=self._volume_affinities(pod)
            )
        except BaseException:
            self.pending.park(pod.uid, now, stirred=True)
            raise
        if decision.node:
            self.pending.drop(pod.uid)
            self.cluster.assume(pod, decision.node)
            self._send(_Bind(pod, decision.node))
            return
        self.pending.park(pod.uid, now)
        self._refuse(pod, decision)

    def _refuse(self, pod: PodInfo, decision: Decision) -> None:
        if decision.nominated:
            self.cluster.nominate(pod, decision.nominated)
        else:
            self.cluster.denominate(pod.uid)
        self._send(_Refuse(pod, "Unschedulable", decision.message, decision.nominated, decision.victims))

    def _blocked(self, pod: PodInfo) -> str:
        """Return why no node at all will do: a volume claim that is missing, going, or not bound yet."""
        if pod.devices:
            return "resource claims (dynamic resource allocation) are not supported here"
        for name in pod.claims:
            claim = self._claims.get(pod.namespace, name)
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if meta.is_deleting(claim):
                return f'persistentvolumeclaim "{name}" is being deleted'
            phase = (claim.get("status") or {}).get("phase")
            if phase == "Lost":
                volume = claim["spec"].get("volumeName")
                return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
            if phase != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def _volume_affinities(self, pod: PodInfo) -> tuple[tuple[NodeTerm, ...], ...]:
        """Return what the volumes of a pod say about nodes."""
        found = []
        for name in pod.claims:
            claim = self._claims.get(pod.namespace, name) or {}
            volume = self._volumes.get(None, (claim.get("spec") or {}).get("volumeName") or "") or {}
            affinity = (volume.get("spec") or {}).get("nodeAffinity") or {}
            if (terms := node_terms(affinity.get("required"))) is not None:
                found.append(terms)
        return tuple(found)

    # What is written

    def _send(self, action: _Bind | _Refuse) -> None:
        key = action.pod.key
        earlier = self._outbox.get(key)
        if (
            isinstance(earlier, _Refuse)
            and isinstance(action, _Refuse)
            and earlier.victims
            and not action.victims
        ):
            # Victims that were decided on are ended even when the sentence has changed meanwhile.
            action = _Refuse(action.pod, action.reason, action.message, action.nominated, earlier.victims)
        self._outbox[key] = action
        self._writer.enqueue(key)

    async def _write(self, key: Key) -> None:
        action = self._outbox.get(key)
        if action is None:
            return
        if isinstance(action, _Bind):
            await self._bind(action)
        else:
            await self._explain(action)
        if self._outbox.get(key) is action:
            del self._outbox[key]

    async def _bind(self, action: _Bind) -> None:
        pod = action.pod
        namespace, name = pod.key
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": action.node},
        }
        try:
            await self._client.create(PODS, binding, namespace=namespace, name=name, subresource="binding")
        except (ApiError, Unavailable) as error:
            self._bind_failed(pod, error)
            return
        self._recorder.event(
            _reference(pod),
            "Normal",
            "Scheduled",
            f"Successfully assigned {namespace}/{name} to {action.node}",
        )

    def _bind_failed(self, pod: PodInfo, error: ApiError | Unavailable) -> None:
        if not self.cluster.is_assumed(pod.uid):
            # The watch has shown the truth already.
            return
        self.cluster.remove(pod.uid)
        current = self._pods.get(*pod.key)
        if not isinstance(error, NotFound) and current is not None and meta.uid_of(current) == pod.uid:
            self.pending.put(pod)
            self.pending.park(pod.uid, asyncio.get_running_loop().time(), stirred=True)
            self._decider.enqueue("")
            self._recorder.event(_reference(pod), "Warning", "FailedScheduling", truncated(str(error)))
        self._stir()

    async def _explain(self, action: _Refuse) -> None:
        for victim in action.victims:
            await self._end(victim, action)
        pod = action.pod
        current = self._pods.get(*pod.key)
        if current is None or meta.uid_of(current) != pod.uid or current["spec"].get("nodeName"):
            return
        status = current.get("status") or {}
        changed = _condition_patch(
            status, "PodScheduled", "False", action.reason, action.message, now=self._now()
        )
        patch: dict[str, Any] = {"conditions": [changed]} if changed else {}
        if (status.get("nominatedNodeName") or "") != action.nominated:
            patch["nominatedNodeName"] = action.nominated or None
        if not patch:
            return
        try:
            await self._patch_status(pod, patch)
        except NotFound:
            return
        if action.reason == "Unschedulable" and changed:
            self._recorder.event(_reference(pod), "Warning", "FailedScheduling", truncated(action.message))

    async def _end(self, victim: PodInfo, action: _Refuse) -> None:
        """End a pod in favour of another one."""
        current = self._pods.get(*victim.key)
        if current is None or meta.uid_of(current) != victim.uid or meta.is_deleting(current):
            return
        changed = _condition_patch(
            current.get("status") or {},
            "DisruptionTarget",
            "True",
            "PreemptionByScheduler",
            f"{NAME}: preempting to accommodate a higher priority pod",
            now=self._now(),
        )
        try:
            if changed:
                await self._patch_status(victim, {"conditions": [changed]})
            await self._client.delete(PODS, victim.name, namespace=victim.namespace, uid=victim.uid)
        except NotFound:
            return
        self._recorder.event(
            _reference(victim),
            "Normal",
            "Preempted",
            f"Preempted by pod {action.pod.uid} on node {action.nominated}",
        )

    async def _patch_status(self, pod: PodInfo, status: Mapping[str, Any]) -> None:
        # The UID makes the server refuse when another pod has taken the name.
        patch = {"metadata": {"uid": pod.uid}, "status": status}
        await self._client.patch(
            PODS, pod.name, patch, namespace=pod.namespace, kind="strategic", subresource="status"
        )


def _same_wishes(pod: Object, old: Object) -> bool:
    one, other = pod["metadata"], old["metadata"]
    return bool(
        pod["spec"] == old["spec"]
        and one.get("labels") == other.get("labels")
        and one.get("deletionTimestamp") == other.get("deletionTimestamp")
    )


def _condition_patch(
    status: Object, kind: str, value: str, reason: str, message: str, *, now: datetime
) -> dict[str, Any] | None:
    """Return the condition to write, or None when it stands as it should."""
    current: Object = next((one for one in status.get("conditions") or () if one.get("type") == kind), {})
    made = {"type": kind, "status": value, "reason": reason, "message": message}
    if all(current.get(key) == wanted for key, wanted in made.items()):
        return None
    since = current.get("lastTransitionTime") if current.get("status") == value else None
    return {**made, "lastTransitionTime": since or meta.rfc3339(now)}


def _reference(pod: PodInfo) -> dict[str, Any]:
    """Return what an Event needs to know of a pod."""
    namespace, name = pod.key
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
    }

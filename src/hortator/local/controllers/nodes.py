"""Notices nodes that stopped renewing their Lease, says so, and ends pods that do not tolerate a node's
taints.

Local nodes live and end with their process, so this is small: a node that is silent for 40 s becomes Ready
Unknown and tainted as upstream does it; pods go when their toleration of a NoExecute taint is over. Silence
is measured by the loop's clock from when a renewal was last seen to change, so that time asleep does not
count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hortator.apimachinery import conditions, meta
from hortator.kube.errors import Conflict, NotFound
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import LEASES, NODES, PODS

if TYPE_CHECKING:
    from hortator.kube.events import Recorder

__all__ = ["NodeLifecycle", "eviction", "wanted_taints"]

Object = Mapping[str, Any]

NAMESPACE = "kube-node-lease"
#: Seconds of silence after which a node counts as lost (upstream's node monitor grace period).
GRACE = 40.0
#: Seconds for which a pod that says nothing stays on a node that is lost or not ready.
DEFAULT_TOLERATION = 300
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
OURS = (NOT_READY, UNREACHABLE)
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def wanted_taints(node: Object, now: datetime) -> list[dict[str, Any]]:
    """Return the taints that a node should have, given its Ready condition; others are kept as they are."""
    taints: list[dict[str, Any]] = list((node.get("spec") or {}).get("taints") or ())
    ready = conditions.find((node.get("status") or {}).get("conditions"), "Ready")
    status = ready.get("status") if ready else None
    key = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(str(status))
    kept = [one for one in taints if one["key"] not in OURS or one["key"] == key]
    have = {(one["key"], one["effect"]) for one in kept}
    for effect in ("NoSchedule", "NoExecute"):
        if key and (key, effect) not in have:
            made = {"key": key, "effect": effect}
            kept.append({**made, "timeAdded": meta.rfc3339(now)} if effect == "NoExecute" else made)
    return kept


def eviction(pod: Object, taints: Iterable[Object], now: datetime) -> float | None:
    """Return the seconds until a pod has to go because of NoExecute taints: 0 for now, None for never."""
    left: float | None = None
    for taint in taints:
        if taint.get("effect") != "NoExecute":
            continue
        matching = [one for one in pod["spec"].get("tolerations") or () if _tolerates(one, taint)]
        if not matching and taint["key"] not in OURS:
            return 0.0
        # What upstream's admission writes into every pod holds for pods without it as well.
        limits = [float(DEFAULT_TOLERATION)] if not matching else []
        limits += [one["tolerationSeconds"] for one in matching if one.get("tolerationSeconds") is not None]
        if limits:
            since = meta.parse_time(taint["timeAdded"]) if taint.get("timeAdded") else now
            due = max(0.0, min(limits) - (now - since).total_seconds())
            left = due if left is None else min(left, due)
    return left


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (
        taint.get("value") or ""
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    sign: str
    at: float


class NodeLifecycle:
    """Looks at a node whenever it or its Lease changes, and when its silence would have lasted too long."""

    def __init__(self, manager: Manager, *, recorder: Recorder, now: Callable[[], datetime]) -> None:
        self._client = manager.client
        self._recorder = recorder
        self._now = now
        self._nodes = manager.informer(NODES)
        self._leases = manager.informer(LEASES, namespace=NAMESPACE)
        self._pods = manager.informer(PODS, indexes={"node of": _by_node})
        self._heard: dict[str, _Heard] = {}
        self._controller = manager.add(Controller("node lifecycle", self._reconcile, workers=1))
        self._nodes.on_change(self._node_changed)
        self._leases.on_change(self._lease_changed)
        self._pods.on_change(self._pod_changed)

    def _lease_changed(self, kind: str, lease: Object, _: object) -> None:
        if kind != "deleted":
            self._hear(meta.name_of(lease), str((lease.get("spec") or {}).get("renewTime") or ""))

    def _node_changed(self, kind: str, node: Object, _: object) -> None:
        name = meta.name_of(node)
        ready = conditions.find((node.get("status") or {}).get("conditions"), "Ready")
        if kind != "deleted" and ready is not None and ready.get("lastHeartbeatTime"):
            # A node may also show that it lives by its status alone, as kubelets without Leases did.
            self._hear(name, str(ready["lastHeartbeatTime"]))
        self._controller.enqueue(name)

    def _hear(self, name: str, sign: str) -> None:
        """Note a sign of life that was not seen before."""
        known = self._heard.get(name)
        if known is not None and sign <= known.sign:
            return
        self._heard[name] = _Heard(sign, asyncio.get_running_loop().time())
        if known is None or _is_lost(self._nodes.get(None, name)):
            self._controller.enqueue(name)

    def _pod_changed(self, kind: str, pod: Object, old: Object | None) -> None:
        node = pod["spec"].get("nodeName")
        if node and kind != "deleted" and (old is None or not old["spec"].get("nodeName")):
            found = self._nodes.get(None, node)
            if found is not None and (found.get("spec") or {}).get("taints"):
                self._controller.enqueue(node)

    async def _reconcile(self, name: str) -> Result | None:
        node: Object | None = self._nodes.get(None, name)
        if node is None:
            self._heard.pop(name, None)
            return None
        clock = asyncio.get_running_loop().time()
        heard = self._heard.setdefault(name, _Heard("", clock))
        silence = clock - heard.at
        try:
            if silence >= GRACE and not _is_lost(node):
                node = await self._lose(node)
            node = await self._taint(node)
        except (NotFound, Conflict):
            # It changed while we looked; the watch brings it again.
            return Result(requeue_after=1.0)
        again = await self._evict(node)
        if silence < GRACE:
            again = min(GRACE - silence, again if again is not None else GRACE)
        return Result(requeue_after=again)

    async def _lose(self, node: Object) -> Object:
        """Say that nobody knows how a node is, and that its pods are not ready."""
        status = node.get("status") or {}
        changed = status.get("conditions")
        for kind in CONDITIONS:
            if kind == "Ready" or conditions.find(changed, kind):
                changed = conditions.set_condition(
                    changed,
                    kind,
                    "Unknown",
                    reason="NodeStatusUnknown",
                    message="Kubelet stopped posting node status.",
                    now=self._now(),
                )
        made = await self._client.replace(
            NODES,
            {**node, "apiVersion": "v1", "kind": "Node", "status": {**status, "conditions": changed}},
            subresource="status",
        )
        self._nodes.record(made)
        self._recorder.event(
            {"apiVersion": "v1", "kind": "Node", "metadata": made["metadata"]},
            "Normal",
            "NodeNotReady",
            f"Node {meta.name_of(node)} status is now: NodeNotReady",
        )
        for pod in self._pods.by_index("node of", meta.name_of(node)):
            await self._unready(pod)
        return made

    async def _unready(self, pod: Object) -> None:
        if not conditions.is_true((pod.get("status") or {}).get("conditions"), "Ready"):
            return
        patch = {
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "False", "lastTransitionTime": meta.rfc3339(self._now())}
                ]
            }
        }
        try:
            await self._client.patch(
                PODS,
                meta.name_of(pod),
                patch,
                namespace=meta.namespace_of(pod),
                kind="strategic",
                subresource="status",
            )
        except NotFound:
            return

    async def _taint(self, node: Object) -> Object:
        before = (node.get("spec") or {}).get("taints") or []
        after = wanted_taints(node, self._now())
        if after == before:
            return node
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"taints": after or None},
        }
        made = await self._client.patch(NODES, meta.name_of(node), patch, kind="merge")
        self._nodes.record(made)
        return made

    async def _evict(self, node: Object) -> float | None:
        """End pods whose time on a tainted node is over; return the seconds until the next one's."""
        taints = (node.get("spec") or {}).get("taints") or ()
        following: float | None = None
        if not taints:
            return None
        for pod in self._pods.by_index("node of", meta.name_of(node)):
            left = eviction(pod, taints, self._now())
            if left is None or meta.is_deleting(pod) or _ended(pod):
                continue
            if left > 0:
                following = left if following is None else min(following, left)
                continue
            await self._end(pod)
        return following

    async def _end(self, pod: Object) -> None:
        namespace, name = meta.namespace_of(pod), meta.name_of(pod)
        made = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": meta.rfc3339(self._now()),
        }
        try:
            await self._client.patch(
                PODS,
                name,
                {"status": {"conditions": [made]}},
                namespace=namespace,
                kind="strategic",
                subresource="status",
            )
            await self._client.delete(PODS, name, namespace=namespace, uid=meta.uid_of(pod))
        except NotFound:
            return
        self._recorder.event(
            {"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"]},
            "Normal",
            "TaintManagerEviction",
            f"Marking for deletion Pod {namespace}/{name}",
        )


def _is_lost(node: Object | None) -> bool:
    found = conditions.find(((node or {}).get("status") or {}).get("conditions"), "Ready")
    return found is not None and found.get("status") == "Unknown"


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _by_node(pod: Object) -> tuple[str, ...]:
    node = pod["spec"].get("nodeName")
    return (node,) if node else ()

"""Clears away pods that nobody else would: those bound to nodes that are gone, and the oldest of too many
ended ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery import conditions, meta
from hortator.kube.errors import NotFound
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import NODES, PODS

__all__ = ["PodCollector", "surplus"]

#: Ended pods that are kept. (Upstream keeps 12,500, which is a quarter of a gigabyte here.)
KEPT = 1000
#: Seconds for which a node must be missing before its pods are given up; it may just be registering anew.
PATIENCE = 20.0

Object = Mapping[str, Any]
ALL = ("", "")


def is_ended(pod: Object) -> bool:
    """Tell whether a pod has ended."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def surplus(pods: Iterable[Object], limit: int) -> list[Object]:
    """Return the ended pods to clear away, oldest first, so that ``limit`` are left."""
    ended = sorted(filter(is_ended, pods), key=lambda pod: pod["metadata"].get("creationTimestamp") or "")
    return ended[: max(0, len(ended) - limit)]


class PodCollector:
    """Watches for both; keys are nodes and, for the count of ended pods, :data:`ALL`."""

    def __init__(self, manager: Manager, *, now: Callable[[], datetime], kept: int = KEPT) -> None:
        self._client = manager.client
        self._now = now
        self._kept = kept
        self._pods = manager.informer(PODS, indexes={"node": _by_node, "ended": _by_end})
        self._nodes = manager.informer(NODES)
        self._missing: dict[str, datetime] = {}
        self._controller = manager.add(Controller("pod collector", self._reconcile, workers=1))
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(lambda kind, node, old: self._node_changed(kind, meta.name_of(node)))

    def _pod_changed(self, kind: str, pod: Object, _: object) -> None:
        node = pod["spec"].get("nodeName")
        if node and self._nodes.get(None, node) is None and kind != "deleted":
            self._controller.enqueue(("node", node))
        if len(self._pods.by_index("ended", "")) > self._kept:
            self._controller.enqueue(ALL)

    def _node_changed(self, kind: str, name: str) -> None:
        if kind == "deleted":
            self._controller.enqueue(("node", name))
        else:
            self._missing.pop(name, None)

    async def _reconcile(self, key: tuple[str, str]) -> Result | None:
        if key == ALL:
            for pod in surplus(self._pods.by_index("ended", ""), self._kept):
                await self._delete(pod)
            return None
        return await self._give_up(key[1])

    async def _give_up(self, name: str) -> Result | None:
        pods = self._pods.by_index("node", name)
        if self._nodes.get(None, name) is not None or not pods:
            self._missing.pop(name, None)
            return None
        since = self._missing.setdefault(name, self._now())
        left = PATIENCE - (self._now() - since).total_seconds()
        if left > 0:
            return Result(requeue_after=left)
        try:
            await self._client.get(NODES, name)
        except NotFound:
            for pod in pods:
                await self._fail(pod)
                await self._delete(pod)
        return None

    async def _fail(self, pod: Object) -> None:
        """Say that a pod failed, because nobody is there who could."""
        if is_ended(pod):
            return
        status = pod.get("status") or {}
        changed = conditions.set_condition(
            status.get("conditions"),
            "DisruptionTarget",
            True,
            reason="DeletionByPodGC",
            message="PodGC: node no longer exists",
            now=self._now(),
        )
        patch = {"metadata": {"uid": meta.uid_of(pod)}, "status": {"phase": "Failed", "conditions": changed}}
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

    async def _delete(self, pod: Object) -> None:
        try:
            await self._client.delete(
                PODS,
                meta.name_of(pod),
                namespace=meta.namespace_of(pod),
                grace_seconds=0,
                uid=meta.uid_of(pod),
            )
        except NotFound:
            return


def _by_node(pod: Object) -> tuple[str, ...]:
    node = pod["spec"].get("nodeName")
    return (node,) if node else ()


def _by_end(pod: Object) -> tuple[str, ...]:
    return ("",) if is_ended(pod) else ()

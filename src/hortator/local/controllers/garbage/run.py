"""The garbage collector's loop: a cache of metadata for every deletable resource, and a queue of objects to
look at.

Resources come and go with custom definitions; each has an informer that decodes metadata only. Nothing is
deleted before every cache has its first list, and an owner that no cache knows is asked for by name before it
counts as absent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from hortator.kube.client import Client
from hortator.kube.errors import KubeError, NotFound
from hortator.kube.informer import Informer
from hortator.kube.manager import Controller, Manager
from hortator.kube.resources import CRDS, JOBS, PODS, Resource
from hortator.local.controllers.discovery import Served, discover
from hortator.local.controllers.garbage.graph import Graph, Item, Node, OwnerReference, make_node
from hortator.local.controllers.garbage.plan import (
    Delete,
    DropFinalizer,
    DropOwners,
    Orphan,
    OwnerState,
    decide,
)

__all__ = ["GarbageCollector"]

#: Resources of which whole objects are cached already; their caches are shared.
SHARED = (PODS, JOBS)
VERBS = frozenset(("list", "watch", "delete"))
#: Events name no owners, and there are many.
IGNORED = frozenset((("", "events"), ("events.k8s.io", "events")))
RETRY = 2.0

_log = logging.getLogger(__name__)


class UnknownOwner(Exception):
    """Raised when an owner reference names a kind that is not served, so that nothing may be concluded."""

    def __init__(self, node: Node, reference: OwnerReference) -> None:
        self.node, self.reference = node, reference
        super().__init__(
            f"{node.resource.plural} {node.namespace}/{node.name}: no resource is served for its owner "
            f"{reference.kind} ({reference.api_version}) {reference.name}"
        )


class GarbageCollector:
    """Deletes dependents of absent owners; finishes foreground and orphaning deletions."""

    def __init__(self, manager: Manager) -> None:
        self.graph = Graph()
        self._client: Client = manager.client
        self._served: dict[tuple[str, str], Served] = {}
        self._monitors: dict[Resource, asyncio.Task[None]] = {}
        #: Objects with an owner of a kind that was not served when they were looked at.
        self._undecided: set[str] = set()
        self._stale = asyncio.Event()
        self._complete = asyncio.Event()
        self._controller = manager.add(
            Controller("garbage collector", self._reconcile, workers=8, max_delay=30.0)
        )
        for resource in SHARED:
            manager.informer(resource).on_change(self._listener(resource))
        manager.informer(CRDS).on_change(lambda kind, obj, old: self._stale.set())
        manager.add_service("garbage collector monitors", self._monitor)

    # What is watched

    async def _monitor(self) -> None:
        """Keep one informer per deletable resource."""
        async with asyncio.TaskGroup() as group:
            self._stale.set()
            while True:
                await self._stale.wait()
                self._stale.clear()
                try:
                    served = await discover(self._client)
                except KubeError as error:
                    _log.warning("garbage collector: discovery failed, again in %g s: %s", RETRY, error)
                    await asyncio.sleep(RETRY)
                    self._stale.set()
                    continue
                await self._adopt(served, group)
                self._complete.set()
                self._look(self._undecided)
                self._undecided.clear()

    async def _adopt(self, served: Iterable[Served], group: asyncio.TaskGroup) -> None:
        self._served = {}
        wanted = set()
        for one in served:
            for version in one.versions:
                self._served[version, one.resource.kind] = one
            group_name, plural = one.resource.group, one.resource.plural
            if one.verbs >= VERBS and (group_name, plural) not in IGNORED and one.resource not in SHARED:
                wanted.add(one.resource)
        for resource in self._monitors.keys() - wanted:
            self._monitors.pop(resource).cancel()
            for node in self.graph.of_resource(resource):
                self._look(self.graph.remove(node.uid))
        for resource in sorted(wanted - self._monitors.keys(), key=lambda one: one.path()):
            informer = Informer(self._client, resource, type=Item)
            informer.on_change(self._listener(resource))
            self._monitors[resource] = group.create_task(informer.run(), name=f"garbage: {informer}")
            # One after the other: starting sixty at once would hold everybody else up. A resource that cannot be
            # listed (its definition just went away) is not waited for.
            await self._synced(informer)

    async def _synced(self, informer: Informer[Item]) -> None:
        first = asyncio.create_task(informer.synced.wait())
        stale = asyncio.create_task(self._stale.wait())
        try:
            await asyncio.wait((first, stale), return_when=asyncio.FIRST_COMPLETED)
        finally:
            first.cancel()
            stale.cancel()

    def _listener(self, resource: Resource) -> Callable[[str, Any, Any], None]:
        def changed(kind: str, obj: Any, _: Any) -> None:
            item = obj if isinstance(obj, Item) else Item.of(obj)
            if kind == "deleted":
                self._look(self.graph.remove(item.metadata.uid))
            else:
                self._look(self.graph.put(make_node(resource, item)))

        return changed

    def _look(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._controller.enqueue(uid)

    # What is done

    async def _reconcile(self, uid: str) -> None:
        await self._complete.wait()
        node = self.graph.get(uid)
        if node is None:
            return
        if not (node.deleting or node.owners):
            return
        try:
            fresh = await self._client.get(
                node.resource, node.name, namespace=node.namespace or None, type=Item
            )
        except NotFound:
            self._look(self.graph.remove(uid))
            return
        if fresh.metadata.uid != uid:
            self._look(self.graph.remove(uid))
            return
        node = make_node(node.resource, fresh)
        try:
            states = {one.uid: await self._owner_state(node, one) for one in node.owners}
        except UnknownOwner as error:
            # Nothing may be concluded until the kind is served, which is when it is looked at again.
            _log.info("garbage collector: %s", error)
            self._undecided.add(uid)
            return
        outcome = decide(node, self.graph, lambda reference: states[reference.uid])
        match outcome:
            case None:
                return
            case Delete():
                await self._delete(node, outcome)
            case DropOwners(uids):
                await self._set_owners(node, [one for one in node.owners if one.uid not in uids])
            case DropFinalizer(finalizer):
                await self._drop_finalizer(node, finalizer)
            case Orphan(dependents):
                for one in dependents:
                    await self._set_owners(one, [ref for ref in one.owners if ref.uid != uid])
                await self._drop_finalizer(node, "orphan")
            case _:
                self._look(one.uid for one in outcome)

    async def _owner_state(self, node: Node, reference: OwnerReference) -> OwnerState:
        owner = self.graph.get(reference.uid)
        if owner is None or not _is_meant(owner, node, reference):
            return await self._ask(node, reference)
        if owner.deletes_dependents and reference.block_owner_deletion:
            return OwnerState.WAITING
        return OwnerState.SOLID

    async def _ask(self, node: Node, reference: OwnerReference) -> OwnerState:
        """Ask the API for an owner that no cache knows. Raises :class:`UnknownOwner`."""
        served = self._served.get((reference.api_version, reference.kind))
        if served is None:
            raise UnknownOwner(node, reference)
        if served.resource.namespaced and not node.namespace:
            # A cluster-wide object cannot have an owner in a namespace; nobody can say whether it is there.
            return OwnerState.SOLID
        namespace = node.namespace if served.resource.namespaced else None
        try:
            owner = await self._client.get(served.resource, reference.name, namespace=namespace, type=Item)
        except NotFound:
            return OwnerState.ABSENT
        if owner.metadata.uid != reference.uid:
            return OwnerState.ABSENT
        found = make_node(served.resource, owner)
        return (
            OwnerState.WAITING
            if found.deletes_dependents and reference.block_owner_deletion
            else OwnerState.SOLID
        )

    async def _delete(self, node: Node, action: Delete) -> None:
        version = node.resource_version
        if action.unblock:
            owners = [msgspec.structs.replace(one, block_owner_deletion=False) for one in node.owners]
            version = await self._set_owners(node, owners)
        try:
            await self._client.delete(
                node.resource,
                node.name,
                namespace=node.namespace or None,
                propagation=action.propagation,
                uid=node.uid,
                resource_version=version,
            )
        except NotFound:
            self._look(self.graph.remove(node.uid))

    async def _set_owners(self, node: Node, owners: list[OwnerReference]) -> str:
        """Write an object's owner references; return its new version, or an empty string when it is gone."""
        references = msgspec.to_builtins(owners)
        return await self._patch(node, {"ownerReferences": references or None})

    async def _drop_finalizer(self, node: Node, finalizer: str) -> None:
        left = [one for one in node.finalizers if one != finalizer]
        await self._patch(node, {"finalizers": left or None})

    async def _patch(self, node: Node, metadata: dict[str, Any]) -> str:
        # With the version, because a merge patch replaces lists as a whole.
        patch = {"metadata": {"uid": node.uid, "resourceVersion": node.resource_version, **metadata}}
        try:
            answer = await self._client.patch(
                node.resource, node.name, patch, namespace=node.namespace or None, kind="merge"
            )
        except NotFound:
            return ""
        return str(answer["metadata"].get("resourceVersion") or "")


def _is_meant(owner: Node, node: Node, reference: OwnerReference) -> bool:
    """Tell whether the object with the reference's UID is the one that the reference names."""
    if owner.resource.kind != reference.kind or owner.name != reference.name:
        return False
    return not owner.resource.namespaced or owner.namespace == node.namespace

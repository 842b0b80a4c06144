"""Who owns whom: the owner references of all objects of a cluster as a graph, kept up to date change by
change.

Pure. Which objects that concerns at a change is answered here; what to do about one of them is ``plan``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hortator.kube.resources import Resource

__all__ = ["FOREGROUND", "ORPHAN", "Graph", "Item", "Node", "OwnerReference"]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One owner reference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ItemMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The part of the metadata that ownership depends on."""

    name: str
    uid: str = ""
    namespace: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None


class Item(msgspec.Struct, frozen=True):
    """Any object, reduced to the metadata above; the rest of it is not even decoded."""

    metadata: ItemMeta

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Item:
        """Make one of a whole object."""
        return msgspec.convert(obj, cls)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One object in the graph."""

    resource: Resource
    name: str
    namespace: str
    uid: str
    resource_version: str
    deleting: bool
    finalizers: tuple[str, ...]
    owners: tuple[OwnerReference, ...]

    @property
    def deletes_dependents(self) -> bool:
        """Whether it waits for its dependents to go first (foreground deletion)."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """Whether it waits for its dependents to be told that they have no owner any more."""
        return self.deleting and ORPHAN in self.finalizers

    def blocks(self, owner: str) -> bool:
        """Whether it keeps the owner with this UID from going."""
        return any(one.uid == owner and one.block_owner_deletion for one in self.owners)


def make_node(resource: Resource, item: Item) -> Node:
    """Make a node of an object's metadata."""
    metadata = item.metadata
    return Node(
        resource=resource,
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        deleting=metadata.deletion_timestamp is not None,
        finalizers=tuple(metadata.finalizers or ()),
        owners=tuple(metadata.owner_references or ()),
    )


class Graph:
    """All objects by UID, and for each UID that is named as an owner those that name it."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        """Return an object, or None."""
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        """Return the objects that name this one as an owner."""
        return [self._nodes[one] for one in self._dependents.get(uid, ())]

    def of_resource(self, resource: Resource) -> list[Node]:
        """Return the objects of a resource."""
        return [node for node in self._nodes.values() if node.resource == resource]

    def put(self, node: Node) -> set[str]:
        """Take over an object's newest form; return the UIDs of the objects that are to be looked at."""
        old = self._nodes.get(node.uid)
        self._nodes[node.uid] = node
        before = {one.uid for one in old.owners} if old else set()
        after = {one.uid for one in node.owners}
        self._link(node.uid, before - after, after - before)
        look: set[str] = set()
        if old is None or old.owners != node.owners:
            look.add(node.uid)
            # Whoever waited for this dependent may not have to any more.
            look |= self._waiting(before)
        if node.deleting and (old is None or not old.deleting or old.finalizers != node.finalizers):
            look.add(node.uid)
            look |= self._waiting(after)
            if node.deletes_dependents:
                look |= self._dependents.get(node.uid, set())
        return look

    def remove(self, uid: str) -> set[str]:
        """Forget an object that is gone; return the UIDs of the objects that are to be looked at."""
        node = self._nodes.pop(uid, None)
        look = set(self._dependents.get(uid, ()))
        if node is not None:
            owners = {one.uid for one in node.owners}
            self._link(uid, owners, set())
            look |= self._waiting(owners)
        return look

    def _waiting(self, owners: Iterable[str]) -> set[str]:
        return {uid for uid in owners if (node := self._nodes.get(uid)) and node.deletes_dependents}

    def _link(self, uid: str, gone: set[str], new: set[str]) -> None:
        for owner in gone:
            left = self._dependents.get(owner, set())
            left.discard(uid)
            if not left:
                self._dependents.pop(owner, None)
        for owner in new:
            self._dependents.setdefault(owner, set()).add(uid)

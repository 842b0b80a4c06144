"""What to do about one object: keep it, let owners go from its references, or delete it, and how.

A pure function that follows upstream's garbage collector (``attemptToDeleteItem``, 1.36).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from hortator.local.controllers.garbage.graph import FOREGROUND, ORPHAN, Graph, Node, OwnerReference

__all__ = ["Delete", "DropFinalizer", "DropOwners", "Orphan", "OwnerState", "decide"]


class OwnerState(Enum):
    """How an owner reference stands."""

    SOLID = "solid"
    ABSENT = "absent"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object. ``unblock``: first take the blocking off its owner references (a circle of owners)."""

    propagation: Literal["Foreground", "Background", "Orphan"]
    unblock: bool = False


@dataclass(frozen=True, slots=True)
class DropOwners:
    """Take these owners off the object's references."""

    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class DropFinalizer:
    """Nothing is left to wait for: take the finalizer off."""

    finalizer: str


@dataclass(frozen=True, slots=True)
class Orphan:
    """Take the object off its dependents' references, then take the finalizer off."""

    dependents: tuple[Node, ...]


Action = Delete | DropOwners | DropFinalizer | Orphan


def decide(
    node: Node, graph: Graph, owner_state: Callable[[OwnerReference], OwnerState]
) -> Action | Sequence[Node] | None:
    """Return what to do about an object; a sequence of nodes means: look at these, the object waits for them.

    ``owner_state`` says how an owner stands; it has looked at the API for owners that the graph does not
    know.
    """
    if node.orphans_dependents:
        return Orphan(tuple(graph.dependents(node.uid)))
    if node.deletes_dependents:
        blocking = [one for one in graph.dependents(node.uid) if one.blocks(node.uid)]
        if not blocking:
            return DropFinalizer(FOREGROUND)
        return [one for one in blocking if not one.deletes_dependents]
    if node.deleting or not node.owners:
        return None
    states = {one.uid: owner_state(one) for one in node.owners}
    loose = frozenset(uid for uid, state in states.items() if state is not OwnerState.SOLID)
    if len(loose) < len(states):
        # Somebody still owns it; only the references that lead nowhere go.
        return DropOwners(loose) if loose else None
    dependents = graph.dependents(node.uid)
    if OwnerState.WAITING in states.values() and dependents:
        return Delete("Foreground", unblock=any(one.deletes_dependents for one in dependents))
    if ORPHAN in node.finalizers:
        return Delete("Orphan")
    return Delete("Foreground" if FOREGROUND in node.finalizers else "Background")

from collections.abc import Mapping
from typing import Any

import pytest

from hortator.kube.resources import CONFIG_MAPS
from hortator.local.controllers.garbage.graph import Graph, Item, Node, OwnerReference, make_node
from hortator.local.controllers.garbage.plan import (
    Delete,
    DropFinalizer,
    DropOwners,
    Orphan,
    OwnerState,
    decide,
)

S, A, W = OwnerState.SOLID, OwnerState.ABSENT, OwnerState.WAITING


def thing(
    uid: str, *owners: str, deleting: bool = False, finalizers: tuple[str, ...] = (), block: bool = True
) -> Node:
    metadata: dict[str, Any] = {"name": uid, "namespace": "default", "uid": uid, "finalizers": finalizers}
    metadata["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": one, "uid": one, "blockOwnerDeletion": block}
        for one in owners
    ]
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return make_node(CONFIG_MAPS, Item.of({"metadata": metadata, "data": {}}))


def graph(*nodes: Node) -> Graph:
    made = Graph()
    for one in nodes:
        made.put(one)
    return made


def states(found: Mapping[str, OwnerState]) -> Any:
    def ask(reference: OwnerReference) -> OwnerState:
        return found[reference.uid]

    return ask


WAITS = ("foregroundDeletion",)


@pytest.mark.parametrize(
    ("node", "owners", "others", "expected"),
    [
        (thing("x"), {}, (), None),
        (thing("x", "a"), {"a": S}, (), None),
        (thing("x", "a"), {"a": A}, (), Delete("Background")),
        (thing("x", "a", finalizers=("orphan",)), {"a": A}, (), Delete("Orphan")),
        (thing("x", "a", finalizers=WAITS), {"a": A}, (), Delete("Foreground")),
        (thing("x", "a", "b"), {"a": A, "b": S}, (), DropOwners(frozenset("a"))),
        (thing("x", "a", "b"), {"a": W, "b": S}, (), DropOwners(frozenset("a"))),
        (thing("x", "a", "b"), {"a": A, "b": A}, (), Delete("Background")),
        (thing("x", "a"), {"a": W}, (), Delete("Background")),
        (thing("x", "a"), {"a": W}, (thing("y", "x"),), Delete("Foreground")),
        (
            thing("x", "a"),
            {"a": W},
            (thing("y", "x", deleting=True, finalizers=WAITS),),
            Delete("Foreground", unblock=True),
        ),
        (thing("x", "a", deleting=True), {"a": A}, (), None),
        (thing("x", deleting=True, finalizers=WAITS), {}, (), DropFinalizer("foregroundDeletion")),
        (
            thing("x", deleting=True, finalizers=WAITS),
            {},
            (thing("y", "x", block=False),),
            DropFinalizer("foregroundDeletion"),
        ),
    ],
)
def test_what_becomes_of_an_object(
    node: Node, owners: dict[str, OwnerState], others: tuple[Node, ...], expected: object
) -> None:
    assert decide(node, graph(node, *others), states(owners)) == expected


def test_an_owner_waits_for_blocking_dependents() -> None:
    owner = thing("x", deleting=True, finalizers=WAITS)
    slow, busy = thing("y", "x"), thing("z", "x", deleting=True, finalizers=WAITS)
    assert decide(owner, graph(owner, slow, busy), states({})) == [slow]


def test_an_owner_that_orphans_names_its_dependents() -> None:
    owner, child = thing("x", deleting=True, finalizers=("orphan",)), thing("y", "x")
    assert decide(owner, graph(owner, child), states({})) == Orphan((child,))


def test_who_is_looked_at_after_a_change() -> None:
    there = graph(thing("owner"), thing("child", "owner"))
    assert there.put(thing("other", "owner")) == {"other"}
    assert there.put(thing("owner", deleting=True, finalizers=WAITS)) == {"owner", "child", "other"}
    assert there.remove("child") == {"owner"}
    assert there.put(thing("other")) == {"other", "owner"}
    assert there.dependents("owner") == []
    assert there.remove("owner") == set()


def test_dependents_are_known_before_their_owner() -> None:
    there = graph(thing("child", "owner"))
    assert there.remove("owner") == {"child"}
    assert [one.uid for one in there.dependents("owner")] == ["child"]


def test_a_change_that_does_not_concern_owners_is_none() -> None:
    there = graph(thing("child", "owner"))
    assert there.put(thing("child", "owner", finalizers=("x",))) == set()

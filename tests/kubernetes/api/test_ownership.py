"""Garbage collection: what goes with its owner, in each propagation policy."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import MERGE, Server
from support.staying import until

Object = dict[str, Any]


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def make(
    server: Server, maps: str, name: str, *owners: Object, blocking: bool = False, **metadata: Any
) -> Object:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            **({"blockOwnerDeletion": True} if blocking else {}),
        }
        for owner in owners
    ]
    body = {"metadata": {"name": name, "ownerReferences": references, **metadata}}
    return dict(server.post(maps, body).ok)


def gone(server: Server, path: str) -> bool:
    return server.get(path).status == 404


def release(server: Server, path: str) -> None:
    server.patch(path, {"metadata": {"finalizers": None}}, MERGE).ok  # noqa: B018


def test_background_takes_the_owner_at_once_and_the_rest_after_it(server: Server, maps: str) -> None:
    owner = make(server, maps, "owner")
    child = make(server, maps, "child", owner)
    make(server, maps, "grandchild", child)
    done = server.delete(f"{maps}/owner", {"propagationPolicy": "Background"}).ok
    assert done["status"] == "Success"
    assert gone(server, f"{maps}/owner")
    until(lambda: gone(server, f"{maps}/child") and gone(server, f"{maps}/grandchild"), "that all are gone")


def test_foreground_keeps_the_owner_until_what_blocks_is_gone(server: Server, maps: str) -> None:
    owner = make(server, maps, "owner")
    make(server, maps, "child", owner, blocking=True, finalizers=["example.com/wait"])
    left = server.delete(f"{maps}/owner", {"propagationPolicy": "Foreground"}).ok
    assert left["kind"] == "ConfigMap"
    assert left["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert left["metadata"]["deletionTimestamp"]
    until(
        lambda: "deletionTimestamp" in server.get(f"{maps}/child").ok["metadata"], "that the child is deleted"
    )
    assert server.get(f"{maps}/owner").status == 200
    release(server, f"{maps}/child")
    until(lambda: gone(server, f"{maps}/owner"), "that the owner is gone")


def test_orphan_frees_the_children(server: Server, maps: str) -> None:
    owner = make(server, maps, "owner")
    make(server, maps, "child", owner)
    server.delete(f"{maps}/owner", {"propagationPolicy": "Orphan"}).ok  # noqa: B018
    until(lambda: gone(server, f"{maps}/owner"), "that the owner is gone")
    assert "ownerReferences" not in server.get(f"{maps}/child").ok["metadata"]


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"propagationPolicy": "Sideways"}, (422, "Invalid")),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, (422, "Invalid")),
        ({"gracePeriodSeconds": "x"}, (400, "BadRequest")),
    ],
    ids=str,
)
def test_options_that_make_no_sense(
    server: Server, maps: str, options: Object, refusal: tuple[int, str]
) -> None:
    make(server, maps, "owner")
    assert server.delete(f"{maps}/owner", options).refusal[:2] == refusal
    assert server.get(f"{maps}/owner").status == 200


@pytest.mark.parametrize(
    "preconditions", [{"uid": "another"}, {"resourceVersion": "1"}], ids=["uid", "version"]
)
def test_preconditions_hold(server: Server, maps: str, preconditions: Object) -> None:
    made = make(server, maps, "owner")
    answer = server.delete(f"{maps}/owner", {"preconditions": preconditions})
    assert answer.refusal[:2] == (409, "Conflict")
    uid = made["metadata"]["uid"]
    assert server.delete(f"{maps}/owner", {"preconditions": {"uid": uid}}).status == 200


def test_a_child_of_two_stays_while_one_owner_does(server: Server, maps: str) -> None:
    first, second = make(server, maps, "first"), make(server, maps, "second")
    make(server, maps, "child", first, second)
    server.delete(f"{maps}/first").ok  # noqa: B018
    until(
        lambda: len(server.get(f"{maps}/child").ok["metadata"]["ownerReferences"]) == 1,
        "that the reference to the absent owner is taken away",
    )
    server.delete(f"{maps}/second").ok  # noqa: B018
    until(lambda: gone(server, f"{maps}/child"), "that the child is gone")


def test_the_child_of_an_owner_that_never_was_goes(server: Server, maps: str) -> None:
    nobody = {"metadata": {"name": "nobody", "uid": "11111111-2222-3333-4444-555555555555"}}
    make(server, maps, "child", nobody)
    until(lambda: gone(server, f"{maps}/child"), "that the child is gone")


def test_a_name_that_is_used_again_is_another_owner(server: Server, maps: str) -> None:
    old = make(server, maps, "owner")
    server.delete(f"{maps}/owner", {"propagationPolicy": "Background"}).ok  # noqa: B018
    make(server, maps, "owner")
    make(server, maps, "child", old)
    until(lambda: gone(server, f"{maps}/child"), "that the child is gone")


def test_finalizers_hold_an_object_that_is_deleted(server: Server, maps: str) -> None:
    make(server, maps, "held", finalizers=["example.com/wait"])
    left = server.delete(f"{maps}/held").ok
    assert left["metadata"]["deletionGracePeriodSeconds"] == 0
    # Nobody may add another one now, and deleting again changes nothing.
    more = {"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}}
    assert server.patch(f"{maps}/held", more, MERGE).refusal[:2] == (422, "Invalid")
    again = server.delete(f"{maps}/held").ok
    assert again["metadata"]["deletionTimestamp"] == left["metadata"]["deletionTimestamp"]
    release(server, f"{maps}/held")
    assert gone(server, f"{maps}/held")

"""Patches: JSON, merge and strategic, and what cannot be patched."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import JSON_PATCH, MERGE, STRATEGIC, Server

Object = dict[str, Any]


@pytest.fixture
def path(server: Server, namespace: str) -> str:
    collection = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"a": "1", "b": "2"}}
    server.post(collection, body).ok  # noqa: B018
    return f"{collection}/a"


@pytest.mark.parametrize(
    ("kind", "patch", "data"),
    [
        (MERGE, {"data": {"a": "9", "b": None}}, {"a": "9"}),
        (MERGE, {"data": None}, None),
        (STRATEGIC, {"data": {"a": "9", "b": None}}, {"a": "9"}),
        (STRATEGIC, {"data": {"$patch": "replace", "c": "3"}}, {"c": "3"}),
        (STRATEGIC, {"data": {"$patch": "delete"}}, None),
        (JSON_PATCH, [{"op": "replace", "path": "/data/a", "value": "9"}], {"a": "9", "b": "2"}),
        (JSON_PATCH, [{"op": "move", "from": "/data/a", "path": "/data/c"}], {"b": "2", "c": "1"}),
        (JSON_PATCH, [{"op": "copy", "from": "/data/a", "path": "/data/c"}], {"a": "1", "b": "2", "c": "1"}),
        (
            JSON_PATCH,
            [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}],
            {"b": "2"},
        ),
        (JSON_PATCH, [{"op": "replace", "path": "/data/c", "value": "3"}], {"a": "1", "b": "2", "c": "3"}),
        (JSON_PATCH, [], {"a": "1", "b": "2"}),
    ],
    ids=str,
)
def test_what_a_patch_makes(server: Server, path: str, kind: str, patch: Any, data: Object | None) -> None:
    assert server.patch(path, patch, kind).ok.get("data") == data


@pytest.mark.parametrize(
    ("kind", "patch", "refusal"),
    [
        (MERGE, b"{", (400, "BadRequest")),
        (MERGE, [], (400, "BadRequest")),
        (MERGE, {"data": {"a": 1}}, (422, "Invalid")),
        (MERGE, {"data": {"a b": "1"}}, (422, "Invalid")),
        (MERGE, {"metadata": {"name": "b"}}, (400, "BadRequest")),
        (MERGE, {"metadata": {"uid": "x"}}, (422, "Invalid")),
        (MERGE, {"metadata": {"resourceVersion": "1"}}, (409, "Conflict")),
        (MERGE, {"kind": "Secret"}, (422, "Invalid")),
        (STRATEGIC, {"data": {"a": 1}}, (422, "Invalid")),
        (JSON_PATCH, [{"op": "add", "path": "/data/a", "value": 1}], (422, "Invalid")),
        (JSON_PATCH, {}, (400, "BadRequest")),
        (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "2"}], (422, "Invalid")),
        (JSON_PATCH, [{"op": "remove", "path": "/data/none"}], (422, "Invalid")),
        (JSON_PATCH, [{"op": "replace", "path": "/none/a", "value": "1"}], (422, "Invalid")),
        (JSON_PATCH, [{"op": "no", "path": "/data/a"}], (422, "Invalid")),
        (JSON_PATCH, [{"op": "add", "path": "data", "value": {}}], (422, "Invalid")),
        ("application/json", {"data": {}}, (415, "UnsupportedMediaType")),
        ("text/plain", b"x", (415, "UnsupportedMediaType")),
    ],
    ids=str,
)
def test_what_is_no_patch(server: Server, path: str, kind: str, patch: Any, refusal: tuple[int, str]) -> None:
    assert server.patch(path, patch, kind).refusal[:2] == refusal
    assert server.get(path).ok["data"] == {"a": "1", "b": "2"}


def pod(namespace: str, **spec: Any) -> Object:
    containers = [
        {"name": "one", "image": "none", "command": ["true"], "env": [{"name": "A", "value": "1"}]},
        {"name": "two", "image": "none", "command": ["true"]},
    ]
    # No node has the label: the pod stays as it is.
    spec = {"nodeSelector": {"none": "such"}, "containers": containers, **spec}
    return {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": spec}


@pytest.mark.parametrize(
    ("patch", "images"),
    [
        ({"containers": [{"name": "two", "image": "new"}]}, ["none", "new"]),
        (
            {
                "$setElementOrder/containers": [{"name": "one"}, {"name": "two"}],
                "containers": [{"name": "one", "image": "new"}],
            },
            ["new", "none"],
        ),
    ],
    ids=["by name", "with an order"],
)
def test_a_strategic_patch_finds_items_by_their_key(
    server: Server, namespace: str, patch: Object, images: list[str]
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    server.post(pods, pod(namespace)).ok  # noqa: B018
    done = server.patch(f"{pods}/p", {"spec": patch}, STRATEGIC).ok
    assert [each["image"] for each in done["spec"]["containers"]] == images
    assert done["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]


def test_lists_of_plain_values_are_merged_and_cut(server: Server, path: str) -> None:
    def finalizers(**patch: Any) -> list[str]:
        return list(server.patch(path, {"metadata": patch}, STRATEGIC).ok["metadata"].get("finalizers", []))

    assert finalizers(finalizers=["example.com/a", "example.com/b"]) == ["example.com/a", "example.com/b"]
    assert finalizers(finalizers=["example.com/c"]) == ["example.com/c", "example.com/a", "example.com/b"]
    assert finalizers(**{"$deleteFromPrimitiveList/finalizers": ["example.com/b"]}) == [
        "example.com/c",
        "example.com/a",
    ]
    assert (
        server.patch(path, {"metadata": {"finalizers": None}}, MERGE).ok["metadata"].get("finalizers") is None
    )


def test_a_strategy_is_replaced_where_it_retains_keys(server: Server, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "none"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    server.post(path, {"metadata": {"name": "d"}, "spec": spec}).ok  # noqa: B018
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert server.patch(f"{path}/d", patch, STRATEGIC).ok["spec"]["strategy"] == {"type": "Recreate"}


def test_a_patch_of_nothing_is_not_found(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/none"
    assert server.patch(path, {"data": {}}, MERGE).refusal[:2] == (404, "NotFound")


def test_a_patch_that_changes_nothing_leaves_the_version(server: Server, path: str) -> None:
    before = server.get(path).ok
    assert server.patch(path, {"data": {"a": "1"}}, MERGE).ok["metadata"] == before["metadata"]

"""Server-side apply: who owns which field, and what happens when two want the same."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import MERGE, Server

Object = dict[str, Any]


@pytest.fixture
def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/a"


def config(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def owners(obj: Object) -> dict[str, Any]:
    """Return what each manager owns, without times."""
    return {
        f"{entry['manager']} {entry['operation']}{' ' + entry['subresource'] if entry.get('subresource') else ''}": entry[
            "fieldsV1"
        ]
        for entry in obj["metadata"]["managedFields"]
    }


def test_an_apply_creates_and_owns(server: Server, path: str) -> None:
    answer = server.apply(path, config(a="1"), "me")
    assert answer.status == 201
    assert owners(answer.body) == {"me Apply": {"f:data": {"f:a": {}}}}
    assert server.apply(path, config(a="1"), "me").status == 200


def test_what_a_manager_no_longer_applies_goes(server: Server, path: str) -> None:
    server.apply(path, config(a="1", b="2"), "me").ok  # noqa: B018
    assert server.apply(path, config(b="2"), "me").ok["data"] == {"b": "2"}


def test_what_two_apply_stays_until_both_let_go(server: Server, path: str) -> None:
    server.apply(path, config(a="1", b="2"), "me").ok  # noqa: B018
    server.apply(path, config(a="1"), "you").ok  # noqa: B018
    left = server.apply(path, config(b="2"), "me").ok
    assert left["data"] == {"a": "1", "b": "2"}
    assert owners(left) == {"me Apply": {"f:data": {"f:b": {}}}, "you Apply": {"f:data": {"f:a": {}}}}


def test_a_conflict_names_manager_and_field_and_can_be_forced(server: Server, path: str) -> None:
    server.apply(path, config(a="1", b="2"), "me").ok  # noqa: B018
    answer = server.apply(path, config(a="3"), "you")
    assert answer.refusal == (409, "Conflict", [(".data.a", "FieldManagerConflict")])
    assert answer.body["message"] == 'Apply failed with 1 conflict: conflict with "me": .data.a'
    forced = server.apply(path, config(a="3"), "you", force=True).ok
    assert forced["data"] == {"a": "3", "b": "2"}
    assert owners(forced) == {"me Apply": {"f:data": {"f:b": {}}}, "you Apply": {"f:data": {"f:a": {}}}}


def test_an_update_owns_what_it_changed(server: Server, path: str) -> None:
    server.apply(path, config(a="1", b="2"), "me").ok  # noqa: B018
    changed = server.patch(path, {"data": {"a": "9"}}, MERGE, query={"fieldManager": "you"}).ok
    assert owners(changed) == {"me Apply": {"f:data": {"f:b": {}}}, "you Update": {"f:data": {"f:a": {}}}}
    answer = server.apply(path, config(a="1", b="2"), "me")
    assert answer.refusal == (409, "Conflict", [(".data.a", "FieldManagerConflict")])


def test_an_empty_value_of_managed_fields_resets_them(server: Server, path: str) -> None:
    server.apply(path, config(a="1"), "me").ok  # noqa: B018
    reset = server.patch(path, {"metadata": {"managedFields": [{}]}}, MERGE).ok
    assert "managedFields" not in reset["metadata"]


def test_a_dry_run_changes_nothing(server: Server, path: str) -> None:
    server.apply(path, config(a="1"), "me").ok  # noqa: B018
    dry = server.apply(path, config(a="2"), "me", query={"dryRun": "All"}).ok
    assert dry["data"] == {"a": "2"}
    assert server.get(path).ok["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "query", "refusal"),
    [
        (config(a="1"), {"fieldManager": ""}, (422, "Invalid")),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, {}, (400, "BadRequest")),
        (config() | {"metadata": {"name": "b"}}, {}, (400, "BadRequest")),
        (config() | {"metadata": {"name": "a", "managedFields": [{}]}}, {}, (400, "BadRequest")),
        (config() | {"dta": {}}, {}, (500, "")),
        (config() | {"dta": {}}, {"fieldValidation": "Ignore"}, (500, "")),
        (config() | {"metadata": {"name": "a", "uid": "x"}}, {}, (409, "Conflict")),
    ],
    ids=[
        "no manager",
        "no version",
        "another name",
        "managed fields",
        "unknown field",
        "even ignored",
        "a uid",
    ],
)
def test_bad_applies(
    server: Server, path: str, body: Object, query: dict[str, str], refusal: tuple[int, str]
) -> None:
    assert server.apply(path, body, query=query).refusal[:2] == refusal


def service(*ports: Object) -> Object:
    spec = {"clusterIP": "None", "ports": list(ports)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}


def test_a_list_with_keys_is_shared_item_by_item(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services/s"
    http = {"name": "http", "port": 80, "protocol": "TCP"}
    dns = {"name": "dns", "port": 53, "protocol": "UDP"}
    server.apply(path, service(http), "me").ok  # noqa: B018
    both = server.apply(path, service(dns), "you").ok
    assert [port["name"] for port in both["spec"]["ports"]] == ["http", "dns"]
    key = 'k:{"port":53,"protocol":"UDP"}'
    assert set(owners(both)["you Apply"]["f:spec"]["f:ports"]) == {key}
    gone = server.apply(path, {**service(), "spec": {"clusterIP": "None"}}, "you").ok
    assert [port["name"] for port in gone["spec"]["ports"]] == ["http"]


def test_the_items_of_a_set_have_owners(server: Server, path: str) -> None:
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    body = bare | {"metadata": {"name": "a", "finalizers": ["example.com/one"]}}
    server.apply(path, body, "me").ok  # noqa: B018
    other = bare | {"metadata": {"name": "a", "finalizers": ["example.com/two"]}}
    assert server.apply(path, other, "you").ok["metadata"]["finalizers"] == [
        "example.com/one",
        "example.com/two",
    ]
    left = server.apply(path, bare, "me").ok
    assert left["metadata"]["finalizers"] == ["example.com/two"]
    server.apply(path, bare, "you").ok  # noqa: B018


def test_an_atomic_value_has_one_owner(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services/s"
    body = service({"name": "http", "port": 80, "protocol": "TCP"})
    body["spec"]["selector"] = {"app": "a"}
    server.apply(path, body, "me").ok  # noqa: B018
    body["spec"]["selector"] = {"tier": "b"}
    assert server.apply(path, body, "you").refusal == (
        409,
        "Conflict",
        [(".spec.selector", "FieldManagerConflict")],
    )


def test_status_is_applied_through_its_own_path(server: Server) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "applied"}}
    try:
        server.apply("/api/v1/nodes/applied", node, "me").ok  # noqa: B018
        status = node | {"status": {"conditions": [{"type": "Odd", "status": "True"}]}}
        done = server.apply("/api/v1/nodes/applied/status", status, "you").ok
        assert [each["type"] for each in done["status"]["conditions"]] == ["Odd"]
        found = owners(done)["you Apply status"]
        assert set(found["f:status"]["f:conditions"]) == {'k:{"type":"Odd"}'}
    finally:
        server.delete("/api/v1/nodes/applied")

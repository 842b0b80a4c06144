"""Creating, reading, changing and deleting objects."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import APPLY, JSON_PATCH, MERGE, Server

OPTIONS = "FieldValueNotSupported"


@pytest.fixture
def maps(server: Server, namespace: str) -> str:
    """The path of a collection with one ConfigMap, ``one``."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.post(path, named("one") | {"data": {"a": "1"}}).ok  # noqa: B018
    return path


def named(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def test_a_config_map_lives_its_life(server: Server, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    made = server.post(maps, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    assert made.status == 201
    assert (made.body["kind"], made.body["apiVersion"]) == ("ConfigMap", "v1")
    assert server.get(f"{maps}/one").ok == made.body
    changed = server.put(f"{maps}/one", made.body | {"data": {"b": "2"}}).ok
    assert changed["data"] == {"b": "2"}
    assert int(changed["metadata"]["resourceVersion"]) > int(made.body["metadata"]["resourceVersion"])
    # The version that this replaces is gone.
    assert server.put(f"{maps}/one", made.body).refusal == (409, "Conflict", [])
    gone = server.delete(f"{maps}/one").ok
    assert (gone["kind"], gone["status"], gone["details"]["uid"]) == (
        "Status",
        "Success",
        made.body["metadata"]["uid"],
    )
    assert server.get(f"{maps}/one").refusal == (404, "NotFound", [])


def test_a_generated_name_is_the_prefix_and_five_letters(server: Server, maps: str) -> None:
    metadata = server.post(maps, {"metadata": {"generateName": "pre-"}}).ok["metadata"]
    assert (len(metadata["name"]), metadata["name"][:4], metadata["generateName"]) == (9, "pre-", "pre-")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"metadata": {}}, (422, "Invalid", [("metadata.name", "FieldValueRequired")])),
        ({}, (422, "Invalid", [("metadata.name", "FieldValueRequired")])),
        (named("A"), (422, "Invalid", [("metadata.name", "FieldValueInvalid")])),
        (
            {"metadata": {"generateName": "Bad_"}},
            (
                422,
                "Invalid",
                [("metadata.generateName", "FieldValueInvalid"), ("metadata.name", "FieldValueInvalid")],
            ),
        ),
        (
            {"metadata": {"generateName": "x" * 300}},
            (422, "Invalid", [("metadata.generateName", "FieldValueInvalid")]),
        ),
        (named("one"), (409, "AlreadyExists", [])),
        (named("two", namespace="elsewhere"), (400, "BadRequest", [])),
        (named("two", resourceVersion="12"), (500, "", [])),
        (named("two") | {"kind": "Secret", "apiVersion": "v1"}, (400, "BadRequest", [])),
        (named("two") | {"kind": "ConfigMap", "apiVersion": "v2"}, (400, "BadRequest", [])),
        (named("two") | {"data": {"a": 1}}, (400, "BadRequest", [])),
        (b"", (400, "BadRequest", [])),
        (b"[]", (400, "BadRequest", [])),
        (b'{"metadata":', (400, "BadRequest", [])),
    ],
)
def test_what_cannot_be_created(server: Server, maps: str, body: Any, refusal: Any) -> None:
    assert server.post(maps, body).refusal == refusal


def test_what_only_the_server_sets_is_not_taken_from_a_new_object(server: Server, maps: str) -> None:
    given = {
        "uid": "mine",
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 4,
        "selfLink": "here",
    }
    metadata = server.post(maps, named("two", **given)).ok["metadata"]
    assert [key for key in given if metadata.get(key) == given[key]] == []
    assert sorted(metadata.keys() & given.keys()) == ["creationTimestamp", "uid"]


@pytest.mark.parametrize(
    ("name", "body", "refusal"),
    [
        ("none", named("none"), (404, "NotFound", [])),
        ("one", named("two"), (400, "BadRequest", [])),
        ("one", {"metadata": {}}, (400, "BadRequest", [])),
        ("one", named("one", namespace="elsewhere"), (400, "BadRequest", [])),
        ("one", named("one", uid="another"), (409, "Conflict", [])),
        ("one", named("one", resourceVersion="1"), (409, "Conflict", [])),
    ],
)
def test_what_cannot_be_replaced(server: Server, maps: str, name: str, body: Any, refusal: Any) -> None:
    assert server.put(f"{maps}/{name}", body).refusal == refusal


@pytest.mark.parametrize(
    ("field", "value"), [("deletionTimestamp", "2001-01-01T00:00:00Z"), ("deletionGracePeriodSeconds", 3)]
)
def test_an_update_cannot_begin_a_deletion(server: Server, maps: str, field: str, value: Any) -> None:
    status, reason, causes = server.put(f"{maps}/one", named("one", **{field: value})).refusal
    assert (status, reason, set(causes)) == (422, "Invalid", {(f"metadata.{field}", "FieldValueInvalid")})


def test_an_update_keeps_when_the_object_was_made(server: Server, maps: str) -> None:
    before = server.get(f"{maps}/one").ok["metadata"]
    changed = named("one", creationTimestamp="2001-01-01T00:00:00Z", generation=9)
    after = server.put(f"{maps}/one", changed).ok["metadata"]
    assert (after["uid"], after["creationTimestamp"]) == (before["uid"], before["creationTimestamp"])
    assert "generation" not in after


def test_an_update_that_changes_nothing_makes_no_version(server: Server, maps: str) -> None:
    before = server.get(f"{maps}/one").ok
    assert server.put(f"{maps}/one", before).ok == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_dry_run_changes_nothing(server: Server, maps: str, method: str) -> None:
    before = server.get(f"{maps}/one").ok
    dry = {"dryRun": "All"}
    path, body, kind = {
        "POST": (maps, named("two"), "application/json"),
        "PUT": (f"{maps}/one", named("one") | {"data": {"b": "2"}}, "application/json"),
        "PATCH": (f"{maps}/one", {"data": {"b": "2"}}, MERGE),
        "DELETE": (f"{maps}/one", None, "application/json"),
    }[method]
    server(method, path, body, kind=kind, query=dry).ok  # noqa: B018
    assert server.get(f"{maps}/one").ok == before
    assert server.get(f"{maps}/two").status == 404


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ({"dryRun": "Some"}, ("dryRun", OPTIONS)),
        ({"dryRun": ""}, ("dryRun", OPTIONS)),
        ({"fieldValidation": "Bogus"}, ("fieldValidation", OPTIONS)),
        ({"fieldManager": "x" * 129}, ("fieldManager", "FieldValueTooLong")),
        ({"fieldManager": "a\x07b"}, ("fieldManager", "FieldValueInvalid")),
    ],
)
def test_options_that_are_not_allowed(server: Server, maps: str, query: Any, cause: Any) -> None:
    refused = (422, "Invalid", [cause])
    assert server.post(maps, named("two"), query=query).refusal == refused
    assert server.put(f"{maps}/one", named("one"), query=query).refusal == refused
    assert server.patch(f"{maps}/one", {}, query=query).refusal == refused


@pytest.mark.parametrize(
    ("kind", "query", "cause"),
    [
        (APPLY, {}, ("fieldManager", "FieldValueRequired")),
        (MERGE, {"force": "true"}, ("force", "FieldValueForbidden")),
        (JSON_PATCH, {"force": "false"}, ("force", "FieldValueForbidden")),
    ],
)
def test_options_that_do_not_fit_the_patch(
    server: Server, maps: str, kind: str, query: Any, cause: Any
) -> None:
    body = [] if kind == JSON_PATCH else {"apiVersion": "v1", "kind": "ConfigMap"}
    assert server.patch(f"{maps}/one", body, kind, query=query).refusal == (422, "Invalid", [cause])


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"propagationPolicy": "Bad"}, (422, "Invalid", [("propagationPolicy", OPTIONS)])),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            (422, "Invalid", [("propagationPolicy", "FieldValueInvalid")]),
        ),
        ({"dryRun": ["Some"]}, (422, "Invalid", [("dryRun", OPTIONS)])),
        ({"gracePeriodSeconds": "a"}, (400, "BadRequest", [])),
        ({"kind": "Pod", "apiVersion": "v1"}, (400, "BadRequest", [])),
        ({"preconditions": {"uid": "another"}}, (409, "Conflict", [])),
        ({"preconditions": {"resourceVersion": "1"}}, (409, "Conflict", [])),
    ],
)
def test_a_deletion_that_is_refused(server: Server, maps: str, options: Any, refusal: Any) -> None:
    assert server.delete(f"{maps}/one", options).refusal == refusal
    assert server.get(f"{maps}/one").status == 200


def test_preconditions_that_hold_let_a_deletion_through(server: Server, maps: str) -> None:
    metadata = server.get(f"{maps}/one").ok["metadata"]
    held = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert server.delete(f"{maps}/one", {"preconditions": held}).status == 200


UNKNOWN = b'{"metadata":{"name":"two","what":1},"data":{"a":"1","a":"2"},"how":{"x":1}}'


def test_unknown_and_repeated_fields_are_refused_when_strict(server: Server, maps: str) -> None:
    refused = server.post(maps, UNKNOWN, query={"fieldValidation": "Strict"})
    assert refused.refusal == (400, "BadRequest", [])
    for problem in ('unknown field "metadata.what"', 'duplicate field "data.a"', 'unknown field "how"'):
        assert problem in refused.body["message"]


@pytest.mark.parametrize(
    ("query", "warned"),
    [({}, True), ({"fieldValidation": "Warn"}, True), ({"fieldValidation": "Ignore"}, False)],
)
def test_unknown_fields_are_left_out_otherwise(server: Server, maps: str, query: Any, warned: bool) -> None:
    made = server.post(maps, UNKNOWN, query=query)
    assert made.ok["data"] == {"a": "2"}
    assert "how" not in made.body
    assert "what" not in made.body["metadata"]
    assert ('unknown field \\"how\\"' in made.headers.get("warning", "")) == warned


@pytest.mark.parametrize(("method", "path"), [("POST", "/one"), ("PUT", ""), ("PATCH", "")])
def test_verbs_that_a_path_does_not_have(server: Server, maps: str, method: str, path: str) -> None:
    kind = MERGE if method == "PATCH" else "application/json"
    assert server(method, maps + path, named("one"), kind=kind).refusal == (405, "MethodNotAllowed", [])


def test_a_finalizer_keeps_an_object_until_it_is_taken_away(server: Server, maps: str) -> None:
    one = f"{maps}/one"
    server.patch(one, {"metadata": {"finalizers": ["test/keep"]}}).ok  # noqa: B018
    marked = server.delete(one).ok
    assert marked["metadata"]["finalizers"] == ["test/keep"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert server.delete(one).ok["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["test/keep", "test/more"]}}
    # Kubernetes 1.36 gives the cause twice.
    status, reason, causes = server.patch(one, more).refusal
    assert (status, reason, set(causes)) == (422, "Invalid", {("metadata.finalizers", "FieldValueForbidden")})
    server.patch(one, {"data": {"still": "changes"}}).ok  # noqa: B018
    server.patch(one, {"metadata": {"finalizers": None}}).ok  # noqa: B018
    assert server.get(one).status == 404


def test_a_selector_chooses_what_a_deletion_of_the_collection_takes(server: Server, maps: str) -> None:
    for name, color in (("r1", "red"), ("r2", "red"), ("b1", "blue")):
        server.post(maps, named(name, labels={"color": color})).ok  # noqa: B018
    gone = server.delete(maps, query={"labelSelector": "color=red"}).ok
    assert gone["kind"] == "ConfigMapList"
    left = server.get(maps, query={"labelSelector": "color"}).ok["items"]
    assert [item["metadata"]["name"] for item in left] == ["b1"]


def test_the_generation_counts_changes_of_the_spec_alone(server: Server, namespace: str) -> None:
    policies = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    made = server.post(policies, named("one") | {"spec": {"podSelector": {}}}).ok
    labelled = server.patch(f"{policies}/one", {"metadata": {"labels": {"a": "b"}}}).ok
    changed = server.patch(f"{policies}/one", {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}).ok
    assert [each["metadata"]["generation"] for each in (made, labelled, changed)] == [1, 1, 2]

"""Custom resources: schemas, rules, versions, columns and subresources."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.server import MERGE, STRATEGIC, TABLE, Server
from support.staying import until

Object = dict[str, Any]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

SPEC: Object = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
        "title": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "fixed": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is fixed"}],
        },
        "low": {"type": "integer"},
        "high": {"type": "integer"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "amount": {"x-kubernetes-int-or-string": True},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "maybe": {"type": "string", "nullable": True},
        "replicas": {"type": "integer", "default": 1},
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.low) || !has(self.high) || self.low <= self.high",
            "messageExpression": "'low is above ' + (self.high < 0 ? 'nothing' : 'high')",
            "fieldPath": ".low",
            "reason": "FieldValueForbidden",
        }
    ],
}


def version(name: str = "v1", *, storage: bool = True, **more: Any) -> Object:
    """Return a version of a definition with status, scale, columns and a selectable field."""
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": SPEC,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}],
        **more,
    }


def definition(group: str, *versions: Object, **spec: Any) -> Object:
    """Return a definition of widgets."""
    return {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "singular": "widget", "shortNames": ["wg"]},
            "versions": list(versions) or [version()],
            **spec,
        },
    }


@pytest.fixture
def group() -> str:
    return f"g{uuid.uuid4().hex[:8]}.example.com"


@pytest.fixture
def define(server: Server, group: str) -> Iterator[Callable[..., None]]:
    """Makes the definition and waits until it is served; it goes when the test ends."""

    def make(*versions: Object, **spec: Any) -> None:
        server.post(CRDS, definition(group, *versions, **spec)).ok  # noqa: B018
        until(
            lambda: (
                server.get(f"/apis/{group}/{(versions or (version(),))[0]['name']}/widgets").status == 200
            ),
            "it",
        )

    yield make
    server.delete(f"{CRDS}/widgets.{group}")


@pytest.fixture
def widgets(define: Callable[..., None], group: str, namespace: str) -> str:
    define()
    return f"/apis/{group}/v1/namespaces/{namespace}/widgets"


def widget(group_version: str, name: str = "w", **spec: Any) -> Object:
    return {
        "apiVersion": group_version,
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 3, **spec},
    }


def of(path: str) -> str:
    """Return the group and version of a path."""
    return "/".join(path.split("/")[2:4])


def test_defaults_are_filled_in_and_unknown_fields_pruned(server: Server, widgets: str) -> None:
    made = server.post(widgets, widget(of(widgets), unknown=1, free={"any": [1]}, maybe=None)).ok
    assert made["spec"] == {"size": 3, "color": "red", "replicas": 1, "free": {"any": [1]}, "maybe": None}
    assert made["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({"size": 0}, [("spec.size", "FieldValueInvalid")]),
        ({"size": "3"}, [("spec.size", "FieldValueTypeInvalid")]),
        ({"color": "green"}, [("spec.color", "FieldValueNotSupported")]),
        ({"title": "UP"}, [("spec.title", "FieldValueInvalid")]),
        ({"title": "abcdef"}, [("spec.title", "FieldValueTooLong")]),
        ({"tags": ["a", "a"]}, [("spec.tags[1]", "FieldValueDuplicate")]),
        ({"low": 3, "high": 2}, [("spec.low", "FieldValueForbidden")]),
        ({"amount": True}, [("spec.amount", "FieldValueTypeInvalid")]),
    ],
    ids=str,
)
def test_what_a_schema_refuses(
    server: Server, widgets: str, spec: Object, causes: list[tuple[str, str]]
) -> None:
    status, reason, found = server.post(widgets, widget(of(widgets), **spec)).refusal
    assert (status, reason) == (422, "Invalid")
    # Rules are not run over values of wrong types; Kubernetes says so with a cause of its own.
    assert [cause for cause in found if cause[0] != "<nil>"] == causes


def test_a_required_field_is_missed(server: Server, widgets: str) -> None:
    body = widget(of(widgets))
    del body["spec"]["size"]
    status, reason, causes = server.post(widgets, body).refusal
    assert (status, reason) == (422, "Invalid")
    assert ("spec.size", "FieldValueRequired") in causes


def test_the_words_of_a_rule(server: Server, widgets: str) -> None:
    answer = server.post(widgets, widget(of(widgets), low=3, high=2))
    assert "spec.low: Forbidden: low is above high" in answer.body["message"]


def test_a_transition_rule_looks_at_what_was(server: Server, widgets: str) -> None:
    server.post(widgets, widget(of(widgets))).ok  # noqa: B018
    server.patch(f"{widgets}/w", {"spec": {"fixed": "a"}}).ok  # noqa: B018
    answer = server.patch(f"{widgets}/w", {"spec": {"fixed": "b"}})
    assert answer.refusal == (422, "Invalid", [("spec.fixed", "FieldValueInvalid")])
    assert "fixed is fixed" in answer.body["message"]


def test_what_was_wrong_before_does_not_block_other_changes(
    server: Server, define: Callable[..., None], group: str, namespace: str
) -> None:
    define()
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    server.post(path, widget(f"{group}/v1", name="w") | {"spec": {"size": 9}}).ok  # noqa: B018
    stricter = {
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum",
    }
    server.patch(f"{CRDS}/widgets.{group}", [stricter | {"value": 5}], "application/json-patch+json").ok  # noqa: B018

    def refused() -> bool:
        return (
            server.post(path, widget(f"{group}/v1", name="x", size=9), query={"dryRun": "All"}).status == 422
        )

    until(refused, "the new schema")
    assert server.patch(f"{path}/w", {"spec": {"color": "blue"}}).ok["spec"]["size"] == 9
    assert server.patch(f"{path}/w", {"spec": {"size": 8}}).refusal[:2] == (422, "Invalid")


def test_status_has_its_own_path(server: Server, widgets: str) -> None:
    made = server.post(widgets, widget(of(widgets)) | {"status": {"a": 1}}).ok
    assert "status" not in made
    body = {"spec": {"size": 9}, "status": {"replicas": 2}, "metadata": {"labels": {"a": "b"}}}
    done = server.patch(f"{widgets}/w/status", body).ok
    assert (done["spec"]["size"], done["status"]) == (3, {"replicas": 2})
    assert (done["metadata"]["generation"], done["metadata"].get("labels")) == (1, None)
    assert server.patch(f"{widgets}/w", {"status": {"replicas": 5}}).ok["status"] == {"replicas": 2}


def test_scale(server: Server, widgets: str) -> None:
    server.post(widgets, widget(of(widgets))).ok  # noqa: B018
    scale = server.get(f"{widgets}/w/scale").ok
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 0})
    assert server.patch(f"{widgets}/w/scale", {"spec": {"replicas": 4}}).ok["spec"] == {"replicas": 4}
    assert server.get(f"{widgets}/w").ok["spec"]["replicas"] == 4


def test_columns(server: Server, widgets: str) -> None:
    server.post(widgets, widget(of(widgets))).ok  # noqa: B018
    table = server.get(widgets, accept=TABLE).ok
    columns = [(each["name"], each["type"], each["priority"]) for each in table["columnDefinitions"]]
    assert columns == [("Name", "string", 0), ("Size", "integer", 0), ("Color", "string", 1)]
    assert [row["cells"] for row in table["rows"]] == [["w", 3, "red"]]


def test_selectable_fields(server: Server, widgets: str) -> None:
    server.post(widgets, widget(of(widgets), "a", color="red")).ok  # noqa: B018
    server.post(widgets, widget(of(widgets), "b", color="blue")).ok  # noqa: B018
    found = server.get(widgets, query={"fieldSelector": "spec.color=blue"}).ok
    assert [item["metadata"]["name"] for item in found["items"]] == ["b"]
    assert server.get(widgets, query={"fieldSelector": "spec.size=3"}).refusal[:2] == (400, "BadRequest")


def test_no_strategic_patch(server: Server, widgets: str) -> None:
    server.post(widgets, widget(of(widgets))).ok  # noqa: B018
    answer = server.patch(f"{widgets}/w", {"spec": {"size": 4}}, STRATEGIC)
    assert answer.refusal[:2] == (415, "UnsupportedMediaType")


def test_every_served_version_shows_every_object(
    server: Server, define: Callable[..., None], group: str, namespace: str
) -> None:
    define(version("v1"), version("v2", storage=False))
    v1, v2 = (f"/apis/{group}/{name}/namespaces/{namespace}/widgets" for name in ("v1", "v2"))
    server.post(v2, widget(f"{group}/v2")).ok  # noqa: B018
    found = server.get(f"{v1}/w").ok
    assert (found["apiVersion"], found["spec"]["size"]) == (f"{group}/v1", 3)
    assert [item["apiVersion"] for item in server.get(v2).ok["items"]] == [f"{group}/v2"]
    assert server.get(f"{CRDS}/widgets.{group}").ok["status"]["storedVersions"] == ["v1"]


def test_conditions_and_accepted_names(server: Server, define: Callable[..., None], group: str) -> None:
    define()
    status = server.get(f"{CRDS}/widgets.{group}").ok["status"]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert status["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
        "shortNames": ["wg"],
    }


def test_a_definition_goes_with_its_objects(
    server: Server, define: Callable[..., None], group: str, namespace: str
) -> None:
    define()
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    body = widget(f"{group}/v1") | {"metadata": {"name": "w", "finalizers": ["example.com/wait"]}}
    server.post(path, body).ok  # noqa: B018
    server.delete(f"{CRDS}/widgets.{group}").ok  # noqa: B018
    until(lambda: "deletionTimestamp" in server.get(f"{path}/w").ok["metadata"], "that the object is deleted")
    assert server.post(path, widget(f"{group}/v1", "late")).refusal[:2] == (403, "Forbidden")
    server.patch(f"{path}/w", {"metadata": {"finalizers": None}}, MERGE).ok  # noqa: B018
    until(lambda: server.get(path).status == 404, "the end")
    assert server.get(f"{CRDS}/widgets.{group}").status == 404


def schema_of(**spec: Any) -> Object:
    return version(
        schema={"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", **spec}}}}
    )


@pytest.mark.parametrize(
    ("broken", "fields"),
    [
        (version(storage=False), {"spec.versions"}),
        (
            schema_of(properties={"a": {}}),
            {"spec.validation.openAPIV3Schema.properties[spec].properties[a].type"},
        ),
        (
            schema_of(properties={"a": {"type": "string", "default": 1}}),
            {"spec.validation.openAPIV3Schema.properties[spec].properties[a].default"},
        ),
        (
            schema_of(**{"x-kubernetes-validations": [{"rule": "self. =="}]}),
            {"spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"},
        ),
        pytest.param(
            schema_of(**{"x-kubernetes-validations": [{"rule": "self.none == 1"}]}),
            {"spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"},
            marks=pytest.mark.differs(
                "a definition whose CEL rule names a field that the schema lacks is accepted",
                why="rules are checked for their syntax when a definition is made, for types when they run",
            ),
        ),
        (version("1bad"), {"spec.versions[0].name"}),
    ],
    ids=[
        "nothing stored",
        "no schema",
        "no type",
        "a default of another type",
        "a rule about nothing",
        "a bad name",
    ],
)
def test_bad_definitions(server: Server, group: str, broken: Object, fields: set[str]) -> None:
    status, reason, causes = server.post(CRDS, definition(group, broken)).refusal
    assert (status, reason) == (422, "Invalid")
    assert fields <= {field for field, _ in causes}


def test_names_that_do_not_fit(server: Server, group: str) -> None:
    body = definition(group)
    body["metadata"]["name"] = f"gadgets.{group}"
    status, reason, causes = server.post(CRDS, body).refusal
    assert (status, reason, causes) == (422, "Invalid", [("metadata.name", "FieldValueInvalid")])

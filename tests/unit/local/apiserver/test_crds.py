"""Definitions of custom kinds, and what they make of objects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.api import CRDS, MERGE, TABLE, WIDGETS, Api, widgets


def with_schema(**properties: Any) -> dict[str, Any]:
    return widgets(schema={"openAPIV3Schema": {"type": "object", "properties": properties}})


async def test_a_definition_is_served_at_once(api: Api) -> None:
    made = (await api.post(CRDS, widgets())).body
    conditions = {each["type"]: each["status"] for each in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["status"]["acceptedNames"]["listKind"] == "WidgetList"
    assert made["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert (await api.get(WIDGETS))["kind"] == "WidgetList"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": ""}, "spec.group: Required value"),
        ({"group": "nodots"}, "should be a domain with at least one dot"),
        ({"scope": "Galaxy"}, 'spec.scope: Unsupported value: "Galaxy"'),
        ({"versions": []}, "spec.versions"),
        ({"names": {"plural": "Widgets", "kind": "Widget"}}, "metadata.name: Invalid value"),
        ({"conversion": {"strategy": "Magic"}}, "spec.conversion.strategy: Unsupported value"),
        ({"preserveUnknownFields": True}, "spec.preserveUnknownFields: Invalid value"),
    ],
)
async def test_definitions_that_cannot_be_served(api: Api, change: dict[str, Any], message: str) -> None:
    crd = widgets()
    crd["spec"].update(change)
    answer = await api("POST", CRDS, crd)
    assert (answer.status, message in answer.message) == (422, True), answer


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string"}, "must be object at the root"),
        ({"type": "object", "properties": {"a": {}}}, "must not be empty for specified object fields"),
        ({"type": "object", "properties": {"a": {"type": "thing"}}}, "Unsupported value"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "items: Required value"),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
            "must be a valid regular expression",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "x", "type": "string"}}}, "$ref is not supported"),
        ({"type": "object", "x-kubernetes-validations": [{"rule": "self.("}]}, "compilation failed"),
    ],
)
async def test_schemas_must_be_structural(api: Api, schema: dict[str, Any], message: str) -> None:
    answer = await api("POST", CRDS, widgets(schema={"openAPIV3Schema": schema}))
    assert (answer.status, message in answer.message) == (422, True), answer


async def test_names_belong_to_one_definition(api: Api) -> None:
    await api.post(CRDS, widgets())
    crd = widgets()
    crd["metadata"]["name"] = "gadgets.example.com"
    crd["spec"]["names"] = {"plural": "gadgets", "kind": "Widget"}
    second = (await api.post(CRDS, crd)).body
    conditions = {each["type"]: each["status"] for each in second["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "False", "Established": "False"}
    assert (await api("GET", "/apis/example.com/v1/gadgets")).status == 404


async def test_objects_are_pruned_defaulted_and_validated(api: Api) -> None:
    await api.post(CRDS, widgets())
    made = (
        await api.post(WIDGETS, {"metadata": {"name": "w"}, "spec": {"color": "red", "shape": "round"}})
    ).body
    assert made["spec"] == {"color": "red", "size": 2}
    answer = await api("POST", WIDGETS, {"metadata": {"name": "v"}, "spec": {"color": "blue", "size": -1}})
    assert answer.status == 422
    assert 'spec.color: Unsupported value: "blue": supported values: "red", "green"' in answer.message
    assert "spec.size" in answer.message
    assert answer.body["details"]["group"] == "example.com"


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "w", "labels": {"a": 1}},
        {"name": "w", "labels": []},
        {"name": 5},
        {"name": "w", "finalizers": "x"},
    ],
)
async def test_metadata_has_types_too(api: Api, metadata: dict[str, Any]) -> None:
    await api.post(CRDS, widgets())
    assert (await api("POST", WIDGETS, {"metadata": metadata})).status == 400


async def test_rules_may_compare_with_the_old_object(api: Api) -> None:
    rule = {"rule": "self >= oldSelf", "message": "may not shrink"}
    await api.post(CRDS, with_schema(size={"type": "integer", "x-kubernetes-validations": [rule]}))
    await api.post(WIDGETS, {"metadata": {"name": "w"}, "size": 3})
    refused = await api("PATCH", f"{WIDGETS}/w", {"size": 2}, kind=MERGE)
    assert (refused.status, "may not shrink" in refused.message) == (422, True)
    assert (await api("PATCH", f"{WIDGETS}/w", {"size": 4}, kind=MERGE)).status == 200


async def test_columns_and_selectable_fields(api: Api) -> None:
    column = {"name": "Color", "type": "string", "jsonPath": ".spec.color"}
    await api.post(
        CRDS, widgets(additionalPrinterColumns=[column], selectableFields=[{"jsonPath": ".spec.color"}])
    )
    for name, color in (("a", "red"), ("b", "green")):
        await api.post(WIDGETS, {"metadata": {"name": name}, "spec": {"color": color}})
    table = await api.get(WIDGETS, accept=TABLE)
    assert [row["cells"] for row in table["rows"]] == [["a", "red"], ["b", "green"]]
    found = await api.get(WIDGETS, fieldSelector="spec.color=green")
    assert [item["metadata"]["name"] for item in found["items"]] == ["b"]
    assert (await api("GET", WIDGETS, fieldSelector="spec.size=2")).status == 400


async def test_a_field_can_be_made_selectable_later(api: Api) -> None:
    await api.post(CRDS, widgets())
    await api.post(WIDGETS, {"metadata": {"name": "a"}, "spec": {"color": "red"}})
    version = widgets(selectableFields=[{"jsonPath": ".spec.color"}])["spec"]["versions"]
    patched = await api("PATCH", f"{CRDS}/widgets.example.com", {"spec": {"versions": version}}, kind=MERGE)
    assert patched.status == 200, patched
    assert len((await api.get(WIDGETS, fieldSelector="spec.color=red"))["items"]) == 1


async def test_scale_of_a_custom_kind(api: Api) -> None:
    paths = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    await api.post(CRDS, widgets(subresources={"status": {}, "scale": paths}))
    await api.post(WIDGETS, {"metadata": {"name": "w"}, "spec": {"size": 3}})
    scale = await api.get(f"{WIDGETS}/w/scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 3)
    await api("PUT", f"{WIDGETS}/w/scale", {**scale, "spec": {"replicas": 7}})
    assert (await api.get(f"{WIDGETS}/w"))["spec"]["size"] == 7
    refused = await api("PATCH", f"{WIDGETS}/w/scale", {"spec": {"replicas": -1}}, kind=MERGE)
    assert refused.status == 422


def two_versions(stored: str = "v1") -> dict[str, Any]:
    crd = widgets()
    (first,) = crd["spec"]["versions"]
    crd["spec"]["versions"] = [{**first, "name": name, "storage": name == stored} for name in ("v1", "v2")]
    return crd


async def test_versions_without_conversion_differ_in_name_only(api: Api) -> None:
    await api.post(CRDS, two_versions())
    await api.post(WIDGETS, {"metadata": {"name": "w"}, "spec": {"color": "red"}})
    newer = WIDGETS.replace("v1", "v2")
    found = await api.get(f"{newer}/w")
    assert (found["apiVersion"], found["spec"]["color"]) == ("example.com/v2", "red")
    await api("PUT", f"{newer}/w", {**found, "spec": {"color": "green"}})
    assert (await api.get(f"{WIDGETS}/w"))["spec"]["color"] == "green"
    listed = await api.get(newer)
    assert listed["items"][0]["apiVersion"] == "example.com/v2"
    watch = await api.watch(newer)
    assert (await watch.next())[1]["apiVersion"] == "example.com/v2"


async def test_a_version_in_which_objects_are_stored_stays(api: Api) -> None:
    await api.post(CRDS, two_versions())
    path = f"{CRDS}/widgets.example.com"
    moved = two_versions("v2")["spec"]["versions"]
    answer = await api("PATCH", path, {"spec": {"versions": moved}}, kind=MERGE)
    assert answer.body["status"]["storedVersions"] == ["v1", "v2"]
    gone = await api("PATCH", path, {"spec": {"versions": moved[1:]}}, kind=MERGE)
    assert (gone.status, "missing from spec.versions" in gone.message) == (422, True)


async def test_a_version_that_is_not_served_is_not_found(api: Api) -> None:
    crd = two_versions()
    crd["spec"]["versions"][1]["served"] = False
    await api.post(CRDS, crd)
    assert (await api("GET", WIDGETS.replace("v1", "v2"))).status == 404


async def test_deleting_a_definition_deletes_its_objects(api: Api) -> None:
    await api.post(CRDS, widgets())
    await api.post(WIDGETS, {"metadata": {"name": "a"}})
    await api.post(WIDGETS, {"metadata": {"name": "b", "finalizers": ["example.com/hold"]}})
    await api("DELETE", f"{CRDS}/widgets.example.com")
    refused = await api("POST", WIDGETS, {"metadata": {"name": "c"}})
    assert refused.status == 403
    assert "create not allowed while custom resource definition is terminating" in refused.message
    await asyncio.sleep(1)
    assert [item["metadata"]["name"] for item in (await api.get(WIDGETS))["items"]] == ["b"]
    await api("PATCH", f"{WIDGETS}/b", {"metadata": {"finalizers": None}}, kind=MERGE)
    await asyncio.sleep(1)
    assert (await api("GET", f"{CRDS}/widgets.example.com")).status == 404
    assert (await api("GET", WIDGETS)).status == 404

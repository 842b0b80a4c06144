import json
from typing import Any

import pytest

from hortator.local.apiserver import openapi
from hortator.local.apiserver.scheme import Kind, load_scheme

SCHEME = load_scheme()
GROUP_VERSIONS = sorted({(kind.group, kind.version) for kind in SCHEME.kinds()})


@pytest.fixture(scope="module")
def batch() -> dict[str, Any]:
    return SCHEME.openapi_document("batch", "v1")


def test_patch_declares_what_kubectl_looks_for(batch: dict[str, Any]) -> None:
    patch = batch["paths"]["/apis/batch/v1/namespaces/{namespace}/jobs/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "batch", "version": "v1", "kind": "Job"}
    names = {(parameter["in"], parameter["name"]) for parameter in patch["parameters"]}
    assert {("query", "fieldValidation"), ("query", "dryRun"), ("query", "fieldManager")} <= names
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]


def test_the_schema_of_a_kind_says_which_kind_it_is(batch: dict[str, Any]) -> None:
    job = batch["components"]["schemas"]["io.k8s.api.batch.v1.Job"]
    assert job["x-kubernetes-group-version-kind"] == [{"group": "batch", "version": "v1", "kind": "Job"}]
    assert job["properties"]["spec"] == {"$ref": "#/components/schemas/io.k8s.api.batch.v1.JobSpec"}


def test_list_keys_and_merge_strategies_are_kept(batch: dict[str, Any]) -> None:
    containers = batch["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS)
def test_every_reference_of_a_document_leads_somewhere(group: str, version: str) -> None:
    document = SCHEME.openapi_document(group, version)
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    found = {part.split('"')[0] for part in text.split(f'"{openapi.REFERENCE}')[1:]}
    assert found <= set(schemas)
    assert found


def test_quantities_and_numbers_or_texts_are_alternatives() -> None:
    schemas = SCHEME.openapi_document("", "v1")["components"]["schemas"]
    quantity = schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity == {"oneOf": [{"type": "string"}, {"type": "number"}]}
    either = schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert either["oneOf"] == [{"type": "integer"}, {"type": "string"}]
    assert either["format"] == "int-or-string"


def test_a_custom_resource_has_a_document() -> None:
    kind = Kind("stable.example.com", "v1", "Box", "boxes", "box")
    name = openapi.custom_definition_name(kind)
    assert name == "com.example.stable.v1.Box"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "description": "What is in it."}}}
    document = openapi.document([kind], SCHEME.definition, {name: schema})
    box = document["components"]["schemas"][name]
    assert box["x-kubernetes-group-version-kind"] == [
        {"group": "stable.example.com", "version": "v1", "kind": "Box"}
    ]
    assert box["properties"]["spec"]["description"] == "What is in it."
    assert "apiVersion" in box["properties"]
    paths = document["paths"]
    patch = paths["/apis/stable.example.com/v1/namespaces/{namespace}/boxes/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]


def test_the_index_changes_with_what_it_points_to() -> None:
    first = openapi.index({"api/v1": b"one"})["paths"]["api/v1"]["serverRelativeURL"]
    second = openapi.index({"api/v1": b"two"})["paths"]["api/v1"]["serverRelativeURL"]
    assert first.startswith("/openapi/v3/api/v1?hash=")
    assert first != second

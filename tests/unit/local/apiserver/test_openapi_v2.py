"""The OpenAPI v2 document: built-in kinds with their references, custom ones without what version 2 cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from hortator.local.apiserver.openapi_v2 import document
from hortator.local.apiserver.scheme import load_scheme
from hortator.local.apiserver.scheme.kinds import Kind

SCHEME = load_scheme()
NAME = "io.example.v1.Widget"
WIDGET = Kind("example.io", "v1", "Widget", "widgets")


def made(spec: dict[str, Any]) -> Any:
    """Return what the document says of a custom kind's spec."""
    schema = {"type": "object", "properties": {"spec": spec}}
    found = document([WIDGET], SCHEME.definition, {NAME: schema})["definitions"]
    return found[NAME]["properties"]["spec"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 1}),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
            {"x-kubernetes-int-or-string": True},
        ),
        ({"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}}, {}),
        (
            {"type": "array", "x-kubernetes-preserve-unknown-fields": True, "items": {"type": "object"}},
            {"x-kubernetes-preserve-unknown-fields": True},
        ),
        (
            {
                "type": "object",
                "required": ["a", "b"],
                "properties": {"a": {"type": "string", "nullable": True}, "b": {"type": "string"}},
            },
            {"type": "object", "required": ["b"], "properties": {"a": {}, "b": {"type": "string"}}},
        ),
    ],
    ids=["plain", "int or string", "nullable", "anything", "a required field that may be null"],
)
def test_what_version_2_cannot_say_is_left_out(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    assert made(spec) == expected


def test_a_kind_that_takes_anything_lists_nothing() -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    found = document([WIDGET], SCHEME.definition, {NAME: schema})["definitions"][NAME]
    assert set(found) == {"type", "x-kubernetes-group-version-kind"}


def test_every_reference_of_every_kind_is_there() -> None:
    whole = document(list(SCHEME.kinds()), SCHEME.definition, {})
    definitions = whole["definitions"]
    waiting: list[Any] = [definitions]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(reference := node.get("$ref"), str):
                assert reference.removeprefix("#/definitions/") in definitions
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node

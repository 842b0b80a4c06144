"""The OpenAPI v2 document: the definitions of all kinds, for clients that do not know v3 yet.

There are no paths in it. Version 2 can say less than schemas do; what is left out of custom resources is what upstream
leaves out (apiextensions-apiserver 1.36, ``ToStructuralOpenAPIV2``), so that clients made for it cope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hortator.local.apiserver.openapi import META, custom_definition_name
from hortator.local.apiserver.openapi_words import METADATA, TYPE_META, explained
from hortator.local.apiserver.scheme.kinds import Kind

__all__ = ["EMPTY_PROTOBUF", "document"]

REFERENCE = "#/definitions/"
Schema = dict[str, Any]

#: An empty document as gnostic's protobuf has it (swagger 1, info 2, paths 8, definitions 9). kubectl up to 1.36 insists
#: on one before it takes a manifest of kind ``List``, and leaves kinds that are not in it to the server's validation.
EMPTY_PROTOBUF = b"\x0a\x032.0\x12\x14\x0a\x0fsee /openapi/v3\x12\x013\x42\x00\x4a\x00"

#: How version 2 says what the table says by a format.
_UNIONS = {"quantity": {"type": "string"}, "int-or-string": {"type": "string", "format": "int-or-string"}}
_JUNCTORS = ("allOf", "anyOf", "oneOf", "not")
_COMMON = {**TYPE_META, "metadata": {"$ref": f"{REFERENCE}{META}.ObjectMeta", "description": METADATA}}
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"


def document(
    kinds: Sequence[Kind],
    definition: Callable[[str], Mapping[str, Any]],
    custom: Mapping[str, Mapping[str, Any]],
) -> Schema:
    """Return the document; ``definition`` gives the built-in definitions by name, ``custom`` schemas by their names."""
    definitions: dict[str, Schema] = {}
    needed: list[str] = []
    for kind in kinds:
        name = kind.definition or custom_definition_name(kind)
        if name in custom:
            needed.append(f"{META}.ObjectMeta")
            gvk = {"group": kind.group, "kind": kind.kind, "version": kind.version}
            definitions[name] = _whole(custom[name]) | {"x-kubernetes-group-version-kind": [gvk]}
        elif kind.definition:
            needed.append(name)
    while needed:
        name = needed.pop()
        if name not in definitions:
            definitions[name] = _built_in(explained(name, definition(name)), needed)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": {},
        "definitions": definitions,
    }


def _built_in(node: Mapping[str, Any], needed: list[str]) -> Schema:
    if node.get("format") in _UNIONS and node.get("x-kubernetes-int-or-string"):
        return _UNIONS[node["format"]]
    result: Schema = {}
    for key, value in node.items():
        if key == "$ref":
            needed.append(value)
            result[key] = REFERENCE + value
        elif key == "properties":
            result[key] = {name: _built_in(child, needed) for name, child in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            result[key] = _built_in(value, needed)
        elif key not in (*_JUNCTORS, "nullable"):
            result[key] = value
    return result


def _whole(schema: Mapping[str, Any]) -> Schema:
    """Return a custom resource's definition; where anything is allowed nothing may be listed."""
    if not schema or schema.get(_PRESERVE):
        return {"type": "object"}
    whole = _custom(schema)
    return whole | {"properties": {**whole.get("properties", {}), **_COMMON}}


def _custom(node: Mapping[str, Any]) -> Schema:
    result = {key: value for key, value in node.items() if key not in (*_JUNCTORS, "nullable")}
    properties = result.pop("properties", None)
    items = result.pop("items", None)
    nullable, anything = bool(node.get("nullable")), bool(node.get(_PRESERVE))
    # Clients take a value that may be null, or hold anything, only where nothing is said of it.
    if not nullable and not anything:
        if properties is not None:
            result["properties"] = {name: _custom(child) for name, child in properties.items()}
        if items is not None:
            result["items"] = _custom(items)
    if nullable or (anything and node.get("type") in ("object", "array")):
        result.pop("type", None)
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping):
        result["additionalProperties"] = _custom(extra)
    required = [
        name for name in node.get("required") or () if not (properties or {}).get(name, {}).get("nullable")
    ]
    if isinstance(extra, Mapping) and extra.get("nullable"):
        required = []
    result.pop("required", None)
    if required:
        result["required"] = required
    if node.get(_EMBEDDED):
        result["properties"] = {**result.get("properties", {}), **_COMMON}
    return result

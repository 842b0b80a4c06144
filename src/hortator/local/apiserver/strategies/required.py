"""Fields that the published API requires, for kinds whose strategy does not check them one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, required

__all__ = ["missing_fields"]

Definitions = Callable[[str], Mapping[str, Any]]


def missing_fields(definitions: Definitions, name: str, obj: Mapping[str, Any]) -> list[FieldError]:
    """Return an error for each required field that is absent, outside ``metadata`` and ``status``.

    Status is left out because clients write parts of it, and Go fills the rest with zeros.
    """
    body = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    node = definitions(name)
    return list(_missing(definitions, {**node, "required": _own(node)}, body, ""))


def _own(node: Mapping[str, Any]) -> list[str]:
    return [key for key in node.get("required", ()) if key not in ("metadata", "status")]


def _missing(
    definitions: Definitions, node: Mapping[str, Any], value: Any, path: str
) -> Iterator[FieldError]:
    if "$ref" in node:
        node = definitions(node["$ref"])
    if isinstance(value, list) and "items" in node:
        for index, item in enumerate(value):
            yield from _missing(definitions, node["items"], item, f"{path}[{index}]")
    elif isinstance(value, dict) and "additionalProperties" in node:
        for key, item in value.items():
            yield from _missing(definitions, node["additionalProperties"], item, f"{path}[{key}]")
    elif isinstance(value, dict):
        properties = node.get("properties", {})
        for key in node.get("required", ()):
            if value.get(key) is None:
                yield required(Path(f"{path}.{key}" if path else key))
        for key, item in value.items():
            if key in properties:
                yield from _missing(definitions, properties[key], item, f"{path}.{key}" if path else key)

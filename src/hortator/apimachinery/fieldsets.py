"""Sets of fields, as ``metadata.managedFields`` records them (format ``FieldsV1``).

A path is a tuple of elements in the form in which FieldsV1 spells them: ``f:name`` for a field, ``k:{"name":"a"}`` for an
item of a list map, ``v:"x"`` for an item of a set. A set of fields is a plain frozenset of such paths, so that
Python's own operators combine them. Which paths an object has is left to
:mod:`hortator.apimachinery.typedvalues`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.nesting import too_deep

__all__ = [
    "FieldPath",
    "FieldSet",
    "decode",
    "encode",
    "field",
    "item",
    "member",
    "show",
    "sorted_paths",
    "without",
]

FieldPath = tuple[str, ...]
FieldSet = frozenset[FieldPath]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def field(name: str) -> str:
    """Return the element of a field."""
    return "f:" + name


def item(keys: Mapping[str, Any]) -> str:
    """Return the element of an item of a list map; ``keys`` are the fields that identify it."""
    return "k:" + _json(dict(keys))


def member(value: Any) -> str:
    """Return the element of an item of a set."""
    return "v:" + _json(value)


def without(paths: FieldSet, removed: FieldSet) -> FieldSet:
    """Return the set without the removed paths and everything below them."""
    if not removed:
        return paths
    return frozenset(
        path for path in paths if not any(path[:length] in removed for length in range(1, len(path) + 1))
    )


_ORDER = {"f": 0, "k": 1, "v": 2, "i": 3}


def _rank(element: str) -> tuple[int, str]:
    return (_ORDER.get(element[:1], 4), element)


def sorted_paths(paths: Iterable[FieldPath]) -> list[FieldPath]:
    """Return paths in the order in which upstream prints them."""
    return sorted(paths, key=lambda path: [_rank(element) for element in path])


def show(path: FieldPath) -> str:
    """Write a path for people: ``.spec.containers[name="a"].image``."""
    parts = []
    for element in path:
        kind, body = element[:1], element[2:]
        if kind == "f":
            parts.append("." + body)
        elif kind == "k":
            keys = sorted(json.loads(body).items())
            parts.append("[" + ",".join(f"{name}={_show_value(value)}" for name, value in keys) + "]")
        elif kind == "v":
            parts.append(f"[={_show_value(json.loads(body))}]")
        else:
            parts.append(f"[{body}]")
    return "".join(parts)


def _show_value(value: Any) -> str:
    return go_quote(value) if isinstance(value, str) else _json(value)


def encode(paths: FieldSet) -> dict[str, Any]:
    """Return the set as FieldsV1: nested objects, where ``.`` marks a member that also has members below it."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _compact(tree)


def _compact(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {} if key == "." or (len(child) == 1 and "." in child) else _compact(child)
        for key, child in sorted(tree.items(), key=_by_element)
    }


def _by_element(entry: tuple[str, Any]) -> tuple[int, str]:
    return (-1, "") if entry[0] == "." else _rank(entry[0])


def decode(fields: Any) -> FieldSet:
    """Read FieldsV1; elements of unknown kinds are dropped, as upstream does. Raises ValueError."""
    if fields is None:
        return frozenset()
    if too_deep(fields):
        raise ValueError("fieldsV1 is nested too deeply")
    paths: set[FieldPath] = set()
    _collect(fields, (), paths)
    paths.discard(())
    return frozenset(paths)


@lru_cache(maxsize=4096)
def _normal(element: str) -> str:
    """Return an element that holds JSON in the one spelling that is used here. Raises ValueError."""
    try:
        value = json.loads(element[2:])
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{element!r} is not an element of a field's path") from error
    if element[0] == "k" and not isinstance(value, dict):
        raise ValueError(f"{element!r} is not an element of a field's path")
    return element[:2] + _json(value)


def _collect(node: Any, path: FieldPath, paths: set[FieldPath]) -> None:
    if not isinstance(node, dict):
        raise ValueError(f"fieldsV1 has a value that is not an object at {show(path) or 'its root'}")
    known = False
    for key, child in node.items():
        if key == ".":
            paths.add(path)
        elif key[:2] in ("f:", "i:"):
            known = True
            _collect(child, (*path, key), paths)
        elif key[:2] in ("k:", "v:"):
            known = True
            _collect(child, (*path, _normal(key)), paths)
        elif len(key) < 2 or key[1] != ":":
            raise ValueError(f"{key!r} is not an element of a field's path")
    if not known:
        paths.add(path)

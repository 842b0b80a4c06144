"""Objects seen through their schema for server-side apply: which fields they have, how two differ, how they merge.

The rules are those of ``sigs.k8s.io/structured-merge-diff`` (v6): atomic lists and maps are one field; items of list
maps and of sets are fields of their own; what the schema leaves open is granular for maps and atomic for lists.
Who owns a field is left to :mod:`hortator.apimachinery.apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hortator.apimachinery import fieldsets
from hortator.apimachinery.fieldsets import FieldPath, FieldSet
from hortator.apimachinery.patches import json_equal
from hortator.apimachinery.structure import Node

__all__ = ["Difference", "compare", "field_set", "merge", "mistakes", "remove", "with_named_parents"]

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__bool__": lambda self: False})()

#: What every object's metadata looks like, for schemas that leave it open (those of custom resources do).
_METADATA = Node(
    {
        "type": "object",
        "properties": {
            **{
                name: {"type": "string"}
                for name in (
                    "name",
                    "generateName",
                    "namespace",
                    "selfLink",
                    "uid",
                    "resourceVersion",
                    "creationTimestamp",
                    "deletionTimestamp",
                )
            },
            "generation": {"type": "integer"},
            "deletionGracePeriodSeconds": {"type": "integer"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ownerReferences": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
                "items": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "name": {"type": "string"},
                        "uid": {"type": "string"},
                        "controller": {"type": "boolean"},
                        "blockOwnerDeletion": {"type": "boolean"},
                    },
                },
            },
            "managedFields": {"type": "array", "x-kubernetes-list-type": "atomic"},
        },
    }
)
_TEXT = Node({"type": "string"})


def _field_node(node: Node | None, name: str, *, root: bool) -> Node | None:
    if root:
        if name == "metadata":
            own = node.property(name) if node else None
            return own if own is not None and own.properties else _METADATA
        if name in ("apiVersion", "kind"):
            return _TEXT
    return node.field(name) if node else None


def _named(node: Node | None, name: str, *, root: bool) -> bool:
    """Say whether the schema names this field (and not only allows any)."""
    if root and name in ("metadata", "apiVersion", "kind"):
        return True
    return node is not None and name in node.properties


def _atomic(node: Node | None, value: Any) -> bool:
    """Say whether a list or map is one field as a whole."""
    if isinstance(value, list):
        return node is None or node.list_type == "atomic"
    return node is not None and node.map_type == "atomic"


def _is_map(node: Node | None, value: Any) -> bool:
    return isinstance(value, dict) or (value is None and node is not None and node.type == "object")


def _is_list(node: Node | None, value: Any) -> bool:
    return isinstance(value, list) or (value is None and node is not None and node.type == "array")


def _element(node: Node | None, item: Any) -> str | None:
    """Return the path element of an item of a set or list map, or None when it has none."""
    if node is None or node.list_type != "map":
        return None if item is None or isinstance(item, (dict, list)) else fieldsets.member(item)
    if not isinstance(item, dict):
        return None
    keys = {}
    for key in node.list_map_keys:
        if key in item:
            keys[key] = item[key]
        elif node.items is not None and (place := node.items.property(key)) is not None:
            default = place.raw.get("default")
            if default is not None:
                keys[key] = default
    return fieldsets.item(keys) if keys else None


def _indexed(node: Node | None, items: Iterable[Any]) -> dict[str, list[Any]]:
    """Group items by their element, in order; those without one are left out."""
    result: dict[str, list[Any]] = {}
    for each in items:
        element = _element(node, each)
        if element is not None:
            result.setdefault(element, []).append(each)
    return result


def field_set(value: Any, node: Node | None, *, root: bool = True) -> FieldSet:
    """Return the fields that a value has. ``root`` says that it is a whole object."""
    paths: set[FieldPath] = set()
    _collect(value, node, (), paths, root=root)
    return frozenset(paths)


def _collect(value: Any, node: Node | None, path: FieldPath, paths: set[FieldPath], *, root: bool) -> None:
    if _is_map(node, value):
        if _atomic(node, {}):
            paths.add(path)
            return
        for name, child in (value or {}).items():
            below = (*path, fieldsets.field(name))
            _collect(child, _field_node(node, name, root=root), below, paths, root=False)
            if child is None or child == {} or not _named(node, name, root=root):
                paths.add(below)
    elif _is_list(node, value):
        if _atomic(node, []):
            paths.add(path)
            return
        for element, items in _indexed(node, value or ()).items():
            below = (*path, element)
            if len(items) == 1:
                _collect(items[0], node.items if node else None, below, paths, root=False)
            paths.add(below)
    else:
        paths.add(path)


@dataclass(frozen=True, slots=True)
class Difference:
    """The fields in which a new object differs from an old one."""

    added: set[FieldPath] = field(default_factory=set)
    removed: set[FieldPath] = field(default_factory=set)
    modified: set[FieldPath] = field(default_factory=set)

    def without(self, ignored: FieldSet) -> Difference:
        """Return the difference without some fields and what is below them."""
        if not ignored:
            return self
        parts = (self.added, self.removed, self.modified)
        return Difference(*(set(fieldsets.without(frozenset(part), ignored)) for part in parts))


def compare(old: Any, new: Any, node: Node | None, *, root: bool = True) -> Difference:
    """Return what changed between two values."""
    result = Difference()
    _compare(old, new, node, (), result, root=root)
    return result


def _compare(old: Any, new: Any, node: Node | None, path: FieldPath, out: Difference, *, root: bool) -> None:
    if old is new or (old is not ABSENT and new is not ABSENT and old == new and json_equal(old, new)):
        return
    leaf = _compare_below(old, new, node, path, out, root=root)
    if not leaf:
        if old is ABSENT:
            out.added.add(path)
        elif new is ABSENT:
            out.removed.add(path)


def _leaf(old: Any, new: Any, path: FieldPath, out: Difference) -> bool:
    if old is ABSENT:
        out.added.add(path)
    elif new is ABSENT:
        out.removed.add(path)
    else:
        out.modified.add(path)
    return True


def _compare_below(
    old: Any, new: Any, node: Node | None, path: FieldPath, out: Difference, *, root: bool
) -> bool:
    """Compare two different values; returns whether they were treated as one field."""
    maps = _is_map(node, old), _is_map(node, new)
    lists = _is_list(node, old), _is_list(node, new)
    if any(maps) and all(is_map or value is ABSENT for is_map, value in zip(maps, (old, new), strict=True)):
        left, right = old or {}, new or {}
        if _atomic(node, {}) or not (left or right):
            return _leaf(old, new, path, out)
        for name in {**left, **right}:
            below = (*path, fieldsets.field(name))
            place = _field_node(node, name, root=root)
            _compare(left.get(name, ABSENT), right.get(name, ABSENT), place, below, out, root=False)
        return False
    if any(lists) and all(
        is_list or value is ABSENT for is_list, value in zip(lists, (old, new), strict=True)
    ):
        left, right = old or [], new or []
        if _atomic(node, []) or not (left or right):
            return _leaf(old, new, path, out)
        _compare_items(_indexed(node, left), _indexed(node, right), node, path, out)
        return False
    if old is not ABSENT and new is not ABSENT and (any(maps) or any(lists)):
        # The type changed: the field as a whole is modified, and what is below either side goes or comes.
        for value, paths in ((old, out.removed), (new, out.added)):
            if isinstance(value, (dict, list)):
                found: set[FieldPath] = set()
                _collect(value, node, path, found, root=False)
                paths |= found - {path}
    return _leaf(old, new, path, out)


def _compare_items(
    old: Mapping[str, list[Any]],
    new: Mapping[str, list[Any]],
    node: Node | None,
    path: FieldPath,
    out: Difference,
) -> None:
    items = node.items if node else None
    for element in {**old, **new}:
        before, after = old.get(element, []), new.get(element, [])
        below = (*path, element)
        if len(before) <= 1 and len(after) <= 1:
            left, right = (each[0] if each else ABSENT for each in (before, after))
            _compare(left, right, items, below, out, root=False)
        elif len(before) > 1 and len(after) > 1:
            if not json_equal(before, after):
                out.modified.add(below)
        elif len(before) > 1:
            if after:
                _compare(ABSENT, after[0], items, below, out, root=False)
            out.removed.add(below)
        else:
            if before:
                _compare(before[0], ABSENT, items, below, out, root=False)
            out.added.add(below)


def merge(live: Any, config: Any, node: Node | None, *, root: bool = True) -> Any:
    """Return ``live`` with everything that ``config`` says, at the granularity of the schema."""
    if live is ABSENT:
        return config
    if isinstance(config, dict) and isinstance(live, dict):
        if _atomic(node, {}) or not (config or live):
            return config
        result = dict(live)
        for name, child in config.items():
            place = _field_node(node, name, root=root)
            result[name] = merge(live.get(name, ABSENT), child, place, root=False)
        return result
    if isinstance(config, list) and isinstance(live, list):
        if _atomic(node, []) or not (config or live):
            return config
        return _merge_items(live, config, node)
    if config is None and isinstance(live, (dict, list)) and live and not _atomic(node, live):
        return live
    return config


def _merge_items(live: list[Any], config: list[Any], node: Node | None) -> list[Any]:
    """Merge lists with named items. The items of ``config`` keep its order; others stay beside their neighbours."""
    items = node.items if node else None
    keyed = [(_element(node, each), each) for each in live]
    theirs = {_element(node, each): each for each in config}
    counts: dict[str | None, int] = {}
    for element, _ in keyed:
        counts[element] = counts.get(element, 0) + 1
    ours = {element: each for element, each in keyed if counts[element] == 1}

    def merged(element: str | None) -> Any:
        return merge(ours.get(element, ABSENT), theirs[element], items, root=False)

    wanted = list(theirs)
    shared = [element for element in wanted if element in counts]
    done: set[str | None] = set()
    out: list[Any] = []
    left = right = 0
    # The same steps in the same order as upstream's mergingWalker.visitListItems, so that orders agree.
    while left < len(keyed) or right < len(wanted):
        if left < len(keyed):
            element, each = keyed[left]
            if right < len(wanted):
                if element == wanted[right]:
                    out.append(merged(element))
                    done.add(element)
                    shared = shared[1:]
                    left, right = left + 1, right + 1
                    continue
                if element in theirs and shared and shared[0] != element:
                    left += 1
                    continue
            if element not in theirs:
                out.append(each)
                left += 1
                continue
            if element in done:
                left += 1
        if right < len(wanted):
            element = wanted[right]
            out.append(merged(element))
            done.add(element)
            right += 1
            if shared and shared[0] == element:
                shared = shared[1:]
    return out


def _tree(paths: Iterable[FieldPath]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in paths:
        branch = tree
        for element in path:
            branch = branch.setdefault(element, {})
        branch[""] = True
    return tree


def remove(value: Any, paths: FieldSet, node: Node | None) -> Any:
    """Return a whole object without these fields. What becomes empty by it goes too."""
    return _remove(value, _tree(paths), node, root=True)


def _remove(value: Any, tree: dict[str, Any], node: Node | None, *, root: bool) -> Any:
    if not tree:
        return value
    if isinstance(value, dict):
        if not value or _atomic(node, {}):
            return ABSENT
        result = {}
        for name, child in value.items():
            branch = tree.get(fieldsets.field(name), {})
            if "" not in branch:
                kept = _remove(child, branch, _field_node(node, name, root=root), root=False)
                if kept is not ABSENT:
                    result[name] = kept
        return result or ABSENT
    if isinstance(value, list):
        if not value or _atomic(node, []):
            return ABSENT
        kept_items = []
        for each in value:
            branch = tree.get(_element(node, each) or "", {})
            if branch is True or "" not in branch:
                kept = (
                    each
                    if branch is True
                    else _remove(each, branch, node.items if node else None, root=False)
                )
                if kept is not ABSENT:
                    kept_items.append(kept)
        return kept_items or ABSENT
    return value


def with_named_parents(paths: FieldSet, node: Node | None) -> FieldSet:
    """Return the set together with the fields around its members that the schema names."""
    result = set(paths)
    done: set[FieldPath] = set()
    for path in paths:
        place, root = node, True
        for length, element in enumerate(path[:-1], 1):
            prefix = path[:length]
            if element.startswith("f:"):
                name = element[2:]
                if prefix not in done and _named(place, name, root=root):
                    result.add(prefix)
                place = _field_node(place, name, root=root)
            else:
                place = place.items if place else None
            done.add(prefix)
            root = False
    return frozenset(result)


def mistakes(value: Any, node: Node | None) -> list[str]:
    """Return why a configuration cannot be applied: unknown fields, items without key, repeated items."""
    found: list[str] = []
    _examine(value, node, (), found, root=True)
    return found


def _examine(value: Any, node: Node | None, path: FieldPath, found: list[str], *, root: bool) -> None:
    if node is None:
        return
    if isinstance(value, dict):
        closed = not node.preserve_unknown and bool(node.properties or root)
        for name, child in value.items():
            below = (*path, fieldsets.field(name))
            place = _field_node(node, name, root=root)
            if place is None and closed:
                found.append(f"{fieldsets.show(below)}: field not declared in schema")
            else:
                _examine(child, place, below, found, root=False)
    elif isinstance(value, list) and not _atomic(node, []):
        seen: set[str] = set()
        for index, each in enumerate(value):
            element = _element(node, each)
            if element is None:
                found.append(f"{fieldsets.show(path)}: {_without_element(node, index, each)}")
                continue
            below = (*path, element)
            if element in seen:
                found.append(
                    f"{fieldsets.show(path)}: duplicate entries for key {fieldsets.show((element,))}"
                )
            seen.add(element)
            _examine(each, node.items, below, found, root=False)
    elif isinstance(value, list) and node.items is not None:
        for index, each in enumerate(value):
            _examine(each, node.items, (*path, f"i:{index}"), found, root=False)


def _without_element(node: Node, index: int, item: Any) -> str:
    if node.list_type == "map":
        if item is None:
            return f"element {index}: associative list with keys may not have a null element"
        if not isinstance(item, dict):
            return f"element {index}: associative list with keys may not have non-map elements"
        keys = " ".join(f'"{key}"' for key in node.list_map_keys)
        return (
            f"element {index}: associative list with keys has an element that omits all key fields [{keys}] "
            "(and doesn't have default values for any key fields)"
        )
    if item is None:
        return f"element {index}: associative list without keys has an element that's an explicit null"
    if isinstance(item, dict):
        return f"element {index}: associative list without keys has an element that's a map type"
    return f"element {index}: not supported: associative list with lists as elements"

"""Strategic merge patches: merge patches that know which lists are sets of named things.

Behaviour is that of ``k8s.io/apimachinery/pkg/util/strategicpatch`` (v0.36): ``$patch``, ``$retainKeys``,
``$deleteFromPrimitiveList`` and ``$setElementOrder``. Which lists merge and by which key comes from a schema's
``x-kubernetes-patch-strategy`` and ``x-kubernetes-patch-merge-key``. Inputs are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hortator.apimachinery.nesting import too_deep
from hortator.apimachinery.patches import PatchError
from hortator.apimachinery.structure import Node

__all__ = ["strategic_merge"]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"

_Object = dict[str, Any]


def strategic_merge(doc: Mapping[str, Any], patch: Any, schema: Node) -> dict[str, Any]:
    """Return ``doc`` with a strategic merge patch applied.

    Raises PatchError: 400 for a malformed directive, 422 for a patch that does not fit the object or its schema.
    """
    if not isinstance(patch, dict):
        raise PatchError.malformed("invalid JSON document")
    if too_deep(patch):
        raise PatchError.nested()
    return _merge_map(dict(doc), patch, schema)


def _merge_map(original: _Object, patch: _Object, schema: Node | None) -> _Object:
    """Merge into ``original``, which belongs to the caller and may be changed (its values may not)."""
    if _PATCH in patch:
        return _directive(patch)
    _check_directives(patch)
    if _RETAIN in patch:
        original = _retain(original, patch)
    ordered = {_directive_field(key): order for key, order in patch.items() if key.startswith(_ORDER)}
    for field, order in ordered.items():
        _merge_ordered(original, patch, field, order, schema)
    for key, value in patch.items():
        if key == _RETAIN or key.startswith(_ORDER) or key in ordered:
            continue
        if key.startswith(_DELETE_FROM):
            _delete_from(original, _directive_field(key), value)
        elif value is None:
            original.pop(key, None)
        else:
            _merge_field(original, key, value, schema)
    return original


def _merge_field(original: _Object, key: str, value: Any, schema: Node | None) -> None:
    old = original.get(key)
    node = schema.field(key) if schema else None
    if isinstance(old, dict) and isinstance(value, dict):
        if node and "replace" in node.patch_strategies:
            original[key] = _plain(value)
        else:
            original[key] = _merge_map(dict(old), value, node)
    elif isinstance(old, list) and isinstance(value, list):
        original[key] = _merge_list(old, value, node)
    elif isinstance(value, dict) and _PATCH in value:
        original.pop(key, None)
    else:
        original[key] = _plain(value)


def _directive(patch: _Object) -> _Object:
    kind = patch[_PATCH]
    if kind == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    if kind == "delete":
        return {}
    raise PatchError.mismatch(f"unknown patch type: {kind} in map: {patch}")


def _check_directives(patch: _Object) -> None:
    for key in patch:
        if key.startswith(_ORDER) and not key.startswith(_ORDER + "/"):
            raise PatchError.malformed("invalid patch format of setElementOrder list")
        if key.startswith(_DELETE_FROM) and not key.startswith(_DELETE_FROM + "/"):
            raise PatchError.malformed("invalid patch format of primitive list")


def _directive_field(key: str) -> str:
    return key.partition("/")[2]


def _retain(original: _Object, patch: _Object) -> _Object:
    keys = patch[_RETAIN]
    if not isinstance(keys, list):
        raise PatchError.malformed("invalid patch format of retainKeys")
    kept = {key for key in keys if isinstance(key, str)}
    for key, value in patch.items():
        if key == _RETAIN or value is None or key.startswith((_DELETE_FROM, _ORDER)):
            continue
        if key not in kept:
            raise PatchError.malformed("invalid patch format of retainKeys")
    return {key: value for key, value in original.items() if key in kept}


def _delete_from(original: _Object, field: str, values: Any) -> None:
    if not isinstance(values, list):
        raise PatchError.malformed("invalid patch format of primitive list")
    old = original.get(field)
    if isinstance(old, list):
        gone = set(map(_identity, values))
        original[field] = [value for value in old if _identity(value) not in gone]


def _plain(value: Any) -> Any:
    """Return a value of a patch as it is stored: without directives and nulls."""
    if isinstance(value, dict):
        return {
            key: _plain(each)
            for key, each in value.items()
            if not key.startswith((_ORDER, _DELETE_FROM))
            and key != _RETAIN
            and each is not None
            and not _marked(each)
        }
    if isinstance(value, list):
        return [_plain(each) for each in value if not _marked(each)]
    return value


def _marked(value: Any) -> bool:
    return isinstance(value, dict) and _PATCH in value


def _identity(value: Any) -> tuple[str, Any]:
    """Return something hashable by which list items are told apart; true is not 1."""
    if isinstance(value, (dict, list)):
        raise PatchError.mismatch("lists of lists are not supported")
    return (type(value).__name__ if isinstance(value, bool) else "", value)


def _keys(items: Iterable[Any], key: str) -> list[tuple[str, Any]]:
    if not key:
        return [_identity(item) for item in items]
    return [_identity(_key_value(item, key)) for item in items]


def _key_value(item: Any, key: str) -> Any:
    if not isinstance(item, dict):
        raise PatchError.mismatch("list element types are not identical")
    if key not in item:
        raise PatchError.mismatch(f"map: {item} does not contain declared merge key: {key}")
    return item[key]


def _merge_list(old: list[Any], new: list[Any], node: Node | None) -> list[Any]:
    if node is None or "merge" not in node.patch_strategies:
        return [_plain(item) for item in new if not _marked(item)]
    if not old and not new:
        return old
    objects = [isinstance(item, dict) for item in (*old, *new)]
    if any(objects) != all(objects):
        raise PatchError.mismatch("list element types are not identical")
    if not objects[0]:
        merged = list({_identity(item): item for item in (*old, *new)}.values())
        return _arrange(merged, _keys(new, ""), _keys(old, ""), "")
    key = node.patch_merge_key
    if not key:
        raise PatchError.mismatch("cannot merge lists without merge key")
    merged, plain = _merge_objects(old, new, node, key)
    return _arrange(merged, _keys(plain, key), _keys(old, key), key)


def _merge_objects(old: list[Any], new: list[Any], node: Node, key: str) -> tuple[list[Any], list[Any]]:
    """Return the merged items (kept order: old, then new) and the patch's items without directives."""
    plain, replace, gone = [], False, set()
    for item in new:
        kind = item.get(_PATCH)
        if _PATCH not in item:
            plain.append(item)
        elif kind == "delete":
            gone.add(_identity(_key_value(item, key)))
        elif kind == "replace":
            replace = True
        elif kind == "merge":
            raise PatchError.mismatch("merging lists cannot yet be specified in the patch")
        else:
            raise PatchError.mismatch(f"unknown patch type: {kind} in map: {item}")
    if replace:
        return [_plain(item) for item in plain], []
    positions: dict[tuple[str, Any], int] = {}
    merged: list[Any] = []
    for item in old:
        identity = _identity(_key_value(item, key))
        if identity not in gone:
            positions.setdefault(identity, len(merged))
            merged.append(item)
    for item in plain:
        identity = _identity(_key_value(item, key))
        position = positions.get(identity)
        if position is None:
            positions[identity] = len(merged)
            merged.append(_plain(item))
        else:
            merged[position] = _merge_map(dict(merged[position]), item, node.items)
    return merged, plain


def _merge_ordered(original: _Object, patch: _Object, field: str, order: Any, schema: Node | None) -> None:
    """Merge a list for which the patch also gives the order of all items that its author knows."""
    if not isinstance(order, list):
        raise PatchError.malformed("invalid patch format of setElementOrder list")
    old, new = original.get(field), patch.get(field)
    for value in (old, new):
        if value is not None and not isinstance(value, list):
            raise PatchError.mismatch(f"expected a list in {field}")
    node = schema.field(field) if schema else None
    key = node.patch_merge_key if node else ""
    wanted = _keys(order, key)
    if new and order:
        named = _keys((item for item in new if not _marked(item)), key)
        remaining = iter(wanted)
        if not all(any(each == other for other in remaining) for each in named):
            raise PatchError.mismatch(f"The order in patch list doesn't match {_ORDER} list")
    if old is None and new is None:
        return
    if new is None:
        merged = list(old or ())
    elif old is None:
        merged = [_plain(item) for item in new if not _marked(item)]
    else:
        merged = _merge_list(old, new, node)
    original[field] = _arrange(merged, wanted, _keys(old or (), key), key)


def _arrange(
    items: list[Any], wanted: list[tuple[str, Any]], live: list[tuple[str, Any]], key: str
) -> list[Any]:
    """Order items: those of the patch as ``wanted`` says, the others between them as they were in ``live``."""
    place = {identity: index for index, identity in reversed(list(enumerate(wanted)))}
    before = {identity: index for index, identity in reversed(list(enumerate(live)))}
    keyed = list(zip(_keys(items, key), items, strict=True))
    patched = sorted((each for each in keyed if each[0] in place), key=lambda each: place[each[0]])
    others = sorted(
        (each for each in keyed if each[0] not in place), key=lambda each: before.get(each[0], len(live))
    )
    result, index = [], 0
    for identity, item in patched:
        bound = before.get(identity)
        while bound is not None and index < len(others) and before.get(others[index][0], bound) < bound:
            result.append(others[index][1])
            index += 1
        result.append(item)
    return result + [item for _, item in others[index:]]

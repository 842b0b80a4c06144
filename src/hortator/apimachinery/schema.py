"""Structural schemas: what an object must look like, which fields are unknown, what is filled in.

A :class:`Schema` is made from the schema of a CustomResourceDefinition or of a published API and answers in the order
in which an API server asks: prune, fill in defaults, validate. Nothing is compiled before the first value of that
shape comes. Values are never changed: results share with them whatever stayed the same, and share default values with
the schema, so treat them as frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery import fielderrors as fe
from hortator.apimachinery.fielderrors import FieldError, Path
from hortator.apimachinery.nesting import MAXIMUM_DEPTH, too_deep
from hortator.apimachinery.patches import json_equal
from hortator.apimachinery.structure import Node, Resolve, SchemaError
from hortator.apimachinery.validation import META_FIELDS, CheckedNode, Findings, Place

__all__ = ["Checked", "Schema", "SchemaError", "compile_schema"]


@dataclass(frozen=True, slots=True)
class Checked:
    """An object that went through a schema: as it is to be stored, its unknown fields, what is wrong with it."""

    obj: dict[str, Any]
    unknown: tuple[str, ...]
    errors: tuple[FieldError, ...]


class Schema(CheckedNode):
    """The schema of a whole object, and of every place in it (see :class:`Node` for what a place knows)."""

    def check(self, obj: dict[str, Any], *, old: Mapping[str, Any] | None = None) -> Checked:
        """Prune, fill in defaults and validate in one go."""
        if too_deep(obj):
            return Checked(obj, (), (_nested(Path()),))
        pruned, unknown = self.prune(obj)
        filled = self.default(pruned)
        return Checked(filled, tuple(unknown), tuple(self.validate(filled, old=old)))

    def validate(
        self,
        obj: Any,
        path: Path | None = None,
        *,
        old: Mapping[str, Any] | None = None,
    ) -> list[FieldError]:
        """Return what is wrong with a value; ``path`` is where it stands.

        With ``old``, the value that it replaces, errors of parts that did not change are left out (upstream's
        ratcheting, on since Kubernetes 1.33), and rules that compare with the old value are evaluated.
        """
        path = path or Path()
        if too_deep(obj):
            return [_nested(path)]
        found: Findings = []
        self.examine(obj, None, found)
        if found and old is not None:
            found = [each for each in found if not self.unchanged(each[0], obj, old)]
        errors = [error for _, error in found]
        if self.has_rules:
            from hortator.apimachinery import rules  # late: only schemas with rules need CEL

            errors += rules.evaluate(self, obj, old, errors)
        return [_below(path, error) for error in errors]

    def prune(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the object without the fields that the schema does not know, and the paths of these, sorted.

        The object's own ``apiVersion``, ``kind`` and ``metadata`` stay; metadata is pruned where the schema
        describes it.
        """
        unknown: list[str] = []
        pruned: dict[str, Any] = _prune(self, obj, "", unknown, whole=True)
        return pruned, sorted(unknown)

    def default(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Return the object with defaults filled in.

        A null where null is not allowed is replaced by the default, or removed when there is none (upstream's rule).
        """
        result: dict[str, Any] = _fill(self, obj)
        return result

    def unchanged(self, place: Place, new: Any, old: Any) -> bool:
        """Say whether the place, or one around it, has the value that it had (by list keys where there are any)."""
        steps = []
        while place is not None:
            place, step = place
            steps.append(step)
        node: Node | None = self
        while True:
            if json_equal(new, old):
                return True
            if not steps or node is None:
                return False
            step = steps.pop()
            old = correlate(node, new, old, step)
            if isinstance(step, int):
                new, node = new[step], node.items
            else:
                name = step if isinstance(step, str) else step[0]
                new, node = new.get(name), node.field(name)
            if old is None or new is None:
                return False


def compile_schema(raw: Mapping[str, Any], resolve: Resolve | None = None) -> Schema:
    """Make a schema from its JSON; ``resolve`` gives the target of a ``$ref``.

    Costs nothing: parts are compiled when a value first reaches them; they then raise SchemaError if they cannot be.
    """
    return Schema(raw, resolve)


def correlate(node: Node, new: Any, old: Any, step: str | tuple[str] | int) -> Any:
    """Return the old value of a child, or None when there is none or it cannot be told which it was.

    Fields correspond by name, items of a list only when it is a list map (upstream's CorrelatedObject).
    """
    if not isinstance(step, int):
        return old.get(step if isinstance(step, str) else step[0]) if isinstance(old, dict) else None
    if node.list_type != "map" or not isinstance(old, list) or not isinstance(new[step], dict):
        return None
    wanted = [new[step].get(key) for key in node.list_map_keys]
    for item in old:
        if isinstance(item, dict) and [item.get(key) for key in node.list_map_keys] == wanted:
            return item
    return None


def _nested(path: Path) -> FieldError:
    return fe.invalid(path, "", f"lists and maps are nested more than {MAXIMUM_DEPTH} levels deep")


def _below(path: Path, error: FieldError) -> FieldError:
    if not path.text:
        return error
    text = error.path.text
    joined = path.text + text if text.startswith("[") else f"{path.text}.{text}" if text else path.text
    return FieldError(error.kind, Path(joined), error.value, error.detail)


def _prune(node: Node | None, value: Any, path: str, unknown: list[str], *, whole: bool = False) -> Any:
    if isinstance(value, dict):
        return _prune_object(node, value, path, unknown, whole=whole)
    if isinstance(value, list):
        items = node.items if node else None
        if node is not None and node.preserve_unknown and items is None:
            return value
        pruned = [_prune(items, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
        return pruned if any(a is not b for a, b in zip(pruned, value, strict=True)) else value
    return value


def _prune_object(
    node: Node | None, value: dict[str, Any], path: str, unknown: list[str], *, whole: bool
) -> Any:
    keep = node is not None and node.preserve_unknown
    if node is not None and keep and not node.properties and node.additional is None:
        return value
    whole = whole or (node is not None and node.embedded)
    result, changed = {}, False
    for key, child in value.items():
        place = node.field(key) if node else None
        if whole and key in META_FIELDS and not (place and place.properties):
            result[key] = child
        elif place is not None:
            pruned = _prune(place, child, f"{path}.{key}" if path else key, unknown)
            changed = changed or pruned is not child
            result[key] = pruned
        elif keep:
            result[key] = child
        else:
            unknown.append(f"{path}.{key}" if path else key)
            changed = True
    return result if changed else value


def _fill(node: Node | None, value: Any) -> Any:
    if node is None:
        return value
    if isinstance(value, dict):
        return _fill_object(node, value)
    if isinstance(value, list) and (items := node.items) is not None:
        default = items.raw.get("default")
        spared = default is None or items.nullable
        filled = [_fill(items, default if item is None and not spared else item) for item in value]
        return filled if any(a is not b for a, b in zip(filled, value, strict=True)) else value
    return value


def _fill_object(node: Node, value: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] | None = None
    for key, child in value.items():
        place = node.field(key)
        if place is None:
            continue
        filled = child
        if child is None and not place.nullable and place.type:
            filled = place.raw.get("default")
            if filled is None:
                result = dict(value) if result is None else result
                del result[key]
                continue
        filled = _fill(place, filled)
        if filled is not child:
            result = dict(value) if result is None else result
            result[key] = filled
    for key in node.defaulted:
        if key not in value:
            place = node.property(key)
            result = dict(value) if result is None else result
            result[key] = _fill(place, place.raw["default"]) if place else None
    return value if result is None else result

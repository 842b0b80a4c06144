"""Checking a value against a schema node: types, bounds, patterns, alternatives, uniqueness.

Sentences are those of a Kubernetes 1.36 API server for custom resources. Patterns run on RE2, so that no pattern of a
user's can take more than linear time. Rules in CEL are left to :mod:`hortator.apimachinery.rules`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

from hortator.apimachinery import fielderrors as fe
from hortator.apimachinery.fielderrors import FieldError, Path
from hortator.apimachinery.formats import format_check
from hortator.apimachinery.patterns import InvalidPattern, compile_pattern
from hortator.apimachinery.structure import Node, SchemaError

__all__ = ["CheckedNode", "Finding", "Place", "render"]

#: Where a value stands: the place around it, then a field's name, a map's key (in a 1-tuple), or an index.
Place = tuple[Any, str | tuple[str] | int] | None
#: An error, and the place of the value that was being checked.
Finding = tuple[Place, FieldError]
Findings = list[Finding]
_Check = Callable[[Any, Place, Findings], None]

META_FIELDS = ("apiVersion", "kind", "metadata")
_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_INTEGER_BOUNDS = {"int32": 2**31, "int64": 2**63}


def render(place: Place, base: Path, *, keys: bool = False) -> Path:
    """Write a place as a path. Map keys get brackets when ``keys``, else they look like fields, as upstream does."""
    parts: list[str | tuple[str] | int] = []
    while place is not None:
        place, part = place
        parts.append(part)
    for part in reversed(parts):
        if isinstance(part, int):
            base = base.index(part)
        elif isinstance(part, tuple):
            base = base.key(part[0]) if keys else base.child(part[0])
        else:
            base = base.child(part)
    return base


def _in_body(place: Place) -> str:
    path = render(place, Path())
    return f"{path.text} in body" if path.text else " in body"


def _search(expression: str) -> Callable[[str], Any]:
    try:
        search: Callable[[str], Any] = compile_pattern(expression).search
    except InvalidPattern as error:
        raise SchemaError(f"pattern {expression!r} cannot be compiled: {error}") from error
    return search


class CheckedNode(Node):
    """A node that can check values. Everything that a schema says is prepared once, on first use."""

    def examine(self, value: Any, place: Place, out: Findings) -> None:
        """Check a value and everything below it; what is wrong goes to ``out``."""
        kind = _KINDS.get(type(value), "")
        types = self.types
        if types and kind not in types:
            if kind == "null":
                if self.nullable:
                    return
            elif kind == "number" and "integer" in types and value.is_integer():
                kind = "integer"
            if kind not in types and not (kind == "integer" and "number" in types):
                shown = ",".join(types)
                detail = f"{_in_body(place)} must be of type {shown}: {json.dumps(kind)}"
                out.append((place, fe.type_invalid(render(place, Path()), kind, detail)))
        if kind != "null":
            for check in self.compound_checks:
                check(value, place, out)
        if kind == "object":
            self._check_object(value, place, out)
        elif kind == "array":
            self._check_list(value, place, out)
        elif kind == "string":
            for check in self.string_checks:
                check(value, place, out)
        elif kind in ("integer", "number"):
            for check in self.number_checks:
                check(value, place, out)
        if self.enum is not None and not self._allowed(value):
            allowed = [each if isinstance(each, str) else json.dumps(each) for each in self.raw["enum"]]
            out.append((place, fe.not_supported(render(place, Path()), value, allowed)))

    def _allowed(self, value: Any) -> bool:
        if isinstance(value, (dict, list)):
            return any(each == value for each in self.raw["enum"])
        return self.enum is not None and (isinstance(value, bool), value) in self.enum

    def _check_object(self, value: dict[str, Any], place: Place, out: Findings) -> None:
        for check in self.object_checks:
            check(value, place, out)
        additional = self.additional
        forbidden = self.raw.get("additionalProperties") is False
        for key, child in value.items():
            node = self.property(key)
            if node is not None:
                node.examine(child, (place, key), out)
            elif additional is not None:
                additional.examine(child, (place, (key,)), out)
            elif forbidden:
                name = render((place, key), Path())
                detail = f"{name} in body is a forbidden property"
                out.append((place, fe.invalid(render(place, Path()), "", detail)))
        for key in self.raw.get("required") or ():
            if key not in value:
                out.append((place, fe.required(render((place, key), Path()))))
        if self.embedded:
            for key in ("apiVersion", "kind"):
                if not value.get(key):
                    out.append((place, fe.required(render((place, key), Path()), "must not be empty")))

    def _check_list(self, value: list[Any], place: Place, out: Findings) -> None:
        for check in self.list_checks:
            check(value, place, out)
        items = self.items
        if items is not None:
            for index, item in enumerate(value):
                items.examine(item, (place, index), out)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types that a value may have; empty for any. An int-or-string has two."""
        if self.raw.get("x-kubernetes-int-or-string"):
            return ("integer", "string")
        kind = self.raw.get("type")
        return (kind,) if isinstance(kind, str) else tuple(kind or ())

    @cached_property
    def enum(self) -> frozenset[tuple[bool, Any]] | None:
        """The scalar values that are allowed, or None when any is."""
        values = self.raw.get("enum")
        if not isinstance(values, list):
            return None
        return frozenset(
            (isinstance(each, bool), each) for each in values if not isinstance(each, (dict, list))
        )

    @cached_property
    def string_checks(self) -> tuple[_Check, ...]:
        """What text must fulfil."""
        raw, checks = self.raw, []
        if (maximum := raw.get("maxLength")) is not None:
            checks.append(_max_length(maximum))
        if (minimum := raw.get("minLength")) is not None:
            checks.append(_limit(lambda value: len(value) >= minimum, f"at least {minimum} chars long"))
        if expression := raw.get("pattern"):
            search = _search(expression)
            detail = f"should match '{expression}'"
            checks.append(_rule(lambda value: search(value) is not None, detail))
        name = raw.get("format")
        numeric = {"integer", "number"} & set(self.types)
        if isinstance(name, str) and not numeric and (check := format_check(name)):
            checks.append(_format(name, check))
        return tuple(checks)

    @cached_property
    def number_checks(self) -> tuple[_Check, ...]:
        """What numbers must fulfil."""
        raw, checks = self.raw, []
        if (maximum := raw.get("maximum")) is not None:
            if raw.get("exclusiveMaximum"):
                checks.append(_limit(lambda value: value < maximum, f"less than {_shown(maximum)}"))
            else:
                words = f"less than or equal to {_shown(maximum)}"
                checks.append(_limit(lambda value: value <= maximum, words))
        if (minimum := raw.get("minimum")) is not None:
            if raw.get("exclusiveMinimum"):
                checks.append(_limit(lambda value: value > minimum, f"greater than {_shown(minimum)}"))
            else:
                words = f"greater than or equal to {_shown(minimum)}"
                checks.append(_limit(lambda value: value >= minimum, words))
        if factor := raw.get("multipleOf"):
            checks.append(_limit(lambda value: _multiple(value, factor), f"a multiple of {_shown(factor)}"))
        bound = _INTEGER_BOUNDS.get(raw.get("format") or "")
        if bound is not None and self.types == ("integer",):
            words = f"must be of type integer with format {raw['format']}"
            checks.append(_rule(lambda value: -bound <= value < bound, words))
        elif "integer" in self.types:
            checks.append(
                _rule(lambda value: -(2**63) <= value < 2**63, "must be of type integer with format int64")
            )
        return tuple(checks)

    @cached_property
    def list_checks(self) -> tuple[_Check, ...]:
        """What lists must fulfil as a whole."""
        raw, checks = self.raw, []
        if (minimum := raw.get("minItems")) is not None:
            words = f"should have at least {minimum} items"
            checks.append(_counted(lambda value: len(value) >= minimum, words))
        if (maximum := raw.get("maxItems")) is not None:
            checks.append(_too_many(maximum))
        if raw.get("uniqueItems"):
            checks.append(_rule(lambda value: not _repeated(value), "shouldn't contain duplicates"))
        if self.list_type == "set":
            checks.append(_unique_set)
        elif self.list_type == "map":
            checks.append(_unique_map(self.list_map_keys))
        return tuple(checks)

    @cached_property
    def object_checks(self) -> tuple[_Check, ...]:
        """What objects must fulfil as a whole."""
        raw, checks = self.raw, []
        if (minimum := raw.get("minProperties")) is not None:
            words = f"should have at least {minimum} properties"
            checks.append(_counted(lambda value: len(value) >= minimum, words))
        if (maximum := raw.get("maxProperties")) is not None:
            checks.append(_too_many(maximum))
        return tuple(checks)

    @cached_property
    def compound_checks(self) -> tuple[_Check, ...]:
        """What the schemas combined in anyOf, oneOf, allOf and not ask for."""
        raw, checks = self.raw, []
        if alternatives := raw.get("anyOf"):
            checks.append(_any_of([self.child(each) for each in alternatives]))
        if alternatives := raw.get("oneOf"):
            checks.append(_one_of([self.child(each) for each in alternatives]))
        if parts := raw.get("allOf"):
            checks.append(_all_of([self.child(each) for each in parts]))
        if isinstance(raw.get("not"), Mapping):
            checks.append(_not(self.child(raw["not"])))
        return tuple(checks)


def _shown(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _multiple(value: float, factor: float) -> bool:
    try:
        return Decimal(str(value)) % Decimal(str(factor)) == 0
    except InvalidOperation:
        return False


def _rule(holds: Callable[[Any], bool], words: str) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        if not holds(value):
            out.append((place, fe.invalid(render(place, Path()), value, f"{_in_body(place)} {words}")))

    return check


def _limit(holds: Callable[[Any], bool], words: str) -> _Check:
    return _rule(holds, f"should be {words}")


def _counted(holds: Callable[[Any], bool], words: str) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        if not holds(value):
            out.append((place, fe.invalid(render(place, Path()), len(value), f"{_in_body(place)} {words}")))

    return check


def _too_many(maximum: int) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        if len(value) > maximum:
            out.append((place, fe.too_many(render(place, Path()), len(value), maximum)))

    return check


def _max_length(maximum: int) -> _Check:
    def check(value: str, place: Place, out: Findings) -> None:
        if len(value) > maximum:
            out.append((place, fe.too_long(render(place, Path()), maximum)))

    return check


def _format(name: str, holds: Callable[[str], bool]) -> _Check:
    def check(value: str, place: Place, out: Findings) -> None:
        if not holds(value):
            detail = f"{_in_body(place)} must be of type {name}: {fe.go_quote(value)}"
            out.append((place, fe.type_invalid(render(place, Path()), value, detail)))

    return check


def _identity(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True)
    return (isinstance(value, bool), value)


def _repeated(values: list[Any]) -> list[int]:
    """Return the index of the second occurrence of each value that occurs again."""
    seen: dict[Any, int] = {}
    result = []
    for index, value in enumerate(values):
        identity = _identity(value)
        seen[identity] = seen.get(identity, 0) + 1
        if seen[identity] == 2:
            result.append(index)
    return result


def _unique_set(value: list[Any], place: Place, out: Findings) -> None:
    for index in _repeated(value):
        out.append((place, fe.duplicate(render((place, index), Path(), keys=True), value[index])))


def _unique_map(keys: tuple[str, ...]) -> _Check:
    def check(value: list[Any], place: Place, out: Findings) -> None:
        found = []
        for index, item in enumerate(value):
            if item is not None and not isinstance(item, dict):
                detail = "must be an object for an array of list-type map"
                out.append((place, fe.invalid(render((place, index), Path(), keys=True), item, detail)))
                return
            found.append({key: item[key] for key in keys if key in item} if item else {})
        for index in _repeated(found):
            out.append((place, fe.duplicate(render((place, index), Path(), keys=True), found[index])))

    return check


def _quoted(place: Place) -> str:
    return fe.go_quote(render(place, Path()).text)


def _outcome(node: CheckedNode, value: Any, place: Place) -> Findings:
    out: Findings = []
    node.examine(value, place, out)
    return out


def _composite(place: Place, words: str) -> Finding:
    return place, fe.invalid(Path(), "", f"{_quoted(place)} {words}")


def _any_of(nodes: list[CheckedNode]) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        best: Findings | None = None
        for node in nodes:
            found = _outcome(node, value, place)
            if not found:
                return
            best = found if best is None or len(found) < len(best) else best
        out.append(_composite(place, "must validate at least one schema (anyOf)"))
        out.extend(best or ())

    return check


def _one_of(nodes: list[CheckedNode]) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        outcomes = [_outcome(node, value, place) for node in nodes]
        valid = sum(not found for found in outcomes)
        if valid == 1:
            return
        words = "Found none valid" if not valid else f"Found {valid} valid alternatives"
        out.append(_composite(place, f"must validate one and only one schema (oneOf). {words}"))
        if not valid:
            fewest: Findings = min(outcomes, key=len)
            out.extend(fewest)

    return check


def _all_of(nodes: list[CheckedNode]) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        outcomes = [_outcome(node, value, place) for node in nodes]
        for found in outcomes:
            out.extend(found)
        if any(outcomes):
            words = "" if not all(outcomes) else ". None validated"
            out.append(_composite(place, f"must validate all the schemas (allOf){words}"))

    return check


def _not(node: CheckedNode) -> _Check:
    def check(value: Any, place: Place, out: Findings) -> None:
        if not _outcome(node, value, place):
            out.append(_composite(place, "must not validate the schema (not)"))

    return check

"""Rules in CEL on the values of a schema (``x-kubernetes-validations``).

Which rules run, in which order, and what they say follows ``k8s.io/apiextensions-apiserver`` (v0.36): transition rules
run where there is an old value to compare with, failures of rules on values that did not change are left out, and
all rules on one object share a budget. The language is in :mod:`hortator.apimachinery.cel`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hortator.apimachinery import fielderrors as fe
from hortator.apimachinery.cel import STEPS_PER_CALL, CelBudgetError, CelError, Meter, Rule, compile_rule
from hortator.apimachinery.cel_values import Duration, MapList, Optional, SetList, Timestamp
from hortator.apimachinery.fielderrors import ErrorKind, FieldError, Path
from hortator.apimachinery.formats import parse_duration
from hortator.apimachinery.structure import Node
from hortator.apimachinery.validation import Place, render

if TYPE_CHECKING:
    from hortator.apimachinery.schema import Schema

__all__ = ["check_rules", "evaluate", "to_cel"]

#: Steps that all rules on one object may take together.
STEPS_PER_OBJECT = 3_000_000
#: Characters of a message that an expression may make.
LONGEST_MESSAGE = 5 * 1024

#: Errors after which rules are not run, because what they assume of values does not hold.
_BLOCKING = frozenset(
    (
        ErrorKind.NOT_SUPPORTED,
        ErrorKind.REQUIRED,
        ErrorKind.TOO_LONG,
        ErrorKind.TOO_MANY,
        ErrorKind.TYPE_INVALID,
    )
)
_NOT_CHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
_OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Rule:
    return compile_rule(text)


def evaluate(
    schema: Schema, obj: Any, old: Mapping[str, Any] | None, errors: Sequence[FieldError]
) -> list[FieldError]:
    """Return the failures of all rules on an object; ``errors`` are those that the schema itself found."""
    if any(error.kind in _BLOCKING for error in errors):
        return [fe.invalid(Path(), None, _NOT_CHECKED)]
    run = _Run(schema, obj, old)
    try:
        run.visit(schema, obj, old, None)
    except _Exhausted as exhausted:
        run.errors.append(exhausted.error)
    return run.errors


class _Exhausted(Exception):
    """The budget is used up; carries what to report."""

    def __init__(self, error: FieldError):
        super().__init__(str(error))
        self.error = error


class _Run:
    """The evaluation of all rules on one object."""

    def __init__(self, schema: Schema, obj: Any, old: Any):
        self.schema = schema
        self.obj = obj
        self.old = old
        self.left = STEPS_PER_OBJECT
        self.errors: list[FieldError] = []

    def visit(self, node: Node, value: Any, old: Any, place: Place) -> None:
        if value is None or not node.has_rules:
            return
        if node.rules:
            self.apply(node, value, old, place)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for key, child in value.items():
                below = node.property(key)
                if below is not None:
                    self.visit(below, child, before.get(key), (place, key))
                elif node.additional is not None:
                    self.visit(node.additional, child, before.get(key), (place, (key,)))
        elif isinstance(value, list) and node.items is not None and node.items.has_rules:
            previous = _by_keys(node, old)
            for index, child in enumerate(value):
                self.visit(node.items, child, previous.get(_identity(node, child)), (place, index))

    def apply(self, node: Node, value: Any, old: Any, place: Place) -> None:
        current = to_cel(value, node)
        before = None if old is None else to_cel(old, node)
        for rule in node.rules:
            self.apply_rule(rule, node, value, current, before, place)

    def apply_rule(
        self, rule: Mapping[str, Any], node: Node, value: Any, current: Any, before: Any, place: Place
    ) -> None:
        path = render(place, Path(), keys=True)
        text = str(rule.get("rule") or "")
        if not text.strip():
            return
        kind = node.type
        shown = str(rule.get("message") or text).strip()
        try:
            compiled = _compiled(text)
        except CelError as error:
            self.errors.append(fe.invalid(path, kind, f"rule compile error: {error}"))
            return
        variables = {"self": current}
        if rule.get("optionalOldSelf"):
            variables["oldSelf"] = Optional() if before is None else Optional(True, before)
        elif before is not None:
            variables["oldSelf"] = before
        elif compiled.uses_old_self:
            return
        try:
            outcome = self.run(compiled, variables, path, kind)
        except CelBudgetError as error:
            words = (
                f"no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
            )
            raise _Exhausted(fe.invalid(path, kind, f"'{error}': {words}")) from error
        except CelError as error:
            if str(error).startswith("no such overload"):
                words = (
                    "call arguments did not match a supported operator, function or macro signature for rule"
                )
                self.errors.append(fe.invalid(path, kind, f"'{error}': {words}: {shown}"))
            else:
                self.errors.append(fe.invalid(path, kind, f"{error} evaluating rule: {shown}"))
            return
        if outcome is True:
            return
        if (
            not compiled.uses_old_self
            and self.old is not None
            and self.schema.unchanged(place, self.obj, self.old)
        ):
            return
        detail = self.message(rule, variables, path, kind)
        self.errors.append(_failure(rule, _field_path(path, rule), value, detail))

    def run(self, rule: Rule, variables: Mapping[str, Any], path: Path, kind: str) -> Any:
        if self.left <= 0:
            raise _Exhausted(fe.invalid(path, kind, _OUT_OF_BUDGET))
        allowed = min(STEPS_PER_CALL, self.left)
        meter = Meter(allowed)
        try:
            return rule.evaluate(meter=meter, **variables)
        finally:
            # Every evaluation costs its text, so that many small ones count too.
            self.left -= allowed - max(0, meter.left) + 1 + len(rule.text) // 8

    def message(self, rule: Mapping[str, Any], variables: Mapping[str, Any], path: Path, kind: str) -> str:
        """Return what to say about a failed rule. An expression that gives no message falls back to the fixed one."""
        fixed = str(rule.get("message") or f"failed rule: {str(rule.get('rule')).strip()}").strip()
        text = str(rule.get("messageExpression") or "")
        if not text:
            return fixed
        try:
            made = self.run(_compiled(text), variables, path, kind)
        except CelBudgetError as error:
            words = "messageExpression evaluation failed due to running out of cost budget"
            detail = f"{words}, no further validation rules will be run"
            raise _Exhausted(fe.invalid(path, kind, detail)) from error
        except CelError:
            return fixed
        made = made.strip() if isinstance(made, str) else ""
        return made if made and "\n" not in made and len(made) <= LONGEST_MESSAGE else fixed


_REASONS = {
    "FieldValueForbidden": ErrorKind.FORBIDDEN,
    "FieldValueRequired": ErrorKind.REQUIRED,
    "FieldValueDuplicate": ErrorKind.DUPLICATE,
}


def _failure(rule: Mapping[str, Any], path: Path, value: Any, detail: str) -> FieldError:
    kind = _REASONS.get(str(rule.get("reason") or ""), ErrorKind.INVALID)
    shown = fe.OMITTED if isinstance(value, (dict, list)) else value
    return FieldError(kind, path, shown, detail)


_PATH_PART = re.compile(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\.)*)'\]")


def _field_path(path: Path, rule: Mapping[str, Any]) -> Path:
    for name, key in _PATH_PART.findall(str(rule.get("fieldPath") or "")):
        path = path.child(name) if name else path.child(re.sub(r"\\(.)", r"\1", key))
    return path


def _identity(node: Node, item: Any) -> str:
    """Return what tells an item of a list map apart; "" for items that do not correspond to old ones."""
    if node.list_type != "map" or not isinstance(item, dict):
        return ""
    return repr([item.get(key) for key in node.list_map_keys])


def _by_keys(node: Node, old: Any) -> dict[str, Any]:
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    found = {_identity(node, item): item for item in old}
    found.pop("", None)
    return found


def to_cel(value: Any, node: Node | None) -> Any:
    """Return a value as expressions see it: times, durations, bytes and doubles by the schema's formats."""
    if node is None or value is None:
        return value
    if isinstance(value, dict):
        converted = {key: to_cel(child, node.field(key)) for key, child in value.items()}
        return converted if any(converted[key] is not child for key, child in value.items()) else value
    if isinstance(value, list):
        items = [to_cel(child, node.items) for child in value]
        if node.list_type == "set":
            return SetList(items)
        if node.list_type == "map":
            return MapList(items, node.list_map_keys)
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, str):
        return _from_text(value, str(node.raw.get("format") or ""))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if node.type == "number":
            return float(value)
        if node.type == "integer":
            return int(value)
    return value


def _from_text(text: str, name: str) -> Any:
    try:
        if name in ("date-time", "datetime"):
            return _timestamp(text)
        if name == "date":
            return _timestamp(f"{text}T00:00:00Z")
        if name == "duration":
            return Duration(parse_duration(text))
        if name == "byte":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        # The schema's own check of the format has reported it.
        return text
    return text


def _timestamp(text: str) -> Timestamp:
    made: Timestamp = compile_rule("timestamp(self)").evaluate(self=text)
    return made


def check_rules(schema: Node, path: Path) -> list[FieldError]:
    """Return what is wrong with the rules of a schema itself; ``path`` is where the schema stands."""
    errors: list[FieldError] = []
    _check(schema.raw, path, errors)
    return errors


def _check(raw: Any, path: Path, errors: list[FieldError]) -> None:
    if not isinstance(raw, Mapping):
        return
    for index, rule in enumerate(raw.get("x-kubernetes-validations") or ()):
        place = path.child("x-kubernetes-validations").index(index)
        text = str(rule.get("rule") or "")
        if not text.strip():
            errors.append(fe.required(place.child("rule"), "rule is not specified"))
        else:
            _check_expression(text, "bool", place.child("rule"), errors, rule)
        if message := rule.get("messageExpression"):
            _check_expression(str(message), "string", place.child("messageExpression"), errors, rule)
    for name, child in (raw.get("properties") or {}).items():
        _check(child, path.child("properties").key(name), errors)
    _check(raw.get("items"), path.child("items"), errors)
    _check(raw.get("additionalProperties"), path.child("additionalProperties"), errors)
    for index, child in enumerate(raw.get("allOf") or ()):
        _check(child, path.child("allOf").index(index), errors)


def _check_expression(
    text: str, wanted: str, path: Path, errors: list[FieldError], rule: Mapping[str, Any]
) -> None:
    try:
        compiled = _compiled(text)
    except CelError as error:
        errors.append(fe.invalid(path, dict(rule), f"compilation failed: {error}"))
        return
    if compiled.result_type not in ("", wanted):
        kind = "rule" if wanted == "bool" else "messageExpression"
        detail = f"{kind} expression must evaluate to a {wanted}"
        errors.append(fe.invalid(path, dict(rule), f"compilation failed: {detail}"))

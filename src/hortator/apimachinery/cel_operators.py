"""The operators of CEL, and access to fields, items and optional values.

Each operator takes its compiled operands and returns what runs. Which operator stands where is left to
:mod:`hortator.apimachinery.cel`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hortator.apimachinery.cel_library import to_int
from hortator.apimachinery.cel_values import (
    CelBudgetError,
    CelError,
    Duration,
    MapList,
    Meter,
    Optional,
    SetList,
    Timestamp,
    UInt,
    compare,
    equal,
    no_overload,
)

__all__ = ["METER", "OPERATORS", "Env", "Run", "entry", "has", "member", "optional_entry", "truth"]

#: The variables of an evaluation, and its meter.
Env = dict[str, Any]
Run = Callable[[Env], Any]
#: The entry of an environment that holds the meter; no variable can be called so.
METER = ""

_ESCAPED = re.compile(r"__([^_]+)__")
_UNESCAPED = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}


def _unescape(name: str) -> str:
    """Return the field that an escaped identifier stands for (``foo__dash__bar``, ``__namespace__``)."""
    whole = re.fullmatch(r"__([a-z]+)__", name)
    if whole and whole[1] not in _UNESCAPED:
        return whole[1]
    return _ESCAPED.sub(lambda match: _UNESCAPED.get(match[1], match[0]), name)


def member(value: Any, name: str) -> Any:
    """Return ``value.name``, where a name may be escaped. Raises CelError."""
    if isinstance(value, Optional):
        return optional_entry(value, name)
    if not isinstance(value, dict):
        raise no_overload(value)
    if name in value:
        return value[name]
    if "__" in name and (field := _unescape(name)) in value:
        return value[field]
    raise CelError(f"no such key: {name}")


def has(value: Any, name: str) -> bool:
    """Say whether an object has a field; one that is null is there. Raises CelError for what is no object."""
    if isinstance(value, Optional):
        return value.present and has(value.value, name)
    if not isinstance(value, dict):
        raise no_overload(value)
    return name in value or ("__" in name and _unescape(name) in value)


def _position(key: Any) -> int:
    if isinstance(key, float) and key.is_integer():
        return int(key)
    if not isinstance(key, int) or isinstance(key, bool):
        raise no_overload(key)
    return key


def entry(value: Any, key: Any) -> Any:
    """Return ``value[key]``. Raises CelError."""
    if isinstance(value, Optional):
        return optional_entry(value, key)
    if isinstance(value, list):
        index = _position(key)
        if not 0 <= index < len(value):
            raise CelError(f"index out of bounds: {index}")
        return value[index]
    if not isinstance(value, dict):
        raise no_overload(value)
    if isinstance(key, (list, dict)) or key not in value or _mixed(value, key):
        raise CelError(f"no such key: {key}")
    return value[key]


def _mixed(value: dict[Any, Any], key: Any) -> bool:
    """Say whether a map has the key only because Python takes true for 1."""
    if not isinstance(key, (bool, int)) or isinstance(key, UInt):
        return False
    return not any(each == key and isinstance(each, bool) == isinstance(key, bool) for each in value)


def optional_entry(value: Any, key: Any) -> Optional:
    """Return ``value.?key`` or ``value[?key]``: none where there is no such entry."""
    if isinstance(value, Optional):
        return optional_entry(value.value, key) if value.present else value
    if isinstance(value, list):
        index = _position(key)
        return Optional(True, value[index]) if 0 <= index < len(value) else Optional()
    if not isinstance(value, dict):
        raise no_overload(value)
    try:
        return Optional(True, member(value, key) if isinstance(key, str) else entry(value, key))
    except CelError:
        return Optional()


# Operators: each takes the compiled operands and returns what runs.


def truth(value: Any) -> bool:
    """Return a boolean. Raises CelError for anything else."""
    if value is True or value is False:
        return bool(value)
    raise no_overload(value)


def _logical(runs: list[Run], *, decisive: bool) -> Run:
    """Make ``||`` (decisive true) or ``&&``: a decisive operand wins even over a failing one, on either side."""

    def run(env: Env) -> bool:
        failure: CelError | None = None
        for operand in runs:
            try:
                if truth(operand(env)) is decisive:
                    return decisive
            except CelBudgetError:
                raise
            except CelError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return not decisive

    return run


def _conditional(runs: list[Run]) -> Run:
    condition, chosen, other = runs
    return lambda env: chosen(env) if truth(condition(env)) else other(env)


def _negation(runs: list[Run]) -> Run:
    operand = runs[0]
    return lambda env: not truth(operand(env))


def _minus(runs: list[Run]) -> Run:
    operand = runs[0]

    def run(env: Env) -> Any:
        value = operand(env)
        if isinstance(value, Duration):
            return Duration(-value.nanos)
        if isinstance(value, (bool, UInt)) or not isinstance(value, (int, float)):
            raise no_overload(value)
        return -value if isinstance(value, float) else to_int(-value)

    return run


def _binary(operation: Callable[[Any, Any, Meter], Any]) -> Callable[[list[Run]], Run]:
    def make(runs: list[Run]) -> Run:
        left, right = runs
        return lambda env: operation(left(env), right(env), env[METER])

    return make


def _contains(item: Any, container: Any, meter: Meter) -> bool:
    if isinstance(container, dict):
        meter.spend(1)
        if isinstance(item, (list, dict)):
            raise no_overload(item)
        return item in container and not _mixed(container, item)
    if not isinstance(container, list):
        raise no_overload(container)
    meter.spend(1 + len(container))
    return any(equal(item, each, meter) for each in container)


def _same_number(left: Any, right: Any) -> type:
    kind = type(left)
    if kind is not type(right) or kind not in (int, UInt, float):
        raise no_overload(left, right)
    return kind


def _bounded(number: Any, kind: type) -> Any:
    if kind is float:
        return number
    if kind is UInt:
        if not 0 <= number < 2**64:
            raise CelError("unsigned integer overflow")
        return UInt(number)
    return to_int(number)


def _plus(left: Any, right: Any, meter: Meter) -> Any:
    if type(left) is int and type(right) is int:
        return to_int(left + right)
    if isinstance(left, (str, bytes)) and type(left) is type(right):
        meter.spend(1 + (len(left) + len(right)) // 32)
        return left + right  # type: ignore[operator]
    if isinstance(left, list) and isinstance(right, list):
        return _joined(left, right, meter)
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return Timestamp(left.nanos + right.nanos)
    if isinstance(left, Duration) and isinstance(right, Timestamp):
        return Timestamp(left.nanos + right.nanos)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return Duration(left.nanos + right.nanos)
    kind = _same_number(left, right)
    return _bounded(left + right, kind)


def _joined(left: list[Any], right: list[Any], meter: Meter) -> list[Any]:
    """Join lists; sets and list maps as their types say: items of the right side replace those they equal."""
    meter.spend(1 + len(left) + len(right))
    if isinstance(left, SetList):
        meter.spend(len(left) * len(right))
        return SetList(
            [*left, *(each for each in right if not any(equal(each, other, meter) for other in left))]
        )
    if isinstance(left, MapList):
        theirs = {left.identify(each): each for each in right}
        merged = [theirs.pop(left.identify(each), each) for each in left]
        return MapList([*merged, *theirs.values()], left.keys)
    return [*left, *right]


def _difference(left: Any, right: Any, meter: Meter) -> Any:
    if isinstance(left, Timestamp) and isinstance(right, Timestamp):
        return Duration(left.nanos - right.nanos)
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return Timestamp(left.nanos - right.nanos)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return Duration(left.nanos - right.nanos)
    kind = _same_number(left, right)
    return _bounded(left - right, kind)


def _product(left: Any, right: Any, meter: Meter) -> Any:
    kind = _same_number(left, right)
    return _bounded(left * right, kind)


def _quotient(left: Any, right: Any, meter: Meter) -> Any:
    kind = _same_number(left, right)
    if kind is float:
        if right == 0:
            return float("nan") if left == 0 or left != left else float("inf") * (1 if left > 0 else -1)
        return left / right
    if right == 0:
        raise CelError("division by zero")
    whole = abs(left) // abs(right)
    return _bounded(whole if (left < 0) == (right < 0) else -whole, kind)


def _remainder(left: Any, right: Any, meter: Meter) -> Any:
    kind = _same_number(left, right)
    if kind is float:
        raise no_overload(left, right)
    if right == 0:
        raise CelError("modulus by zero")
    rest = abs(left) % abs(right)
    return _bounded(-rest if left < 0 else rest, kind)


OPERATORS: dict[str, Callable[[list[Run]], Run]] = {
    "||": lambda runs: _logical(runs, decisive=True),
    "&&": lambda runs: _logical(runs, decisive=False),
    "?:": _conditional,
    "!": _negation,
    "neg": _minus,
    "==": _binary(equal),
    "!=": _binary(lambda left, right, meter: not equal(left, right, meter)),
    "<": _binary(lambda left, right, meter: compare(left, right, meter) < 0),
    "<=": _binary(lambda left, right, meter: compare(left, right, meter) <= 0),
    ">": _binary(lambda left, right, meter: compare(left, right, meter) > 0),
    ">=": _binary(lambda left, right, meter: compare(left, right, meter) >= 0),
    "in": _binary(_contains),
    "+": _binary(_plus),
    "-": _binary(_difference),
    "*": _binary(_product),
    "/": _binary(_quotient),
    "%": _binary(_remainder),
}

"""The functions of CEL: conversions, lists, sets, times; and how functions are registered.

What is here is what Kubernetes 1.36 gives to the rules of custom resources, without ``authorizer``. Each function
takes a meter first and pays for work that grows with its arguments. Text is in
:mod:`hortator.apimachinery.cel_strings`, the types of Kubernetes' own in
:mod:`hortator.apimachinery.cel_kubernetes`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cmp_to_key
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hortator.apimachinery.cel_values import (
    CelError,
    CelType,
    Duration,
    Meter,
    Optional,
    Timestamp,
    UInt,
    compare,
    equal,
    no_overload,
    type_name,
)
from hortator.apimachinery.fielderrors import go_float
from hortator.apimachinery.formats import parse_duration
from hortator.apimachinery.meta import parse_time
from hortator.apimachinery.patterns import InvalidPattern, compile_pattern

__all__ = [
    "FUNCTIONS",
    "METHODS",
    "Function",
    "check_text",
    "function",
    "method",
    "pattern",
    "sort_by",
    "to_int",
    "to_text",
    "wants",
]

Function = Callable[..., Any]

#: Functions by name and number of arguments; names may be qualified (``sets.contains``).
FUNCTIONS: dict[tuple[str, int], Function] = {}
#: Methods by name and number of arguments, the receiver among them.
METHODS: dict[tuple[str, int], Function] = {}


def function(name: str, *counts: int) -> Callable[[Function], Function]:
    """Register a global function for these numbers of arguments."""

    def register(body: Function) -> Function:
        for count in counts:
            FUNCTIONS[name, count] = body
        return body

    return register


def method(name: str, *counts: int) -> Callable[[Function], Function]:
    """Register a method; ``counts`` do not include the receiver."""

    def register(body: Function) -> Function:
        for count in counts:
            METHODS[name, count + 1] = body
        return body

    return register


def wants(value: Any, *kinds: type) -> None:
    """Check the type of an argument. Raises CelError (no such overload)."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise no_overload(value)


def pattern(text: str) -> Any:
    """Compile a pattern for RE2. Raises CelError."""
    try:
        return compile_pattern(text)
    except InvalidPattern as error:
        raise CelError(f"error parsing regexp: {error}") from error


def to_int(number: int) -> int:
    """Check that an integer fits into 64 bits. Raises CelError."""
    if not -(2**63) <= number < 2**63:
        raise CelError("integer overflow")
    return int(number)


def check_text(meter: Meter, value: Any, *others: Any) -> None:
    """Check that arguments are strings, and pay for looking at them. Raises CelError."""
    for each in (value, *others):
        wants(each, str)
    meter.spend(1 + sum(len(each) for each in (value, *others)) // 32)


# Conversions


@function("size", 1)
@method("size", 0)
def _size(_: Meter, value: Any) -> int:
    wants(value, str, bytes, list, dict)
    return len(value)


@function("int", 1)
def _int(_: Meter, value: Any) -> int:
    wants(value, int, float, str, Timestamp, Duration)
    if isinstance(value, Timestamp):
        return value.nanos // 10**9
    if isinstance(value, Duration):
        return value.nanos
    if isinstance(value, float):
        if math.isnan(value) or not -(2.0**63) < value < 2.0**63:
            raise CelError("integer overflow")
        return int(value)
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", value, re.ASCII):
            raise CelError(f'type conversion error from string to int: "{value[:64]}"')
        return to_int(int(value))
    return to_int(value)


@function("uint", 1)
def _uint(_: Meter, value: Any) -> UInt:
    wants(value, int, float, str)
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]{1,30}", value, re.ASCII):
            raise CelError(f'type conversion error from string to uint: "{value[:64]}"')
        value = int(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise CelError("unsigned integer overflow")
    if not 0 <= value < 2**64:
        raise CelError("unsigned integer overflow")
    return UInt(int(value))


@function("double", 1)
def _double(_: Meter, value: Any) -> float:
    wants(value, int, float, str)
    if isinstance(value, str) and (len(value) > 400 or "_" in value or value != value.strip()):
        raise CelError("type conversion error from string to double")
    try:
        return float(value)
    except ValueError as error:
        raise CelError("type conversion error from string to double") from error


@function("string", 1)
def to_text(_: Meter, value: Any) -> str:
    """Write a value as ``string(value)`` does. Raises CelError for those that it does not take."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise CelError("invalid UTF-8 in bytes, cannot convert to string") from error
    if isinstance(value, (int, str, Timestamp, Duration)) or type_name(value) in ("net.IP", "net.CIDR"):
        return str(value)
    raise no_overload(value)


@function("bytes", 1)
def _bytes(meter: Meter, value: Any) -> bytes:
    wants(value, str, bytes)
    meter.spend(1 + len(value) // 32)
    return value.encode() if isinstance(value, str) else bytes(value)


@function("bool", 1)
def _bool(_: Meter, value: Any) -> bool:
    wants(value, bool, str)
    if isinstance(value, bool):
        return value
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise CelError("type conversion error from string to bool")


@function("dyn", 1)
def _dyn(_: Meter, value: Any) -> Any:
    return value


@function("type", 1)
def _type(_: Meter, value: Any) -> CelType:
    return CelType(type_name(value))


@function("timestamp", 1)
def _timestamp(_: Meter, value: Any) -> Timestamp:
    wants(value, str, int, Timestamp)
    if isinstance(value, Timestamp):
        return value
    if isinstance(value, int):
        return Timestamp(value * 10**9)
    try:
        moment = parse_time(value)
    except ValueError as error:
        raise CelError(f'parsing time "{value[:64]}" as RFC 3339 failed') from error
    whole = (moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    fraction = re.search(r"\.([0-9]+)", value)
    return Timestamp(whole * 10**9 + (int(fraction[1][:9].ljust(9, "0")) if fraction else 0))


@function("duration", 1)
def _duration(_: Meter, value: Any) -> Duration:
    wants(value, str, int, Duration)
    if isinstance(value, Duration):
        return value
    if isinstance(value, int):
        return Duration(value)
    try:
        return Duration(parse_duration(value))
    except ValueError as error:
        raise CelError(str(error)) from error


# Times


def _zone(name: Any) -> tzinfo:
    wants(name, str)
    offset = re.fullmatch(r"([+-]?)([0-9]{1,2}):([0-9]{2})", name, re.ASCII)
    if offset:
        amount = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if amount >= timedelta(days=1):
            raise CelError(f"invalid timezone {name}")
        return timezone(-amount if offset[1] == "-" else amount)
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CelError(f"unknown time zone {name[:64]}") from error


def _accessor(name: str, of_time: Callable[[datetime], int], unit: int | None = None) -> None:
    def body(_: Meter, value: Any, zone: Any = "UTC") -> int:
        if isinstance(value, Duration) and unit is not None:
            return int(math.copysign(abs(value.nanos) // unit, value.nanos))
        wants(value, Timestamp)
        try:
            return of_time(value.to_datetime().astimezone(_zone(zone)))
        except OverflowError as error:
            raise CelError("timestamp overflow") from error

    method(name, 0, 1)(body)


_accessor("getFullYear", lambda moment: moment.year)
_accessor("getMonth", lambda moment: moment.month - 1)
_accessor("getDate", lambda moment: moment.day)
_accessor("getDayOfMonth", lambda moment: moment.day - 1)
_accessor("getDayOfWeek", lambda moment: (moment.weekday() + 1) % 7)
_accessor("getDayOfYear", lambda moment: moment.timetuple().tm_yday - 1)
_accessor("getHours", lambda moment: moment.hour, 3600 * 10**9)
_accessor("getMinutes", lambda moment: moment.minute, 60 * 10**9)
_accessor("getSeconds", lambda moment: moment.second, 10**9)
_accessor("getMilliseconds", lambda moment: moment.microsecond // 1000, 10**6)


# Lists and sets


def _list(meter: Meter, *values: Any) -> None:
    for value in values:
        wants(value, list)
        meter.spend(1 + len(value))


@method("isSorted", 0)
def _is_sorted(meter: Meter, values: Any) -> bool:
    _list(meter, values)
    return all(compare(a, b, meter) <= 0 for a, b in itertools.pairwise(values))


@method("sum", 0)
def _sum(meter: Meter, values: Any) -> Any:
    _list(meter, values)
    if not values:
        return 0
    kind = type(values[0])
    if kind not in (int, UInt, float, Duration) or any(type(each) is not kind for each in values):
        raise no_overload(values)
    if kind is Duration:
        return Duration(sum(each.nanos for each in values))
    total = sum(values)
    if kind is UInt and total >= 2**64:
        raise CelError("unsigned integer overflow")
    return to_int(total) if kind is int else kind(total)


def _extreme(name: str, sign: int) -> None:
    def body(meter: Meter, values: Any) -> Any:
        _list(meter, values)
        if not values:
            raise CelError(f"{name} called on empty list")
        best = values[0]
        for each in values[1:]:
            if compare(each, best, meter) * sign > 0:
                best = each
        return best

    method(name, 0)(body)


_extreme("min", -1)
_extreme("max", 1)


def _index_of(meter: Meter, values: Any, wanted: Any, start: Any, *, last: bool) -> int:
    if start is not None:
        wants(start, int)
    if isinstance(values, str):
        check_text(meter, values, wanted)
        if start is not None and not 0 <= start <= len(values):
            raise CelError(f"index out of range: {start}")
        if last:
            end = len(values) if start is None else start + len(wanted)
            return int(values.rfind(wanted, 0, end))
        return int(values.find(wanted, start or 0))
    wants(values, list)
    meter.spend(1 + len(values))
    indexes = range(len(values) - 1, -1, -1) if last else range(len(values))
    return next((index for index in indexes if equal(values[index], wanted, meter)), -1)


@method("indexOf", 1, 2)
def _first_index(meter: Meter, values: Any, wanted: Any, start: Any = None) -> int:
    return _index_of(meter, values, wanted, start, last=False)


@method("lastIndexOf", 1, 2)
def _last_index(meter: Meter, values: Any, wanted: Any, start: Any = None) -> int:
    return _index_of(meter, values, wanted, start, last=True)


@method("reverse", 0)
def _reverse(meter: Meter, values: Any) -> Any:
    wants(values, list, str)
    meter.spend(1 + len(values))
    return values[::-1]


@method("slice", 2)
def _slice(meter: Meter, values: Any, start: Any, end: Any) -> list[Any]:
    _list(meter, values)
    wants(start, int)
    wants(end, int)
    if start < 0 or end < 0:
        raise CelError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(values):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return list(values[start:end])


@method("flatten", 0, 1)
def _flatten(meter: Meter, values: Any, depth: Any = 1) -> list[Any]:
    wants(values, list)
    wants(depth, int)
    if depth < 0:
        raise CelError("level must be non-negative")
    result = list(values)
    for _ in range(min(depth, 64)):
        if not any(isinstance(each, list) for each in result):
            break
        below = []
        for each in result:
            below += each if isinstance(each, list) else [each]
            meter.spend(1 + (len(each) if isinstance(each, list) else 0))
        result = below
    return result


@method("distinct", 0)
def _distinct(meter: Meter, values: Any) -> list[Any]:
    _list(meter, values)
    result: list[Any] = []
    for each in values:
        meter.spend(1 + len(result))
        if not any(equal(each, other, meter) for other in result):
            result.append(each)
    return result


def sort_by(meter: Meter, values: list[Any], keys: list[Any]) -> list[Any]:
    """Return the values in the order of their keys, equal ones as they were."""
    meter.spend(1 + len(values) * max(1, len(values).bit_length()))
    by_key = cmp_to_key(lambda one, other: compare(one, other, meter))
    order = sorted(range(len(values)), key=lambda index: by_key(keys[index]))
    return [values[index] for index in order]


@method("sort", 0)
def _sort(meter: Meter, values: Any) -> list[Any]:
    wants(values, list)
    return sort_by(meter, values, values)


@method("first", 0)
def _first(_: Meter, values: Any) -> Optional:
    wants(values, list)
    return Optional(True, values[0]) if values else Optional()


@method("last", 0)
def _last(_: Meter, values: Any) -> Optional:
    wants(values, list)
    return Optional(True, values[-1]) if values else Optional()


@function("lists.range", 1)
def _range(meter: Meter, count: Any) -> list[int]:
    wants(count, int)
    meter.spend(max(1, count))
    return list(range(count))


def _within(meter: Meter, items: Any, others: Any) -> list[bool]:
    _list(meter, items, others)
    meter.spend(1 + len(items) * len(others))
    return [any(equal(item, other, meter) for other in others) for item in items]


@function("sets.contains", 2)
def _sets_contains(meter: Meter, items: Any, wanted: Any) -> bool:
    return all(_within(meter, wanted, items))


@function("sets.intersects", 2)
def _sets_intersects(meter: Meter, items: Any, others: Any) -> bool:
    return any(_within(meter, items, others))


@function("sets.equivalent", 2)
def _sets_equivalent(meter: Meter, items: Any, others: Any) -> bool:
    return all(_within(meter, items, others)) and all(_within(meter, others, items))


# Optional values


@function("optional.of", 1)
def _optional_of(_: Meter, value: Any) -> Optional:
    return Optional(True, value)


@function("optional.none", 0)
def _optional_none(_: Meter) -> Optional:
    return Optional()


@function("optional.ofNonZeroValue", 1)
def _optional_non_zero(_: Meter, value: Any) -> Optional:
    empty = value is None or (isinstance(value, (bool, int, float, str, bytes, list, dict)) and not value)
    return Optional() if empty else Optional(True, value)


@method("hasValue", 0)
def _has_value(_: Meter, value: Any) -> bool:
    wants(value, Optional)
    return bool(value.present)


@method("value", 0)
def _value(_: Meter, value: Any) -> Any:
    wants(value, Optional)
    if not value.present:
        raise CelError("optional.none() dereference")
    return value.value

"""The values of CEL that JSON does not have, and what equality and order mean between any two values.

int, double, bool, string, bytes, list, map and null are Python's own. Semantics are those of cel-go with cross-type
numeric comparisons, as Kubernetes 1.36 configures it. Evaluating expressions is left to
:mod:`hortator.apimachinery.cel`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = [
    "CelBudgetError",
    "CelError",
    "CelType",
    "Duration",
    "MapList",
    "Meter",
    "Optional",
    "SetList",
    "Timestamp",
    "UInt",
    "compare",
    "equal",
    "no_overload",
    "type_name",
]


class CelError(ValueError):
    """An expression that cannot be compiled, or whose evaluation failed; the message is cel-go's where it has one."""


class CelBudgetError(CelError):
    """An evaluation that took more steps than allowed. Never absorbed by ``&&`` or ``||``."""


class Meter:
    """Counts steps, so that no expression can run for long. One step is about one operation."""

    __slots__ = ("left",)

    def __init__(self, steps: int):
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps from what is left. Raises CelBudgetError when nothing is."""
        self.left -= steps
        if self.left < 0:
            raise CelBudgetError("operation cancelled: actual cost limit exceeded")


class UInt(int):
    """An unsigned integer, a type of its own in CEL."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CelType:
    """A type as a value: what ``type(x)`` gives."""

    name: str


@dataclass(frozen=True, slots=True)
class Optional:
    """An optional value: none, or something."""

    present: bool = False
    value: Any = None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = -62_135_596_800 * 10**9
_LATEST = 253_402_300_800 * 10**9


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970 UTC; between the years 1 and 9999."""

    nanos: int

    def __post_init__(self) -> None:
        if not _EARLIEST <= self.nanos < _LATEST:
            raise CelError("timestamp overflow")

    def to_datetime(self) -> datetime:
        """Return the moment with microseconds, in UTC."""
        return _EPOCH + timedelta(microseconds=self.nanos // 1000)

    def __str__(self) -> str:
        text = self.to_datetime().strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        fraction = f"{self.nanos % 10**9:09d}".rstrip("0")
        return f"{text}.{fraction}Z" if fraction else f"{text}Z"


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time in nanoseconds; at most 292 years."""

    nanos: int

    def __post_init__(self) -> None:
        if not -(2**63) <= self.nanos < 2**63:
            raise CelError("duration overflow")

    def __str__(self) -> str:
        sign = "-" if self.nanos < 0 else ""
        seconds, rest = divmod(abs(self.nanos), 10**9)
        fraction = f"{rest:09d}".rstrip("0")
        return f"{sign}{seconds}.{fraction}s" if fraction else f"{sign}{seconds}s"


class SetList(list[Any]):
    """A list whose order does not matter (``x-kubernetes-list-type: set``)."""

    __slots__ = ()


class MapList(list[Any]):
    """A list of objects that are told apart by some fields (``x-kubernetes-list-type: map``)."""

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]):
        super().__init__(items)
        self.keys = keys

    def identify(self, item: Any) -> tuple[Any, ...]:
        """Return the values of the fields that identify an item."""
        return tuple(repr(item.get(key)) for key in self.keys) if isinstance(item, dict) else ()


_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    type(None): "null_type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    CelType: "type",
    Optional: "optional_type",
}


def type_name(value: Any) -> str:
    """Return the name of a value's type in CEL."""
    return _NAMES.get(type(value)) or str(getattr(value, "cel_type", type(value).__name__))


def no_overload(*_: Any) -> CelError:
    """Return the error of an operation that its arguments' types do not have."""
    return CelError("no such overload")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(left: Any, right: Any, meter: Meter) -> bool:
    """Say whether two values are equal. Values of different types are not, except numbers."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if _number(left):
        return _number(right) and bool(left == right)
    if isinstance(left, list):
        return isinstance(right, list) and _equal_lists(left, right, meter)
    if isinstance(left, dict):
        if not isinstance(right, dict) or len(left) != len(right):
            return False
        meter.spend(len(left))
        return all(key in right and equal(value, right[key], meter) for key, value in left.items())
    if isinstance(left, Optional):
        if not isinstance(right, Optional) or left.present != right.present:
            return False
        return not left.present or equal(left.value, right.value, meter)
    if type(left) is not type(right):
        return False
    if isinstance(left, (str, bytes)):
        meter.spend(1 + len(left) // 64)
    return bool(left == right)


def _equal_lists(left: list[Any], right: list[Any], meter: Meter) -> bool:
    if len(left) != len(right):
        return False
    meter.spend(len(left))
    if isinstance(left, SetList) or isinstance(right, SetList):
        meter.spend(len(left) ** 2 // 8)
        return all(any(equal(one, other, meter) for other in right) for one in left)
    keyed = left if isinstance(left, MapList) else right
    if isinstance(keyed, MapList):
        others = {keyed.identify(other): other for other in right}
        return all(
            keyed.identify(one) in others and equal(one, others[keyed.identify(one)], meter) for one in left
        )
    return all(equal(one, other, meter) for one, other in zip(left, right, strict=True))


def compare(left: Any, right: Any, meter: Meter) -> int:
    """Return -1, 0 or 1 as left is smaller, equal or larger. Raises CelError when they have no order."""
    same = type(left) is type(right) and isinstance(left, (bool, str, bytes, Timestamp, Duration))
    if not same and not (_number(left) and _number(right)):
        raise no_overload(left, right)
    if isinstance(left, (str, bytes)):
        meter.spend(1 + min(len(left), len(right)) // 64)
    if any(isinstance(each, float) and math.isnan(each) for each in (left, right)):
        raise CelError("NaN values cannot be ordered")
    return -1 if left < right else int(left > right)

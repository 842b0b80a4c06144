"""Quantities of resources (``500m``, ``1.5Gi``, ``2``): exact values and their canonical text.

The rules are those of ``k8s.io/apimachinery/pkg/api/resource`` (v0.36): nothing is finer than a billionth,
finer values are rounded away from zero; a value keeps the family of its suffix. Unlike there, an exponent of
thousands of digits is refused, and a value too large for the suffix ``E`` keeps its digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache, total_ordering

__all__ = ["Format", "InvalidQuantity", "Quantity", "parse"]


class InvalidQuantity(ValueError):
    """A text that is no quantity; the message is upstream's."""

    def __init__(self, text: object, message: str):
        super().__init__(message)
        self.text = text


class Format(StrEnum):
    """The family of a quantity's suffix."""

    DECIMAL_EXPONENT = "DecimalExponent"
    BINARY = "BinarySI"
    DECIMAL = "DecimalSI"


_NANO = 10**9
_PARTS = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NAMES = {exponent: suffix for suffix, exponent in _SUFFIXES.items()}
_BINARY_NAMES = {exponent: suffix for suffix, exponent in _BINARY.items()}
#: Digits and exponent of what is read; far above any real amount, far below what would take time.
_LONGEST = 200
_MAXIMUM_BINARY = (2**63 - 1) * _NANO

_WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_SUFFIX = "unable to parse quantity's suffix"
_WRONG_NUMBER = "unable to parse numeric part of quantity"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount in billionths, and how to write it. Equality and order look at the amount only."""

    nano: int = 0
    format: Format = Format.DECIMAL

    @property
    def value(self) -> Fraction:
        """The exact value."""
        return Fraction(self.nano, _NANO)

    def __int__(self) -> int:
        """Return the value as an integer, rounded away from zero (upstream's ``Value``)."""
        return _round_up(self.nano, _NANO)

    def milli(self) -> int:
        """Return the value in thousandths, rounded away from zero (upstream's ``MilliValue``)."""
        return _round_up(self.nano, _NANO // 1000)

    def __float__(self) -> float:
        return self.nano / _NANO

    def __bool__(self) -> bool:
        return self.nano != 0

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nano * factor, self.format)

    __rmul__ = __mul__

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.format)

    def __str__(self) -> str:
        """Return the canonical text: no fraction, the largest suffix that loses nothing."""
        if self.nano == 0:
            return "0"
        if self.format is Format.BINARY and abs(self.nano) >= 1024 * _NANO and self.nano % _NANO == 0:
            whole, exponent = self.nano // _NANO, 0
            while exponent < 60 and whole % 1024 == 0:
                whole, exponent = whole // 1024, exponent + 10
            return f"{whole}{_BINARY_NAMES.get(exponent, '')}"
        number, exponent = self.nano, -9
        highest = 18 if self.format is not Format.DECIMAL_EXPONENT else _LONGEST * 2
        while exponent < highest and number % 1000 == 0:
            number, exponent = number // 1000, exponent + 3
        if self.format is Format.DECIMAL_EXPONENT:
            return f"{number}e{exponent}" if exponent else str(number)
        return f"{number}{_NAMES[exponent]}"


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) if number >= 0 else number // unit


@lru_cache(maxsize=1024)
def _parse(text: str) -> Quantity:
    match = _PARTS.fullmatch(text)
    if match is None:
        raise InvalidQuantity(text, _WRONG_FORMAT)
    sign, whole, fraction, suffix = match.groups()
    fraction = fraction or ""
    if not whole and not fraction:
        raise InvalidQuantity(text, _WRONG_FORMAT)
    if len(text) > _LONGEST:
        raise InvalidQuantity(text, _WRONG_NUMBER)
    shape = Format.DECIMAL
    factor = Fraction(1)
    if suffix in _SUFFIXES:
        factor = Fraction(10) ** _SUFFIXES[suffix]
    elif suffix in _BINARY:
        factor, shape = Fraction(2 ** _BINARY[suffix]), Format.BINARY
    else:
        if not re.fullmatch(r"[eE][+-]?[0-9]+", suffix) or abs(int(suffix[1:])) > _LONGEST:
            raise InvalidQuantity(text, _WRONG_SUFFIX)
        factor, shape = Fraction(10) ** int(suffix[1:]), Format.DECIMAL_EXPONENT
    exact = Fraction(int(whole + fraction or "0"), 10 ** len(fraction)) * factor * _NANO
    nano = _round_up(exact.numerator, exact.denominator)
    if shape is Format.BINARY:
        nano = min(nano, _MAXIMUM_BINARY)
    return Quantity(-nano if sign == "-" else nano, shape)


def parse(text: str | int | float) -> Quantity:
    """Read a quantity as JSON may carry it: text or number. Raises InvalidQuantity."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise InvalidQuantity(text, _WRONG_FORMAT)
    if isinstance(text, int) and abs(text) < 10**_LONGEST:
        return Quantity(text * _NANO)
    return _parse(text.strip() if isinstance(text, str) else repr(text))

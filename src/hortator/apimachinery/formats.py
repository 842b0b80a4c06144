"""The formats of text that a schema can ask for (``format: date-time`` and the like).

The list is that of CustomResourceDefinitions in Kubernetes 1.36; formats that it does not have are ignored there and
here. Hyphens in a format's name do not matter.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import urlsplit

from hortator.apimachinery.meta import parse_time
from hortator.apimachinery.names import dns1123_label, dns1123_subdomain

__all__ = ["format_check", "parse_duration"]

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> int:
    """Read a duration as Go's ``time.ParseDuration`` does (``1h30m``, ``-1.5s``, ``0``). Returns nanoseconds.

    Raises ValueError, also for durations of more than 292 years.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    total, position = 0, 0
    while position < len(body):
        match = _DURATION_PART.match(body, position)
        if match is None or not (match[1] or match[2]) or len(match[1]) > 20:
            raise ValueError(f'time: invalid duration "{text}"')
        unit = _UNITS[match[3]]
        fraction = (match[2] or "")[:20]
        total += int(match[1] or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        position = match.end()
    if not body or total >= 2**63:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total


def _raises_nothing(read: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _matches(expression: str) -> Callable[[str], bool]:
    pattern = re.compile(expression, re.ASCII | re.IGNORECASE)
    return lambda text: pattern.fullmatch(text) is not None


def _date(text: str) -> None:
    if len(text) != 10:
        raise ValueError(text)
    parse_time(text + "T00:00:00Z")


def _uri(text: str) -> None:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")) or any(character.isspace() for character in text):
        raise ValueError(text)


def _base64(text: str) -> None:
    base64.b64decode(text, validate=True)
    if not text:
        raise ValueError(text)


def _cidr(text: str) -> None:
    address, slash, _ = text.partition("/")
    if not slash or not address:
        raise ValueError(text)
    ip_network(text, strict=False)


def _isbn10(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch("[0-9]{9}[0-9X]", digits):
        return False
    return sum((10 - i) * (10 if d == "X" else int(d)) for i, d in enumerate(digits)) % 11 == 0


def _isbn13(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    return (
        bool(re.fullmatch("[0-9]{13}", digits))
        and sum(int(d) * (1 + 2 * (i % 2)) for i, d in enumerate(digits)) % 10 == 0
    )


def _credit_card(text: str) -> bool:
    digits = re.sub("[^0-9]+", "", text)
    if not 13 <= len(digits) <= 19:
        return False
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _rgb(text: str) -> bool:
    match = re.fullmatch(r"rgb\(\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\)", text)
    return match is not None and all(int(part) <= 255 for part in match.groups())


_HEX = "[0-9a-f]"
_LABEL = "[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"


def _uuid(version: str, variant: str) -> Callable[[str], bool]:
    return _matches(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{version}{_HEX}{{3}}-?{variant}{_HEX}{{3}}-?{_HEX}{{12}}")


_CHECKS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(f"{_HEX}{{24}}"),
    "uri": _raises_nothing(_uri),
    "email": _matches(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+"),
    "hostname": lambda text: len(text) <= 255 and bool(re.fullmatch(rf"{_LABEL}(\.{_LABEL})*\.?", text)),
    "ipv4": _raises_nothing(IPv4Address),
    "ipv6": _raises_nothing(IPv6Address),
    "cidr": _raises_nothing(_cidr),
    "mac": _matches(rf"({_HEX}{{2}}([:-]{_HEX}{{2}}){{5,7}}|({_HEX}{{4}}\.){{2,3}}{_HEX}{{4}})"),
    "uuid": _uuid(_HEX, _HEX),
    "uuid3": _uuid("3", _HEX),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _credit_card,
    "ssn": _matches(r"[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}"),
    "hexcolor": _matches(f"#?({_HEX}{{3}}|{_HEX}{{6}})"),
    "rgbcolor": _rgb,
    "byte": _raises_nothing(_base64),
    "date": _raises_nothing(_date),
    "duration": _raises_nothing(parse_duration),
    "datetime": _raises_nothing(parse_time),
    "k8sshortname": lambda text: not dns1123_label(text),
    "k8slongname": lambda text: not dns1123_subdomain(text),
}


def format_check(name: str) -> Callable[[str], bool] | None:
    """Return the check of a format, or None when it is not known (or any text fulfils it)."""
    return _CHECKS.get(name.replace("-", ""))

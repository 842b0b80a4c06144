"""The types that Kubernetes adds to CEL: quantities, URLs, IP addresses and ranges, semantic versions.

Functions and methods are those of ``k8s.io/apiserver/pkg/cel/library`` (v0.36).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote_plus, urlsplit

from hortator.apimachinery import quantity
from hortator.apimachinery.cel_library import function, method, to_int, wants
from hortator.apimachinery.cel_values import CelError, Meter
from hortator.apimachinery.quantity import InvalidQuantity, Quantity

__all__ = ["Cidr", "Ip", "SemanticVersion", "Url"]


def _tried(read: Callable[[Meter, Any], Any]) -> Callable[[Meter, Any], bool]:
    def check(meter: Meter, text: Any) -> bool:
        wants(text, str)
        try:
            read(meter, text)
        except CelError:
            return False
        return True

    return check


@function("quantity", 1)
def _quantity(_: Meter, text: Any) -> Quantity:
    wants(text, str)
    try:
        return quantity.parse(text)
    except InvalidQuantity as error:
        raise CelError(str(error)) from error


function("isQuantity", 1)(_tried(_quantity))


def _amount(value: Any) -> Quantity:
    wants(value, Quantity, int)
    return value if isinstance(value, Quantity) else quantity.parse(value)


@function("sign", 1)
@method("sign", 0)
def _sign(_: Meter, value: Any) -> int:
    wants(value, Quantity)
    return int(value.nano > 0) - int(value.nano < 0)


@method("isInteger", 0)
def _is_integer(_: Meter, value: Any) -> bool:
    wants(value, Quantity)
    return bool(value.nano % 10**9 == 0 and -(2**63) <= value.nano // 10**9 < 2**63)


@method("asInteger", 0)
def _as_integer(meter: Meter, value: Any) -> int:
    if not _is_integer(meter, value):
        raise CelError("cannot convert value to integer")
    return to_int(int(value))


@method("asApproximateFloat", 0)
def _as_float(_: Meter, value: Any) -> float:
    wants(value, Quantity)
    return float(value)


@method("add", 1)
def _add(_: Meter, value: Any, other: Any) -> Quantity:
    wants(value, Quantity)
    return _amount(value) + _amount(other)


@method("sub", 1)
def _sub(_: Meter, value: Any, other: Any) -> Quantity:
    wants(value, Quantity)
    return _amount(value) - _amount(other)


@total_ordering
@dataclass(frozen=True, slots=True)
class SemanticVersion:
    """A version of semver.org; build metadata does not count."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    cel_type: ClassVar[str] = "kubernetes.Semver"

    @property
    def _rank(self) -> tuple[Any, ...]:
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, parts)

    def __lt__(self, other: SemanticVersion) -> bool:
        return self._rank < other._rank


_SEMVER = re.compile(
    r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def _normal(text: str) -> str:
    """Accept a leading ``v``, missing parts and leading zeros, as ``semver(text, true)`` does."""
    core, *rest = re.split("([-+])", text.removeprefix("v"), maxsplit=1)
    parts = [part.lstrip("0") or "0" if part.isdigit() else part for part in core.split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + "".join(rest)


@function("semver", 1, 2)
def _semver(_: Meter, text: Any, normalize: Any = False) -> SemanticVersion:
    wants(text, str)
    wants(normalize, bool)
    match = _SEMVER.fullmatch(_normal(text) if normalize else text) if len(text) <= 256 else None
    if match is None:
        raise CelError("invalid semantic version")
    major, minor, patch, pre = match.groups()
    return SemanticVersion(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else ())


@function("isSemver", 1, 2)
def _is_semver(meter: Meter, text: Any, normalize: Any = False) -> bool:
    return _tried(lambda inner, value: _semver(inner, value, normalize))(meter, text)


def _part(name: str) -> None:
    def body(_: Meter, value: Any) -> int:
        wants(value, SemanticVersion)
        return int(getattr(value, name))

    method(name, 0)(body)


for _name in ("major", "minor", "patch"):
    _part(_name)


def _ordered(value: Any, other: Any) -> int:
    wants(value, Quantity, SemanticVersion)
    wants(other, type(value))
    return -1 if value < other else int(other < value)


@method("compareTo", 1)
def _compare_to(_: Meter, value: Any, other: Any) -> int:
    return _ordered(value, other)


@method("isGreaterThan", 1)
def _is_greater(_: Meter, value: Any, other: Any) -> bool:
    return _ordered(value, other) > 0


@method("isLessThan", 1)
def _is_less(_: Meter, value: Any, other: Any) -> bool:
    return _ordered(value, other) < 0


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute URL, or an absolute path."""

    text: str
    parts: SplitResult
    cel_type: ClassVar[str] = "kubernetes.URL"

    def __str__(self) -> str:
        return self.text


@function("url", 1)
def _url(meter: Meter, text: Any) -> Url:
    wants(text, str)
    meter.spend(1 + len(text) // 32)
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise CelError(f"URL parse error during conversion from string: {error}") from error
    if not parts.scheme and not text.startswith("/"):
        raise CelError("URL parse error during conversion from string: invalid URI for request")
    return Url(text, parts)


function("isURL", 1)(_tried(_url))


def _url_part(name: str, read: Callable[[SplitResult], Any]) -> None:
    def body(_: Meter, value: Any) -> Any:
        wants(value, Url)
        return read(value.parts)

    method(name, 0)(body)


def _query(parts: SplitResult) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True, max_num_fields=10_000):
        result.setdefault(unquote_plus(key) if "%" in key else key, []).append(value)
    return result


_url_part("getScheme", lambda parts: parts.scheme)
_url_part("getHost", lambda parts: parts.netloc.rpartition("@")[2])
_url_part("getHostname", lambda parts: parts.hostname or "")
_url_part("getPort", lambda parts: "" if parts.port is None else str(parts.port))
_url_part("getEscapedPath", lambda parts: quote(parts.path, safe="/%:@!$&'()*+,;=~"))
_url_part("getQuery", _query)


@dataclass(frozen=True, slots=True)
class Ip:
    """An IP address."""

    address: IPv4Address | IPv6Address
    cel_type: ClassVar[str] = "net.IP"

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Cidr:
    """A range of IP addresses, with the address it was written with."""

    network: IPv4Network | IPv6Network
    address: IPv4Address | IPv6Address
    cel_type: ClassVar[str] = "net.CIDR"

    def __str__(self) -> str:
        return f"{self.address}/{self.network.prefixlen}"


@function("ip", 1)
def _ip(_: Meter, text: Any) -> Ip:
    wants(text, str)
    try:
        address = ip_address(text)
    except ValueError as error:
        raise CelError(f"IP Address {text[:64]!r} parse error during conversion from string") from error
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address.scope_id):
        raise CelError(f"IP Address {text[:64]!r} may not be IPv4-mapped or have a zone")
    return Ip(address)


@function("cidr", 1)
def _cidr(_: Meter, text: Any) -> Cidr:
    wants(text, str)
    address, slash, length = text.partition("/")
    try:
        if not slash or not length.isdigit():
            raise ValueError(text)
        return Cidr(ip_network(text, strict=False), ip_address(address))
    except ValueError as error:
        raise CelError(f"network address parse error during conversion from string: {text[:64]}") from error


function("isIP", 1)(_tried(_ip))
function("isCIDR", 1)(_tried(_cidr))


@function("ip.isCanonical", 1)
def _is_canonical(meter: Meter, text: Any) -> bool:
    return bool(str(_ip(meter, text)) == text)


def _ip_fact(name: str, read: Callable[[Any], Any]) -> None:
    def body(_: Meter, value: Any) -> Any:
        wants(value, Ip)
        return read(value.address)

    method(name, 0)(body)


_ip_fact("family", lambda address: address.version)
_ip_fact("isUnspecified", lambda address: address.is_unspecified)
_ip_fact("isLoopback", lambda address: address.is_loopback)
_ip_fact(
    "isLinkLocalMulticast",
    lambda address: address in ip_network("224.0.0.0/24" if address.version == 4 else "ff02::/16"),
)
_ip_fact("isLinkLocalUnicast", lambda address: address.is_link_local)
_ip_fact(
    "isGlobalUnicast",
    lambda address: (
        not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)
        and str(address) != "255.255.255.255"
    ),
)


@method("containsIP", 1)
def _contains_ip(meter: Meter, value: Any, other: Any) -> bool:
    wants(value, Cidr)
    wants(other, Ip, str)
    address = other.address if isinstance(other, Ip) else _ip(meter, other).address
    return bool(address in value.network)


@method("containsCIDR", 1)
def _contains_cidr(meter: Meter, value: Any, other: Any) -> bool:
    wants(value, Cidr)
    wants(other, Cidr, str)
    inner = other.network if isinstance(other, Cidr) else _cidr(meter, other).network
    return inner.version == value.network.version and bool(inner.subnet_of(value.network))


@method("masked", 0)
def _masked(_: Meter, value: Any) -> Cidr:
    wants(value, Cidr)
    return Cidr(value.network, value.network.network_address)


@method("prefixLength", 0)
def _prefix_length(_: Meter, value: Any) -> int:
    wants(value, Cidr)
    return int(value.network.prefixlen)


@method("ip", 0)
def _address(_: Meter, value: Any) -> Ip:
    wants(value, Cidr)
    return Ip(value.address)

"""Checks that the validation of several kinds shares. Words are upstream's (``core/validation``, 1.36)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    immutable,
    invalid,
    not_supported,
    required,
)
from hortator.apimachinery.names import (
    label_value,
    port_name,
    port_number,
    qualified_name,
    validate_labels,
)
from hortator.apimachinery.quantity import Quantity, parse

__all__ = [
    "check_choice",
    "check_file_mode",
    "check_immutable",
    "check_ip",
    "check_local_path",
    "check_name",
    "check_nonnegative",
    "check_port",
    "check_quantity",
    "check_resource_name",
    "check_selector",
    "check_unique",
    "is_native",
]

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
NONNEGATIVE = "must be greater than or equal to 0"
STANDARD_CONTAINER = {"cpu", "memory", "ephemeral-storage"}
STANDARD = STANDARD_CONTAINER | {
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
}


def check_choice(
    path: Path, value: Any, allowed: Sequence[str], *, optional: bool = False
) -> list[FieldError]:
    """Require one of the allowed values; the message lists them in the order given."""
    if not value:
        return [] if optional else [required(path)]
    return [] if value in allowed else [not_supported(path, value, allowed)]


def check_name(
    path: Path, text: str, rule: Callable[[str], list[str]], *, optional: bool = False
) -> list[FieldError]:
    """Require a name that follows a rule of :mod:`hortator.apimachinery.names`."""
    if not text:
        return [] if optional else [required(path)]
    return [invalid(path, text, message) for message in rule(text)]


def check_nonnegative(path: Path, value: int | None) -> list[FieldError]:
    """Allow absence, zero and more."""
    return [invalid(path, value, NONNEGATIVE)] if value is not None and value < 0 else []


def check_port(path: Path, port: int | str | None) -> list[FieldError]:
    """Require a port's number or name."""
    if isinstance(port, str):
        return [invalid(path, port, message) for message in port_name(port)]
    return [invalid(path, port or 0, message) for message in port_number(port or 0)]


def check_file_mode(path: Path, mode: int | None) -> list[FieldError]:
    """Allow absence and 0 to 0777."""
    return [] if mode is None or 0 <= mode <= 0o777 else [invalid(path, mode, FILE_MODE)]


def check_local_path(path: Path, text: str, *, reserved: bool = True) -> list[FieldError]:
    """Require a relative path that stays in its folder; with ``reserved`` none that begins with dots."""
    errors = []
    if text.startswith("/"):
        errors.append(invalid(path, text, "must be a relative path"))
    if ".." in text.split("/"):
        errors.append(invalid(path, text, "must not contain '..'"))
    elif reserved and text.startswith(".."):
        errors.append(invalid(path, text, "must not start with '..'"))
    return errors


def check_immutable(path: Path, new: Any, old: Any) -> list[FieldError]:
    """Require that a value did not change."""
    return [] if new == old else [immutable(path, new)]


def check_unique(path: Path, items: Sequence[Mapping[str, Any]], key: str = "name") -> list[FieldError]:
    """Require that no two items have the same key."""
    seen: set[Any] = set()
    errors = []
    for index, item in enumerate(items):
        value = item.get(key)
        if value and value in seen:
            errors.append(duplicate(path.index(index).child(key), value))
        seen.add(value)
    return errors


def check_ip(path: Path, text: str) -> list[FieldError]:
    """Require an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return [invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def check_quantity(path: Path, name: str, text: str) -> list[FieldError]:
    """Require an amount of a resource: not negative, and whole where the resource cannot be divided."""
    quantity = parse(text)
    errors = []
    if quantity < Quantity():
        errors.append(invalid(path, text, NONNEGATIVE))
    if not name.startswith("requests.") and _is_whole(name) and quantity.milli() % 1000:
        errors.append(invalid(path, text, "must be an integer"))
    return errors


def _is_whole(name: str) -> bool:
    return name in {
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    } or not is_native(name)


def is_native(name: str) -> bool:
    """Tell whether a resource is Kubernetes' own (``cpu``, ``hugepages-2Mi``, ``kubernetes.io/…``)."""
    return "/" not in name or "kubernetes.io/" in name


def check_resource_name(path: Path, name: str, *, container: bool = True) -> list[FieldError]:
    """Require a resource's name: a standard one, or a qualified one."""
    errors = [invalid(path, name, message) for message in qualified_name(name)]
    if errors:
        return errors
    if "/" not in name:
        if not (name in STANDARD or name.startswith("hugepages-")):
            return [invalid(path, name, "must be a standard resource type or fully qualified")]
        if container and not (name in STANDARD_CONTAINER or name.startswith("hugepages-")):
            return [invalid(path, name, "must be a standard resource for containers")]
    elif container and not is_native(name) and name.startswith("requests."):
        return [invalid(path, name, "doesn't follow extended resource name standard")]
    return []


SELECTOR_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def check_selector(path: Path, selector: Mapping[str, Any] | None) -> list[FieldError]:
    """Require a label selector that can be used (upstream's ``ValidateLabelSelector``)."""
    if not selector:
        return []
    errors = validate_labels(selector.get("matchLabels") or {}, path.child("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        errors += _expression(path.child("matchExpressions").index(index), expression)
    return errors


def _expression(path: Path, expression: Mapping[str, Any]) -> list[FieldError]:
    operator, values = expression.get("operator") or "", expression.get("values") or ()
    errors: list[FieldError] = []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(
                required(path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(path.child("values"), words))
    else:
        errors.append(invalid(path.child("operator"), operator, "not a valid selector operator"))
    key = expression.get("key") or ""
    errors += [invalid(path.child("key"), key, message) for message in qualified_name(key)]
    for index, value in enumerate(values):
        errors += [
            invalid(path.child("values").index(index), value, message) for message in label_value(value)
        ]
    return errors


def names_of(items: Collection[Mapping[str, Any]]) -> set[str]:
    """Return the names of some items."""
    return {item["name"] for item in items if item.get("name")}

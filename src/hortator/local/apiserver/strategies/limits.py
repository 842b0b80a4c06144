"""LimitRanges and ResourceQuotas. Enforcing them is admission's; counting use, their controller's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    required,
)
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.names import qualified_name
from hortator.apimachinery.quantity import parse
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.checks import check_quantity, check_resource_name

__all__ = ["LimitRangeStrategy", "ResourceQuotaStrategy"]

LISTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
#: Smaller -> larger, and the words of the error when it is the other way round.
ORDER = (
    ("min", "max", "min", "min value {0} is greater than max value {1}"),
    ("min", "defaultRequest", "defaultRequest", "min value {0} is greater than default request value {1}"),
    ("defaultRequest", "max", "defaultRequest", "default request value {0} is greater than max value {1}"),
    ("defaultRequest", "default", "defaultRequest", "default request value {0} is greater than default limit value {1}"),
    ("min", "default", "default", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "default value {0} is greater than max value {1}"),
)  # fmt: skip


class LimitRangeStrategy(Strategy):
    """Behaviour of LimitRanges."""

    columns = (NAME, Column("Created At", "date"))

    def default(self, obj: Object) -> Object:
        """Return the LimitRange with a container's defaults taken from its maximum and minimum."""
        spec = obj.get("spec") or {}
        if not spec.get("limits"):
            return obj
        return {**obj, "spec": {**spec, "limits": [_default_limit(each) for each in spec["limits"]]}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a LimitRange."""
        errors: list[FieldError] = []
        seen: set[str] = set()
        for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
            here = Path("spec").child("limits").index(index)
            kind = limit.get("type") or ""
            errors += [invalid(here.child("type"), kind, message) for message in qualified_name(kind)]
            if "/" not in kind and kind not in ("Pod", "Container", "PersistentVolumeClaim"):
                words = "must be a standard limit type or fully qualified"
                errors.append(invalid(here.child("type"), kind, words))
            if kind in seen:
                errors.append(duplicate(here.child("type"), kind))
            seen.add(kind)
            errors += _limit(limit, kind, here)
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a LimitRange."""
        return [name_of(obj), (obj.get("metadata") or {}).get("creationTimestamp") or ""]


def _default_limit(limit: Object) -> Object:
    if limit.get("type") != "Container":
        return limit
    default = {**(limit.get("max") or {}), **(limit.get("default") or {})}
    request = {**(limit.get("min") or {}), **default, **(limit.get("defaultRequest") or {})}
    result = dict(limit)
    if default:
        result["default"] = default
    if request:
        result["defaultRequest"] = request
    return result


def _limit(limit: Object, kind: str, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in LISTS:
        for name in limit.get(key) or ():
            container = kind in ("Pod", "Container")
            errors += check_resource_name(path.child(key).key(name), name, container=container)
    if kind == "Pod":
        for key in ("default", "defaultRequest"):
            if limit.get(key):
                errors.append(forbidden(path.child(key), "may not be specified when `type` is 'Pod'"))
    if kind == "PersistentVolumeClaim" and not any(
        "storage" in (limit.get(key) or ()) for key in ("min", "max")
    ):
        words = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(required(path.child("limits"), words))
    for smaller, larger, at, words in ORDER:
        low, high = limit.get(smaller) or {}, limit.get(larger) or {}
        for name in sorted(low.keys() & high.keys()):
            if parse(low[name]) > parse(high[name]):
                where, value = path.child(at).key(name), (limit.get(at) or {}).get(name)
                errors.append(invalid(where, value, words.format(low[name], high[name])))
    for name, ratio in (limit.get("maxLimitRequestRatio") or {}).items():
        if parse(ratio) < parse(1):
            here = path.child("maxLimitRequestRatio").key(name)
            errors.append(invalid(here, ratio, f"ratio {ratio} is less than 1"))
    return errors


class ResourceQuotaStrategy(Strategy):
    """Behaviour of ResourceQuotas."""

    columns = (NAME, Column("Request"), Column("Limit"), AGE)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a quota."""
        spec = obj.get("spec") or {}
        errors: list[FieldError] = []
        for name, text in (spec.get("hard") or {}).items():
            here = Path("spec").child("hard").key(name)
            messages = qualified_name(name)
            errors += [invalid(here, name, message) for message in messages]
            if not messages:
                errors += _quota_name(name, here)
            errors += check_quantity(here, name, text)
        scopes, path = spec.get("scopes") or (), Path("spec").child("scopes")
        errors += [
            invalid(path, list(scopes), "unsupported scope") for scope in scopes if scope not in SCOPES
        ]
        for pair in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
            if all(scope in scopes for scope in pair):
                errors.append(invalid(path, list(scopes), "conflicting scopes"))
        return errors

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: the scopes are fixed."""
        errors = self.validate_body(new)
        after, before = ((each.get("spec") or {}).get("scopes") or [] for each in (new, old))
        if set(after) != set(before):
            errors.append(invalid(Path("spec").child("scopes"), after, "field is immutable"))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a quota: what is used of what there is."""
        status = obj.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        cells: dict[bool, list[str]] = {False: [], True: []}
        for name in sorted(hard):
            cells[name.startswith("limits.")].append(f"{name}: {used.get(name) or '0'}/{hard[name]}")
        return [name_of(obj), ", ".join(cells[False]), ", ".join(cells[True]), age(obj, now)]


def _quota_name(name: str, path: Path) -> list[FieldError]:
    if "/" in name:
        return []
    known = check_resource_name(path, name, container=False)
    if known and not name.startswith(("requests.hugepages-", "hugepages-", "count/")):
        return [invalid(path, name, "must be a standard resource for quota")]
    return []

"""Reading the metadata that every Kubernetes object has, on plain dicts. Missing parts read as empty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

__all__ = [
    "annotations_of",
    "controller_ref",
    "has_finalizer",
    "is_deleting",
    "labels_of",
    "micro_time",
    "name_of",
    "namespace_of",
    "owner_controller",
    "parse_time",
    "rfc3339",
    "uid_of",
]

Object = Mapping[str, Any]


def _metadata(obj: Object) -> Mapping[str, Any]:
    return obj.get("metadata") or {}


def name_of(obj: Object) -> str:
    """Return the object's name, or ""."""
    return str(_metadata(obj).get("name") or "")


def namespace_of(obj: Object) -> str:
    """Return the object's namespace, or "" (cluster-scoped, or not yet known)."""
    return str(_metadata(obj).get("namespace") or "")


def uid_of(obj: Object) -> str:
    """Return the object's uid, or "" before it is stored."""
    return str(_metadata(obj).get("uid") or "")


def labels_of(obj: Object) -> Mapping[str, str]:
    """Return the object's labels; do not change the mapping."""
    labels: Mapping[str, str] = _metadata(obj).get("labels") or {}
    return labels


def annotations_of(obj: Object) -> Mapping[str, str]:
    """Return the object's annotations; do not change the mapping."""
    annotations: Mapping[str, str] = _metadata(obj).get("annotations") or {}
    return annotations


def owner_controller(obj: Object) -> dict[str, Any] | None:
    """Return the owner reference of the object's controller, or None. There is at most one."""
    for reference in _metadata(obj).get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def controller_ref(owner: Object, kind: str, api_version: str) -> dict[str, Any]:
    """Make the owner reference with which ``owner`` controls another object.

    Kind and version are arguments because objects out of a list do not carry them.
    """
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def has_finalizer(obj: Object, finalizer: str) -> bool:
    """Say whether the object carries this finalizer."""
    return finalizer in (_metadata(obj).get("finalizers") or ())


def is_deleting(obj: Object) -> bool:
    """Say whether deletion of the object has begun."""
    return bool(_metadata(obj).get("deletionTimestamp"))


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without zone cannot be written as RFC 3339")
    return moment.astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """Write a time as ``metav1.Time`` does: UTC, whole seconds. Raises ValueError for a time without zone."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(moment: datetime) -> str:
    """Write a time as ``metav1.MicroTime`` does: UTC, microseconds. Raises ValueError without a zone."""
    return _utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; digits beyond microseconds are dropped. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 2026-01-02T15:04:05Z")
    year, month, day, hour, minute, second, fraction, zulu, sign, hours, minutes = match.groups()
    zone: timezone = UTC
    if not zulu:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if sign == "-" else offset)
    micro = int((fraction or "0")[:6].ljust(6, "0"))
    return datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micro, zone)

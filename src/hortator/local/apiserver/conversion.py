"""One object in the words of another version of its API.

Versions of one built-in resource that differ in name only are relabelled. Events are the one kind that upstream serves
under two groups (core/v1 and events.k8s.io/v1) from one store; the field names differ, so they are translated here.
"""

from __future__ import annotations

from typing import Any

__all__ = ["convert", "storage_of", "stored_version"]

_EVENTS = "events.k8s.io/v1"
# (core/v1 name, events.k8s.io/v1 name)
_EVENT_FIELDS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def storage_of(group: str, plural: str) -> str:
    """Return the collection that a resource's objects live in."""
    return "/events" if plural == "events" and group == "events.k8s.io" else f"{group}/{plural}"


def stored_version(group: str, plural: str, api_version: str) -> str:
    """Return the ``apiVersion`` in which a built-in resource is stored."""
    return "v1" if plural == "events" and group == "events.k8s.io" else api_version


def convert(obj: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Return an object in another of its versions. The input is not changed."""
    found = obj.get("apiVersion")
    if found == api_version:
        return obj
    result = {**obj, "apiVersion": api_version}
    if api_version == _EVENTS and found == "v1":
        _rename(result, [(core, new) for core, new in _EVENT_FIELDS])
    elif found == _EVENTS and api_version == "v1":
        _rename(result, [(new, core) for core, new in _EVENT_FIELDS])
    return result


def _rename(obj: dict[str, Any], names: list[tuple[str, str]]) -> None:
    for old, new in names:
        if old in obj:
            obj[new] = obj.pop(old)

"""``metadata.managedFields``: who owns which fields, and since when.

Reading and writing the list, its order, and the limit on old entries follow
``k8s.io/apimachinery/pkg/util/managedfields`` (v0.36). What an operation does to ownership is left to
:mod:`hortator.apimachinery.apply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.fieldsets import FieldSet, decode, encode

__all__ = ["Manager", "Managers", "Owned", "read_managers", "write_managers"]

#: Entries made by updates that are kept apart; older ones are merged.
MAXIMUM_UPDATERS = 10
_ANCIENT = "ancient-changes"


@dataclass(frozen=True, slots=True)
class Manager:
    """Who made an entry. An applier has one entry whatever API version it applies in; an updater one for each."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    @classmethod
    def of(cls, name: str, operation: str, api_version: str, subresource: str = "") -> Manager:
        """Return the identity of an operation's author."""
        return cls(name or "unknown", operation, "" if operation == "Apply" else api_version, subresource)

    def describe(self) -> str:
        """Name the manager as messages about conflicts do."""
        text = go_quote(self.name)
        if self.subresource:
            text += f" with subresource {go_quote(self.subresource)}"
        if self.operation == "Update":
            text += f" using {self.api_version}"
        return text


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns, in which API version it said so, and when (RFC 3339, or "")."""

    fields: FieldSet
    api_version: str
    time: str = ""
    #: The fields as they were read; written again as long as they do not change.
    encoded: Mapping[str, Any] | None = field(default=None, compare=False)


Managers = dict[Manager, Owned]


def read_managers(entries: Any) -> Managers:
    """Read ``managedFields``. Raises ValueError for entries that upstream does not accept either."""
    managers: Managers = {}
    if not isinstance(entries, (list, type(None))):
        raise ValueError("managedFields must be a list")
    for index, entry in enumerate(entries or ()):
        if not isinstance(entry, Mapping) or entry.get("operation") not in ("Apply", "Update"):
            raise ValueError("operation must be `Apply` or `Update`")
        version = entry.get("apiVersion")
        if not isinstance(version, str) or not version:
            raise ValueError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            raise ValueError(f"invalid fieldsType in managed fields entry {index}")
        manager = Manager(
            str(entry.get("manager") or ""),
            entry["operation"],
            "" if entry["operation"] == "Apply" else version,
            str(entry.get("subresource") or ""),
        )
        fields = entry.get("fieldsV1")
        managers[manager] = Owned(decode(fields), version, str(entry.get("time") or ""), fields)
    return managers


def write_managers(managers: Mapping[Manager, Owned]) -> list[dict[str, Any]]:
    """Return ``managedFields``, in upstream's order: by operation, time, name, version."""
    ordered = sorted(
        managers.items(),
        key=lambda each: (
            each[0].operation,
            each[1].time,
            each[0].name,
            each[1].api_version,
            each[0].subresource,
        ),
    )
    entries = []
    for manager, owned in ordered:
        entry: dict[str, Any] = {"manager": manager.name} if manager.name else {}
        entry |= {"operation": manager.operation, "apiVersion": owned.api_version}
        if owned.time:
            entry["time"] = owned.time
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned.encoded or encode(owned.fields)}
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


def cap_updaters(managers: Managers) -> Managers:
    """Merge the oldest updaters of a version into one entry until there are no more than the limit."""
    updaters = [manager for manager in managers if manager.operation == "Update"]
    surplus = len(updaters) - MAXIMUM_UPDATERS
    if surplus <= 0:
        return managers
    result = dict(managers)
    first: dict[str, Manager] = {}
    merged: dict[Manager, list[Owned]] = {}
    for manager in sorted(updaters, key=lambda each: (managers[each].time, each.name)):
        if surplus <= 0:
            break
        owned = managers[manager]
        version = owned.api_version
        if version not in first:
            first[version] = manager
            continue
        bucket = Manager(_ANCIENT, "Update", version)
        if bucket not in merged:
            if bucket not in result:
                result[bucket] = result.pop(first[version])
            merged[bucket] = [result[bucket]]
        if manager != bucket:
            del result[manager]
            surplus -= 1
        merged[bucket].append(owned)
    for bucket, parts in merged.items():
        fields = frozenset().union(*(owned.fields for owned in parts))
        result[bucket] = Owned(fields, bucket.api_version, parts[-1].time)
    return result

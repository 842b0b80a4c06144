"""Server-side apply, and the tracking of field ownership by all other writes.

Pure functions from objects to objects; behaviour, messages and causes are those of
``k8s.io/apimachinery/pkg/util/managedfields`` (v0.36; KEP-555). Defaulting and validating the result is left to the caller.
One schema serves all API versions of an object: entries of other versions are read as if they were of this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hortator.apimachinery import fieldsets
from hortator.apimachinery.fieldsets import FieldPath, FieldSet
from hortator.apimachinery.managedfields import (
    Manager,
    Managers,
    Owned,
    cap_updaters,
    read_managers,
    write_managers,
)
from hortator.apimachinery.meta import annotations_of, name_of, namespace_of, rfc3339, uid_of
from hortator.apimachinery.nesting import MAXIMUM_DEPTH, too_deep
from hortator.apimachinery.patches import json_equal
from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.apimachinery.structure import Node
from hortator.apimachinery.typedvalues import (
    Difference,
    compare,
    field_set,
    merge,
    mistakes,
    remove,
    with_named_parents,
)

__all__ = ["LAST_APPLIED", "ApplyConflict", "Conflict", "apply", "track_update"]

#: Where client-side apply keeps what it applied.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE = "before-first-apply"

#: Fields that never belong to anybody.
_STRIPPED: FieldSet = frozenset(
    [
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        ),
    ]
)

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that somebody else owns and that the applied configuration would change."""

    manager: str
    path: FieldPath


class ApplyConflict(StatusError):
    """409: applying would take fields from other managers; with ``force`` it does."""

    def __init__(self, conflicts: list[Conflict]):
        self.conflicts = conflicts
        causes = tuple(
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {conflict.manager}",
                "field": fieldsets.show(conflict.path),
            }
            for conflict in conflicts
        )
        super().__init__(ApiStatus(409, "Conflict", _describe(conflicts), causes=causes, bare=True))


def _describe(conflicts: list[Conflict]) -> str:
    if len(conflicts) == 1:
        only = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {only.manager}: {fieldsets.show(only.path)}"
    lines = []
    for manager in sorted({conflict.manager for conflict in conflicts}):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {fieldsets.show(each.path)}" for each in conflicts if each.manager == manager]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def apply(
    live: Object | None,
    applied: Object,
    schema: Node,
    *,
    manager: str,
    force: bool,
    api_version: str,
    now: datetime,
    subresource: str = "",
    reset: Iterable[tuple[str, ...]] = (),
) -> dict[str, Any]:
    """Return ``live`` (None: there is no such object yet) with a configuration applied by ``manager``.

    The result carries the new ``metadata.managedFields``. When nothing changes it equals ``live``, times included.
    ``reset`` names fields (``("status",)``) that this endpoint does not write: nobody comes to own them here.
    Raises ApplyConflict, and StatusError (400) for a configuration that cannot be applied.
    """
    _check(applied, schema, api_version)
    ignored = _field_names(reset)
    before = _bare(live or {})
    try:
        managers = read_managers((live or {}).get("metadata", {}).get("managedFields"))
    except ValueError as error:
        raise StatusError.internal(f"failed to decode managed fields: {error}") from error
    if not managers:
        managers = _update({}, before, schema, {}, Manager.of(_BEFORE, "Update", api_version), ignored, now)
    applier = Manager.of(manager, "Apply", api_version, subresource)
    job = _Apply(before, applied, schema, applier, api_version, ignored)
    try:
        result, managers = job.run(managers, force=force)
    except ApplyConflict as error:
        if manager != "kubectl":
            raise
        allowed = _client_side(before, schema, api_version)
        left = [conflict for conflict in error.conflicts if conflict.path not in allowed]
        if left:
            raise ApplyConflict(left) if allowed else error from None
        result, managers = job.run(managers, force=True)
    if manager == "kubectl" and annotations_of(result).get(LAST_APPLIED):
        result = _with_last_applied(result, applied)
    owned = managers.get(applier)
    if owned is not None and not json_equal(result, before):
        managers[applier] = Owned(owned.fields, owned.api_version, rfc3339(now))
    return _with_managers(result, managers)


def _check(applied: Object, schema: Node, api_version: str) -> None:
    if applied.get("apiVersion") != api_version:
        raise StatusError.bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {applied.get('apiVersion')}, expected: {api_version}"
        )
    if too_deep(applied):
        raise StatusError.bad_request(f"the configuration nests values more than {MAXIMUM_DEPTH} levels deep")
    metadata = applied.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise StatusError.bad_request("metadata must be an object")
    if metadata and metadata.get("managedFields") is not None:
        raise StatusError.bad_request("metadata.managedFields must be nil")
    found = mistakes(applied, schema)
    if found:
        group, _, version = api_version.rpartition("/")
        kind = f"{group}/{version}" if group else f"/{version}"
        what = f"{namespace_of(applied)}/{name_of(applied)}; {kind.lstrip('/')}, Kind={applied.get('kind')}"
        text = found[0] if len(found) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in found)
        raise StatusError.bad_request(f"failed to create typed patch object ({what}): {text}")


def _field_names(paths: Iterable[tuple[str, ...]]) -> FieldSet:
    return frozenset(tuple(f"f:{name}" for name in path) for path in paths)


def _bare(obj: Object) -> dict[str, Any]:
    """Return the object without its managedFields."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return dict(obj)
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _with_managers(obj: Object, managers: Managers) -> dict[str, Any]:
    entries = write_managers(managers)
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class _Apply:
    """One apply operation on one object."""

    live: dict[str, Any]
    applied: Object
    schema: Node
    applier: Manager
    api_version: str
    ignored: FieldSet

    def run(self, managers: Managers, *, force: bool) -> tuple[dict[str, Any], Managers]:
        merged = merge(self.live, dict(self.applied), self.schema)
        last = managers.get(self.applier)
        claimed = fieldsets.without(field_set(self.applied, self.schema), self.ignored)
        managers = {**managers, self.applier: Owned(claimed, self.api_version, last.time if last else "")}
        if last is not None and not last.fields <= claimed:
            merged = self._prune(merged, managers, last.fields)
        changes = compare(self.live, merged, self.schema).without(self.ignored)
        managers = _take(managers, changes, self.applier, force=force)
        _strip(managers, self.applier)
        return merged, managers

    def _prune(self, merged: dict[str, Any], managers: Managers, last: FieldSet) -> dict[str, Any]:
        """Remove what the applier applied last time, does not apply now, and nobody else owns."""
        schema = self.schema
        last = with_named_parents(last, schema)
        everything = with_named_parents(field_set(merged, schema), schema)
        owned = with_named_parents(frozenset().union(*(each.fields for each in managers.values())), schema)
        kept = with_named_parents(field_set(_or_empty(remove(merged, last, schema)), schema), schema)
        pruned = _or_empty(remove(merged, everything - (kept | owned), schema))
        kept = with_named_parents(field_set(pruned, schema), schema)
        return _or_empty(remove(merged, (everything - kept) & last, schema))


def _or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _take(managers: Managers, changes: Difference, author: Manager, *, force: bool) -> Managers:
    """Take changed and removed fields from everybody but the author. Raises ApplyConflict unless ``force``."""
    touched = frozenset(changes.modified | changes.added)
    removed = frozenset(changes.removed)
    conflicts: dict[Manager, FieldSet] = {}
    for manager, owned in managers.items():
        if manager != author and (taken := owned.fields & touched):
            conflicts[manager] = taken
    if conflicts and not force:
        raise ApplyConflict(
            [
                Conflict(manager.describe(), path)
                for manager in sorted(
                    conflicts, key=lambda each: (each.name, each.operation, each.subresource)
                )
                for path in fieldsets.sorted_paths(conflicts[manager])
            ]
        )
    result: Managers = {}
    for manager, owned in managers.items():
        if manager == author or (manager not in conflicts and not (owned.fields & removed)):
            kept = owned
        else:
            fields = owned.fields - conflicts.get(manager, frozenset()) - removed
            kept = Owned(fields, owned.api_version, owned.time)
        if kept.fields:
            result[manager] = kept
    return result


def _strip(managers: Managers, manager: Manager) -> None:
    owned = managers.get(manager)
    if owned is None:
        return
    fields = owned.fields - _STRIPPED
    if fields:
        managers[manager] = Owned(fields, owned.api_version, owned.time)
    else:
        del managers[manager]


def _update(
    old: Object,
    new: Object,
    schema: Node,
    managers: Managers,
    author: Manager,
    ignored: FieldSet,
    now: datetime,
) -> Managers:
    changes = compare(dict(old), dict(new), schema).without(ignored)
    touched = frozenset(changes.modified | changes.added) - _STRIPPED
    nobody = Manager("", "")
    result = _take(managers, changes, nobody, force=True)
    if touched:
        previous = result.get(author)
        fields = touched | previous.fields if previous else touched
        result[author] = Owned(fields, author.api_version, rfc3339(now))
    return result


def track_update(
    old: Object | None,
    new: Object,
    schema: Node,
    *,
    manager: str,
    api_version: str,
    now: datetime,
    subresource: str = "",
    reset: Iterable[tuple[str, ...]] = (),
) -> list[dict[str, Any]]:
    """Return the ``managedFields`` of an object that was created (``old`` None) or changed without apply.

    Changed fields go to ``manager`` and leave everybody else; removed ones leave all. The entry's time moves only
    when the manager changed something. Entries that come with ``new`` count where the request may set them: an
    empty list resets the tracking, none at all keeps that of ``old``. An object whose tracking was reset stays
    untracked until somebody applies to it.
    """
    live = old or {}
    managers = _live_or_new(live, new, subresource)
    if not managers and old is not None and uid_of(live):
        return []
    author = Manager.of(manager, "Update", api_version, subresource)
    ignored = _field_names(reset)
    return write_managers(
        cap_updaters(_update(_bare(live), _bare(new), schema, managers, author, ignored, now))
    )


def _live_or_new(live: Object, new: Object, subresource: str) -> Managers:
    def attempt(obj: Object) -> Managers:
        try:
            return read_managers((obj.get("metadata") or {}).get("managedFields"))
        except ValueError:
            # Entries that cannot be read are as good as none, upstream decides the same.
            return {}

    if subresource:
        return attempt(live)
    given = (new.get("metadata") or {}).get("managedFields")
    if given in ([], [{}]):
        return {}
    return attempt(new) or attempt(live)


def _client_side(live: Object, schema: Node, api_version: str) -> FieldSet:
    """Return the fields that client-side apply had set and that still have its values."""
    text = annotations_of(live).get(LAST_APPLIED)
    if not text:
        return frozenset()
    try:
        last = json.loads(text)
    except (ValueError, RecursionError):
        return frozenset()
    if not isinstance(last, dict) or last.get("apiVersion") != api_version or too_deep(last):
        return frozenset()
    changes = compare(last, dict(live), schema)
    return field_set(last, schema) - changes.modified - changes.added - changes.removed


def _with_last_applied(obj: dict[str, Any], applied: Object) -> dict[str, Any]:
    metadata = dict(applied.get("metadata") or {})
    if "annotations" in metadata:
        rest = {key: value for key, value in metadata["annotations"].items() if key != LAST_APPLIED}
        metadata["annotations"] = rest
    text = (
        json.dumps(
            {**applied, "metadata": metadata}, separators=(",", ":"), ensure_ascii=False, sort_keys=True
        )
        + "\n"
    )
    annotations = {**annotations_of(obj), LAST_APPLIED: text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}

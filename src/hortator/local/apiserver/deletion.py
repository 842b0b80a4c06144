"""What a DELETE does to an object: gone at once, or marked and kept for its finalizers or its grace period.

Pure. Follows upstream's ``BeforeDelete`` and ``deletionFinalizersForGarbageCollection`` (apiserver 1.36) and the strategies
of pods, namespaces and jobs. Who removes dependents is the garbage collector's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hortator.apimachinery.meta import parse_time, rfc3339
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.write_options import check_delete_options

__all__ = ["DeleteOptions", "Step", "is_finished", "plan"]

Object = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
#: Resources whose dependents stay unless the client says otherwise, as upstream.
_ORPHANING = frozenset(("batch/jobs", "/replicationcontrollers"))


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``DeleteOptions`` as they came in the body or the query."""

    propagation: str = ""
    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> DeleteOptions:
        """Make the options from a body that was decoded. Raises 400 or 422 for values that are not allowed."""
        check_delete_options(body)
        propagation = body.get("propagationPolicy") or ""
        orphan = body.get("orphanDependents")
        if orphan is not None:
            propagation = "Orphan" if orphan else "Background"
        grace = body.get("gracePeriodSeconds")
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
            raise StatusError.bad_request("gracePeriodSeconds must be a whole number")
        preconditions = body.get("preconditions") or {}
        return cls(
            propagation,
            grace,
            preconditions.get("uid") or "",
            preconditions.get("resourceVersion") or "",
            bool(body.get("dryRun")),
        )

    def to_dict(self) -> Object:
        """Return the options as admission webhooks get them."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        if self.propagation:
            options["propagationPolicy"] = self.propagation
        if self.grace_seconds is not None:
            options["gracePeriodSeconds"] = self.grace_seconds
        if self.dry_run:
            options["dryRun"] = ["All"]
        conditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        if any(conditions.values()):
            options["preconditions"] = {key: value for key, value in conditions.items() if value}
        return options

    def check_preconditions(self, served: Served, obj: Object) -> None:
        """Raise 409 when the object is not the one that the client meant."""
        metadata = obj["metadata"]
        for label, key, wanted, fate in (
            ("UID", "uid", self.uid, "deleted and then recreated"),
            ("ResourceVersion", "resourceVersion", self.resource_version, "modified"),
        ):
            if wanted and metadata.get(key) != wanted:
                raise StatusError.conflict(
                    served.kind.kind,
                    served.group,
                    metadata["name"],
                    f"the {label} in the precondition ({wanted}) does not match the {label} in record "
                    f"({metadata.get(key)}). The object might have been {fate}",
                )


@dataclass(frozen=True, slots=True)
class Step:
    """What to write: nothing (``obj`` None), the marked object, or its last state with ``remove``."""

    obj: Object | None
    remove: bool = False


def plan(served: Served, obj: Object, options: DeleteOptions, *, now: datetime) -> Step:
    """Return what deleting an object with these options means."""
    metadata: Object = {**obj["metadata"]}
    finalizers = _finalizers(served, metadata.get("finalizers") or [], options)
    grace = _grace(served, obj, options)
    if served.storage == "/namespaces":
        return _delete_namespace(obj, metadata, finalizers, now)
    before = metadata.get("deletionTimestamp")
    if before:
        current = metadata.get("deletionGracePeriodSeconds") or 0
        if current == 0 or grace >= current:
            if current == 0 and not finalizers:
                return Step(obj, remove=True)
            if finalizers != (metadata.get("finalizers") or []):
                return Step(_with(obj, metadata, finalizers))
            return Step(None)
        earlier = parse_time(before) - timedelta(seconds=current) + timedelta(seconds=grace)
        metadata["deletionTimestamp"] = rfc3339(earlier)
        metadata["deletionGracePeriodSeconds"] = grace
        marked = _with(obj, metadata, finalizers)
        return Step(marked, remove=grace == 0 and not finalizers)
    metadata["deletionTimestamp"] = rfc3339(now + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if grace == 0 and not finalizers:
        return Step(obj, remove=True)
    if metadata.get("generation"):
        metadata["generation"] += 1
    return Step(_with(obj, metadata, finalizers))


def is_finished(served: Served, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if served.storage == "/namespaces":
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def default_orphans(served: Served) -> bool:
    """Whether a DELETE that says nothing leaves the dependents alone."""
    return served.storage in _ORPHANING


def _with(obj: Object, metadata: Object, finalizers: list[str]) -> Object:
    metadata.pop("finalizers", None)
    if finalizers:
        metadata["finalizers"] = finalizers
    return {**obj, "metadata": metadata}


def _finalizers(served: Served, current: list[str], options: DeleteOptions) -> list[str]:
    policy = options.propagation
    if not policy:
        if FOREGROUND in current or ORPHAN in current:
            return current
        policy = "Orphan" if default_orphans(served) else "Background"
    kept = [name for name in current if name not in (FOREGROUND, ORPHAN)]
    if policy == "Foreground":
        return [*kept, FOREGROUND]
    if policy == "Orphan":
        return [*kept, ORPHAN]
    return kept


def _grace(served: Served, obj: Object, options: DeleteOptions) -> int:
    if served.storage != "/pods":
        return 0
    spec = obj.get("spec") or {}
    grace = options.grace_seconds
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        grace = 0
    return 1 if grace < 0 else grace


def _delete_namespace(obj: Object, metadata: Object, finalizers: list[str], now: datetime) -> Step:
    waiting = (obj.get("spec") or {}).get("finalizers") or []
    if metadata.get("deletionTimestamp"):
        if waiting or finalizers:
            return Step(None)
        return Step(obj, remove=True)
    if not waiting and not finalizers:
        return Step(obj, remove=True)
    metadata["deletionTimestamp"] = rfc3339(now)
    marked = _with(obj, metadata, finalizers)
    marked["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return Step(marked)

"""A Job's status as a working copy: counters, conditions, and the pods that are counted but still carry the
finalizer.

A finished pod is counted in two steps, so that a crash between them neither loses nor doubles it (KEP-2307):
its UID is written to ``uncountedTerminatedPods``, its finalizer is removed, and then the UID becomes a
number.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from hortator.apimachinery import meta
from hortator.local.controllers.job.observe import JobView

__all__ = ["Draft", "settle"]

COMPLETE_REASON = "CompletionsReached"
COMPLETE_MESSAGE = "Reached expected number of succeeded pods"

MANAGED = frozenset(
    (
        "active",
        "conditions",
        "failed",
        "failedIndexes",
        "ready",
        "succeeded",
        "terminating",
        "uncountedTerminatedPods",
    )
)


class Draft:
    """The status that is being made. Nothing of the one it starts from is changed."""

    def __init__(self, job: JobView) -> None:
        status = job.status
        uncounted = status.get("uncountedTerminatedPods") or {}
        self._rest = {key: value for key, value in status.items() if key not in MANAGED}
        self.active = int(status.get("active") or 0)
        self.ready = int(status.get("ready") or 0)
        self.terminating = int(status.get("terminating") or 0)
        self.succeeded = int(status.get("succeeded") or 0)
        self.failed = int(status.get("failed") or 0)
        self.uncounted_succeeded: list[str] = list(uncounted.get("succeeded") or ())
        self.uncounted_failed: list[str] = list(uncounted.get("failed") or ())
        #: None when the limit per index is not in force; an empty string is written.
        self.failed_indexes: str | None = status.get("failedIndexes")
        self.conditions: list[dict[str, Any]] = list(status.get("conditions") or ())

    @classmethod
    def of(cls, status: Mapping[str, Any], job: JobView) -> Draft:
        """Start from another status than the Job's own."""
        return cls(JobView({**job.object, "status": status}, (), job.now))

    def set(self, key: str, value: Any) -> None:
        """Set any other field; None or an empty string removes it."""
        if value is None or value == "":
            self._rest.pop(key, None)
        else:
            self._rest[key] = value

    def get(self, key: str) -> Any:
        """Return any other field, or None."""
        return self._rest.get(key)

    def true(self, kind: str) -> Mapping[str, Any] | None:
        """Return a condition if it is true."""
        return next((one for one in self.conditions if one["type"] == kind and one["status"] == "True"), None)

    def condition(self, kind: str, status: bool, reason: str, message: str, now: datetime) -> bool:
        """Set a condition; return whether it changed. One that is not there is not added to be false."""
        made = {
            "type": kind,
            "status": "True" if status else "False",
            "lastProbeTime": meta.rfc3339(now),
            "lastTransitionTime": meta.rfc3339(now),
            "reason": reason,
            "message": message,
        }
        for place, one in enumerate(self.conditions):
            if one["type"] == kind:
                if all(one.get(key) == made[key] for key in ("status", "reason", "message")):
                    return False
                self.conditions[place] = made
                return True
        if status:
            self.conditions.append(made)
        return status

    def count_released(self, still_tracked: Set[str]) -> None:
        """Turn the UIDs of pods that lost the finalizer into numbers."""
        left = [uid for uid in self.uncounted_succeeded if uid in still_tracked]
        self.succeeded += len(self.uncounted_succeeded) - len(left)
        self.uncounted_succeeded = left
        left = [uid for uid in self.uncounted_failed if uid in still_tracked]
        self.failed += len(self.uncounted_failed) - len(left)
        self.uncounted_failed = left

    def finish(self, now: datetime) -> Mapping[str, Any] | None:
        """Turn the interim condition into the final one once nothing is left to count or to end; return it."""
        if self.uncounted_succeeded or self.uncounted_failed or self.terminating or self.active:
            return None
        if self.true("Complete") or self.true("Failed"):
            return None
        if met := self.true("SuccessCriteriaMet"):
            self.condition("Complete", True, met["reason"], met["message"], now)
            self.set("completionTime", meta.rfc3339(now))
            return self.conditions[-1]
        if target := self.true("FailureTarget"):
            self.condition("Failed", True, target["reason"], target["message"], now)
            return self.conditions[-1]
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the status as it is written; counters that are zero are left out where upstream leaves them
        out.
        """
        status = dict(self._rest)
        if self.conditions:
            status["conditions"] = self.conditions
        for key in ("active", "succeeded", "failed"):
            if value := getattr(self, key):
                status[key] = value
        if self.failed_indexes is not None:
            status["failedIndexes"] = self.failed_indexes
        status["ready"] = self.ready
        status["terminating"] = self.terminating
        uncounted = {"succeeded": self.uncounted_succeeded, "failed": self.uncounted_failed}
        status["uncountedTerminatedPods"] = {key: value for key, value in uncounted.items() if value}
        return status


def settle(
    job: JobView, status: Mapping[str, Any], still_tracked: Set[str], *, finish: bool
) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Return the status after finalizers were removed, and the final condition if the Job just got it."""
    draft = Draft.of(status, job)
    if not job.indexed:
        draft.count_released(still_tracked)
    else:
        succeeded = draft.succeeded
        draft.count_released(still_tracked)
        # The completed indexes are the count of an Indexed Job.
        draft.succeeded = succeeded
    final = draft.finish(job.now) if finish else None
    return draft.to_dict(), final

"""``cleanPodPolicy``: which workers go when a job has ended, or stops for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hortator.api.mpijob import CLEAN_NONE, CLEAN_RUNNING
from hortator.apimachinery.meta import is_deleting, parse_time

__all__ = ["ANNOTATION_CLEAN_AFTER", "after_finish", "after_suspension", "patience"]

#: On an MPIJob: seconds that workers get after the job's end to end by themselves. Pods that ended keep their logs under
#: the policy ``Running``; deleted ones do not. Absent means 0, as upstream.
ANNOTATION_CLEAN_AFTER = "hortator.dev/clean-after-seconds"
_LONGEST = 3600.0

Pod = Mapping[str, Any]


def after_finish(policy: str, workers: Iterable[Pod]) -> list[Pod]:
    """Return the workers of a finished job to delete: none, those that still run or wait to, or all.

    All of the job's workers count, whatever number of them its spec names by now.
    """
    return [] if policy == CLEAN_NONE else _matching(policy, workers)


def after_suspension(policy: str, workers: Iterable[Pod]) -> list[Pod]:
    """Return the workers of a suspended job to delete; only the policy ``Running`` keeps those that have ended."""
    return _matching(policy, workers)


def patience(annotations: Mapping[str, str] | None, completion: str, now: datetime) -> float:
    """Return the seconds for which workers of a job that ended at ``completion`` (RFC 3339) are still left alone."""
    text = (annotations or {}).get(ANNOTATION_CLEAN_AFTER, "")
    if not text.isdigit() or not completion:
        return 0.0
    return max(0.0, min(float(text), _LONGEST) - (now - parse_time(completion)).total_seconds())


def _matching(policy: str, workers: Iterable[Pod]) -> list[Pod]:
    return [
        pod
        for pod in workers
        if not is_deleting(pod)
        and (policy != CLEAN_RUNNING or (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"))
    ]

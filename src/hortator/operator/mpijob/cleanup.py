"""``cleanPodPolicy``: which workers go when a job has ended, or stops for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hortator.api.mpijob import CLEAN_NONE, CLEAN_RUNNING
from hortator.apimachinery.meta import is_deleting

__all__ = ["after_finish", "after_suspension"]

Pod = Mapping[str, Any]


def after_finish(policy: str, workers: Iterable[Pod]) -> list[Pod]:
    """Return the workers of a finished job to delete: none, those that still run or wait to, or all.

    All of the job's workers count, whatever number of them its spec names by now.
    """
    return [] if policy == CLEAN_NONE else _matching(policy, workers)


def after_suspension(policy: str, workers: Iterable[Pod]) -> list[Pod]:
    """Return the workers of a suspended job to delete; only the policy ``Running`` keeps those that have ended."""
    return _matching(policy, workers)


def _matching(policy: str, workers: Iterable[Pod]) -> list[Pod]:
    return [
        pod
        for pod in workers
        if not is_deleting(pod)
        and (policy != CLEAN_RUNNING or (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"))
    ]

"""How long a Job waits before it replaces a failed pod: 10 s, doubled for each further failure, at most 10
min.

Derived from the pods that are there instead of a memory of the controller's own, so that a restart forgets
nothing.
"""

from __future__ import annotations

from datetime import datetime

from hortator.local.controllers.job.observe import JobView, PodView

__all__ = ["remaining", "remaining_for_index"]

FIRST = 10.0
LONGEST = 600.0


def _remaining(failures: int, last: datetime, now: datetime) -> float:
    # The exponent is bounded so that no number of failures can overflow.
    wait = min(FIRST * 2 ** min(failures - 1, 16), LONGEST) if failures else 0.0
    return max(0.0, wait - (now - last).total_seconds()) if failures else 0.0


def remaining(job: JobView) -> float:
    """Return the seconds to wait before any pod of the Job is replaced: by the failures since the last
    success.
    """
    succeeded = [pod.finished for pod in job.pods if pod.phase == "Succeeded"]
    last_success = max(succeeded, default=None)
    failed = [
        pod.finished
        for pod in job.pods
        if (pod.phase == "Failed" or (pod.tracked and job.failed(pod)))
        and (last_success is None or pod.finished > last_success)
    ]
    return _remaining(len(failed), max(failed), job.now) if failed else 0.0


def remaining_for_index(pod: PodView | None, now: datetime) -> float:
    """Return the seconds to wait before an index is tried again, given the last pod that failed for it."""
    if pod is None:
        return 0.0
    return _remaining(pod.failures + pod.ignored_failures + 1, pod.finished, now)

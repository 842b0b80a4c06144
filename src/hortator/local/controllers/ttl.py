"""Deletes finished Jobs when their ``ttlSecondsAfterFinished`` is over (KEP-592)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery import meta
from hortator.kube.errors import Conflict, NotFound
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import JOBS

__all__ = ["TtlController", "time_left"]


def time_left(job: Mapping[str, Any], now: datetime) -> float | None:
    """Return the seconds until a Job is to be deleted; None when it is not finished, going, or has no limit."""
    limit = job["spec"].get("ttlSecondsAfterFinished")
    if limit is None or meta.is_deleting(job):
        return None
    for one in (job.get("status") or {}).get("conditions") or ():
        if one["type"] in ("Complete", "Failed") and one["status"] == "True":
            ended = meta.parse_time(one["lastTransitionTime"])
            return float(limit) - (now - ended).total_seconds()
    return None


class TtlController:
    """Looks at each Job when it finishes and when its time is over."""

    def __init__(self, manager: Manager, *, now: Callable[[], datetime]) -> None:
        self._client = manager.client
        self._now = now
        self._jobs = manager.informer(JOBS)
        self._controller = manager.add(Controller("job ttl", self._reconcile, workers=1))
        self._jobs.on_change(self._job_changed)

    def _job_changed(self, kind: str, job: Mapping[str, Any], _: object) -> None:
        if kind != "deleted" and time_left(job, self._now()) is not None:
            self._controller.enqueue((meta.namespace_of(job), meta.name_of(job)))

    async def _reconcile(self, key: tuple[str, str]) -> Result | None:
        job = self._jobs.get(*key)
        left = time_left(job, self._now()) if job is not None else None
        if job is None or left is None:
            return None
        if left > 0:
            return Result(requeue_after=left)
        try:
            await self._client.delete(
                JOBS,
                key[1],
                namespace=key[0],
                propagation="Foreground",
                uid=meta.uid_of(job),
                resource_version=job["metadata"].get("resourceVersion"),
            )
        except NotFound:
            return None
        except Conflict:
            # It changed meanwhile; the watch brings the new form, which may have another limit.
            return Result(requeue_after=1.0)
        return None

"""What is there: the caches, read once into one frozen value from which everything else follows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hortator.api import mpijob as api
from hortator.api.mpijob import MPIJob
from hortator.apimachinery import conditions, meta

__all__ = [
    "Observed",
    "controlled_by",
    "is_ready",
    "launcher_ended",
    "phase",
    "select_launcher_pods",
    "select_workers",
]

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """A (defaulted, valid) job and the objects that it controls. Objects of others are not in it."""

    job: MPIJob
    service: Object | None = None
    config_map: Object | None = None
    account: Object | None = None
    role: Object | None = None
    binding: Object | None = None
    launcher: Object | None = None
    launcher_pods: tuple[Object, ...] = ()
    #: Worker pods by number, counted from 0; surplus ones included.
    workers: Mapping[int, Object] = field(default_factory=dict)

    @property
    def ready_workers(self) -> int:
        """How many of the workers asked for are Ready."""
        return sum(1 for i, pod in self.workers.items() if i < self.job.workers and is_ready(pod))

    @property
    def workers_ready(self) -> bool:
        """Whether every worker asked for is Ready."""
        return self.ready_workers == self.job.workers

    @property
    def running_workers(self) -> list[int]:
        """The numbers of workers whose pods run."""
        return sorted(i for i, pod in self.workers.items() if phase(pod) == "Running")

    @property
    def finished(self) -> bool:
        """Whether the job's end is recorded in its status; nothing runs again after that."""
        status = self.job.status or {}
        listed = status.get("conditions")
        ended = conditions.is_true(listed, api.SUCCEEDED) or conditions.is_true(listed, api.FAILED)
        return ended and bool(status.get("completionTime"))

    @property
    def refused(self) -> bool:
        """Whether the job ended because the API server refused an object of it."""
        failed = conditions.find((self.job.status or {}).get("conditions"), api.FAILED) or {}
        return failed.get("status") == "True" and failed.get("reason") == api.REASON_REFUSED

    @property
    def launcher_may_run(self) -> bool:
        """Whether the start gate is open: at once, or once every worker of a job that may run is Ready."""
        if self.job.waits_for_workers:
            return not self.job.suspended and self.workers_ready
        return True


def phase(pod: Object) -> str:
    """Return a pod's phase; a pod that nobody has reported on is Pending."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_ready(pod: Object) -> bool:
    """Say whether a pod is Ready and stays."""
    return conditions.is_true((pod.get("status") or {}).get("conditions"), "Ready") and not meta.is_deleting(
        pod
    )


def launcher_ended(launcher: Object | None) -> str:
    """Return ``Complete`` or ``Failed`` for a Job that has ended, else an empty string."""
    listed = ((launcher or {}).get("status") or {}).get("conditions")
    return next((kind for kind in ("Complete", "Failed") if conditions.is_true(listed, kind)), "")


def controlled_by(obj: Object | None, uid: str) -> Object | None:
    """Return the object if its controller is the owner with this uid, else None."""
    if obj is None:
        return None
    owner = meta.owner_controller(obj)
    return obj if owner is not None and owner.get("uid") == uid else None


_NUMBER = re.compile(r"-worker-(0|[1-9][0-9]*)", re.ASCII)


def select_workers(job: MPIJob, pods: Iterable[Object]) -> dict[int, Object]:
    """Return the job's workers by number, which is read from their names.

    A label can be missing or changed by hand, and counts the launcher too where that takes ranks; names do neither.
    """
    workers: dict[int, Object] = {}
    for pod in pods:
        name = meta.name_of(pod)
        number = _NUMBER.fullmatch(name[len(job.name) :]) if name.startswith(job.name) else None
        if number is not None and controlled_by(pod, job.uid) is not None:
            workers[int(number[1])] = pod
    return dict(sorted(workers.items()))


def select_launcher_pods(launcher: Object | None, pods: Iterable[Object]) -> tuple[Object, ...]:
    """Return the pods that the launcher's Job has made."""
    uid = meta.uid_of(launcher) if launcher is not None else ""
    return tuple(pod for pod in pods if uid and controlled_by(pod, uid) is not None)

"""A Job and its pods as one frozen value, with the questions that the plan asks of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hortator.apimachinery import meta

__all__ = ["FINALIZER", "INDEX", "JobView", "PodView", "index_of", "observe"]

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
CONTROLLER = "kubernetes.io/job-controller"
#: Sorts before any time that a pod carries.
NEVER = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _count(annotations: Mapping[str, str], key: str) -> int:
    text = annotations.get(key, "")
    return int(text) if text.isdecimal() and int(text) < 2**31 else 0


def index_of(pod: Mapping[str, Any]) -> int | None:
    """Return a pod's completion index; None when it has none or not a number."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdecimal() else None


def _condition_time(pod: Mapping[str, Any], kind: str, status: str) -> datetime | None:
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one.get("type") == kind and one.get("status") == status and one.get("lastTransitionTime"):
            return meta.parse_time(one["lastTransitionTime"])
    return None


def _containers_finished(pod: Mapping[str, Any]) -> datetime | None:
    """Return when the last container ended; None when one has not or there is none."""
    status = pod.get("status") or {}
    sidecars = {
        one["name"] for one in pod["spec"].get("initContainers") or () if one.get("restartPolicy") == "Always"
    }
    containers = [
        *(status.get("containerStatuses") or ()),
        *(one for one in status.get("initContainerStatuses") or () if one.get("name") in sidecars),
    ]
    times = [(((one.get("state") or {}).get("terminated")) or {}).get("finishedAt") for one in containers]
    if not times or not all(times):
        return None
    return max(meta.parse_time(one) for one in times if one)


def _finished_at(pod: Mapping[str, Any]) -> datetime:
    """Return when a pod ended: its containers, else its Ready condition, else its deletion, else its
    creation.
    """
    if (found := _containers_finished(pod)) is not None:
        return found
    if (found := _condition_time(pod, "Ready", "False")) is not None:
        return found
    metadata = pod["metadata"]
    if deleted := metadata.get("deletionTimestamp"):
        return meta.parse_time(deleted) - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return meta.parse_time(metadata["creationTimestamp"])


@dataclass(frozen=True, slots=True, eq=False)
class PodView:
    """One pod of a Job. ``tracked``: it still carries the finalizer, so it is not counted for good yet."""

    object: Mapping[str, Any]
    uid: str
    name: str
    phase: str
    node: str
    deleting: bool
    tracked: bool
    ready_since: datetime | None
    index: int | None
    failures: int
    ignored_failures: int
    restarts: int
    created: datetime
    finished: datetime

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is true."""
        return self.ready_since is not None

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        """Whether it counts as active: neither ended nor being deleted."""
        return not self.terminal and not self.deleting

    @property
    def terminating(self) -> bool:
        """Whether it is being deleted and has not ended."""
        return not self.terminal and self.deleting


def _view(pod: Mapping[str, Any]) -> PodView:
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations = metadata.get("annotations") or {}
    return PodView(
        object=pod,
        uid=metadata["uid"],
        name=metadata["name"],
        phase=status.get("phase") or "Pending",
        node=pod["spec"].get("nodeName") or "",
        deleting="deletionTimestamp" in metadata,
        tracked=FINALIZER in (metadata.get("finalizers") or ()),
        ready_since=_ready_since(pod),
        index=index_of(pod),
        failures=_count(annotations, FAILURES),
        ignored_failures=_count(annotations, IGNORED_FAILURES),
        restarts=sum(
            one.get("restartCount") or 0
            for one in (
                *(status.get("initContainerStatuses") or ()),
                *(status.get("containerStatuses") or ()),
            )
        ),
        created=meta.parse_time(metadata["creationTimestamp"]),
        finished=_finished_at(pod),
    )


def _ready_since(pod: Mapping[str, Any]) -> datetime | None:
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Ready" and one.get("status") == "True":
            since = one.get("lastTransitionTime")
            return meta.parse_time(since) if since else NEVER
    return None


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job, its pods and the time. ``asleep``: seconds since the start that the machine slept, not counted."""

    object: Mapping[str, Any]
    pods: tuple[PodView, ...]
    now: datetime
    asleep: float = 0.0

    @property
    def spec(self) -> Mapping[str, Any]:
        """The Job's spec."""
        spec: Mapping[str, Any] = self.object["spec"]
        return spec

    @property
    def status(self) -> Mapping[str, Any]:
        """The Job's status, possibly empty."""
        return self.object.get("status") or {}

    @property
    def name(self) -> str:
        """The Job's name."""
        return str(self.object["metadata"]["name"])

    @property
    def deleting(self) -> bool:
        """Whether the Job is being deleted."""
        return "deletionTimestamp" in self.object["metadata"]

    @property
    def indexed(self) -> bool:
        """Whether each pod has a completion index."""
        return self.spec.get("completionMode") == "Indexed"

    @property
    def completions(self) -> int | None:
        """How many pods must succeed; None for a work queue, where one success ends it."""
        value: int | None = self.spec.get("completions")
        return value

    @property
    def parallelism(self) -> int:
        """How many pods may run at once."""
        value = self.spec.get("parallelism")
        return 1 if value is None else int(value)

    @property
    def suspended(self) -> bool:
        """Whether it shall not run now."""
        return bool(self.spec.get("suspend"))

    @property
    def backoff_limit(self) -> int:
        """How many failed pods are allowed."""
        value = self.spec.get("backoffLimit")
        if value is not None:
            return int(value)
        return 6 if self.backoff_limit_per_index is None else 2**31 - 1

    @property
    def backoff_limit_per_index(self) -> int | None:
        """How many failed pods are allowed per index; None when not set."""
        value: int | None = self.spec.get("backoffLimitPerIndex")
        return value

    @property
    def replaces_only_failed(self) -> bool:
        """Whether a pod that is being deleted is replaced only when it has ended (podReplacementPolicy)."""
        return (
            self.spec.get("podReplacementPolicy") == "Failed" or self.spec.get("podFailurePolicy") is not None
        )

    @property
    def is_ours(self) -> bool:
        """Whether this controller manages it (managedBy)."""
        return self.spec.get("managedBy") in (None, CONTROLLER)

    @property
    def finished(self) -> bool:
        """Whether it is Complete or Failed."""
        return any(self.has_condition(kind) for kind in ("Complete", "Failed"))

    def condition(self, kind: str) -> Mapping[str, Any] | None:
        """Return a condition of the status."""
        return next((one for one in self.status.get("conditions") or () if one.get("type") == kind), None)

    def has_condition(self, kind: str) -> bool:
        """Tell whether a condition is true."""
        found = self.condition(kind)
        return found is not None and found.get("status") == "True"

    def valid_index(self, pod: PodView) -> bool:
        """Tell whether a pod's index is one of the Job's; true for Jobs without indexes."""
        if not self.indexed:
            return True
        return pod.index is not None and pod.index < (self.completions or 0)

    def failed(self, pod: PodView) -> bool:
        """Tell whether a pod counts as failed. A deleted one does, unless only ended pods are replaced."""
        if pod.phase == "Failed":
            return True
        return not self.replaces_only_failed and pod.deleting and pod.phase != "Succeeded"


def observe(
    job: Mapping[str, Any],
    pods: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    asleep: float = 0.0,
    known: MutableMapping[str, PodView] | None = None,
) -> JobView:
    """Gather a Job and the pods that it controls.

    ``known`` keeps views by UID from one call to the next, for pods that have not changed (are the same objects).
    """
    if known is None:
        known = {}
    views = []
    for pod in pods:
        uid = pod["metadata"]["uid"]
        view = known.get(uid)
        if view is None or view.object is not pod:
            view = known[uid] = _view(pod)
        views.append(view)
    return JobView(job, tuple(views), now, asleep)

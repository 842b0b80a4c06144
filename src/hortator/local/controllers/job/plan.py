"""What to do about a Job now: a pure function from what was observed to pods to make and end and a status to
write.

Follows kube-controller-manager 1.36 step by step, because users and operators depend on its order: a failure
that is already decided stands, then the failure rules, then the rules for success, and only then pods are
made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hortator.apimachinery import meta
from hortator.local.controllers.job import backoff
from hortator.local.controllers.job.indexes import IndexSet
from hortator.local.controllers.job.observe import JobView, PodView
from hortator.local.controllers.job.policies import failure_message, match_failure, match_success
from hortator.local.controllers.job.status import COMPLETE_MESSAGE, COMPLETE_REASON, Draft

__all__ = ["Creation", "Note", "Plan", "plan"]

#: Most pods made or ended in one pass.
MOST_PODS = 500
#: Most pods counted in one pass, which bounds the size of the status.
MOST_UNCOUNTED = 500


@dataclass(frozen=True, slots=True)
class Creation:
    """A pod to make; ``failures`` and ``ignored`` continue the counts of its index."""

    index: int | None = None
    failures: int = 0
    ignored: int = 0


class Note(NamedTuple):
    """An Event about the Job."""

    type: str
    reason: str
    message: str


@dataclass(slots=True)
class Plan:
    """The changes, in the order in which they are made.

    ``surplus`` pods lose the finalizer and are deleted (they do not count); ``end`` pods are deleted and
    counted; then ``create``; then ``status`` is written if it differs; then ``release`` pods lose the
    finalizer. ``finishing``: the last step may make the Job Complete or Failed.
    """

    status: dict[str, Any] = field(default_factory=dict)
    surplus: tuple[PodView, ...] = ()
    end: tuple[PodView, ...] = ()
    create: tuple[Creation, ...] = ()
    release: tuple[PodView, ...] = ()
    events: tuple[Note, ...] = ()
    finishing: bool = False
    requeue_after: float | None = None


def plan(job: JobView) -> Plan | None:
    """Plan a Job's next step; None when it is finished or not this controller's."""
    if not job.is_ours or job.finished:
        return None
    return _Planner(job).plan()


class _Planner:
    """One run of the plan: the facts that several steps share."""

    def __init__(self, job: JobView) -> None:
        self.job = job
        self.draft = Draft(job)
        self.result = Plan()
        self.notes: list[Note] = []
        self.active = [pod for pod in job.pods if pod.active]
        self.terminating = sum(pod.terminating for pod in job.pods)
        self.ready = sum(pod.ready for pod in self.active)
        self.active_count = len(self.active)
        uncounted_succeeded = set(self.draft.uncounted_succeeded)
        uncounted_failed = set(self.draft.uncounted_failed)
        fresh = [pod for pod in job.pods if pod.tracked and job.valid_index(pod)]
        succeeded = [pod for pod in fresh if pod.phase == "Succeeded" and pod.uid not in uncounted_succeeded]
        failed = [pod for pod in fresh if job.failed(pod) and pod.uid not in uncounted_failed]
        self.succeeded = self.draft.succeeded + len(succeeded) + len(uncounted_succeeded)
        self.failed = (
            self.draft.failed + sum(match_failure(job, pod).counts for pod in failed) + len(uncounted_failed)
        )
        self.before = IndexSet()
        self.done = IndexSet()
        self.lost: IndexSet | None = None
        self.delayed: dict[int, PodView] = {}
        self._full = False
        if job.indexed:
            completions = job.completions or 0
            self.before = IndexSet.parse(job.status.get("completedIndexes") or "", completions)
            self.done = self.before | IndexSet.of(pod.index for pod in succeeded if pod.index is not None)
            self.succeeded = len(self.done)
            if job.backoff_limit_per_index is not None:
                self.lost = IndexSet.parse(job.status.get("failedIndexes") or "", completions) | IndexSet.of(
                    pod.index for pod in fresh if pod.index is not None and self._index_lost(pod)
                )
                self.delayed = self._delayed()

    def plan(self) -> Plan:
        job, draft, result = self.job, self.draft, self.result
        if draft.get("startTime") is None and not job.suspended:
            draft.set("startTime", meta.rfc3339(job.now))
        interim = self._interim()
        if interim is not None:
            result.end = tuple(self.active)
            self._ended(self.active)
        else:
            interim = self._manage()
        if interim is not None:
            draft.condition(interim[0], True, interim[1], interim[2], job.now)
        draft.active = self.active_count
        draft.ready = self.ready
        draft.terminating = self.terminating
        self._count(interim)
        result.finishing = interim is not None and not self._full
        result.events = tuple(self.notes)
        result.status = draft.to_dict()
        return result

    # Has it ended?

    def _interim(self) -> tuple[str, str, str] | None:
        """Return the condition that says that the Job is to end: type, reason, message."""
        job, draft = self.job, self.draft
        if (met := draft.true("SuccessCriteriaMet")) is not None:
            return "SuccessCriteriaMet", met["reason"], met["message"]
        if (target := draft.true("FailureTarget")) is not None:
            return "FailureTarget", target["reason"], target["message"]
        if message := failure_message(job):
            return "FailureTarget", "PodFailurePolicy", message
        if self.failed > job.backoff_limit or self._restarted_too_often():
            return "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if self._past_deadline():
            return "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"
        if self.lost is not None:
            limit = job.spec.get("maxFailedIndexes")
            if limit is not None and len(self.lost) > limit:
                return (
                    "FailureTarget",
                    "MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes",
                )
            if self.lost and len(self.lost) + len(self.done) >= (job.completions or 0):
                return "FailureTarget", "FailedIndexes", "Job has failed indexes"
        if job.indexed and (message := match_success(job, self.done)):
            return "SuccessCriteriaMet", "SuccessPolicy", message
        return None

    def _restarted_too_often(self) -> bool:
        """Count restarts in place against the limit, for pods that restart their containers themselves."""
        job = self.job
        if job.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        restarts = sum(pod.restarts for pod in job.pods if pod.phase in ("Running", "Pending"))
        return restarts > 0 if job.backoff_limit == 0 else restarts >= job.backoff_limit

    def _past_deadline(self) -> bool:
        """Tell whether the time is over; if not, have the Job looked at again when it is."""
        job = self.job
        limit = job.spec.get("activeDeadlineSeconds")
        started = self.draft.get("startTime")
        if limit is None or started is None or job.suspended:
            return False
        left = limit - ((job.now - meta.parse_time(started)).total_seconds() - job.asleep)
        if left <= 0:
            return True
        self._again(left)
        return False

    # Pods

    def _manage(self) -> tuple[str, str, str] | None:
        """Make and end pods; return the condition of success when all that was asked for is done."""
        job, draft = self.job, self.draft
        if not job.deleting:
            self._adjust()
        if job.completions is None:
            complete = self.succeeded > 0 and self.active_count == 0
        else:
            complete = self.succeeded >= job.completions and self.active_count == 0
        if complete:
            return "SuccessCriteriaMet", COMPLETE_REASON, COMPLETE_MESSAGE
        if job.deleting:
            return None
        if job.suspended:
            if draft.condition("Suspended", True, "JobSuspended", "Job suspended", job.now):
                draft.set("startTime", None)
                self.notes.append(Note("Normal", "Suspended", "Job suspended"))
        elif draft.condition("Suspended", False, "JobResumed", "Job resumed", job.now):
            # A deadline counts from the resumption.
            draft.set("startTime", meta.rfc3339(job.now))
            self.notes.append(Note("Normal", "Resumed", "Job resumed"))
        return None

    def _adjust(self) -> None:
        job = self.job
        if job.suspended:
            wanted = 0
        elif job.completions is None:
            wanted = self.active_count if self.succeeded > 0 else job.parallelism
        else:
            wanted = max(0, min(job.completions - self.succeeded, job.parallelism))
        surplus = self._surplus(max(0, self.active_count - wanted))
        if surplus:
            self.result.surplus = tuple(surplus[:MOST_PODS])
            self._ended(self.result.surplus)
            # As upstream, one pass either ends pods or makes them.
            return
        waiting = self.terminating if job.replaces_only_failed else 0
        short = min(wanted - waiting - self.active_count, MOST_PODS)
        if short > 0 and not job.suspended:
            self.result.create = self._creations(short)
            self.active_count += len(self.result.create)

    def _surplus(self, at_least: int) -> list[PodView]:
        """Choose pods to end: those without a place among the indexes, then the least advanced."""
        job = self.job
        rest = sorted(self.active, key=_advance)
        chosen: list[PodView] = []
        if job.indexed:
            kept: dict[int, PodView] = {}
            for pod in rest:
                if not job.valid_index(pod) or pod.index is None:
                    chosen.append(pod)
                    continue
                if (earlier := kept.get(pod.index)) is not None:
                    chosen.append(earlier)
                kept[pod.index] = pod
            rest = [pod for pod in rest if pod.index is not None and kept.get(pod.index) is pod]
        return chosen + rest[: max(0, at_least - len(chosen))]

    def _creations(self, count: int) -> tuple[Creation, ...]:
        job = self.job
        if job.backoff_limit_per_index is None and (wait := backoff.remaining(job)) > 0:
            self._again(wait)
            return ()
        if not job.indexed:
            return (Creation(),) * count
        taken = self.done | IndexSet.of(_indexes(self.active))
        if job.replaces_only_failed:
            taken |= IndexSet.of(_indexes(pod for pod in job.pods if pod.terminating))
        if self.lost is not None:
            taken |= self.lost
        free = [index for index, _ in zip(taken.missing(job.completions or 0), range(count), strict=False)]
        if job.backoff_limit_per_index is None:
            return tuple(Creation(index) for index in free)
        waits = {index: backoff.remaining_for_index(self.delayed.get(index), job.now) for index in free}
        later = [wait for wait in waits.values() if wait > 0]
        if later:
            self._again(min(later))
        return tuple(self._successor(index) for index in free if waits[index] <= 0)

    def _successor(self, index: int) -> Creation:
        pod = self.delayed.get(index)
        if pod is None:
            return Creation(index)
        if match_failure(self.job, pod).counts:
            return Creation(index, pod.failures + 1, pod.ignored_failures)
        return Creation(index, pod.failures, pod.ignored_failures + 1)

    def _index_lost(self, pod: PodView) -> bool:
        job = self.job
        if not job.failed(pod):
            return False
        match = match_failure(job, pod)
        if match.action == "FailIndex":
            return True
        return match.counts and pod.failures >= (job.backoff_limit_per_index or 0)

    def _delayed(self) -> dict[int, PodView]:
        """Return the failed pods that stay until their successor carries their counts on, by index."""
        job = self.job
        running = set(_indexes(self.active))
        kept: dict[int, PodView] = {}
        for pod in job.pods:
            index = pod.index
            if not pod.tracked or not job.valid_index(pod) or not job.failed(pod) or index is None:
                continue
            if index in running or index in self.done or (self.lost is not None and index in self.lost):
                continue
            last = kept.get(index)
            if last is None or (
                last.failures + last.ignored_failures <= pod.failures + pod.ignored_failures
                and pod.finished >= last.finished
            ):
                kept[index] = pod
        return kept

    # Counting

    def _count(self, interim: tuple[str, str, str] | None) -> None:
        """Note finished pods in the status and have their finalizers removed."""
        job, draft = self.job, self.draft
        draft.count_released({pod.uid for pod in job.pods if pod.tracked})
        failing = interim is not None and interim[0] == "FailureTarget"
        release: list[PodView] = []
        indexes: list[int] = []
        known_succeeded, known_failed = set(draft.uncounted_succeeded), set(draft.uncounted_failed)
        surplus = {pod.uid for pod in self.result.surplus}
        pods = sorted(job.pods, key=_by_index) if job.indexed else job.pods
        for pod in pods:
            if not pod.tracked or pod.uid in surplus:
                continue
            failed = job.failed(pod)
            if not self._may_release(pod, failed, interim is not None):
                continue
            release.append(pod)
            if pod.phase == "Succeeded" and pod.uid not in known_failed:
                if job.indexed:
                    if pod.index is not None and job.valid_index(pod) and pod.index not in self.before:
                        indexes.append(pod.index)
                elif pod.uid not in known_succeeded:
                    draft.uncounted_succeeded.append(pod.uid)
            elif (
                (failed or failing)
                and pod.uid not in known_failed
                and job.valid_index(pod)
                and match_failure(job, pod).counts
            ):
                draft.uncounted_failed.append(pod.uid)
            uncounted = len(draft.uncounted_succeeded) + len(draft.uncounted_failed) + len(indexes)
            if uncounted >= MOST_UNCOUNTED:
                self._full = True
                break
        self.result.release = tuple(release)
        if job.indexed:
            completed = self.before | IndexSet.of(indexes)
            draft.succeeded = len(completed)
            draft.set("completedIndexes", str(completed))
            if self.lost is not None:
                draft.failed_indexes = str(self.lost)

    def _may_release(self, pod: PodView, failed: bool, ending: bool) -> bool:
        if self.job.deleting or ending or pod.phase == "Succeeded":
            return True
        if not failed:
            return False
        return pod.index is None or self.delayed.get(pod.index) is not pod

    # Small things

    def _ended(self, pods: Iterable[PodView]) -> None:
        for pod in pods:
            self.active_count -= 1
            self.terminating += 1
            self.ready -= pod.ready

    def _again(self, seconds: float) -> None:
        before = self.result.requeue_after
        self.result.requeue_after = seconds if before is None else min(before, seconds)


def _indexes(pods: Iterable[PodView]) -> Iterable[int]:
    return (pod.index for pod in pods if pod.index is not None)


def _by_index(pod: PodView) -> int:
    return -1 if pod.index is None else pod.index


PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def _advance(pod: PodView) -> tuple[bool, int, bool, float, int, float]:
    """Order pods by how far they have come, the least advanced first, as upstream's ActivePods."""
    ready = pod.ready_since
    return (
        bool(pod.node),
        PHASES.get(pod.phase, 0),
        pod.ready,
        -ready.timestamp() if ready is not None else 0.0,
        -pod.restarts,
        -pod.created.timestamp(),
    )

"""The Job controller's loop: observe, plan, act.

Own writes are shown to the caches at once, so that the next plan starts from them; what the plan says is
``plan``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hortator.apimachinery import meta
from hortator.kube.errors import ApiError, Conflict, Forbidden, NotFound
from hortator.kube.informer import Informer
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import JOBS, PODS
from hortator.local.controllers.job.observe import CONTROLLER, FINALIZER, JobView, PodView, observe
from hortator.local.controllers.job.plan import Creation, Plan, plan
from hortator.local.controllers.job.pods import make_pod
from hortator.local.controllers.job.status import settle

if TYPE_CHECKING:
    from hortator.kube.events import Recorder

__all__ = ["JobController"]

Object = Mapping[str, Any]
Key = tuple[str, str]
BY_OWNER = "job"
#: Seconds before a refused request is tried again, doubled each time (upstream's API back-off).
FIRST_RETRY = 1.0
LAST_RETRY = 60.0


def job_uid(pod: Object) -> str:
    """Return the UID of the Job that controls a pod, or an empty string."""
    owner = meta.owner_controller(pod)
    if owner is None or owner.get("kind") != "Job" or not str(owner.get("apiVersion")).startswith("batch/"):
        return ""
    return str(owner["uid"])


def _by_job(pod: Object) -> tuple[str, ...]:
    uid = job_uid(pod)
    return (uid,) if uid else ()


class JobController:
    """Runs the Jobs that name no other controller (``managedBy``)."""

    def __init__(
        self,
        manager: Manager,
        *,
        recorder: Recorder,
        now: Callable[[], datetime],
        asleep: Callable[[], float],
    ) -> None:
        self._client = manager.client
        self._recorder = recorder
        self._now = now
        self._asleep = asleep
        #: How long the machine had slept when a Job was first seen; earlier sleep is not this Job's.
        self._asleep_before: dict[str, float] = {}
        #: What was seen of each pod last, by UID: most pods of a Job have not changed since.
        self._views: dict[str, PodView] = {}
        #: How often in a row the server refused something for a Job, by UID.
        self._refusals: dict[str, int] = {}
        self._jobs: Informer[dict[str, Any]] = manager.informer(JOBS)
        self._pods: Informer[dict[str, Any]] = manager.informer(PODS, indexes={BY_OWNER: _by_job})
        self._controller = manager.add(Controller("job", self._reconcile, workers=4))
        self._orphans = manager.add(Controller("job orphans", self._release_orphan, workers=2))
        self._jobs.on_change(self._job_changed)
        self._pods.on_change(self._pod_changed)

    def _job_changed(self, kind: str, job: Object, _: Object | None) -> None:
        if kind == "deleted":
            self._asleep_before.pop(meta.uid_of(job), None)
            self._refusals.pop(meta.uid_of(job), None)
            for pod in self._pods.by_index(BY_OWNER, meta.uid_of(job)):
                self._orphans.enqueue((meta.namespace_of(pod), meta.name_of(pod)))
        else:
            self._controller.enqueue((meta.namespace_of(job), meta.name_of(job)))

    def _pod_changed(self, kind: str, pod: Object, _: Object | None) -> None:
        if kind == "deleted":
            self._views.pop(meta.uid_of(pod), None)
        owner = meta.owner_controller(pod)
        if owner is None or not job_uid(pod):
            return
        namespace = meta.namespace_of(pod)
        self._controller.enqueue((namespace, owner["name"]))
        if kind != "deleted" and meta.has_finalizer(pod, FINALIZER):
            self._orphans.enqueue((namespace, meta.name_of(pod)))

    def _owner(self, pod: Object) -> Object | None:
        """Return the Job that controls a pod, if it is still there."""
        owner = meta.owner_controller(pod)
        if owner is None:
            return None
        job = self._jobs.get(meta.namespace_of(pod), owner["name"])
        return job if job is not None and meta.uid_of(job) == owner["uid"] else None

    async def _release_orphan(self, key: Key) -> None:
        """Take the finalizer off a pod whose Job is gone or finished: nobody will count it any more."""
        pod = self._pods.get(*key)
        if pod is None or not meta.has_finalizer(pod, FINALIZER) or not job_uid(pod):
            return
        job = self._owner(pod)
        if job is not None:
            managed_elsewhere = job["spec"].get("managedBy") not in (None, CONTROLLER)
            if managed_elsewhere or not observe(job, (), now=self._now()).finished:
                return
        await self._release(pod)

    async def _reconcile(self, key: Key) -> Result | None:
        job = self._jobs.get(*key)
        if job is None:
            return None
        uid = meta.uid_of(job)
        asleep = self._asleep() - self._asleep_before.setdefault(uid, self._asleep())
        view = observe(
            job, self._pods.by_index(BY_OWNER, uid), now=self._now(), asleep=asleep, known=self._views
        )
        todo = plan(view)
        if todo is None:
            if view.finished and view.is_ours:
                for pod in view.pods:
                    if pod.tracked:
                        self._orphans.enqueue((key[0], pod.name))
            return None
        failures = await self._act(view, todo)
        if not failures:
            self._refusals.pop(uid, None)
            return Result(requeue_after=todo.requeue_after)
        for error in failures:
            if not isinstance(error, ApiError) or isinstance(error, Conflict):
                raise error
        # The server said no (a quota, an admission webhook), and an Event has told why: no defect of ours.
        times = self._refusals.get(uid, 0)
        self._refusals[uid] = times + 1
        wait = min(FIRST_RETRY * 2.0 ** min(times, 16), LAST_RETRY)
        return Result(requeue_after=min(wait, todo.requeue_after or wait))

    async def _act(self, job: JobView, todo: Plan) -> list[Exception]:
        """Carry a plan out; return what went wrong with single pods."""
        failures = [
            *await _gathered([self._delete(job, pod, count=False) for pod in todo.surplus]),
            *await _gathered([self._delete(job, pod, count=True) for pod in todo.end]),
        ]
        refused, created = await self._create(job, todo.create)
        failures += refused
        status = todo.status
        finishing = todo.finishing and not failures
        if missing := len(todo.create) - created:
            status = {**status, "active": status["active"] - missing}
            if not status["active"]:
                del status["active"]
        base: Object = job.object
        if status != job.status:
            base = await self._write(base, status)
            status = base.get("status") or {}
        for note in todo.events:
            self._recorder.event(_typed(job.object), note.type, note.reason, note.message)
        failures += await _gathered([self._release(pod.object) for pod in todo.release])
        tracked = {
            meta.uid_of(pod)
            for pod in self._pods.by_index(BY_OWNER, meta.uid_of(job.object))
            if meta.has_finalizer(pod, FINALIZER)
        }
        settled, final = settle(job, status, tracked, finish=finishing)
        if settled != status:
            await self._write(base, settled)
        if final is not None:
            self._tell_end(job, settled, final)
        return failures

    def _tell_end(self, job: JobView, status: Object, final: Object) -> None:
        subject = _typed(job.object)
        if final["type"] == "Failed":
            self._recorder.event(subject, "Warning", final["reason"], final["message"])
            return
        if job.completions is not None and status.get("succeeded", 0) > job.completions:
            self._recorder.event(
                subject,
                "Warning",
                "TooManySucceededPods",
                "Too many succeeded pods running after completion count reached",
            )
        self._recorder.event(subject, "Normal", "Completed", "Job completed")

    async def _write(self, job: Object, status: Object) -> dict[str, Any]:
        """Write a status over the version that was planned from; a conflict makes the Job be planned anew."""
        made = await self._client.replace(JOBS, {**_typed(job), "status": status}, subresource="status")
        self._jobs.record(made)
        return made

    async def _create(self, job: JobView, creations: Sequence[Creation]) -> tuple[list[Exception], int]:
        """Create pods in batches that double, so that a full quota is not stormed; return errors and
        successes.
        """
        created, batch = 0, 1
        while created < len(creations):
            some = creations[created : created + batch]
            failures = await _gathered([self._create_one(job, one) for one in some])
            created += len(some) - len(failures)
            if failures:
                return failures, created
            batch *= 2
        return [], created

    async def _create_one(self, job: JobView, creation: Creation) -> None:
        try:
            pod = await self._client.create(PODS, make_pod(job, creation))
        except ApiError as error:
            if not _namespace_is_ending(error):
                self._recorder.event(
                    _typed(job.object), "Warning", "FailedCreate", f"Error creating: {error}"
                )
            raise
        self._pods.record(pod)
        self._recorder.event(
            _typed(job.object), "Normal", "SuccessfulCreate", f"Created pod: {meta.name_of(pod)}"
        )

    async def _delete(self, job: JobView, pod: PodView, *, count: bool) -> None:
        namespace = meta.namespace_of(pod.object)
        if not count:
            await self._release(pod.object)
        try:
            answer = await self._client.delete(PODS, pod.name, namespace=namespace, uid=pod.uid)
        except NotFound:
            self._pods.forget(namespace, pod.name, pod.uid)
            return
        except ApiError as error:
            self._recorder.event(_typed(job.object), "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        if meta.uid_of(answer) == pod.uid and meta.is_deleting(answer):
            self._pods.record(answer)
        self._recorder.event(_typed(job.object), "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}")

    async def _release(self, pod: Object) -> None:
        """Take the finalizer off a pod; a pod that is gone already is fine."""
        current = self._pods.get(meta.namespace_of(pod), meta.name_of(pod))
        if current is not None and meta.uid_of(current) == meta.uid_of(pod):
            pod = current
        if not meta.has_finalizer(pod, FINALIZER):
            return
        patch = {
            "metadata": {"uid": meta.uid_of(pod), "$deleteFromPrimitiveList/finalizers": [FINALIZER]},
        }
        namespace, name = meta.namespace_of(pod), meta.name_of(pod)
        try:
            answer = await self._client.patch(PODS, name, patch, namespace=namespace, kind="strategic")
        except NotFound:
            self._pods.forget(namespace, name, meta.uid_of(pod))
            return
        self._pods.record(answer)


def _namespace_is_ending(error: ApiError) -> bool:
    causes = (error.status.to_dict().get("details") or {}).get("causes") or ()
    return isinstance(error, Forbidden) and any(
        cause.get("reason") == "NamespaceTerminating" for cause in causes
    )


async def _gathered(work: Sequence[Awaitable[None]]) -> list[Exception]:
    """Do things at once and return what went wrong."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for one in results:
        if isinstance(one, BaseException) and not isinstance(one, Exception):
            raise one
    return [one for one in results if isinstance(one, Exception)]


def _typed(job: Object) -> dict[str, Any]:
    """Return the Job with the kind that objects out of a list do not carry."""
    return {**job, "apiVersion": "batch/v1", "kind": "Job"}

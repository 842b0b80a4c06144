"""The loop that makes MPIJobs true: observe, plan, act, and one write of the status at the end.

All decisions are made by the pure modules beside this one; here is what has effects, and what is done about errors:
a template that the API server refuses ends the job (its status says why), everything else is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from hortator.api import mpijob as api
from hortator.api.mpijob import MPIJob
from hortator.apimachinery import meta
from hortator.apimachinery.fielderrors import aggregate
from hortator.kube.client import Client
from hortator.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    RequestTooLarge,
)
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import PODS, SECRETS, Resource
from hortator.operator.mpijob import objects
from hortator.operator.mpijob.caches import MPIJOBS, Caches, Key
from hortator.operator.mpijob.changes import (
    Change,
    Create,
    Delete,
    EnsureKeys,
    Notice,
    Patch,
    Plan,
    difference,
)
from hortator.operator.mpijob.keys import make_keys
from hortator.operator.mpijob.observe import Observed, controlled_by
from hortator.operator.mpijob.plan import make_plan
from hortator.operator.mpijob.settings import Settings
from hortator.operator.mpijob.status import make_status, transitions

if TYPE_CHECKING:
    from hortator.kube.events import Recorder

__all__ = ["COMPONENT", "ObjectLingers", "Refused", "ResourceExists", "build_mpijob"]

#: Who our Events come from.
COMPONENT = "mpi-job-controller"

_EVENT_LIMIT = 1024
#: Seconds until the next look at an object that is on its way out.
_LINGER = 2.0
#: Answers that the same object will get again, whenever it is sent.
_REFUSALS = (Invalid, BadRequest, RequestTooLarge)

Object = dict[str, Any]


class ResourceExists(Exception):
    """Raised when an object that the job needs exists and is controlled by somebody else."""

    def __init__(self, resource: Resource, name: str) -> None:
        self.resource = resource
        self.name = name
        super().__init__(
            f"Resource {name!r} of Kind {resource.kind!r} already exists and is not managed by this MPIJob"
        )


class ObjectLingers(Exception):
    """Raised when an object of an earlier job of the same name is still being removed."""

    def __init__(self, resource: Resource, name: str) -> None:
        self.resource = resource
        self.name = name
        super().__init__(f"{resource.kind} {name} of an earlier MPIJob of this name has not gone yet")


class Refused(Exception):
    """Raised when the API server refuses an object made from the job's spec, and would again."""

    def __init__(self, what: str, cause: ApiError) -> None:
        self.what = what
        super().__init__(f"the API server refused {what}: {cause}")


def build_mpijob(
    manager: Manager,
    *,
    recorder: Recorder,
    settings: Settings,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Controller[Key]:
    """Add the MPIJob operator to a manager; it runs with it. ``recorder`` should speak for :data:`COMPONENT`."""
    reconciler = _Reconciler(manager.client, recorder, settings, now)
    controller = Controller("mpijob", reconciler.reconcile, workers=settings.reconcilers)
    reconciler.caches = Caches(manager, settings, controller.enqueue)
    return manager.add(controller)


class _Reconciler:
    caches: Caches

    def __init__(
        self, client: Client, recorder: Recorder, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._settings = settings
        self._now = now
        self._one_at_a_time = asyncio.Lock()

    async def reconcile(self, key: Key) -> Result:
        """Bring one job a step nearer; called again whenever something of it changes."""
        obj = self.caches.jobs.get(*key)
        if obj is None or meta.is_deleting(obj):
            return Result()
        job = self._read(obj)
        if job is None:
            return Result()
        observed = self.caches.observe(job)
        plan = make_plan(observed, self._settings, now=self._now())
        refusal = ""
        if plan.steps and not await self._still_wanted(obj, observed, plan):
            return Result()
        try:
            for step in plan.steps:
                async with self._turn(step):
                    await self._act(job, step)
        except Refused as error:
            refusal = str(error)
        except ObjectLingers:
            # Its going is seen in the caches; this is for an object whose going is not.
            return Result(requeue_after=_LINGER)
        except ResourceExists as error:
            self._tell(obj, Notice("Warning", api.REASON_EXISTS, str(error)))
            raise
        except ApiError as error:
            self._tell(obj, Notice("Warning", api.REASON_FAILED, str(error)))
            raise
        for notice in plan.notices:
            self._tell(obj, notice)
        await self._write_status(obj, job, refusal)
        return Result(requeue_after=plan.requeue_after)

    def _turn(self, step: tuple[Change, ...]) -> AbstractAsyncContextManager[object]:
        """Keep the workers of one job together where a queue of pods in order of creation is all there is.

        Jobs whose workers are created in between each other's can hold half of the machine each, and wait for ever. On
        a big cluster that is for a gang scheduler to prevent; making 1,000 workers must not hold up every other job there.
        """
        pods = any(isinstance(change, Create) and change.resource is PODS for change in step)
        return self._one_at_a_time if pods and self._settings.launch_mode == "exec" else nullcontext()

    def _read(self, obj: Object) -> MPIJob | None:
        """Return the job if it is ours and valid. What is wrong with it goes into an Event; only an edit can mend it."""
        try:
            job = api.default(api.parse(obj))
        except msgspec.ValidationError as error:
            self._tell(obj, Notice("Warning", api.REASON_VALIDATION, str(error)))
            return None
        if not job.managed_by_us:
            return None
        errors = api.validate(job)
        if errors:
            self._tell(obj, Notice("Warning", api.REASON_VALIDATION, aggregate(errors)))
            return None
        return job

    async def _still_wanted(self, obj: Object, observed: Observed, plan: Plan) -> bool:
        """Say whether a started job whose objects are missing is really there still.

        The caches of jobs and of their objects are not in step: when a job is deleted, its pods may be seen to vanish
        first, and would be made again.
        """
        if not (observed.job.status or {}).get("conditions"):
            return True
        if not any(isinstance(change, Create) for change in plan.changes):
            return True
        try:
            current = await self._client.get(MPIJOBS, meta.name_of(obj), namespace=meta.namespace_of(obj))
        except NotFound:
            return False
        return meta.uid_of(current) == meta.uid_of(obj) and not meta.is_deleting(current)

    async def _act(self, job: MPIJob, step: tuple[Change, ...]) -> None:
        """Make the changes of one step together; all are tried, then the gravest failure is raised."""
        room = asyncio.Semaphore(self._settings.writes)

        async def one(change: Change) -> None:
            async with room:
                await self._change(job, change)

        results = await asyncio.gather(*(one(change) for change in step), return_exceptions=True)
        failures = [each for each in results if isinstance(each, BaseException)]
        if failures:
            raise min(failures, key=_gravity)

    async def _change(self, job: MPIJob, change: Change) -> None:
        match change:
            case Create(resource, obj):
                await self._create(job, resource, obj)
            case EnsureKeys(namespace, name):
                await self._ensure_keys(job, namespace, name)
            case Patch():
                await self._patch(change)
            case Delete():
                await self._delete(change)

    async def _create(self, job: MPIJob, resource: Resource, obj: Object) -> None:
        name = meta.name_of(obj)
        try:
            stored = await self._client.create(resource, obj)
        except AlreadyExists:
            # Either the cache is behind, or the name is somebody else's.
            stored = await self._client.get(resource, name, namespace=job.namespace)
            self._check_owner(job, resource, stored)
        except _REFUSALS as error:
            raise Refused(f"{resource.kind} {name}", error) from error
        self.caches.record(resource, stored)

    async def _ensure_keys(self, job: MPIJob, namespace: str, name: str) -> None:
        try:
            stored = await self._client.get(SECRETS, name, namespace=namespace)
        except NotFound:
            private, public = await asyncio.to_thread(make_keys)
            await self._create(job, SECRETS, objects.secret(job, private, public))
            return
        self._check_owner(job, SECRETS, stored)

    def _check_owner(self, job: MPIJob, resource: Resource, obj: Object) -> None:
        if controlled_by(obj, job.uid) is not None:
            return
        owner = meta.owner_controller(obj) or {}
        if (owner.get("kind"), owner.get("name")) == (api.KIND, job.name):
            raise ObjectLingers(resource, meta.name_of(obj))
        raise ResourceExists(resource, meta.name_of(obj))

    async def _patch(self, change: Patch) -> None:
        body = {**change.patch, "metadata": {"uid": change.uid}}
        try:
            stored = await self._client.patch(
                change.resource, change.name, body, namespace=change.namespace, subresource=change.subresource
            )
        except _REFUSALS as error:
            raise Refused(f"a change of {change.resource.kind} {change.name}", error) from error
        self.caches.record(change.resource, stored)

    async def _delete(self, change: Delete) -> None:
        try:
            left = await self._client.delete(
                change.resource, change.name, namespace=change.namespace, uid=change.uid
            )
        except (NotFound, Conflict):
            # Gone, or another object has the name by now.
            self.caches.forget(change.resource, change.namespace, change.name, change.uid)
            return
        if meta.uid_of(left) == change.uid and meta.is_deleting(left):
            self.caches.record(change.resource, left)

    async def _write_status(self, obj: Object, job: MPIJob, refusal: str) -> None:
        """Write the status that follows from what is there now, if it differs, and announce what is new in it."""
        observed = self.caches.observe(job)
        status = make_status(observed, now=self._now(), refusal=refusal)
        patch = difference(job.status or {}, status)
        if not patch:
            return
        body = {"metadata": {"uid": job.uid}, "status": patch}
        try:
            stored = await self._client.patch(
                MPIJOBS, job.name, body, namespace=job.namespace, subresource="status"
            )
        except NotFound:
            return
        self.caches.record(MPIJOBS, stored)
        for notice in transitions(job, status):
            self._tell(obj, notice)

    def _tell(self, obj: Object, notice: Notice) -> None:
        message = notice.message
        if len(message) > _EVENT_LIMIT:
            message = message[: _EVENT_LIMIT - 3] + "..."
        # Objects out of a list do not carry their kind.
        reference = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": obj["metadata"]}
        self._recorder.event(reference, notice.type, notice.reason, message)


def _gravity(error: BaseException) -> int:
    for rank, kind in enumerate((asyncio.CancelledError, Refused, ResourceExists, ApiError, ObjectLingers)):
        if isinstance(error, kind):
            return rank
    return 9

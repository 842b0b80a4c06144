"""What a program of controllers is made of: caches that they share, queues of keys, and workers that
reconcile.

A :class:`Controller` is told keys and calls its reconcile function with them, until it succeeds. A
:class:`Manager` starts everything in order and stops it in the opposite one. What is reconciled, and how, is
in the packages of the controllers; vocabulary as in controller-runtime.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload

from hortator.kube.client import Client
from hortator.kube.errors import Conflict, Unavailable
from hortator.kube.informer import Informer, InformerStatistics
from hortator.kube.queue import QueueClosed, QueueStatistics, WorkQueue
from hortator.kube.resources import Resource

__all__ = [
    "Controller",
    "ControllerStatistics",
    "Elector",
    "LeadershipLost",
    "Manager",
    "ManagerStatistics",
    "Result",
    "Terminal",
]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A reconcile that ended well; ``requeue_after`` is seconds until the next look, None for nothing due."""

    requeue_after: float | None = None


class Terminal(Exception):
    """Raised by a reconcile function when trying again cannot help; the key rests until it is added."""


class ControllerStatistics(NamedTuple):
    """A controller at one moment; the counts are since it was made."""

    queue: QueueStatistics
    #: Reconciles that ended well, that failed and are tried again, and that failed for good.
    succeeded: int
    failed: int
    terminal: int


class Controller(Generic[K]):
    """A queue of keys and the function that makes each key's state true.

    ``reconcile`` may be interrupted and repeated. It returns a :class:`Result`, or None for nothing due. What
    it raises is logged and the key comes again after a back-off; :class:`Terminal` excepted.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[Result | None]],
        *,
        workers: int = 4,
        base_delay: float = 0.005,
        max_delay: float = 120.0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"controller {name}: {workers} workers")
        self.name = name
        self.workers = workers
        self._reconcile = reconcile
        self._queue: WorkQueue[K] = WorkQueue(base_delay=base_delay, max_delay=max_delay)
        self._succeeded = self._failed = self._terminal = 0

    def enqueue(self, key: K) -> None:
        """Ask for a reconcile of the key; may be called before :meth:`run`."""
        self._queue.add(key)

    def enqueue_after(self, key: K, seconds: float) -> None:
        """Ask for a reconcile of the key after a while; the earliest of several such times counts."""
        self._queue.add_after(key, seconds)

    async def run(self, *, grace: float = 2.0) -> None:
        """Reconcile until cancelled; then let what runs finish within ``grace`` seconds."""
        tasks = [
            asyncio.create_task(self._work(), name=f"{self.name} worker {number}")
            for number in range(self.workers)
        ]
        try:
            # Not gather: it would pass a cancellation on to the workers at once.
            await asyncio.wait(tasks)
        finally:
            self._queue.close()
            await _finish(tasks, grace)

    def statistics(self) -> ControllerStatistics:
        """Return figures about this moment."""
        return ControllerStatistics(self._queue.statistics(), self._succeeded, self._failed, self._terminal)

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._one(key)
            finally:
                self._queue.done(key)

    async def _one(self, key: K) -> None:
        try:
            result = await self._reconcile(key)
        except Terminal as error:
            self._terminal += 1
            self._queue.forget(key)
            _log.error("%s: %s: %s (not tried again)", self.name, key, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something that the reconcile waited for was cancelled, not the worker.
            self._failed += 1
            delay = self._queue.add_failed(key)
            _log.exception("%s: %s was interrupted; again in %.3g s", self.name, key, delay)
        except Exception as error:  # noqa: BLE001 - whatever it was, the key must not be lost
            self._failed += 1
            delay = self._queue.add_failed(key)
            # A lost race and an absent server are part of life; anything else deserves its traceback.
            if isinstance(error, Conflict):
                _log.debug("%s: %s: %s; again in %.3g s", self.name, key, error, delay)
            elif isinstance(error, Unavailable):
                _log.warning("%s: %s: %s; again in %.3g s", self.name, key, error, delay)
            else:
                _log.exception("%s: %s failed; again in %.3g s", self.name, key, delay)
        else:
            self._succeeded += 1
            self._queue.forget(key)
            if result is not None and result.requeue_after is not None:
                self._queue.add_after(key, result.requeue_after)


class Elector(Protocol):
    """What decides whether this process may act (``lease.LeaderElector``)."""

    async def acquire(self) -> None:
        """Return once this process leads."""

    async def hold(self) -> None:
        """Keep leading; returns when the lead is lost. When cancelled, the lead is given back."""


class LeadershipLost(Exception):
    """Raised by :meth:`Manager.run` when another process may be leading now; the program should end."""


class ManagerStatistics(NamedTuple):
    """Everything that a manager runs, with its name."""

    informers: tuple[tuple[str, InformerStatistics], ...]
    controllers: tuple[tuple[str, ControllerStatistics], ...]


class Manager:
    """Owns informers, controllers and other tasks of one program."""

    def __init__(self, client: Client, *, elector: Elector | None = None, grace: float = 2.0) -> None:
        self.client = client
        self._elector = elector
        self._grace = grace
        self._informers: dict[tuple[Any, ...], Informer[Any]] = {}
        self._controllers: list[Controller[Any]] = []
        self._services: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._running = False
        #: Set while controllers run: caches are synced, and this process leads.
        self.started = asyncio.Event()

    @overload
    def informer(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        trim: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        indexes: Mapping[str, Callable[[dict[str, Any]], Iterable[str]]] | None = None,
    ) -> Informer[dict[str, Any]]: ...
    @overload
    def informer(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: type[T],
        trim: Callable[[T], T] | None = None,
        indexes: Mapping[str, Callable[[T], Iterable[str]]] | None = None,
    ) -> Informer[T]: ...
    def informer(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: Any = dict,
        trim: Callable[[Any], Any] | None = None,
        indexes: Mapping[str, Callable[[Any], Iterable[str]]] | None = None,
    ) -> Informer[Any]:
        """Return the informer for these objects: the same one to all who ask for the same; indexes add up."""
        key = (resource, namespace, labels, fields, type, trim)
        informer = self._informers.get(key)
        if informer is None:
            if self._running:
                raise RuntimeError(f"an informer of {resource.plural} came after the manager's start")
            informer = self._informers[key] = Informer(
                self.client,
                resource,
                namespace=namespace,
                labels=labels,
                fields=fields,
                type=type,
                trim=trim,
            )
        for name, function in (indexes or {}).items():
            informer.add_index(name, function)
        return informer

    def add(self, controller: Controller[K]) -> Controller[K]:
        """Run a controller once the caches are synced; return it."""
        self._controllers.append(controller)
        return controller

    def add_service(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run anything else from the synced caches on; it may return, and what it raises ends the manager."""
        self._services.append((name, run))

    async def run(self) -> None:
        """Run until cancelled; stop controllers first, then give the lead back, then stop the caches.

        Raises :class:`LeadershipLost`, and (in an ``ExceptionGroup``) whatever a service raises.
        """
        if self._running:
            raise RuntimeError("a manager runs once")
        self._running = True
        caches = [
            asyncio.create_task(informer.run(), name=str(informer)) for informer in self._informers.values()
        ]
        work = asyncio.create_task(self._act(), name="manager")
        try:
            done, _ = await asyncio.wait((work, *caches), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            try:
                await _cancel(work)
            finally:
                for task in caches:
                    await _cancel(task)

    def statistics(self) -> ManagerStatistics:
        """Return figures about this moment."""
        return ManagerStatistics(
            tuple((str(informer), informer.statistics()) for informer in self._informers.values()),
            tuple((controller.name, controller.statistics()) for controller in self._controllers),
        )

    async def _act(self) -> None:
        for informer in self._informers.values():
            await informer.synced.wait()
        if self._elector is None:
            await self._control()
            return
        await self._elector.acquire()
        lead = asyncio.create_task(self._elector.hold(), name="leader election")
        work = asyncio.create_task(self._control(), name="controllers")
        try:
            done, _ = await asyncio.wait((lead, work), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise LeadershipLost("the lead was lost; another process may be acting now")
        finally:
            try:
                await _cancel(work)
            finally:
                await _cancel(lead)

    async def _control(self) -> None:
        self.started.set()
        try:
            async with asyncio.TaskGroup() as group:
                for controller in self._controllers:
                    group.create_task(controller.run(grace=self._grace), name=controller.name)
                for name, run in self._services:
                    group.create_task(_service(run), name=name)
                await asyncio.Event().wait()
        finally:
            self.started.clear()


async def _service(run: Callable[[], Awaitable[None]]) -> None:
    await run()


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; what it raised meanwhile is raised."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def _finish(tasks: list[asyncio.Task[None]], grace: float) -> None:
    """Wait for the tasks to end by themselves, then cancel them."""
    _, pending = await asyncio.wait(tasks, timeout=grace)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)

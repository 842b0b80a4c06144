from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hortator.kube.client import Client
from hortator.kube.errors import Unavailable
from hortator.kube.manager import Controller, LeadershipLost, Manager, Result, Terminal
from hortator.kube.resources import CONFIG_MAPS, PODS
from hortator.kube.transport import InProcess
from support.fake_server import FakeServer, Watch, listing, thing

PATH = "/api/v1/configmaps"


@asynccontextmanager
async def running(what: Controller[Any] | Manager) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(what.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


class Recording:
    """A reconcile function that notes its keys and the time, and does what it is told."""

    def __init__(self, *outcomes: Result | BaseException | None) -> None:
        self.calls: list[tuple[str, float]] = []
        self._outcomes = list(outcomes)
        self._changed = asyncio.Event()

    async def __call__(self, key: str) -> Result | None:
        self.calls.append((key, round(asyncio.get_running_loop().time(), 6)))
        self._changed.set()
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def until(self, calls: int) -> None:
        while len(self.calls) < calls:
            self._changed.clear()
            await self._changed.wait()


async def test_a_failure_is_tried_again_with_back_off_until_it_succeeds() -> None:
    reconcile = Recording(ValueError("a"), ValueError("b"), ValueError("c"))
    controller = Controller("c", reconcile, base_delay=1)
    controller.enqueue("x")
    async with running(controller):
        await reconcile.until(4)
        await asyncio.sleep(1000)
        assert reconcile.calls == [("x", 0), ("x", 1), ("x", 3), ("x", 7)]
        assert controller.statistics()[1:] == (1, 3, 0)


async def test_a_requeue_comes_after_its_time() -> None:
    reconcile = Recording(Result(requeue_after=60), Result())
    controller = Controller("c", reconcile)
    controller.enqueue("x")
    async with running(controller):
        await asyncio.sleep(1000)
        assert reconcile.calls == [("x", 0), ("x", 60)]


async def test_a_terminal_failure_waits_for_news(caplog: pytest.LogCaptureFixture) -> None:
    reconcile = Recording(Terminal("no such field"))
    controller = Controller("c", reconcile)
    controller.enqueue("x")
    async with running(controller):
        await asyncio.sleep(1000)
        assert reconcile.calls == [("x", 0)]
        controller.enqueue("x")
        await reconcile.until(2)
        assert controller.statistics()[1:] == (1, 0, 1)
    assert "no such field" in caplog.text


async def test_an_unexpected_failure_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    controller = Controller("c", reconcile := Recording(ValueError("odd"), Unavailable("server", "gone")))
    controller.enqueue("x")
    with caplog.at_level(logging.WARNING):
        async with running(controller):
            await reconcile.until(3)
    assert ["Traceback" in (record.exc_text or "") for record in caplog.records] == [True, False]


async def test_a_reconcile_whose_own_task_was_cancelled_does_not_cost_a_worker() -> None:
    reconcile = Recording(asyncio.CancelledError(), None)
    controller = Controller("c", reconcile, workers=1)
    controller.enqueue("x")
    async with running(controller):
        await reconcile.until(2)


async def test_keys_run_side_by_side_one_key_does_not() -> None:
    at_work: list[str] = []
    most = 0

    async def reconcile(key: str) -> None:
        nonlocal most
        assert key not in at_work
        at_work.append(key)
        most = max(most, len(at_work))
        await asyncio.sleep(1)
        at_work.remove(key)

    controller: Controller[str] = Controller("c", reconcile, workers=3)
    async with running(controller):
        for key in "abcd" * 2:
            controller.enqueue(key)
            await asyncio.sleep(0.3)
        await asyncio.sleep(10)
    assert most == 3


@pytest.mark.parametrize(("needs", "finished"), [(1, True), (60, False)])
async def test_stopping_lets_a_reconcile_finish_within_its_grace(needs: float, finished: bool) -> None:
    ended: list[bool] = []
    started = asyncio.Event()

    async def reconcile(key: str) -> None:
        started.set()
        try:
            await asyncio.sleep(needs)
        except asyncio.CancelledError:
            ended.append(False)
            raise
        ended.append(True)

    controller = Controller("c", reconcile)
    controller.enqueue("x")
    async with running(controller):
        await started.wait()
    assert ended == [finished]
    assert asyncio.get_running_loop().time() == min(needs, 2)


def manager_of(server: FakeServer, **more: Any) -> Manager:
    return Manager(Client(InProcess(server)), **more)


async def test_controllers_start_when_caches_are_full() -> None:
    late = asyncio.Event()

    async def slow(request: Any) -> Any:
        await late.wait()
        return listing(thing("a", 1), version=2)

    server = FakeServer().on("GET", PATH, slow).on("WATCH", PATH, watch := Watch())
    manager = manager_of(server)
    informer = manager.informer(CONFIG_MAPS)
    seen: list[Any] = []

    async def reconcile(key: str) -> None:
        seen.append(informer.get("default", key))

    controller = manager.add(Controller("c", reconcile))
    informer.on_change(lambda kind, obj, old: controller.enqueue(obj["metadata"]["name"]))
    controller.enqueue("a")
    async with running(manager):
        await server.until_asked("GET", PATH)
        await asyncio.sleep(100)
        assert (seen, manager.started.is_set()) == ([], False)
        late.set()
        await manager.started.wait()
        await watch.opened.wait()
        await asyncio.sleep(1)
        assert seen == [thing("a", 1)]
    assert watch.closed.is_set()
    assert not manager.started.is_set()


async def test_informers_are_shared_by_what_they_hold() -> None:
    manager = manager_of(FakeServer())
    first = manager.informer(CONFIG_MAPS, labels="a=b", indexes={"x": (index := lambda obj: ())})
    assert manager.informer(CONFIG_MAPS, labels="a=b", indexes={"x": index, "y": index}) is first
    assert first.by_index("y", "anything") == []
    assert manager.informer(CONFIG_MAPS) is not first
    assert manager.informer(PODS, labels="a=b") is not first
    with pytest.raises(ValueError, match="another index"):
        manager.informer(CONFIG_MAPS, labels="a=b", indexes={"x": lambda obj: ()})


async def test_a_service_that_fails_ends_the_manager() -> None:
    async def broken() -> None:
        raise OSError("no disk")

    manager = manager_of(FakeServer())
    manager.add_service("broken", broken)
    with pytest.raises(ExceptionGroup) as caught:
        await manager.run()
    assert caught.group_contains(OSError, match="no disk")


async def test_a_service_may_end_while_others_go_on() -> None:
    async def short() -> None:
        return

    manager = manager_of(FakeServer())
    manager.add_service("short", short)
    async with running(manager) as task:
        await asyncio.sleep(10)
        assert not task.done()


class Election:
    def __init__(self) -> None:
        self.won, self.lost = asyncio.Event(), asyncio.Event()
        self.log: list[str] = []

    async def acquire(self) -> None:
        await self.won.wait()

    async def hold(self) -> None:
        try:
            await self.lost.wait()
        except asyncio.CancelledError:
            self.log.append("released")
            raise


async def test_only_the_leader_acts_and_it_gives_the_lead_back_last() -> None:
    election = Election()
    manager = manager_of(FakeServer(), elector=election)

    async def service() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            election.log.append("stopped")

    manager.add_service("service", service)
    async with running(manager):
        await asyncio.sleep(60)
        assert not manager.started.is_set()
        election.won.set()
        await manager.started.wait()
        await asyncio.sleep(1)
    assert election.log == ["stopped", "released"]


async def test_a_lost_lead_ends_the_manager() -> None:
    election = Election()
    election.won.set()
    manager = manager_of(FakeServer(), elector=election)
    task = asyncio.create_task(manager.run())
    await manager.started.wait()
    election.lost.set()
    with pytest.raises(LeadershipLost):
        await task
    assert not manager.started.is_set()

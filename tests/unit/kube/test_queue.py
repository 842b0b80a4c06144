from __future__ import annotations

import asyncio

import pytest

from hortator.kube.queue import QueueClosed, WorkQueue


async def taken(queue: WorkQueue[str]) -> list[str]:
    """Take and finish everything that is ready."""
    keys = []
    while queue.statistics().ready:
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


async def test_keys_come_in_the_order_in_which_they_became_ready_each_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abacab":
        queue.add(key)
    assert await taken(queue) == ["a", "b", "c"]


async def test_a_key_is_never_with_two_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert queue.statistics().ready == 0
    queue.done("a")
    assert await taken(queue) == ["a"]


async def test_a_busy_key_goes_behind_those_that_were_ready_before() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("busy")
    order = []
    for other in ("x", "y"):
        queue.add(other)
    for _ in range(4):
        key = await queue.get()
        order.append(key)
        if key == "busy":
            queue.add("busy")
        queue.done(key)
    assert order == ["busy", "x", "y", "busy"]


async def test_done_without_a_new_add_leaves_nothing() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.done(await queue.get())
    assert queue.statistics()[:2] == (0, 0)


async def test_a_delay_passes_on_the_loop_s_clock() -> None:
    queue: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    queue.add_after("late", 3600)
    queue.add_after("soon", 60)
    assert [await queue.get(), loop.time()] == ["soon", 60]
    assert [await queue.get(), loop.time()] == ["late", 3600]


async def test_of_several_delays_the_earliest_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 50)
    queue.add_after("a", 10)
    queue.add_after("a", 90)
    assert await queue.get() == "a"
    assert asyncio.get_running_loop().time() == 10
    assert queue.statistics().delayed == 0


async def test_a_delay_that_is_over_is_an_add() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0)
    assert queue.statistics().ready == 1


async def test_back_off_doubles_to_a_bound_and_is_forgotten_on_success() -> None:
    queue: WorkQueue[str] = WorkQueue(base_delay=1, max_delay=10)
    assert [queue.add_failed("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert queue.add_failed("b") == 1
    queue.forget("a")
    assert queue.add_failed("a") == 1


async def test_a_thousand_failures_do_not_overflow() -> None:
    queue: WorkQueue[str] = WorkQueue(base_delay=1, max_delay=10)
    assert {queue.add_failed("a") for _ in range(2000)} == {1, 2, 4, 8, 10}


async def test_close_ends_waiting_workers_and_later_ones() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add_after("a", 5)
    queue.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [QueueClosed] * 3
    queue.add("b")
    with pytest.raises(QueueClosed):
        await queue.get()
    assert queue.statistics()[:3] == (0, 0, 0)


async def test_a_cancelled_worker_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_statistics_tell_how_long_the_head_has_waited() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add_failed("c")
    await asyncio.sleep(0.002)
    statistics = queue.statistics()
    assert statistics == (2, 0, 1, 1, 2, 0.002)

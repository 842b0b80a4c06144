from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from hortator.kube.client import Client
from hortator.kube.errors import Unavailable
from hortator.kube.informer import Informer
from hortator.kube.resources import CONFIG_MAPS
from hortator.kube.transport import InProcess
from support.fake_server import FakeServer, Watch, failure, listing, thing

PATH = "/api/v1/configmaps"
Change = tuple[str, str, str, str | None]


def version(obj: Any) -> str:
    return str(obj["metadata"]["resourceVersion"])


def informer_of(server: FakeServer, **more: Any) -> Informer[dict[str, Any]]:
    return Informer(Client(InProcess(server)), CONFIG_MAPS, rng=lambda: 0.5, **more)


def changes_of(informer: Informer[dict[str, Any]]) -> list[Change]:
    changes: list[Change] = []
    informer.on_change(
        lambda kind, obj, old: changes.append(
            (kind, obj["metadata"]["name"], version(obj), version(old) if old else None)
        )
    )
    return changes


@asynccontextmanager
async def running(informer: Informer[Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced.wait()
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def until(condition: Callable[[], bool]) -> None:
    """Give other tasks their turns, without letting time pass."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


async def test_list_then_watch_from_there() -> None:
    watch = Watch()
    server = FakeServer().on("GET", PATH, listing(thing("a", 3), version=7)).on("WATCH", PATH, watch)
    informer = informer_of(server)
    changes = changes_of(informer)
    async with running(informer):
        await watch.opened.wait()
        watch.added(thing("b", 8)).modified(thing("a", 9)).deleted(thing("b", 10))
        await until(lambda: len(changes) == 4)
        assert informer.values() == [thing("a", 9)]
    assert changes == [
        ("added", "a", "3", None),
        ("added", "b", "8", None),
        ("modified", "a", "9", "3"),
        ("deleted", "b", "10", "8"),
    ]
    asked = dict(server.asked("WATCH", PATH)[0].query)
    assert asked == {
        "watch": "true",
        "resourceVersion": "7",
        "timeoutSeconds": "450",
        "allowWatchBookmarks": "true",
    }


async def test_cancelling_lets_the_server_s_watch_go() -> None:
    watch = Watch()
    server = FakeServer().on("GET", PATH, listing(version=1)).on("WATCH", PATH, watch)
    async with running(informer_of(server)):
        await watch.opened.wait()
    assert watch.closed.is_set()


async def test_a_long_list_comes_in_pages() -> None:
    server = (
        FakeServer()
        .on("GET", PATH, listing(thing("a", 1), version=5, continue_="t"), listing(thing("b", 2), version=5))
        .on("WATCH", PATH, Watch())
    )
    informer = informer_of(server)
    async with running(informer):
        assert [obj["metadata"]["name"] for obj in informer] == ["a", "b"]
    assert [(r.param("limit"), r.param("continue")) for r in server.asked("GET", PATH)] == [
        ("500", ""),
        ("500", "t"),
    ]


async def test_pages_that_took_too_long_are_read_again_at_once() -> None:
    server = (
        FakeServer()
        .on(
            "GET",
            PATH,
            listing(thing("a", 1), version=5, continue_="t"),
            failure(410, "Expired"),
            listing(thing("b", 6), version=6),
        )
        .on("WATCH", PATH, Watch())
    )
    informer = informer_of(server)
    async with running(informer):
        assert [obj["metadata"]["name"] for obj in informer] == ["b"]
    assert [(r.param("limit"), r.param("continue")) for r in server.asked("GET", PATH)] == [
        ("500", ""),
        ("500", "t"),
        ("", ""),
    ]


async def test_a_watch_that_ends_goes_on_where_it_was_bookmarks_included() -> None:
    first, second = Watch(), Watch()
    server = FakeServer().on("GET", PATH, listing(version=1)).on("WATCH", PATH, first, second)
    async with running(informer_of(server)):
        first.added(thing("a", 4)).bookmark(20).end()
        await second.opened.wait()
    assert [r.param("resourceVersion") for r in server.asked("WATCH", PATH)] == ["1", "20"]
    assert len(server.asked("GET", PATH)) == 1


async def test_silence_is_taken_for_death() -> None:
    first, second = Watch(), Watch()
    server = FakeServer().on("GET", PATH, listing(version=1)).on("WATCH", PATH, first, second)
    informer = informer_of(server)
    loop = asyncio.get_running_loop()
    async with running(informer):
        await asyncio.sleep(30)
        first.bookmark(5)
        await second.opened.wait()
        assert 100 <= loop.time() < 101
        assert first.closed.is_set()
        assert server.asked("WATCH", PATH)[1].param("resourceVersion") == "5"
        assert informer.statistics().silence == pytest.approx(loop.time() - 30)


async def test_expired_means_list_again_and_tell_the_differences() -> None:
    first, second = Watch(), Watch()
    server = (
        FakeServer()
        .on(
            "GET",
            PATH,
            listing(
                thing("same", 1),
                thing("gone", 2),
                thing("changed", 3),
                thing("anew", 3, uid="old"),
                version=5,
            ),
            listing(
                thing("same", 1),
                thing("changed", 30),
                thing("new", 31),
                thing("anew", 32, uid="new"),
                version=40,
            ),
        )
        .on("WATCH", PATH, first, second)
    )
    informer = informer_of(server)
    async with running(informer):
        changes = changes_of(informer)
        changes.clear()
        first.expired()
        await second.opened.wait()
        assert sorted(changes) == [
            ("added", "anew", "32", None),
            ("added", "new", "31", None),
            ("deleted", "anew", "3", "3"),
            ("deleted", "gone", "2", "2"),
            ("modified", "changed", "30", "3"),
        ]
        assert informer.synced.is_set()
    assert server.asked("WATCH", PATH)[1].param("resourceVersion") == "40"


async def test_an_absent_server_is_asked_with_growing_pauses_up_to_a_bound() -> None:
    times: list[float] = []
    enough = asyncio.Event()

    async def absent(request: Any) -> Any:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 12:
            enough.set()
        raise Unavailable("server", "connection refused")

    informer = Informer(Client(InProcess(absent)), CONFIG_MAPS, rng=lambda: 0.0)
    task = asyncio.create_task(informer.run())
    await enough.wait()
    task.cancel()
    pauses = [round(b - a, 6) for a, b in pairwise(times)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 30
    assert not informer.synced.is_set()
    assert informer.statistics().silence == float("inf")


async def test_a_broken_connection_needs_no_new_list() -> None:
    first, second = Watch(), Watch()
    server = FakeServer().on("GET", PATH, listing(version=1)).on("WATCH", PATH, first, second)
    async with running(informer_of(server)):
        first.added(thing("a", 4)).fail(Unavailable("server", "reset"))
        await second.opened.wait()
    assert len(server.asked("GET", PATH)) == 1
    assert server.asked("WATCH", PATH)[1].param("resourceVersion") == "4"


async def test_a_refused_watch_lists_again_after_a_pause() -> None:
    second = Watch()
    server = (
        FakeServer()
        .on("GET", PATH, listing(version=1))
        .on("WATCH", PATH, failure(500, "InternalError"), second)
    )
    async with running(informer_of(server)):
        await second.opened.wait()
        assert asyncio.get_running_loop().time() > 0
    assert len(server.asked("GET", PATH)) == 2


async def test_a_server_that_always_says_expired_is_not_flooded() -> None:
    server = FakeServer().on("GET", PATH, listing(version=1)).on("WATCH", PATH, failure(410, "Expired"))
    async with running(informer_of(server)):
        await asyncio.sleep(600)
    assert len(server.asked("GET", PATH)) < 30


async def test_watches_that_end_at_once_are_not_repeated_at_once() -> None:
    server = (
        FakeServer()
        .on("GET", PATH, listing(version=1))
        .on("WATCH", PATH, lambda request: Watch().end()(request))
    )
    async with running(informer_of(server)):
        await asyncio.sleep(600)
    assert len(server.asked("WATCH", PATH)) < 30


async def test_own_writes_are_visible_at_once_and_older_events_do_not_undo_them() -> None:
    watch = Watch()
    server = FakeServer().on("GET", PATH, listing(thing("a", 3), version=5)).on("WATCH", PATH, watch)
    informer = informer_of(server)
    async with running(informer):
        changes = changes_of(informer)
        changes.clear()
        informer.record(thing("a", 100))
        assert informer.get("default", "a") == thing("a", 100)
        watch.modified(thing("a", 99)).modified(thing("a", 100)).modified(thing("a", 101))
        await until(lambda: len(changes) == 2)
    assert changes == [("modified", "a", "100", "3"), ("modified", "a", "101", "100")]


async def test_an_older_record_does_not_undo_an_event() -> None:
    server = FakeServer().on("GET", PATH, listing(thing("a", 10), version=10)).on("WATCH", PATH, Watch())
    informer = informer_of(server)
    async with running(informer):
        informer.record(thing("a", 9))
        assert informer.get("default", "a") == thing("a", 10)


async def test_a_record_that_comes_after_the_deletion_does_not_bring_the_object_back() -> None:
    watch = Watch()
    server = FakeServer().on("GET", PATH, listing(thing("a", 3), version=5)).on("WATCH", PATH, watch)
    informer = informer_of(server)
    async with running(informer):
        changes = changes_of(informer)
        changes.clear()
        # Taking the last finalizer away deletes the object; the answer is read after the event.
        watch.deleted(thing("a", 7))
        await until(lambda: len(changes) == 1)
        informer.record(thing("a", 6))
        assert informer.get("default", "a") is None


async def test_a_late_deletion_of_the_predecessor_spares_the_recorded_successor() -> None:
    watch = Watch()
    server = (
        FakeServer().on("GET", PATH, listing(thing("a", 3, uid="u1"), version=5)).on("WATCH", PATH, watch)
    )
    informer = informer_of(server)
    async with running(informer):
        informer.record(thing("a", 20, uid="u2"))
        changes = changes_of(informer)
        watch.deleted(thing("a", 19, uid="u1")).added(thing("b", 21))
        await until(lambda: len(changes) == 2)
        assert informer.get("default", "a") == thing("a", 20, uid="u2")


async def test_an_own_create_survives_a_list_that_began_before_it() -> None:
    first, second = Watch(), Watch()
    listed = asyncio.Event()
    answer = asyncio.Event()

    async def slow(request: Any) -> Any:
        listed.set()
        await answer.wait()
        return listing(thing("a", 3), version=40)

    server = (
        FakeServer().on("GET", PATH, listing(thing("a", 3), version=5), slow).on("WATCH", PATH, first, second)
    )
    informer = informer_of(server)
    async with running(informer):
        first.expired()
        await listed.wait()
        informer.record(thing("mine", 50))
        informer.record(thing("a", 51))
        answer.set()
        await second.opened.wait()
        assert informer.get("default", "mine") == thing("mine", 50)
        assert informer.get("default", "a") == thing("a", 51)


async def test_a_list_is_the_truth_even_when_versions_went_back() -> None:
    first, second = Watch(), Watch()
    server = (
        FakeServer()
        .on("GET", PATH, listing(version=1000), listing(thing("a", 2), version=3))
        .on("WATCH", PATH, first, second)
    )
    informer = informer_of(server)
    async with running(informer):
        informer.record(thing("a", 1001))
        informer.record(thing("ghost", 1002))
        first.expired()
        await second.opened.wait()
        assert informer.values() == [thing("a", 2)]


async def test_an_own_deletion_is_visible_at_once_and_not_undone() -> None:
    watch = Watch()
    server = FakeServer().on("GET", PATH, listing(thing("a", 3), version=5)).on("WATCH", PATH, watch)
    informer = informer_of(server)
    async with running(informer):
        changes = changes_of(informer)
        informer.forget("default", "a", "uid-a")
        assert informer.get("default", "a") is None
        watch.modified(thing("a", 6)).deleted(thing("a", 7)).added(thing("a", 8, uid="anew"))
        await until(lambda: len(changes) == 3)
    assert changes == [("added", "a", "3", None), ("deleted", "a", "3", "3"), ("added", "a", "8", None)]


async def test_forgetting_spares_a_successor_of_the_same_name() -> None:
    server = FakeServer().on("GET", PATH, listing(thing("a", 3), version=5)).on("WATCH", PATH, Watch())
    informer = informer_of(server)
    async with running(informer):
        informer.forget("default", "a", "another uid")
        assert informer.get("default", "a") == thing("a", 3)


async def test_records_outside_the_selection_are_left_out() -> None:
    server = (
        FakeServer()
        .on("GET", "/api/v1/namespaces/default/configmaps", listing(thing("a", 3), version=5))
        .on("WATCH", "/api/v1/namespaces/default/configmaps", Watch())
    )
    informer = informer_of(server, namespace="default", labels="app=x")
    async with running(informer):
        informer.record(thing("b", 6, metadata={"labels": {"app": "x"}}))
        informer.record(thing("c", 7, metadata={"labels": {"app": "y"}}))
        informer.record(thing("d", 8, namespace="other", metadata={"labels": {"app": "x"}}))
        informer.record(thing("a", 9))
        assert [obj["metadata"]["name"] for obj in informer] == ["b"]


async def test_indexes_follow_changes() -> None:
    watch = Watch()
    server = (
        FakeServer()
        .on("GET", PATH, listing(thing("a", 1, data={"on": "n1"}), thing("b", 2), version=5))
        .on("WATCH", PATH, watch)
    )
    informer = informer_of(server, indexes={"on": lambda obj: obj.get("data", {}).values()})

    def names(key: str) -> list[str]:
        return [obj["metadata"]["name"] for obj in informer.by_index("on", key)]

    async with running(informer):
        assert (names("n1"), names("n2")) == (["a"], [])
        watch.modified(thing("a", 6, data={"on": "n2"})).modified(thing("b", 7, data={"on": "n2"}))
        watch.deleted(thing("a", 8))
        await until(lambda: names("n2") == ["b"])
        assert names("n1") == []


async def test_trim_keeps_what_it_returns() -> None:
    server = (
        FakeServer()
        .on("GET", PATH, listing(thing("a", 1, data={"big": "x"}), version=5))
        .on("WATCH", PATH, Watch())
    )
    informer = informer_of(server, trim=lambda obj: {"metadata": obj["metadata"]})
    async with running(informer):
        assert informer.values() == [{"metadata": thing("a", 1)["metadata"]}]


async def test_a_late_listener_hears_of_what_is_there() -> None:
    server = FakeServer().on("GET", PATH, listing(thing("a", 1), version=5)).on("WATCH", PATH, Watch())
    informer = informer_of(server)
    async with running(informer):
        assert changes_of(informer) == [("added", "a", "1", None)]


async def test_a_listener_s_defect_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("defect")

    server = FakeServer().on("GET", PATH, listing(thing("a", 1), version=5)).on("WATCH", PATH, Watch())
    informer = informer_of(server)
    informer.on_change(broken)
    changes = changes_of(informer)
    async with running(informer):
        assert changes == [("added", "a", "1", None)]
    assert "defect" in caplog.text


class Meta(msgspec.Struct, rename="camel", frozen=True):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}


class Map(msgspec.Struct, frozen=True, gc=False):
    metadata: Meta
    data: dict[str, str] = {}


async def test_typed_objects() -> None:
    watch = Watch()
    server = (
        FakeServer()
        .on("GET", PATH, listing(thing("a", 1, data={"k": "v"}), version=5))
        .on("WATCH", PATH, watch)
    )
    informer = Informer(Client(InProcess(server)), CONFIG_MAPS, type=Map)
    async with running(informer):
        first = informer.get("default", "a")
        assert first is not None and first.data == {"k": "v"}
        informer.record(thing("b", 6, data={"x": "y"}))
        watch.modified(thing("b", 7))
        await until(lambda: informer.statistics().events == 1)
        second = informer.get("default", "b")
        assert second is not None and (second.metadata.resource_version, second.data) == ("7", {})


async def test_statistics() -> None:
    watch = Watch()
    server = FakeServer().on("GET", PATH, listing(thing("a", 1), version=5)).on("WATCH", PATH, watch)
    informer = informer_of(server)
    async with running(informer):
        watch.added(thing("b", 6)).bookmark(9)
        await until(lambda: informer.statistics().resource_version == "9")
        await asyncio.sleep(5)
        assert informer.statistics() == (2, True, "9", 5.0, 1, 1, 1, 0)

"""Watches: order, selection, versions, bookmarks, slow readers."""

from __future__ import annotations

import json

import pytest

from support.api import MAPS, MERGE, PODS, TABLE, Api, pod


async def test_a_watch_continues_a_list(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "a"}})
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    watch = await api.watch(MAPS, resourceVersion=version)
    await api.post(MAPS, {"metadata": {"name": "b"}})
    await api("PATCH", f"{MAPS}/b", {"data": {"x": "y"}}, kind=MERGE)
    await api("DELETE", f"{MAPS}/b")
    assert await watch.names(3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


async def test_events_before_the_watch_are_replayed(api: Api) -> None:
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    await api.post(MAPS, {"metadata": {"name": "b"}})
    await api("DELETE", f"{MAPS}/b")
    watch = await api.watch(MAPS, resourceVersion=version)
    assert await watch.names(2) == [("ADDED", "b"), ("DELETED", "b")]


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
async def test_without_a_version_a_watch_begins_with_what_is_there(api: Api, query: dict[str, str]) -> None:
    await api.post(MAPS, {"metadata": {"name": "a"}})
    watch = await api.watch(MAPS, **query)
    assert await watch.names(1) == [("ADDED", "a")]


async def test_an_object_enters_and_leaves_a_selection(api: Api) -> None:
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    watch = await api.watch(MAPS, resourceVersion=version, labelSelector="on=yes")
    await api.post(MAPS, {"metadata": {"name": "a"}, "data": {"step": "1"}})
    for on in ("yes", "yes", "no"):
        await api(
            "PATCH", f"{MAPS}/a", {"metadata": {"labels": {"on": on, "n": on}}, "data": {on: on}}, kind=MERGE
        )
    await api("PATCH", f"{MAPS}/a", {"metadata": {"annotations": {"x": "y"}}}, kind=MERGE)
    await api("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"on": "yes"}}}, kind=MERGE)
    await api("DELETE", f"{MAPS}/a")
    assert await watch.names(4) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]


async def test_what_leaves_a_selection_is_shown_as_it_was_with_the_version_of_the_change(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "a", "labels": {"on": "yes"}}})
    watch = await api.watch(MAPS, labelSelector="on=yes")
    await watch.next()
    changed = await api("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"on": "no"}}}, kind=MERGE)
    kind, obj = await watch.next()
    assert kind == "DELETED"
    assert obj["metadata"]["labels"] == {"on": "yes"}
    assert obj["metadata"]["resourceVersion"] == changed.version


async def test_a_watch_is_confined_to_its_namespace(api: Api) -> None:
    await api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})
    watch = await api.watch(MAPS)
    everywhere = await api.watch("/api/v1/configmaps")
    await api.post("/api/v1/namespaces/other/configmaps", {"metadata": {"name": "far"}})
    await api.post(MAPS, {"metadata": {"name": "near"}})
    assert await watch.names(1) == [("ADDED", "near")]
    assert await everywhere.names(2) == [("ADDED", "far"), ("ADDED", "near")]


async def test_fields_select_pods_that_are_given_to_a_node(api: Api) -> None:
    watch = await api.watch("/api/v1/pods", fieldSelector="spec.nodeName=n1")
    await api.post(PODS, pod("a"))
    binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
    await api.post(f"{PODS}/a/binding", binding)
    assert await watch.names(1) == [("ADDED", "a")]


async def test_streamed_lists_end_with_a_marked_bookmark(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "a"}})
    watch = await api.watch(
        MAPS, sendInitialEvents="true", allowWatchBookmarks="true", resourceVersionMatch="NotOlderThan"
    )
    assert (await watch.next())[0] == "ADDED"
    kind, obj = await watch.next()
    assert (kind, obj["kind"]) == ("BOOKMARK", "ConfigMap")
    assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await api.post(MAPS, {"metadata": {"name": "b"}})
    assert await watch.names(1) == [("ADDED", "b")]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"sendInitialEvents": "true"}, 422),
        ({"sendInitialEvents": "maybe", "resourceVersionMatch": "NotOlderThan"}, 400),
        ({"resourceVersionMatch": "NotOlderThan"}, 422),
    ],
)
async def test_watch_options_must_fit_together(api: Api, query: dict[str, str], status: int) -> None:
    assert (await api("GET", MAPS, watch="true", **query)).status == status


async def test_bookmarks_come_every_minute_and_at_the_end(api: Api) -> None:
    watch = await api.watch(MAPS, allowWatchBookmarks="true", timeoutSeconds=150)
    versions = []
    for _ in range(3):
        kind, obj = await watch.next_within(100)
        assert kind == "BOOKMARK"
        versions.append(obj["metadata"]["resourceVersion"])
        await api.post("/api/v1/namespaces/default/secrets", {"metadata": {"generateName": "s"}})
    assert versions == sorted(set(versions))
    with pytest.raises(StopAsyncIteration):
        await watch.next_within(100)


async def test_a_watch_ends_with_its_time(api: Api) -> None:
    watch = await api.watch(MAPS, timeoutSeconds=3)
    with pytest.raises(StopAsyncIteration):
        await watch.next()
    assert not api.server.storage.collection("/configmaps").readers - {api.server.quotas}


async def test_versions_before_the_history_are_gone(api: Api) -> None:
    watch = await api.watch(MAPS, resourceVersion="5")
    kind, status = await watch.next_within(1)
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    assert status["message"].startswith("too old resource version: 5 (")


async def test_a_slow_watcher_is_cut_off_and_others_are_not(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    slow = await api.watch(MAPS)
    quick = await api.watch(MAPS)
    seen = await quick.names(1)
    for index in range(5000):
        await api("PUT", f"{MAPS}/m", {"metadata": {"name": "m"}, "data": {"n": str(index)}})
        seen += await quick.names(1)
    assert len(seen) == 5001
    with pytest.raises(StopAsyncIteration):
        await slow.next()


async def test_tables_are_watched_row_by_row(api: Api) -> None:
    response = await api.raw("GET", PODS, accept=TABLE, watch="true")
    assert response.stream is not None
    await api.post(PODS, pod())
    event = json.loads((await anext(response.stream)).splitlines()[0])
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][0] == "p"


async def test_closing_a_watch_forgets_it(api: Api) -> None:
    watch = await api.watch(MAPS)
    collection = api.server.storage.collection("/configmaps")
    before = len(collection.readers)
    await watch.close()
    assert len(collection.readers) == before - 1


async def test_stopping_the_server_ends_watches(api: Api) -> None:
    watch = await api.watch(MAPS)
    await api.server.stop()
    with pytest.raises(StopAsyncIteration):
        await watch.next()

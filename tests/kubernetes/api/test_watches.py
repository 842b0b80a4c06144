"""Watches: where they begin, what they tell, how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.server import MERGE, TABLE, Server


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def version(server: Server, maps: str) -> Iterator[str]:
    """The collection's version before the test does anything."""
    yield server.get(maps).ok["metadata"]["resourceVersion"]


def make(server: Server, maps: str, name: str, **labels: str) -> Any:
    return server.post(maps, {"metadata": {"name": name, "labels": labels}}).ok


def test_a_watch_from_a_version_tells_what_came_after_it(server: Server, maps: str, version: str) -> None:
    make(server, maps, "a")
    server.patch(f"{maps}/a", {"data": {"x": "1"}}).ok  # noqa: B018
    server.delete(f"{maps}/a").ok  # noqa: B018
    with server.watch(maps, resourceVersion=version, fieldSelector="metadata.name=a") as watch:
        assert watch.take(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_a_watch_resumes_where_it_was_left(server: Server, maps: str, version: str) -> None:
    made = make(server, maps, "a")
    make(server, maps, "b")
    with server.watch(maps, resourceVersion=made["metadata"]["resourceVersion"]) as watch:
        assert watch.take(1) == [("ADDED", "b")]


def test_a_watch_without_a_version_begins_with_what_there_is(server: Server, maps: str) -> None:
    make(server, maps, "a", mine="yes")
    with server.watch(maps, labelSelector="mine=yes") as watch:
        assert watch.take(1) == [("ADDED", "a")]
        make(server, maps, "b", mine="yes")
        assert watch.take(1) == [("ADDED", "b")]


def test_an_object_that_leaves_the_selection_is_deleted_for_the_watcher(
    server: Server, maps: str, version: str
) -> None:
    with server.watch(maps, resourceVersion=version, labelSelector="color=red") as watch:
        make(server, maps, "a", color="blue")
        for color in ("red", "red", "blue", "red"):
            body = {"metadata": {"labels": {"color": color}}, "data": {"x": color}}
            server.patch(f"{maps}/a", body, MERGE).ok  # noqa: B018
        server.patch(f"{maps}/a", {"data": {"x": "again"}}, MERGE).ok  # noqa: B018
        first = watch.next()
        assert (first["type"], first["object"]["data"]) == ("ADDED", {"x": "red"})
        left = watch.next()
        # It is told as it was, with the version at which it left.
        assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"color": "red"})
        assert watch.take(2) == [("ADDED", "a"), ("MODIFIED", "a")]


def test_initial_events_end_with_a_bookmark_that_says_so(server: Server, maps: str) -> None:
    make(server, maps, "a", mine="yes")
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "labelSelector": "mine=yes",
    }
    with server.watch(maps, **query) as watch:
        events = iter(watch)
        first, second = next(events), next(events)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(second["object"]["metadata"]["resourceVersion"]) >= int(
        first["object"]["metadata"]["resourceVersion"]
    )


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"sendInitialEvents": "true"}, (422, "Invalid")),
        ({"resourceVersionMatch": "NotOlderThan"}, (422, "Invalid")),
        pytest.param(
            {"resourceVersion": "x"},
            (500, ""),
            marks=pytest.mark.differs(
                "a watch from a version that is no number is refused with 400",
                why="Kubernetes answers 500, as if it had failed itself",
            ),
        ),
        ({"labelSelector": "a in"}, (400, "BadRequest")),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    server: Server, maps: str, query: dict[str, str], refusal: tuple[int, str]
) -> None:
    assert server.get(maps, query={"watch": "1", **query}).refusal[:2] == refusal


def test_a_version_from_before_time_is_gone(server: Server, maps: str) -> None:
    make(server, maps, "a")
    with server.watch(maps, resourceVersion="1") as watch:
        event = next(iter(watch))
    # Kubernetes still has its first versions if it is young; both tell either the past or that it is gone.
    assert event["type"] == "ADDED" or event["object"]["code"] == 410


def test_a_watch_ends_when_it_was_asked_to(server: Server, maps: str) -> None:
    with server.watch(maps, timeoutSeconds=1) as watch:
        assert [event["type"] for event in watch if event["type"] == "ERROR"] == []


def test_a_watch_in_rows_of_a_table(server: Server, maps: str, version: str) -> None:
    make(server, maps, "a")
    with server.watch(maps, resourceVersion=version, accept=TABLE, fieldSelector="metadata.name=a") as watch:
        event = watch.next()
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")
    (row,) = event["object"]["rows"]
    assert row["cells"][:2] == ["a", 0]
    # Only the first event says what the columns are.
    assert [column["name"] for column in event["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]

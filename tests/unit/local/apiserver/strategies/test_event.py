from typing import Any

import pytest

from support.strategies import cells, named, refused, strategy

OLD, NEW = "events", "events.events.k8s.io"
POD = {"kind": "Pod", "name": "p", "namespace": "default", "uid": "u"}


def test_an_event_lives_with_the_object_it_is_about() -> None:
    assert refused(OLD, named("e", involvedObject=POD)) == []
    assert refused(OLD, named("e", involvedObject={**POD, "namespace": "other"})) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]


MODERN: dict[str, Any] = {
    "eventTime": "2026-03-01T12:00:00.000000Z",
    "regarding": POD,
    "type": "Normal",
    "reason": "Started",
    "action": "Starting",
    "reportingController": "example.com/c",
    "reportingInstance": "c-1",
}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({}, None),
        ({"eventTime": None}, "eventTime: Required value"),
        ({"action": ""}, "action: Required value"),
        ({"reason": "x" * 129}, 'reason: Invalid value: "": can have at most 128 characters'),
        ({"type": "Bad"}, 'type: Invalid value: "": has invalid value: Bad'),
        ({"reportingController": ""}, "reportingController: Required value"),
        (
            {"series": {"count": 1, "lastObservedTime": MODERN["eventTime"]}},
            'series.count: Invalid value: "": should be',
        ),
    ],
)
def test_new_events_are_stricter(change: dict[str, Any], error: str | None) -> None:
    errors = refused(NEW, named("e", **{**MODERN, **change}))
    assert (not errors) if error is None else errors[0].startswith(error)


def test_events_are_selected_by_what_they_are_about_in_both_versions() -> None:
    old = strategy(OLD).fields(named("e", involvedObject=POD, source={"component": "c"}, type="Warning"))
    assert (old["involvedObject.name"], old["involvedObject.uid"], old["source"]) == ("p", "u", "c")
    new = strategy(NEW).fields(named("e", **MODERN))
    assert (new["regarding.name"], new["reportingController"], new["type"]) == (
        "p",
        "example.com/c",
        "Normal",
    )


FIRST, LAST = "2026-03-01T11:50:00Z", "2026-03-01T11:59:00Z"


@pytest.mark.parametrize(
    ("parts", "last", "first", "count"),
    [
        ({"firstTimestamp": FIRST, "lastTimestamp": LAST, "count": 3}, "60s", "10m", 3),
        ({"eventTime": "2026-03-01T11:59:00.5Z"}, "59s", "59s", 1),
        ({"eventTime": FIRST, "series": {"count": 7, "lastObservedTime": LAST}}, "60s", "10m", 7),
        ({}, "<unknown>", "<unknown>", 1),
    ],
)
def test_times_and_counts(parts: dict[str, Any], last: str, first: str, count: int) -> None:
    row = cells(OLD, named("e", involvedObject=POD, **parts))
    assert (row["Last Seen"], row["First Seen"], row["Count"]) == (last, first, count)


def test_columns_are_the_same_in_both_versions() -> None:
    parts = {"type": "Normal", "reason": "Started"}
    old = cells(
        OLD, named("e", involvedObject=POD, message=" hi\n", source={"component": "c", "host": "n"}, **parts)
    )
    new = cells(
        NEW,
        named("e", regarding=POD, note=" hi\n", deprecatedSource={"component": "c", "host": "n"}, **parts),
    )
    assert old == new
    assert (old["Object"], old["Source"], old["Message"]) == ("pod/p", "c, n", "hi")

from datetime import UTC, datetime, timedelta, timezone

import pytest

from hortator.apimachinery import meta

OWNER = {"metadata": {"name": "o", "uid": "u1"}}
POD = {
    "metadata": {
        "name": "a",
        "namespace": "n",
        "uid": "u",
        "labels": {"l": "1"},
        "annotations": {"x": "2"},
        "finalizers": ["f"],
        "deletionTimestamp": "2026-01-02T03:04:05Z",
        "ownerReferences": [{"uid": "z"}, meta.controller_ref(OWNER, "Job", "batch/v1")],
    }
}


def test_metadata_is_read():
    assert (meta.name_of(POD), meta.namespace_of(POD), meta.uid_of(POD)) == ("a", "n", "u")
    assert meta.labels_of(POD) == {"l": "1"}
    assert meta.annotations_of(POD) == {"x": "2"}
    assert meta.has_finalizer(POD, "f")
    assert not meta.has_finalizer(POD, "g")
    assert meta.is_deleting(POD)


@pytest.mark.parametrize(
    "obj", [{}, {"metadata": None}, {"metadata": {"labels": None, "ownerReferences": None}}]
)
def test_missing_metadata_is_empty(obj):
    assert (meta.name_of(obj), meta.namespace_of(obj), meta.uid_of(obj)) == ("", "", "")
    assert (meta.labels_of(obj), meta.annotations_of(obj)) == ({}, {})
    assert meta.owner_controller(obj) is None
    assert not meta.is_deleting(obj)
    assert not meta.has_finalizer(obj, "f")


def test_the_controller_is_found_among_the_owners():
    assert meta.owner_controller(POD) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": "o",
        "uid": "u1",
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02t03:04:05.5z", datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)),
        ("2026-01-02T03:04:05+01:30", datetime(2026, 1, 2, 1, 34, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-01:00", datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)),
    ],
)
def test_times_are_read(text, moment):
    assert meta.parse_time(text) == moment


@pytest.mark.parametrize(
    "text", ["", "2026-01-02", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z", "x"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        meta.parse_time(text)


def test_times_are_written_in_utc():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=1)))
    assert meta.rfc3339(moment) == "2026-01-02T02:04:05Z"
    assert meta.micro_time(moment) == "2026-01-02T02:04:05.000678Z"


@pytest.mark.parametrize("write", [meta.rfc3339, meta.micro_time])
def test_a_time_without_zone_is_refused(write):
    with pytest.raises(ValueError, match="without zone"):
        write(datetime(2026, 1, 2))

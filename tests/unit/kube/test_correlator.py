from __future__ import annotations

from typing import Any

from hortator.kube.correlator import Correlator, Write


def event(
    message: str = "m", *, reason: str = "R", name: str = "pod", kind: str = "Normal", at: str = "t0"
) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.{at}", "namespace": "n"},
        "involvedObject": {"kind": "Pod", "namespace": "n", "name": name, "uid": "u"},
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": "c"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def test_the_same_again_raises_the_count_of_the_first() -> None:
    correlator = Correlator()
    assert correlator.correlate(event(at="t0"), time=0) == Write(event(at="t0"))
    second = correlator.correlate(event(at="t1"), time=1)
    assert second is not None
    assert second.patch == {"count": 2, "lastTimestamp": "t1", "message": "m"}
    assert (second.event["metadata"]["name"], second.event["firstTimestamp"]) == ("pod.t0", "t0")


def test_other_messages_reasons_objects_and_types_are_other_events() -> None:
    correlator = Correlator()
    others = [event(), event("x"), event(reason="X"), event(name="x"), event(kind="Warning")]
    writes = [correlator.correlate(other, time=0) for other in others]
    assert [write and write.patch for write in writes] == [None] * 5


def test_from_the_tenth_message_of_a_reason_on_they_are_combined() -> None:
    correlator = Correlator()
    writes = [correlator.correlate(event(f"m{i}", at=f"t{i}"), time=i) for i in range(12)]
    assert all(write is not None for write in writes)
    messages = [write.event["message"] for write in writes if write]
    assert messages[8:] == [
        "m8",
        "(combined from similar events): m9",
        "(combined from similar events): m10",
        "(combined from similar events): m11",
    ]
    assert [write.patch is None for write in writes if write] == [True] * 10 + [False] * 2


def test_messages_that_are_far_apart_are_not_combined() -> None:
    correlator = Correlator()
    writes = [correlator.correlate(event(f"m{i}"), time=i * 601) for i in range(15)]
    assert [write and write.patch for write in writes] == [None] * 15


def test_a_chatty_component_is_cut_short_per_object() -> None:
    correlator = Correlator()
    told = [correlator.correlate(event(reason=f"R{i}"), time=0) is not None for i in range(30)]
    assert told == [True] * 25 + [False] * 5
    assert correlator.correlate(event(name="other"), time=0) is not None
    assert correlator.correlate(event(), time=299) is None
    assert correlator.correlate(event(), time=301) is not None
    assert correlator.correlate(event(), time=302) is None


def test_its_memory_is_bounded() -> None:
    correlator = Correlator()
    for number in range(5000):
        correlator.correlate(event(name=f"p{number}"), time=0)
    first, last = (correlator.correlate(event(name=name), time=0) for name in ("p0", "p4999"))
    assert first is not None and first.patch is None
    assert last is not None and last.patch is not None

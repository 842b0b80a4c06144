from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hortator.local.node.probes import Outcome, Threshold, find_port, watch_probe


@pytest.mark.parametrize(
    ("spec", "start", "answers", "confirmed", "verdict"),
    [
        ({}, False, [True], [True], True),
        ({"failureThreshold": 3}, True, [False, False], [False, False], True),
        ({"failureThreshold": 3}, True, [False, False, False], [False, False, True], False),
        ({"failureThreshold": 2}, True, [False, True, False], [False, True, False], True),
        ({"successThreshold": 2}, False, [True, False, True, True], [False, False, False, True], True),
    ],
)
def test_a_verdict_needs_enough_equal_answers_in_a_row(
    spec: dict[str, int], start: bool, answers: list[bool], confirmed: list[bool], verdict: bool
) -> None:
    threshold = Threshold(spec, verdict=start)
    assert [threshold.add(answer) for answer in answers] == confirmed
    assert threshold.verdict is verdict


def test_ports_may_be_named() -> None:
    container = {"ports": [{"name": "web", "containerPort": 8080}, {"name": "81", "containerPort": 8081}]}
    assert [find_port(container, port) for port in (80, "82", "web", "81")] == [80, 82, 8080, 8081]


@pytest.mark.parametrize(
    ("port", "message"), [("none", "port none not found"), (0, "invalid port number: 0")]
)
def test_ports_that_are_none(port: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_port({}, port)


async def watched(
    spec: dict[str, Any], results: Sequence[str], *, takes: float = 0.0
) -> list[tuple[float, bool]]:
    """Return when attempts began, and whether their answers confirmed the verdict, for a container started at 5 s."""
    await asyncio.sleep(7.0)
    left = list(results)
    began: list[float] = []
    heard: list[bool] = []

    async def attempt() -> Outcome:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(takes)
        return Outcome(left.pop(0))  # type: ignore[arg-type]

    def report(confirmed: bool, outcome: Outcome) -> bool:
        heard.append(confirmed)
        return bool(left)

    await watch_probe(spec, attempt, started_clock=5.0, verdict=False, report=report)
    return list(zip(began, heard, strict=True))


async def test_the_initial_delay_counts_from_the_start_of_the_container() -> None:
    spec = {"initialDelaySeconds": 4, "periodSeconds": 3, "failureThreshold": 2}
    assert await watched(spec, ["failure"] * 3) == [(9.0, False), (12.0, True), (15.0, True)]


async def test_periods_count_from_the_beginning_of_attempts() -> None:
    assert await watched({"periodSeconds": 3}, ["success"] * 3, takes=1.0) == [
        (7, True),
        (10, True),
        (13, True),
    ]


async def test_an_attempt_that_takes_longer_than_the_period_is_followed_at_once() -> None:
    assert await watched({"periodSeconds": 1}, ["success"] * 2, takes=4.0) == [(7.0, True), (11.0, True)]


async def test_a_question_that_went_wrong_counts_for_nothing() -> None:
    spec = {"periodSeconds": 1, "failureThreshold": 2}
    results = ["failure", "unknown", "unknown", "failure"]
    assert [confirmed for _, confirmed in await watched(spec, results)] == [False, False, False, True]

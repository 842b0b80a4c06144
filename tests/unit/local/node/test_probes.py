from __future__ import annotations

import pytest

from hortator.local.node.probes import Threshold, find_port


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
    container = {"ports": [{"name": "web", "containerPort": 8080}]}
    assert [find_port(container, port) for port in (80, "81", "web")] == [80, 81, 8080]
    with pytest.raises(ValueError, match="couldn't find port: none"):
        find_port(container, "none")

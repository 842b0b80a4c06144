from datetime import timedelta

import pytest

from hortator.local.apiserver.strategies.ages import age, between, human_duration, since
from support.strategies import NOW

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (3 * MINUTE + 20, "3m20s"),
        (10 * MINUTE + 1, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR + 5 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 3 * HOUR, "2d3h"),
        (8 * DAY + 3 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (730 * DAY, "2y"),
        (740 * DAY, "2y10d"),
        (3000 * DAY, "8y"),
    ],
)
def test_spans_are_shown_in_at_most_two_units(seconds: int, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text


def test_what_has_no_time_has_an_unknown_age() -> None:
    assert age({"metadata": {}}, NOW) == "<unknown>"
    assert since(None, NOW) == "<unknown>"


def test_a_span_between_two_times() -> None:
    assert between("2026-03-01T00:00:00Z", "2026-03-01T00:01:30Z") == "90s"

"""Tables, ages, and what must not reach a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hortator.cli.output import age, printable, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3000, "50m"),
        (11000, "3h3m"),
        (100000, "27h"),
        (400000, "4d"),
    ],
)
def test_ages_read_as_kubectls(seconds: int, text: str) -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    now = datetime.fromtimestamp(then.timestamp() + seconds, UTC)
    assert age("2026-01-01T00:00:00Z", now) == text


def test_columns_line_up() -> None:
    assert table(["A", "B"], [["long", "x"], ["s", ""]]) == "A      B\nlong   x\ns"


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[31mred\nline\x07") == "a [31mred line "
    assert "\x1b" not in table(["A"], [["\x1b]0;title\x07"]])

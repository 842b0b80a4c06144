from __future__ import annotations

import pytest

from hortator.jobs.amounts import InvalidAmount, parse_duration, parse_memory


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("2h30m", 9000),
        ("2h 30m", 9000),
        ("1.5h", 5400),
        ("1d", 86400),
        ("1w2d", 777600),
        ("10min", 600),
        ("0.5s", 1),
        ("5", 300),
        ("30:00", 1800),
        ("01:02:03", 3723),
        ("1-0", 86400),
        ("1-2:30", 95400),
        ("2-03:04:05", 183845),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-5m", "1:2:3:4", "0", "0s", "h", "5m later", "1e3s"])
def test_bad_durations_are_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(InvalidAmount, match="time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16G", 16 << 30),
        ("16Gi", 16 << 30),
        ("16GB", 16 << 30),
        ("1.5g", 3 << 29),
        ("512M", 512 << 20),
        ("4K", 4096),
        ("2T", 2 << 40),
        ("100", 100 << 20),
        ("100B", 100),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "G", "16X", "-1G", "0", "16 Giga", "1e3"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(InvalidAmount):
        parse_memory(text)

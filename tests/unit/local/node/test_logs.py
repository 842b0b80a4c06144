"""What the pump writes and the reader reads, together: through the files, as they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hortator.local.node.container import read_log
from hortator.local.node.logs import SegmentReader, segments
from hortator.local.node.pump import Pump
from hortator.local.streams import STDERR, STDOUT, LogOptions


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


async def read(path: Path, **options: object) -> bytes:
    chosen = LogOptions(container="c", **options)  # type: ignore[arg-type]
    return b"".join([chunk async for chunk in read_log(path, chosen, None)])


def write(directory: int, *chunks: tuple[int, bytes], segment_bytes: int = 1 << 20, keep: int = 2) -> Pump:
    pump = Pump(directory, segment_bytes=segment_bytes, keep=keep)
    for stream, data in chunks:
        pump.append(stream, data)
    return pump


async def test_streams_can_be_read_apart(directory: int, tmp_path: Path) -> None:
    write(directory, (STDOUT, b"a\n"), (STDERR, b"b\n"), (STDOUT, b"c\n"))
    assert await read(tmp_path) == b"a\nb\nc\n"
    assert await read(tmp_path, stream="Stdout") == b"a\nc\n"
    assert await read(tmp_path, stream="Stderr") == b"b\n"


async def test_lines_of_two_streams_are_not_torn(directory: int, tmp_path: Path) -> None:
    write(directory, (STDOUT, b"one, "), (STDERR, b"other\n"), (STDOUT, b"line\n"), (STDERR, b"more\n"))
    assert await read(tmp_path) == b"one, line\nother\nmore\n"


async def test_a_line_without_end_is_not_lost(directory: int, tmp_path: Path) -> None:
    write(directory, (STDOUT, b"no end"), (STDERR, b"held"))
    assert await read(tmp_path) == b"no end\nheld"


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 5, 6, 100])
@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_the_last_lines(directory: int, tmp_path: Path, lines: int, end: bytes) -> None:
    text = b"one\ntwo\nthree\nfour\nfive\nsix" + end
    chunks = [(STDOUT, text[at : at + 7]) for at in range(0, len(text), 7)]
    write(directory, *chunks, segment_bytes=60, keep=100)
    expected = b"".join(text.splitlines(keepends=True)[-lines:]) if lines else b""
    assert await read(tmp_path, tail_lines=lines) == expected


async def test_a_limit_cuts_where_it_says(directory: int, tmp_path: Path) -> None:
    write(directory, (STDOUT, b"0123456789"))
    assert await read(tmp_path, limit_bytes=4) == b"0123"


async def test_timestamps_stand_before_every_line_and_only_there(directory: int, tmp_path: Path) -> None:
    write(directory, (STDOUT, b"a\nb"), (STDOUT, b"c\nd\n"))
    lines = (await read(tmp_path, timestamps=True)).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["a", "bc", "d"]
    assert all(line[10] == "T" and line[29] == "Z" for line in lines)


async def test_since_leaves_out_what_is_older(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100, 200, 300])
    monkeypatch.setattr("time.time_ns", lambda: next(clock) * 10**9)
    write(directory, (STDOUT, b"old\nbegun, "), (STDOUT, b"ended\nnew\n"), (STDOUT, b"newest\n"))
    assert await read(tmp_path, since_time=150.0) == b"new\nnewest\n"


async def test_old_segments_go_and_the_gap_is_marked(directory: int, tmp_path: Path) -> None:
    write(directory, *[(STDOUT, b"%04d\n" % number) for number in range(100)], segment_bytes=100, keep=2)
    first, *rest = (await read(tmp_path)).splitlines()
    assert len(segments(tmp_path)) == 2
    assert first == b"[hort: %d bytes of this log are not kept]" % (5 * (100 - len(rest)))
    assert rest == [b"%04d" % number for number in range(100 - len(rest), 100)]


def test_a_pinned_segment_blocks_the_pump_until_it_is_let_go(directory: int, tmp_path: Path) -> None:
    pump = Pump(directory, segment_bytes=50, keep=2)
    pump.pin(1, 0)
    while not pump.blocked:
        pump.append(STDOUT, b"x" * 20)
    assert segments(tmp_path) == [0, 1]
    pump.pin(1, 1)
    assert not pump.blocked
    pump.append(STDOUT, b"y")
    assert segments(tmp_path) == [1, 2]
    while not pump.blocked:
        pump.append(STDOUT, b"x" * 20)
    pump.unpin(1)
    assert not pump.blocked


def test_an_ended_program_is_drained_even_when_a_reader_is_late(directory: int) -> None:
    pump = Pump(directory, segment_bytes=50, keep=1)
    pump.pin(1, 0)
    while not pump.blocked:
        pump.append(STDOUT, b"x" * 20)
    pump.drain()
    assert not pump.blocked


def test_a_full_disk_drops_output_and_marks_the_gap(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = write(directory, (STDOUT, b"before\n"))
    real = os.writev

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    pump.append(STDOUT, b"lost\n")
    monkeypatch.setattr(os, "writev", real)
    pump.append(STDOUT, b"after\n")
    reader = SegmentReader(tmp_path, 0)
    assert [(record.stream, record.data) for record in reader.next()] == [
        (STDOUT, b"before\n"),
        (0, (5).to_bytes(4, "little")),
        (STDOUT, b"after\n"),
    ]
    reader.close()


async def test_a_record_that_a_killed_writer_left_unfinished_is_ignored(
    directory: int, tmp_path: Path
) -> None:
    write(directory, (STDOUT, b"whole\n"), (STDOUT, b"torn\n"))
    path = tmp_path / "00000000.log"
    os.truncate(path, path.stat().st_size - 6)
    assert await read(tmp_path) == b"whole\n"
    assert await read(tmp_path, tail_lines=1) == b"whole\n"

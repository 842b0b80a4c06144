from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hortator.jobs.tagged import (
    MAX_LINE,
    STDERR,
    STDOUT,
    Decoder,
    Encoder,
    Exit,
    Other,
    Output,
    Start,
    exit_line,
    start_line,
)


def encoded(*pieces: bytes, rank: int = 3, stream: int = STDOUT) -> bytes:
    encoder = Encoder(rank, stream)
    return b"".join([*(encoder.feed(piece) for piece in pieces), encoder.close()])


def decoded(log: bytes, *, cut: int | None = None) -> dict[tuple[int, int], bytes]:
    decoder = Decoder()
    pieces = [log] if cut is None else [log[at : at + cut] for at in range(0, len(log), cut)]
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
    result: dict[tuple[int, int], bytes] = {}
    for event in events:
        assert isinstance(event, Output)
        key = event.rank, event.stream
        result[key] = result.get(key, b"") + event.data
    return result


@pytest.mark.parametrize(
    ("pieces", "log"),
    [
        ([b"a\nb\n"], b"[3] a\n[3] b\n"),
        ([b"a", b"b\nc", b"d\n"], b"[3] ab\n[3] cd\n"),
        ([b"\n\n"], b"[3] \n[3] \n"),
        ([b"no end"], b"[3+] no end\n"),
        ([], b""),
    ],
)
def test_lines_are_tagged_whole(pieces: list[bytes], log: bytes) -> None:
    assert encoded(*pieces) == log


def test_standard_error_has_its_own_tag() -> None:
    assert encoded(b"a\nb", rank=12, stream=STDERR) == b"[12:err] a\n[12:err+] b\n"


def test_a_line_is_held_back_until_it_is_whole() -> None:
    encoder = Encoder(0, STDOUT)
    assert [encoder.feed(b"12"), encoder.feed(b"3\n45"), encoder.close()] == [b"", b"[0] 123\n", b"[0+] 45\n"]


def test_no_line_of_the_log_is_longer_than_allowed() -> None:
    pieces = [b"x" * 40_000, b"y" * 40_000, b"z" * 40_000 + b"\n", b"w" * MAX_LINE, b"\nv"]
    log = encoded(*pieces)
    ends = [-1, *(at for at, byte in enumerate(log) if byte == 10)]
    assert max(after - before for before, after in pairwise(ends)) <= MAX_LINE + len(b"[3+] \n")
    assert decoded(log) == {(3, STDOUT): b"".join(pieces)}


chunk = st.lists(
    st.sampled_from([b"a", b"\n", b"[3] ", b"[3+] ", b"[4:err] ", b"\0", b"\r"]), max_size=12
).map(b"".join)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([STDOUT, STDERR]), chunk), max_size=20),
    st.integers(1, 40),
)
def test_every_stream_comes_back_byte_for_byte(writes: list[tuple[int, int, bytes]], cut: int) -> None:
    encoders: dict[tuple[int, int], Encoder] = {}
    expected: dict[tuple[int, int], bytes] = {}
    log = b""
    for rank, stream, data in writes:
        key = rank, stream
        log += encoders.setdefault(key, Encoder(rank, stream)).feed(data)
        expected[key] = expected.get(key, b"") + data
    log += b"".join(encoder.close() for encoder in encoders.values())
    assert decoded(log, cut=cut) == {key: data for key, data in expected.items() if data}


def test_facts_are_told_apart_from_output() -> None:
    facts = {"pid": 7, "local": 0, "cpus": "0-3", "gpus": None}
    log = start_line(2, facts) + b"[2] [2:exit] 9\n" + exit_line(2, 139) + b"from elsewhere\n[x] y\n"
    assert Decoder().feed(log) == [
        Start(2, facts),
        Output(2, STDOUT, b"[2:exit] 9\n"),
        Exit(2, 139),
        Other(b"from elsewhere\n"),
        Other(b"[x] y\n"),
    ]


def test_damaged_facts_are_passed_on_as_they_are() -> None:
    lines = [b"[2:start] {\n", b"[2:exit] soon\n", b"[2:start] 5\n"]
    assert Decoder().feed(b"".join(lines)) == [Other(line) for line in lines]


def test_a_log_that_ends_within_a_line_gives_what_is_there() -> None:
    decoder = Decoder()
    assert decoder.feed(b"[1] a\n[1] b") == [Output(1, STDOUT, b"a\n")]
    assert decoder.close() == [Output(1, STDOUT, b"b")]
    assert decoder.close() == []

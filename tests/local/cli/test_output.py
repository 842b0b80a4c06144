"""What jobs write: all of it, apart, in order, and again from the stored logs."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from support.hort import Hort
from support.staying import Staying

#: Bytes that each rank writes to each stream.
SIZE = int(os.environ.get("HORT_TEST_OUTPUT_BYTES", "20000000"))

#: Writes to both streams at once, whole lines of all lengths; leaves the SHA-256 of each in a folder.
WRITER = """
import hashlib, os, sys, threading
size, folder, rank = int(sys.argv[1]), sys.argv[2], int(os.environ["HORT_RANK"])

def write(fd):
    block = b"".join(
        b"%d %d %06d %s\\n" % (rank, fd, n, bytes([65 + (n * 7 + fd) % 26]) * (n * 7919 % 8000)) for n in range(400)
    )
    digest, left = hashlib.sha256(), size
    while left > 0:
        digest.update(block)
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(fd, rest):]
        left -= len(block)
    with open(f"{folder}/{rank}.{fd}", "w") as file:
        file.write(digest.hexdigest())

threads = [threading.Thread(target=write, args=(fd,)) for fd in (1, 2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.timeout(60 + SIZE // 500_000)
def test_a_connected_reader_loses_nothing(hort: Hort, tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(WRITER)
    words = [
        "run",
        "-n",
        "4",
        "--workers",
        "2",
        "--",
        sys.executable,
        str(tmp_path / "writer.py"),
        str(SIZE),
        str(tmp_path),
    ]
    digests = {(rank, fd): hashlib.sha256() for rank in range(4) for fd in (1, 2)}

    def take(pipe: IO[bytes], fd: int) -> None:
        for line in pipe:
            if not line.startswith(b"hort: "):
                rank, stream, _ = line.split(b" ", 2)
                assert int(stream) == fd
                digests[int(rank), fd].update(line)

    with hort.start(*words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=take, args=pair) for pair in ((process.stdout, 1), (process.stderr, 2))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert process.wait() == 0
    for (rank, fd), digest in digests.items():
        assert digest.hexdigest() == (tmp_path / f"{rank}.{fd}").read_text(), (rank, fd)


def test_the_stored_log_of_a_rank_is_what_it_wrote(hort: Hort, tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(WRITER)
    size = 1_000_000
    program = [sys.executable, str(tmp_path / "writer.py"), str(size), str(tmp_path)]
    hort("run", "-n", "4", "--workers", "2", "--name", "stored", "--", *program)
    for rank in range(4):
        done = hort("logs", "stored-1", "--rank", str(rank))
        assert hashlib.sha256(done.stdout).hexdigest() == (tmp_path / f"{rank}.1").read_text()
        assert hashlib.sha256(done.stderr).hexdigest() == (tmp_path / f"{rank}.2").read_text()


def test_logs_follow_a_job_of_another_process_to_its_end(hort: Hort, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f'echo "before $HORT_RANK"; [ $HORT_RANK = 1 ] || cat {go} > /dev/null; echo "after $HORT_RANK"; exit 5'
    name = hort("submit", "--parsable", "-n", "2", "--", "sh", "-c", script).stdout.decode().strip()
    with Staying(hort, "logs", "-f", "--exit", name) as logs:
        logs.said("before 0")
        go.write_bytes(b"")
        assert logs.end() == 5
    assert b"after 0\n" in logs.stdout


def test_logs_of_a_job_that_ended_long_ago_are_still_there(hort: Hort) -> None:
    hort("run", "-n", "2", "--workers", "2", "--name", "old", "--", "sh", "-c", "echo $HORT_RANK")
    assert sorted(hort("logs", "old-1").stdout.split()) == [b"0", b"1"]
    assert hort("logs", "-f", "old-1", "--worker", "1").stdout == b"1\n"
    hort("run", "--name", "plain", "--", "sh", "-c", "echo out; echo err >&2")
    done = hort("logs", "plain-1")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_lines_of_ranks_are_never_torn(hort: Hort) -> None:
    script = (
        'i=0; while [ $i -lt 300 ]; do printf "begin $HORT_RANK "; echo "end $HORT_RANK"; i=$((i + 1)); done'
    )
    done = hort("run", "-n", "4", "--workers", "2", "--", "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert len(lines) == 1200
    assert set(lines) == {b"begin %d end %d" % (rank, rank) for rank in range(4)}


def test_lines_may_carry_their_rank(hort: Hort) -> None:
    done = hort("run", "-n", "2", "--tag-output", "--", "sh", "-c", "echo a; echo b; echo c >&2")
    assert sorted(done.stdout.splitlines()) == [b"[0] a", b"[0] b", b"[1] a", b"[1] b"]
    assert b"[1] c\n" in done.stderr


def test_bytes_that_are_no_text_pass(hort: Hort) -> None:
    script = r"printf '\377\000\200\n'"
    assert hort("run", "-n", "1", "--", "sh", "-c", script).stdout == b"\xff\x00\x80\n"


def test_a_last_line_without_an_end_is_not_lost(hort: Hort) -> None:
    assert hort("run", "--", "printf", "no newline").stdout == b"no newline"
    assert hort("run", "-n", "1", "--", "printf", "no newline").stdout.rstrip(b"\n") == b"no newline"


@pytest.mark.parametrize("flags", [[], ["-n", "1"]], ids=["plain", "ranks"])
def test_output_comes_while_the_job_runs(hort: Hort, tmp_path: Path, flags: list[str]) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    with Staying(hort, "run", *flags, "--", "sh", "-c", f"echo first; cat {go}; echo last") as job:
        job.said("first")
        assert b"last" not in job.stdout
        go.write_bytes(b"between\n")
        assert job.end() == 0
    assert job.stdout == b"first\nbetween\nlast\n"

"""Standard input of a job: to the end, to rank 0 only, and none where there is none."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

import pytest

from support.hort import Hort
from support.mpis import find_mpi
from support.staying import Staying

DATA = random.Random(1).randbytes(10_000_000)

#: Rank 0 copies its input to its output; all ranks tell how much they read.
COPY = r"""
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  static char buffer[65536];
  long long mine = 0, most = 0, sum = 0;
  int rank;
  ssize_t count;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  while ((count = read(0, buffer, sizeof buffer)) > 0) {
    mine += count;
    fwrite(buffer, 1, count, stdout);
  }
  fflush(stdout);
  MPI_Reduce(&mine, &most, 1, MPI_LONG_LONG, MPI_MAX, 0, MPI_COMM_WORLD);
  MPI_Reduce(&mine, &sum, 1, MPI_LONG_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0) fprintf(stderr, "rank 0 read %lld of %lld\n", mine, sum);
  return MPI_Finalize();
}
"""

shapes = pytest.mark.parametrize("flags", [[], ["-n", "2"]], ids=["plain", "ranks"])


@pytest.mark.parametrize("name", ["openmpi5", "openmpi4", "mpich"])
def test_ten_megabytes_reach_rank_0_unchanged(hort: Hort, tmp_path: Path, name: str) -> None:
    program = find_mpi(name).build(tmp_path, COPY)
    workers = "1" if name == "mpich" else "2"
    done = hort("run", "-n", "4", "--workers", workers, "--", str(program), stdin=DATA)
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(DATA).hexdigest()
    assert b"rank 0 read 10000000 of 10000000\n" in done.stderr


def test_ten_megabytes_reach_a_plain_job_unchanged(hort: Hort) -> None:
    done = hort("run", "--", "cat", stdin=DATA)
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(DATA).hexdigest()


@shapes
def test_input_may_come_from_a_file(hort: Hort, tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "input").write_bytes(b"from a file\n")
    with (
        (tmp_path / "input").open("rb") as file,
        Staying(hort, "run", *flags, "--", "cat", stdin=file) as job,
    ):
        assert job.end() == 0
    assert job.stdout == b"from a file\n"


@shapes
def test_input_that_ends_at_once_ends_at_once_in_the_job(hort: Hort, flags: list[str]) -> None:
    assert hort("run", *flags, "--", "cat", stdin=b"").stdout == b""


@shapes
def test_input_arrives_as_it_is_typed(hort: Hort, flags: list[str]) -> None:
    script = 'for turn in 1 2; do read -r word || exit 0; echo "got $word"; done'
    with Staying(hort, "run", *flags, "--", "sh", "-c", script, stdin=subprocess.PIPE) as job:
        assert job.process.stdin is not None
        job.process.stdin.write(b"one\n")
        job.process.stdin.flush()
        job.said("got one")  # while the input stays open
        job.process.stdin.write(b"two\n")
        job.process.stdin.flush()
        assert job.end() == 0
    assert job.stdout == b"got one\ngot two\n"


@shapes
def test_no_input_is_an_empty_one(hort: Hort, flags: list[str]) -> None:
    assert set(hort("run", *flags, "--", "sh", "-c", "cat | wc -c").stdout.split()) == {b"0"}


@shapes
def test_a_closed_input_is_an_empty_one(hort: Hort, flags: list[str]) -> None:
    closed = Hort(hort.home, prefix=["sh", "-c", 'exec "$@" <&-', "sh"])
    assert set(closed("run", *flags, "--", "sh", "-c", "cat | wc -c").stdout.split()) == {b"0"}


@shapes
def test_a_program_that_does_not_read_its_input_ends_all_the_same(hort: Hort, flags: list[str]) -> None:
    assert hort("run", *flags, "--", "true", stdin=DATA).stdout == b""


@shapes
def test_a_program_may_stop_reading(hort: Hort, flags: list[str]) -> None:
    script = 'if [ "${HORT_RANK:-0}" = 0 ]; then head -c 5; fi'
    assert hort("run", *flags, "--", "sh", "-c", script, stdin=b"12345" + DATA).stdout == b"12345"

"""Which CPUs and GPUs a rank gets, on a node with two of each, and how many threads it is told to start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hort import Hort
from support.mpis import find_mpi
from support.needs import cpus

SCRIPT = (
    'echo "$HORT_RANK $HORT_CPUS ${OMP_NUM_THREADS-none} ${CUDA_VISIBLE_DEVICES-none} '
    "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)\""
)
COLUMNS = ("rank", "owned", "threads", "gpus", "allowed")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hort]:
    """A cluster with one node of two CPUs and two GPUs; the caller has set neither threads nor GPUs."""
    cpus(2)
    bare = ["env", "-u", "OMP_NUM_THREADS", "-u", "CUDA_VISIBLE_DEVICES"]
    command = Hort(tmp_path_factory.mktemp("pair"), prefix=bare)
    command("up", "-d", "--cpus", "2", "--gpus", "2")
    yield command
    command("down")


def ranks_of(hort: Hort, *flags: str) -> list[dict[str, str]]:
    """Run a job whose ranks say what they were given; return that by rank."""
    lines = hort("run", *flags, "--", "sh", "-c", SCRIPT).stdout.decode().splitlines()
    ranks = [dict(zip(COLUMNS, line.split(" "), strict=True)) for line in lines]
    return sorted(ranks, key=lambda rank: int(rank["rank"]))


def numbers(ranges: str) -> set[int]:
    """Read ``0-3,8``."""
    bounds = [part.partition("-") for part in ranges.split(",")]
    return {number for first, _, last in bounds for number in range(int(first), int(last or first) + 1)}


@pytest.mark.parametrize("mpi", ["openmpi5", "openmpi4", "mpich", "mpich5"])
@pytest.mark.parametrize("workers", [1, 2])
def test_each_rank_has_a_cpu_of_its_own(pair: Hort, mpi: str, workers: int) -> None:
    ranks = ranks_of(pair, "-n", "2", "--workers", str(workers), "--mpi", str(find_mpi(mpi).mpirun))
    allowed = [numbers(rank["allowed"]) for rank in ranks]
    assert [len(each) for each in allowed] == [1, 1]
    assert allowed[0] != allowed[1]
    owned = [numbers(rank["owned"]) for rank in ranks]
    assert owned == ([allowed[0] | allowed[1]] * 2 if workers == 1 else allowed)
    assert [rank["threads"] for rank in ranks] == ["1", "1"]


def test_a_rank_of_two_cpus_has_both_and_is_told_to_start_two_threads(pair: Hort) -> None:
    (rank,) = ranks_of(pair, "-n", "1", "-c", "2")
    assert len(numbers(rank["allowed"])) == 2
    assert (rank["allowed"], rank["threads"]) == (rank["owned"], "2")


def test_the_users_number_of_threads_stays(pair: Hort) -> None:
    (rank,) = ranks_of(Hort(pair.home, prefix=["env", "OMP_NUM_THREADS=7"]), "-n", "1", "-c", "2")
    assert rank["threads"] == "7"


def test_two_jobs_of_one_rank_at_once_have_different_cpus(pair: Hort, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = pair.start("run", "-n", "1", "--", "sh", "-c", f"{SCRIPT}; read line <{gate}")
    assert first.stdout is not None
    said = first.stdout.readline().decode().split()  # it runs from here on, until the gate is opened
    (second,) = ranks_of(pair, "-n", "1")
    gate.write_text("go on\n")
    _, complaints = first.communicate(timeout=60)
    assert first.returncode == 0, complaints
    ours, theirs = numbers(said[COLUMNS.index("allowed")]), numbers(second["allowed"])
    assert [len(ours), len(theirs), len(ours | theirs)] == [1, 1, 2]


def test_ranks_that_share_cpus_are_not_pinned(pair: Hort) -> None:
    ranks = ranks_of(pair, "-n", "3")
    assert [len(numbers(rank["allowed"])) for rank in ranks] == [2, 2, 2]
    assert {rank["threads"] for rank in ranks} == {"1"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_rank_has_the_gpu_that_it_asked_for(pair: Hort, workers: str) -> None:
    ranks = ranks_of(pair, "-n", "2", "--workers", workers, "--gpus-per-rank", "1")
    assert [rank["gpus"] for rank in ranks] == ["0", "1"]


@pytest.mark.parametrize(
    ("flags", "user", "gpus"),
    [
        (["--gpus-per-rank", "2"], [], "0,1"),
        (["--gpus-per-rank", "1"], ["CUDA_VISIBLE_DEVICES=5"], "0"),
        ([], ["CUDA_VISIBLE_DEVICES=5"], "5"),
        ([], [], "none"),
    ],
)
def test_gpus_of_one_rank(pair: Hort, flags: list[str], user: list[str], gpus: str) -> None:
    shell = Hort(pair.home, prefix=[*pair.prefix, *user])
    (rank,) = ranks_of(shell, "-n", "1", *flags)
    assert rank["gpus"] == gpus

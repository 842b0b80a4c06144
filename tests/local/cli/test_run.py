"""``hort run`` from the command line to the ranks and back: where they run, what comes out, how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hort import Hort
from support.mpis import SUM, find_mpi

EXAMPLES = Path(__file__).parents[3] / "examples"

#: The flags that make a plain job, and an MPI job.
SHAPES = {"plain": [], "ranks": ["-n", "2"]}
shapes = pytest.mark.parametrize("flags", SHAPES.values(), ids=SHAPES)


def test_pi_on_four_ranks_over_two_workers_shows_both_host_names(hort: Hort) -> None:
    done = hort(
        "run", "-n", "4", "--workers", "2", "--name", "pi", "--", sys.executable, str(EXAMPLES / "pi.py")
    )
    lines = done.stdout.decode().splitlines()
    places = [f"rank {rank} of 4 on pi-1-worker-{rank // 2}" for rank in range(4)]
    assert sorted(line for line in lines if line.startswith("rank")) == places
    assert [line for line in lines if line.startswith("pi is about 3.14159265")]


def test_the_first_line_names_job_and_cluster(hort: Hort) -> None:
    done = hort("run", "-n", "2", "--name", "first", "--", "true")
    assert done.stderr.decode() == "hort: job first-1: 2 ranks on 1 worker, on the local cluster\n"


def test_a_plain_job_gives_its_exit_code(hort: Hort) -> None:
    done = hort("run", "--", "sh", "-c", "exit 7", code=7)
    assert b"failed with exit code 7" in done.stderr


@shapes
def test_stdout_and_stderr_stay_apart(hort: Hort, flags: list[str]) -> None:
    done = hort("run", *flags, "--", "sh", "-c", "echo to out; echo to err >&2")
    assert set(done.stdout.splitlines()) == {b"to out"}
    assert b"to err\n" in done.stderr
    assert b"to out" not in done.stderr


def test_a_failing_rank_gives_its_code_and_is_named(hort: Hort) -> None:
    script = '[ "$HORT_RANK" = 1 ] && exit 3; exit 0'
    done = hort("run", "-n", "4", "--workers", "2", "--name", "bad", "--", "sh", "-c", script, code=3)
    assert b"rank 1 on bad-1-worker-0 exited with code 3" in done.stderr


def test_a_failing_rank_ends_the_others(hort: Hort) -> None:
    script = '[ "$HORT_RANK" = 1 ] && exit 3; exec sleep 1000'
    done = hort("run", "-n", "4", "--workers", "2", "--", "sh", "-c", script, code=3)
    assert b"rank 1 on" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda n: n.name)
def test_a_rank_that_a_signal_killed_gives_128_and_its_number(hort: Hort, number: signal.Signals) -> None:
    script = f'[ "$HORT_RANK" = 1 ] && kill -{number.value} $$; exec sleep 1000'
    done = hort("run", "-n", "2", "--", "sh", "-c", script, code=128 + number)
    assert b"rank 1 on" in done.stderr
    assert number.name.encode() in done.stderr


def test_a_plain_job_that_a_signal_killed_gives_128_and_its_number(hort: Hort) -> None:
    hort("run", "--", "sh", "-c", "kill -KILL $$", code=137)


@shapes
def test_the_time_limit_gives_124(hort: Hort, flags: list[str]) -> None:
    done = hort("run", *flags, "-t", "3s", "--", "sleep", "1000", code=124)
    assert b"time limit" in done.stderr


@shapes
@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        ("no-such-program", 127, b"cannot run no-such-program: "),
        ("/no/such/program", 127, b"cannot run /no/such/program: "),
        ("/etc/passwd", 126, b"cannot run /etc/passwd: "),
        ("/etc", 126, b"cannot run /etc: "),
    ],
    ids=["not on PATH", "no such path", "no permission", "a folder"],
)
def test_a_command_that_cannot_run_ends_as_in_a_shell(
    hort: Hort, flags: list[str], command: str, code: int, reason: bytes
) -> None:
    assert reason in hort("run", *flags, "--", command, code=code).stderr


def test_names_count_up(hort: Hort) -> None:
    for number in (1, 2, 3):
        done = hort("run", "--name", "count", "--", "true")
        assert f"job count-{number}," in done.stderr.decode()


def test_a_name_comes_from_the_program(hort: Hort) -> None:
    assert b"job uname-1," in hort("run", "--", "/bin/uname").stderr


@pytest.mark.parametrize(
    ("flags", "code", "reason"),
    [
        (["-n", "0"], 2, "-n: 0 ranks: must be from 1"),
        (["-n", "-1"], 2, "-n: -1 ranks: must be from 1"),
        (["-n", "two"], 2, "invalid int value: 'two'"),
        (["-n", "2", "--workers", "3"], 2, "--workers: 3 workers for 2 ranks"),
        (["--workers", "2"], 2, "--workers: needs -n"),
        (["-n", "2", "-c", "0"], 2, "-c: 0 CPUs per rank"),
        (["-t", "soon"], 2, "-t soon"),
        (["--mem", "lots"], 2, "--mem lots"),
        (["--name", "Bad_Name"], 2, "--name"),
        (["-n", "400", "--no-oversubscribe"], 7, "400 ranks of 1 CPU need 400 CPUs"),
        (["-n", "1", "-c", "5", "--no-oversubscribe"], 7, "5 CPUs"),
        (["-n", "1", "--mem", "900T"], 7, "--mem asks for 900 Ti per worker"),
        (["-n", "1", "--gpus-per-rank", "64"], 7, "GPU"),
        (["-n", "1", "--mpi", "/no/such/mpi"], 125, "/no/such/mpi"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_with_the_reason(
    hort: Hort, flags: list[str], code: int, reason: str
) -> None:
    done = hort("run", *flags, "--", "true", code=code)
    assert reason in done.stderr.decode()
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_nothing_refused_at_the_door_becomes_a_job(hort: Hort) -> None:
    before = hort("jobs", "-o", "name").stdout
    hort("run", "-n", "400", "--no-oversubscribe", "--", "true", code=7)
    hort("run", code=2)
    assert hort("jobs", "-o", "name").stdout == before


def test_more_ranks_than_cpus_share_them_and_one_line_says_so(hort: Hort) -> None:
    done = hort("run", "-n", "6", "--", "true")
    assert done.stderr.decode().splitlines()[1:] == [
        "hort: 6 ranks want 6 CPUs, the node has 4 CPUs: ranks share CPUs, 1.5 to one"
    ]


def test_a_directory_that_is_gone_is_said_before_anything_starts(hort: Hort, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'rmdir "$PWD"; exec "$@"'
    shell = Hort(hort.home, prefix=["sh", "-c", script, "sh"])
    done = shell("run", "--", "true", cwd=gone, code=125)
    assert b"working directory" in done.stderr


@pytest.mark.parametrize("name", ["openmpi5", "openmpi4", "mpich"])
def test_a_program_runs_under_the_mpi_it_was_built_with(hort: Hort, tmp_path: Path, name: str) -> None:
    program = find_mpi(name).build(tmp_path, SUM)
    # On one worker: Debian's MPICH 4.0 over UCX, which tells hosts apart by other things than names, is shaky on several.
    workers = "1" if name == "mpich" else "2"
    done = hort("run", "-n", "4", "--workers", workers, "--", str(program))
    assert sorted(done.stdout.decode().splitlines()) == [f"{rank} 4 6" for rank in range(4)]
    assert len(done.stderr.splitlines()) == 1


def test_an_mpi_that_does_not_fit_ends_with_125_and_both_are_named(hort: Hort, tmp_path: Path) -> None:
    program = find_mpi("mpich").build(tmp_path, SUM)
    other = find_mpi("openmpi5").mpirun
    done = hort("run", "-n", "2", "--mpi", str(other), "--", str(program), code=125)
    assert b"MPICH" in done.stderr
    assert b"Open MPI" in done.stderr


def test_the_cluster_starts_by_itself_and_says_so(new_hort: Callable[..., Hort]) -> None:
    hort = new_hort()
    done = hort("run", "--", "echo", "hello")
    assert done.stdout == b"hello\n"
    assert (
        done.stderr.decode().splitlines()[0] == "hort: starting the local cluster (stop it with: hort down)"
    )
    assert b"starting" not in hort("run", "--", "true").stderr

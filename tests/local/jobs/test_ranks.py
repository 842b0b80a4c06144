"""Jobs of ranks under each real mpirun, through wrapper, collector, enter and launch; no cluster."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hortator.jobs.context import Context, capture
from hortator.jobs.tagged import Start
from support.mpis import SUM, Mpi, find_mpi
from support.ranks import Outcome, RanksJob

MPIS = ["openmpi5", "openmpi4", "mpich"]


@pytest.fixture(params=MPIS)
def mpi(request: pytest.FixtureRequest) -> Mpi:
    return find_mpi(request.param)


@pytest.fixture
def job(tmp_path: Path, mpi: Mpi) -> Callable[..., RanksJob]:
    def make(*command: str, ranks: int = 4, pod: dict[str, str] | None = None, **more: object) -> RanksJob:
        pod = {"HORT_MPI": str(mpi.mpirun), **(pod or {})}
        return RanksJob(tmp_path, command, ranks=ranks, pod=pod, **more)  # type: ignore[arg-type]

    return make


Make = Callable[..., RanksJob]


def test_ranks_are_spread_in_blocks_and_know_their_place(job: Make) -> None:
    outcome = job("sh", "-c", "echo $HORT_RANK $HORT_RANKS $HORT_LOCAL_RANK $HORT_WORKER", ranks=5).run()
    assert (outcome.code, outcome.stderr, outcome.stdout) == (0, b"", b"")
    said = [outcome.out(rank).split() for rank in range(5)]
    places = [("0", "w0"), ("1", "w0"), ("0", "w1"), ("1", "w1"), ("2", "w1")]
    assert said == [[str(rank), "5", *place] for rank, place in enumerate(places)]


def test_each_rank_is_announced_with_the_pid_of_its_program(job: Make) -> None:
    outcome = job("sh", "-c", "echo $$").run()
    starts = {event.rank: event.facts for event in outcome.events() if isinstance(event, Start)}
    assert {rank: str(facts["pid"]) for rank, facts in starts.items()} == {
        rank: outcome.out(rank).strip() for rank in range(4)
    }


def test_the_end_of_a_long_log_still_tells_of_every_rank(tmp_path: Path) -> None:
    script = "[ $HORT_RANK = 0 ] && exit 0; head -c 50000000 /dev/zero | tr '\\0' '\\n'"
    outcome = RanksJob(tmp_path, ["sh", "-c", script], ranks=2, workers=1).run()
    (log,) = outcome.logs.values()
    end = Outcome(0, b"", b"", {"w0": log[-(17 << 20) :]})
    assert {event.rank for event in end.events() if isinstance(event, Start)} == {0, 1}
    assert outcome.streams()[1, 1] == b"\n" * 50_000_000


@pytest.mark.parametrize(("ranks", "workers"), [(4, 1), (4, 2), (5, 2), (8, 3), (4, 4)])
def test_a_program_of_this_mpi_adds_up(tmp_path: Path, mpi: Mpi, job: Make, ranks: int, workers: int) -> None:
    program = mpi.build(tmp_path, SUM)
    outcome = job(str(program), ranks=ranks, workers=workers).run()
    total = ranks * (ranks - 1) // 2
    assert (outcome.code, outcome.stderr) == (0, b"")
    assert [outcome.out(rank) for rank in range(ranks)] == [f"{r} {ranks} {total}\n" for r in range(ranks)]


def test_the_mpirun_follows_the_programs_libmpi(tmp_path: Path, mpi: Mpi) -> None:
    program = mpi.build(tmp_path, SUM)
    outcome = RanksJob(tmp_path, ["nice", str(program)], ranks=2, path=["/usr/bin"]).run()
    assert (outcome.code, [outcome.out(rank) for rank in (0, 1)]) == (0, ["0 2 1\n", "1 2 1\n"])


def test_the_first_failing_rank_gives_its_code_and_is_named(job: Make) -> None:
    outcome = job("sh", "-c", "[ $HORT_RANK = 1 ] && exit 3; exit 0").run()
    assert outcome.code == 3
    assert outcome.stderr.decode().splitlines()[-1] == "hort: rank 1 on w0 exited with code 3"
    assert outcome.exits()[1] == 3


def test_a_rank_killed_by_a_signal_ends_the_job_with_128_and_its_number(job: Make) -> None:
    outcome = job("sh", "-c", "[ $HORT_RANK = 2 ] && kill -SEGV $$; exit 0").run()
    assert outcome.code == 128 + signal.SIGSEGV
    last = outcome.stderr.decode().splitlines()[-1]
    assert last == "hort: rank 2 on w1 was killed by SIGSEGV (exit code 139)"
    assert outcome.streams() == {}


def test_stdin_reaches_rank_0_whole_and_nobody_else(job: Make) -> None:
    script = "import sys,hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    data = os.urandom(10_000_000)
    running = job(sys.executable, "-c", script, ranks=3, stdin=True)
    running.start()
    running.feed(data)
    outcome = running.finish()
    assert outcome.code == 0
    nothing = hashlib.sha256(b"").hexdigest()
    sums = [outcome.out(rank).strip() for rank in range(3)]
    assert sums == [hashlib.sha256(data).hexdigest(), nothing, nothing]


def test_without_stdin_rank_0_reads_nothing(job: Make) -> None:
    outcome = job("sh", "-c", "cat; echo end", ranks=2).run()
    assert [outcome.out(0), outcome.out(1)] == ["end\n", "end\n"]


WRITER = """
import hashlib, os, random, sys
rank = int(os.environ["HORT_RANK"])
make = random.Random(rank)
sums = {1: hashlib.sha256(), 2: hashlib.sha256()}
for _ in range(160):
    for fd in (1, 2):
        data = make.randbytes(make.randrange(1, 16000)).replace(b"\\0", b"\\n")
        if make.random() < 0.1:
            data = make.choice((b"", b"\\n" * 7, b"x" * 200_000, b"[0] y\\n[1:err+] z\\n" * 99))
        sums[fd].update(data)
        while data:
            data = data[os.write(fd, data):]
with open(f"sums.{rank}", "w") as file:
    file.write(f"{sums[1].hexdigest()} {sums[2].hexdigest()}")
"""


def test_output_of_each_rank_and_stream_is_byte_identical(tmp_path: Path, job: Make) -> None:
    outcome = job(sys.executable, "-c", WRITER).run()
    assert outcome.code == 0
    streams = outcome.streams()
    for rank in range(4):
        told = (tmp_path / f"sums.{rank}").read_text().split()
        assert told == [hashlib.sha256(streams[rank, stream]).hexdigest() for stream in (1, 2)]


def _caller(tmp_path: Path) -> Context:
    context = capture(cwd=tmp_path)
    keep = {b"PATH", b"HOME"}
    environ = {name: value for name, value in context.environ.items() if name in keep}
    for number in range(1000):
        environ[b"VAR_%d" % number] = b"line %d\n$(HOME) `x` 'q' \"d\" \\ \xff\xfe\n" % number
    environ |= {
        b"BASH_FUNC_module%%": b"() {  eval `/bin/true bash $*`\n}",
        b"odd-name.1": b"it's",
        b"SHLVL": b"7",
        b"_": b"/usr/bin/env",
        b"PWD": b"/not/here",
        b"OLDPWD": b"",
        b"IFS": b":",
        b"PS1": b"\\u $ ",
        b"EMPTY": b"",
        b"HOSTNAME": b"my-laptop",
        b"KUBERNETES_SERVICE_HOST": b"of the caller",
        b"OMPI_COMM_WORLD_RANK": b"77",
        b"PMI_RANK": b"77",
        b"HORT_RANK": b"77",
        b"HORT_CONTEXT": b"lab",
        b"OMP_NUM_THREADS": b"5",
    }
    context.environ.clear()
    context.environ.update(environ)
    return context


def test_the_callers_environment_arrives_byte_for_byte(tmp_path: Path, job: Make) -> None:
    context = _caller(tmp_path)
    script = "import os,sys; sys.stdout.buffer.write(open('/proc/self/environ','rb').read())"
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "SECRET_OF_THE_POD": "x"}
    outcome = job(sys.executable, "-c", script, ranks=2, context=context, pod=pod).run()
    assert outcome.code == 0, outcome.stderr
    entries = outcome.streams()[1, 1].split(b"\0")
    got = dict(entry.split(b"=", 1) for entry in entries if entry)
    replaced = {b"OMPI_COMM_WORLD_RANK", b"PMI_RANK", b"HORT_RANK"}  # of another job
    expected = {name: value for name, value in context.environ.items() if name not in replaced}
    assert {name: got.get(name) for name in expected} == expected
    added = {name for name in got if name not in context.environ}
    theirs = "HORT_ OMPI_ OPAL_ PMIX_ PRTE_ PMI_ MPI HYDRA I_MPI_ FI_ GFORTRAN_ IPATH_ HFI_ PSM"
    strangers = {
        name for name in (each.decode() for each in added) if not name.startswith(tuple(theirs.split()))
    }
    strangers -= {"LD_LIBRARY_PATH"}
    assert strangers == set()
    assert got[b"HORT_RANK"] == b"1"


def test_directory_umask_and_limits_are_the_callers(tmp_path: Path, job: Make) -> None:
    context = capture(cwd=tmp_path)
    context.umask = 0o027
    context.rlimits["NOFILE"] = 321
    context.rlimits["STACK"] = 16 << 20
    outcome = job("sh", "-c", "pwd; umask; ulimit -n; ulimit -s", ranks=2, context=context).run()
    assert outcome.out(1).split() == [str(tmp_path.resolve()), "0027", "321", "16384"]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_cancelling_ends_every_rank(tmp_path: Path, job: Make) -> None:
    running = job("sleep", "1000")
    running.start()
    running.wait_for(lambda log: log.count(b":start]") == 4)
    assert running.launcher is not None
    running.launcher.terminate()
    outcome = running.finish(timeout=20)
    assert outcome.code != 0
    starts = [event.facts["pid"] for event in outcome.events() if isinstance(event, Start)]
    assert len(starts) == 4
    assert [pid for pid in starts if _is_alive(pid)] == []


def test_a_program_that_is_not_there_is_said_before_anything_starts(job: Make) -> None:
    outcome = job("no-such-program").run()
    assert (outcome.code, outcome.stderr) == (127, b"hort: cannot run no-such-program: no such program\n")


def test_workers_that_start_after_the_launcher_has_failed_hear_of_it(tmp_path: Path) -> None:
    late = RanksJob(tmp_path, ["no-such-program"], ranks=4)
    late.start_launcher()
    late.wait_until(lambda: all((tmp_path / name / "run" / "collector").exists() for name in late.names))
    late.start_workers()
    assert late.finish(cleanup=False).code == 127


def test_gpus_and_threads_are_divided_among_the_ranks_of_a_worker(job: Make) -> None:
    pod = {"HORT_GPUS_PER_RANK": "2", "CUDA_VISIBLE_DEVICES": "4,5,6,7", "HORT_CPUS_PER_RANK": "3"}
    outcome = job("sh", "-c", "echo $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS", pod=pod).run()
    assert [outcome.out(rank) for rank in range(4)] == ["4,5 3\n", "6,7 3\n"] * 2


def test_ranks_are_pinned_within_the_cpus_of_their_worker(job: Make) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU only")
    script = "import os; print(sorted(os.sched_getaffinity(0)))"
    own = {"HORT_CPUS": f"{cpus[0]},{cpus[1]}"}
    outcome = job(sys.executable, "-c", script, workers=2, worker_pod={"w0": own}).run()
    said = [json.loads(outcome.out(rank)) for rank in range(4)]
    assert said == [[cpus[0]], [cpus[1]], cpus, cpus]

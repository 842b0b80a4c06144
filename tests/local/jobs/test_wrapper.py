"""The rank wrapper under each shell that may stand behind `sh`, without any mpirun."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support.needs import missing
from support.ranks import JOBS

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words = SHELLS[request.param]
    path = shutil.which(words[0])
    if path is None:
        missing(f"{words[0]} is not installed")
    return [str(path), *words[1:]]


@pytest.fixture
def run(shell: list[str], tmp_path: Path) -> Run:
    def start(script: str, environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HORT_RUN_DIR": str(tmp_path), **environ}
        command = [*shell, str(JOBS / "wrapper.sh"), "/bin/sh", "-c", script, "sh", *arguments]
        return subprocess.run(
            command, env=env, input="of mpirun", capture_output=True, text=True, check=False
        )

    return start


PLACES = 'echo "$HORT_RANK $HORT_RANKS $HORT_LOCAL_RANK $HORT_WORKER"'


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        (
            {
                "OMPI_COMM_WORLD_RANK": "3",
                "OMPI_COMM_WORLD_SIZE": "8",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
                "PMIX_RANK": "3",
                "SLURM_PROCID": "0",
            },
            "3 8 1",
        ),
        ({"PMI_RANK": "5", "PMI_SIZE": "6", "MPI_LOCALRANKID": "2", "MPI_LOCALNRANKS": "3"}, "5 6 2"),
        ({"PMIX_RANK": "2", "HORT_EXPECT_RANKS": "4"}, "2 4 0"),
        ({"PALS_RANKID": "2", "PALS_LOCAL_RANKID": "1", "PALS_NRANKS": "4"}, "2 4 1"),
        (
            {
                "SLURM_PROCID": "7",
                "SLURM_NTASKS": "9",
                "SLURM_LOCALID": "1",
                "SLURM_TASKS_PER_NODE": "3(x3)",
            },
            "7 9 1",
        ),
    ],
)
def test_the_place_of_a_rank_is_read_from_any_mpi(run: Run, environ: dict[str, str], place: str) -> None:
    done = run(PLACES, {**environ, "HORT_WORKER": "w4"})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{place} w4\n", "")


def test_without_a_rank_it_says_where_it_looked(run: Run) -> None:
    done = run(PLACES, {})
    assert done.returncode == 125
    assert "OMPI_COMM_WORLD_RANK" in done.stderr


def test_a_world_of_another_size_is_refused(run: Run) -> None:
    done = run(PLACES, {"PMI_RANK": "0", "PMI_SIZE": "1", "HORT_EXPECT_RANKS": "4"})
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "hort: rank 0 was started as one of 1, but the job has 4 ranks\n"


RANK = {"PMI_RANK": "1", "PMI_SIZE": "4"}


@pytest.mark.parametrize("arguments", [["a b", "", "*", "$(x)", "it's", "-n", "new\nline"]])
def test_arguments_pass_unchanged(run: Run, arguments: list[str]) -> None:
    done = run('for word; do printf "<%s>" "$word"; done', RANK, *arguments)
    assert done.stdout == "".join(f"<{word}>" for word in arguments)


def test_a_program_may_have_an_equals_sign_in_its_name(shell: list[str], tmp_path: Path) -> None:
    program = tmp_path / "a=b"
    program.write_text('#!/bin/sh\necho "$plain:$1"\n')
    program.chmod(0o755)
    env = {
        "PATH": os.environ["PATH"],
        "PMI_RANK": "0",
        "HORT_ENV": "'plain=9'",
        "HORT_ENV_UNSET": "-u OLDPWD",
    }
    command = [*shell, str(JOBS / "wrapper.sh"), str(program), "x=y"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9:x=y\n", "")


def test_nobody_reads_what_mpirun_has(run: Run) -> None:
    assert run("cat; echo end", RANK).stdout == "end\n"


@pytest.mark.parametrize(
    ("environ", "threads"),
    [
        ({"HORT_CPUS_PER_RANK": "4"}, "4"),
        ({"HORT_CPUS_PER_RANK": "4", "OMP_NUM_THREADS": "9"}, "9"),
        ({"HORT_CPUS_PER_RANK": "4", "OMP_NUM_THREADS": ""}, ""),
        ({}, "none"),
    ],
)
def test_threads_are_set_unless_the_user_did(run: Run, environ: dict[str, str], threads: str) -> None:
    assert run("echo ${OMP_NUM_THREADS-none}", RANK | environ).stdout == f"{threads}\n"


@pytest.mark.parametrize(
    ("gpus", "place", "places", "mine"),
    [
        ("0,1,2,3", 1, 2, "2,3"),
        ("0,1,2", 1, 2, "1,2"),
        ("GPU-a,GPU-b", 1, 2, "GPU-b"),
        ("0,1", 3, 4, "1"),
        ("7", 2, 3, "7"),
        ("", 0, 2, ""),
    ],
)
def test_gpus_are_divided(run: Run, gpus: str, place: int, places: int, mine: str) -> None:
    local = {"MPI_LOCALRANKID": str(place), "MPI_LOCALNRANKS": str(places)}
    done = run(
        "echo $CUDA_VISIBLE_DEVICES", RANK | local | {"HORT_GPUS_PER_RANK": "1", "CUDA_VISIBLE_DEVICES": gpus}
    )
    assert done.stdout == f"{mine}\n"


def test_gpus_that_the_job_did_not_ask_for_are_the_users(run: Run) -> None:
    local = {"MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
    assert run("echo $CUDA_VISIBLE_DEVICES", RANK | local | {"CUDA_VISIBLE_DEVICES": "0,1"}).stdout == "0,1\n"


@pytest.fixture
def taskset(tmp_path: Path, shell: list[str]) -> str:
    """A folder with a `taskset` that only tells what it was asked for: the machine may have one CPU."""
    if "busybox" in shell[0]:
        pytest.skip("busybox has a taskset of its own that it prefers")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "taskset").write_text(f'#!/bin/sh\necho "$1 $2" >>{tmp_path}/asked\n')
    (folder / "taskset").chmod(0o755)
    return str(folder)


def test_the_program_runs_on_its_cpus_only(run: Run) -> None:
    last = max(os.sched_getaffinity(0))
    done = run("grep Cpus_allowed_list /proc/self/status", RANK | {"HORT_CPUS": str(last)})
    assert done.stdout.split()[-1] == str(last)


def test_cpus_that_cannot_be_had_do_not_stop_the_program(run: Run) -> None:
    done = run("echo ran", RANK | {"HORT_CPUS": "100000"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize(
    ("cpus", "place", "places", "mine"),
    [
        ("0-7", 0, 2, "0,1,2,3"),
        ("0-7", 1, 2, "4,5,6,7"),
        ("0-3,8,10-11", 1, 3, "2,3"),
        ("0-3,8,10-11", 2, 3, "8,10,11"),
        ("5", 0, 1, "5"),
        ("0-2", 0, 4, None),
        ("", 0, 1, None),
    ],
)
def test_each_rank_gets_its_block_of_cpus(
    run: Run, taskset: str, tmp_path: Path, cpus: str, place: int, places: int, mine: str | None
) -> None:
    local = {"MPI_LOCALRANKID": str(place), "MPI_LOCALNRANKS": str(places), "HORT_CPUS": cpus}
    done = run("echo ran", RANK | local | {"PATH": f"{taskset}:{os.environ['PATH']}"})
    assert (done.returncode, done.stdout) == (0, "ran\n")
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else None) == (f"-pc {mine}\n" if mine else None)


def test_what_shells_lose_is_given_back(run: Run) -> None:
    environ = {
        "HORT_ENV": "'BASH_FUNC_f%%=() {  echo \"it'\\''s\"\n}' 'SHLVL=9' 'a.b=$(x)'",
        "HORT_ENV_UNSET": "-u OLDPWD",
    }
    lines = run("cat /proc/$$/environ", RANK | environ).stdout.replace("\0", "\n").splitlines()
    assert {'BASH_FUNC_f%%=() {  echo "it\'s"', "}", "a.b=$(x)"} <= set(lines)
    assert not [line for line in lines if line.startswith(("HORT_ENV", "OLDPWD="))]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 7", 7), ("kill -TERM $$", 128 + 15), ("kill -KILL $$", 128 + 9), ("exec /not/there", 127)],
)
def test_the_programs_code_is_the_wrappers(run: Run, script: str, code: int) -> None:
    done = run(script, RANK)
    assert done.returncode in (code, 128 - code)  # without a collector it is the program itself that ends


class Collected:
    """A wrapper that thinks it has a collector, which is this test."""

    def __init__(self, shell: list[str], folder: Path, script: str, environ: Mapping[str, str]) -> None:
        os.mkfifo(folder / "collector")
        self._news = os.open(folder / "collector", os.O_RDWR)
        env = {
            "PATH": os.environ["PATH"],
            "HORT_RUN_DIR": str(folder),
            "HORT_COLLECT": "1",
            **RANK,
            **environ,
        }
        self.process = subprocess.Popen(
            [*shell, str(JOBS / "wrapper.sh"), "/bin/sh", "-c", script],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.start = self.line()
        self.streams = [os.open(folder / f"1.{name}", os.O_RDONLY) for name in ("out", "err")]

    def line(self) -> list[str]:
        """The next thing that the wrapper tells."""
        return os.read(self._news, 4096).decode().rstrip("\n").split(" ")

    def read(self) -> tuple[bytes, bytes]:
        """Both streams to their ends."""
        result = []
        for fd in self.streams:
            with os.fdopen(fd, "rb") as stream:
                result.append(stream.read())
        return result[0], result[1]

    def end(self) -> tuple[list[str], int, bytes, bytes]:
        """The last line, the exit code, and what the wrapper itself said."""
        line = self.line()
        out, err = self.process.communicate(timeout=20)
        os.close(self._news)
        return line, self.process.returncode, out, err


def test_a_collector_is_told_of_start_and_end_and_gets_the_streams(shell: list[str], tmp_path: Path) -> None:
    job = Collected(
        shell, tmp_path, "printf 'out %s' $$; printf 'err\\n' >&2; exit 4", {"MPI_LOCALRANKID": "1"}
    )
    word, rank, place, pid, wrapper, daemon, cpus, gpus = job.start
    assert (word, rank, place, cpus, gpus) == ("start", "1", "1", "-", "-")
    assert (int(wrapper), int(daemon)) == (job.process.pid, os.getpid())
    assert job.read() == (f"out {pid}".encode(), b"err\n")
    assert job.end() == (["exit", "1", "4"], 4, b"", b"hort-exit 1 4\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_that_ends_the_program_is_128_and_its_number(
    shell: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    job = Collected(shell, tmp_path, f"ulimit -c 0; kill -{number.value} $$", {})
    assert job.read() == (b"", b"")
    code = 128 + number
    assert job.end() == (["exit", "1", str(code)], code, b"", f"hort-exit 1 {code}\n".encode())


def test_term_to_the_process_group_ends_the_program(shell: list[str], tmp_path: Path) -> None:
    job = Collected(shell, tmp_path, "echo up; exec sleep 1000", {})
    assert os.read(job.streams[0], 10) == b"up\n"
    os.killpg(job.process.pid, signal.SIGTERM)
    assert job.read() == (b"", b"")
    assert job.process.wait(20) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert job.process.stdout is not None
    assert job.process.stderr is not None
    job.process.stdout.close()
    job.process.stderr.close()


def test_interrupts_are_not_ignored_by_the_program(shell: list[str], tmp_path: Path) -> None:
    """As they would be had a shell started it in the background."""
    job = Collected(shell, tmp_path, "grep SigIgn /proc/self/status", {})
    ignored = int(job.read()[0].split()[1], 16)
    assert not ignored & (1 << (signal.SIGINT - 1) | 1 << (signal.SIGQUIT - 1))
    assert job.end()[1] == 0


def test_a_program_that_cannot_run_says_so_on_its_stderr(shell: list[str], tmp_path: Path) -> None:
    job = Collected(shell, tmp_path, "exec /not/there", {})
    out, err = job.read()
    assert out == b""
    assert b"/not/there" in err
    assert job.end()[1] == 127

"""How jobs are ended from outside, and that nothing of them is left."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hort import Hort
from support.staying import Staying, processes, until

shapes = pytest.mark.parametrize("flags", [[], ["-n", "2", "--workers", "2"]], ids=["plain", "ranks"])

#: What a job may be made of. Each says "ready" once per process of the command; {mark} is on every command line.
OBEYING = "echo ready; exec sleep 1000.{mark}"
IGNORING = "trap '' TERM INT HUP; echo ready; while :; do sleep 1; : {mark}; done"
DAEMONS = "setsid sh -c 'trap \"\" TERM HUP; sleep 1000; : {mark}' & sleep 0.2; echo ready; exec sleep 1001"
FORKING = "(setsid sh -c 'setsid sh -c \"sleep 1000; : {mark}\" & sleep 1000' &) ; sleep 0.2; echo ready; exec sleep 1001"


class Job:
    """A job that hangs, with a mark by which its processes are known."""

    def __init__(self, hort: Hort, script: str, flags: list[str]) -> None:
        self.number = str(uuid.uuid4().int % 10**12)
        self.flags, self.count = flags, 2 if flags else 1
        self.command = ["sh", "-c", script.replace("{mark}", self.number)]
        self.hort = hort

    def run(self, **options: object) -> Staying:
        staying = Staying(self.hort, "run", *self.flags, "--", *self.command, **options)
        staying.said("ready", self.count)
        return staying

    def submit(self) -> str:
        name = self.hort("submit", "--parsable", *self.flags, "--", *self.command).stdout.decode().strip()
        with Staying(self.hort, "logs", "-f", name) as logs:
            logs.said("ready", self.count)
        assert self.left()
        return name

    def left(self, *, but: int = 0) -> dict[int, str]:
        return {pid: line for pid, line in processes(self.number).items() if pid != but}

    def gone(self) -> None:
        until(lambda: not self.left(), f"the end of {self.number}", seconds=15)


@shapes
@pytest.mark.parametrize(
    "script", [OBEYING, DAEMONS, FORKING], ids=["obeying", "daemons", "daemons of daemons"]
)
def test_cancel_leaves_no_process(hort: Hort, flags: list[str], script: str) -> None:
    job = Job(hort, script, flags)
    name = job.submit()
    hort("cancel", name)
    hort("wait", name, code=130)
    job.gone()
    assert hort.json("show", name)["state"] == "CA"


@shapes
def test_cancel_ends_those_that_ignore_it_after_their_grace(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, IGNORING, flags)
    name = job.submit()
    hort("cancel", name)
    hort("wait", name, code=130)
    job.gone()


@shapes
def test_cancel_now_does_not_ask(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, IGNORING, flags)
    name = job.submit()
    hort("cancel", "--now", name)
    hort("wait", name, code=130)
    job.gone()


@shapes
def test_interrupt_cancels_and_gives_130(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, OBEYING, flags)
    with job.run() as staying:
        staying.process.send_signal(signal.SIGINT)
        assert staying.end() == 130
        assert b"cancelling" in staying.stderr
        job.gone()
        assert hort.json("show", staying.job)["state"] == "CA"


@shapes
def test_a_program_may_tidy_up_after_an_interrupt_and_is_heard(hort: Hort, flags: list[str]) -> None:
    script = "trap 'echo tidied; exit 0' TERM; echo ready; while :; do sleep 0.1; : {mark}; done"
    job = Job(hort, script, flags)
    with job.run() as staying:
        staying.process.send_signal(signal.SIGINT)
        assert staying.end() == 130
    assert staying.stdout.count(b"tidied") == job.count
    job.gone()


@shapes
def test_a_second_interrupt_ends_at_once(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, IGNORING, flags)
    with job.run() as staying:
        staying.process.send_signal(signal.SIGINT)
        staying.told("once more")
        assert job.left(but=staying.process.pid)
        staying.process.send_signal(signal.SIGINT)
        assert staying.end() == 130
        job.gone()


def test_terminating_hort_cancels_too(hort: Hort) -> None:
    job = Job(hort, OBEYING, ["-n", "2"])
    with job.run() as staying:
        staying.process.send_signal(signal.SIGTERM)
        assert staying.end() == 143
        job.gone()


@shapes
def test_a_closed_terminal_lets_the_job_go_on(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, "echo ready; sleep 2; echo done; : {mark}", flags)
    with job.run() as staying:
        staying.process.send_signal(signal.SIGHUP)
        assert staying.end() in (-signal.SIGHUP, 128 + signal.SIGHUP)
        name = staying.job
    assert hort("wait", name).returncode == 0
    assert hort("logs", name).stdout.count(b"done") == job.count


@shapes
def test_a_killed_hort_lets_the_job_go_on(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, OBEYING, flags)
    with job.run() as staying:
        staying.process.kill()
        staying.end()
        name = staying.job
    assert len(job.left()) >= job.count
    assert hort.json("show", name)["state"] == "R"
    hort("cancel", "--now", name)
    job.gone()


@shapes
def test_a_reader_that_goes_away_cancels(hort: Hort, flags: list[str]) -> None:
    job = Job(hort, "while :; do echo ready; sleep 0.01; : {mark}; done", flags)
    with hort.start("run", *flags, "--", *job.command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdout.close()
        assert process.wait(60) == 141
        assert b"Traceback" not in process.stderr.read()
    job.gone()


def test_a_pipe_into_head_ends(hort: Hort, tmp_path: Path) -> None:
    job = Job(hort, "while :; do echo ready; : {mark}; done", ["-n", "2"])
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", *hort.command("run", *job.flags, "--", *job.command)],
        env=hort.environ,
        cwd=hort.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
    )
    assert done.stdout == b"ready\n"
    job.gone()


def test_a_failing_rank_takes_daemons_with_it(hort: Hort) -> None:
    script = DAEMONS.replace("exec sleep 1001", '[ "$HORT_RANK" = 0 ] || exec sleep 1001; exit 9')
    job = Job(hort, script, ["-n", "2", "--workers", "2"])
    hort("run", *job.flags, "--", *job.command, code=9)
    job.gone()


def test_the_end_of_a_plain_job_takes_daemons_with_it(hort: Hort) -> None:
    job = Job(hort, DAEMONS.replace("exec sleep 1001", "exit 0"), [])
    hort("run", *job.flags, "--", *job.command)
    job.gone()


def test_the_time_limit_leaves_no_process(hort: Hort) -> None:
    job = Job(hort, DAEMONS, ["-n", "2", "--workers", "2"])
    hort("run", *job.flags, "-t", "3s", "--", *job.command, code=124)
    job.gone()


def test_stopping_the_cluster_leaves_no_process(new_hort: Callable[..., Hort]) -> None:
    hort = new_hort()
    job = Job(hort, DAEMONS, ["-n", "2", "--workers", "2"])
    with job.run() as staying:
        hort("down")
        assert staying.end() != 0
        job.gone()

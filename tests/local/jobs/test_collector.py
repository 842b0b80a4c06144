"""The collector with wrappers and daemons that this test plays: what it says, when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hortator.jobs.tagged import Decoder, Exit, Output, Start
from support.ranks import START

SLEEP = ["sleep", "1000"]


class Worker:
    """A collector, and a shell that stands for the daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.mkfifo(folder / "collector")
        env = {"HORT_RUN_DIR": str(folder)}
        self.collector = subprocess.Popen([*START, "collector"], env=env, stdout=subprocess.PIPE)
        self.others: list[subprocess.Popen[bytes]] = []
        self.daemon = self.spawn()
        self._news = os.open(folder / "collector", os.O_WRONLY)  # opens when the collector has opened it

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """A process of the pod."""
        self.others.append(subprocess.Popen(command or SLEEP))
        return self.others[-1]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and wait for it."""
        process.kill()
        process.wait()

    def tell(self, text: str) -> None:
        """Write a wrapper's line."""
        os.write(self._news, text.encode() + b"\n")

    def start(self, rank: int, *, pid: int = 1, wrapper: int | None = None) -> tuple[int, int]:
        """Announce a rank; return the descriptors of its streams."""
        names = [self.folder / f"{rank}.{name}" for name in ("out", "err")]
        for name in names:
            os.mkfifo(name)
        self.tell(f"start {rank} 0 {pid} {wrapper or self.daemon.pid} {self.daemon.pid} 0,1 -")
        out, err = (os.open(name, os.O_WRONLY) for name in names)
        return out, err

    def log(self) -> list[Any]:
        """All that it says until its end, decoded."""
        assert self.collector.stdout is not None
        data = self.collector.stdout.read()
        decoder = Decoder()
        return [*decoder.feed(data), *decoder.close()]

    def close(self) -> None:
        """Leave nothing."""
        for process in [self.collector, *self.others]:
            if process.poll() is None:
                self.end(process)
        if self.collector.stdout is not None:
            self.collector.stdout.close()
        os.close(self._news)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    yield made
    made.close()


def test_it_tells_of_ranks_and_ends_with_their_daemon(worker: Worker) -> None:
    out, err = worker.start(5, pid=77)
    os.write(out, b"one\ntwo")
    os.write(err, b"bad\n")
    os.close(out)
    os.close(err)
    worker.tell("exit 5 3")
    worker.end(worker.daemon)
    log = worker.log()
    assert log[0] == Start(5, {"pid": 77, "local": 0, "cpus": "0,1", "gpus": None})
    assert log[-1] == Exit(5, 3)
    assert set(log[1:-1]) == {
        Output(5, 1, b"one\n"),
        Output(5, 1, b"two"),
        Output(5, 2, b"bad\n"),
    }
    assert worker.collector.wait() == 0


def test_the_end_of_a_rank_stands_after_all_that_it_wrote(worker: Worker) -> None:
    """Though a process that it left behind holds its streams."""
    out, err = worker.start(0)
    os.write(out, b"x" * 300_000 + b"\n" + b"last\n")
    worker.tell("exit 0 0")
    worker.end(worker.daemon)
    log = worker.log()
    assert log[-1] == Exit(0, 0)
    assert b"".join(event.data for event in log[1:-1]) == b"x" * 300_000 + b"\nlast\n"
    os.close(out)
    os.close(err)


def test_it_does_not_end_while_the_daemon_may_start_more(worker: Worker) -> None:
    for rank in range(3):
        out, err = worker.start(rank)
        os.write(out, b"%d\n" % rank)
        os.close(out)
        os.close(err)
        worker.tell(f"exit {rank} 0")
    worker.end(worker.daemon)
    assert [event.rank for event in worker.log() if isinstance(event, Exit)] == [0, 1, 2]


def test_a_slow_reader_slows_the_ranks_and_loses_nothing(worker: Worker) -> None:
    out, err = worker.start(0)
    line = b"y" * 79 + b"\n"
    written = threading.Event()

    def write() -> None:
        for _ in range(100):
            data = memoryview(line * 1000)
            while data:
                data = data[os.write(out, data) :]
        written.set()
        os.close(out)
        os.close(err)
        worker.tell("exit 0 0")
        worker.end(worker.daemon)

    writer = threading.Thread(target=write)
    writer.start()
    assert not written.wait(0.3), "8 MB went where nobody read"
    data = b"".join(event.data for event in worker.log() if isinstance(event, Output))
    writer.join()
    assert data == line * 100_000


def test_a_program_whose_wrapper_was_killed_is_ended(worker: Worker) -> None:
    wrapper, program = worker.spawn(), worker.spawn()
    out, err = worker.start(2, pid=program.pid, wrapper=wrapper.pid)
    worker.end(wrapper)
    assert program.wait(20) == -signal.SIGTERM
    os.close(out)
    os.close(err)
    worker.end(worker.daemon)
    assert worker.log()[-1] == Exit(2, 137)


def test_term_ends_the_ranks_and_then_itself(worker: Worker) -> None:
    program = worker.spawn()
    out, err = worker.start(0, pid=program.pid)
    worker.collector.terminate()
    assert program.wait(20) == -signal.SIGTERM
    os.write(out, b"bye\n")
    os.close(out)
    os.close(err)
    worker.tell("exit 0 143")
    log = worker.log()
    assert [*log[1:]] == [Output(0, 1, b"bye\n"), Exit(0, 143)]
    assert worker.collector.wait(20) == 0


def test_term_with_no_ranks_ends_it_at_once(worker: Worker) -> None:
    worker.collector.terminate()
    assert worker.log() == []
    assert worker.collector.wait(20) == 0


def test_many_ranks_come_and_go(worker: Worker) -> None:
    for rank in range(60):
        out, err = worker.start(rank)
        os.write(out, b"%d\n" % rank)
        os.write(err, b"e%d" % rank)
        os.close(out)
        os.close(err)
        worker.tell(f"exit {rank} {rank}")
    worker.end(worker.daemon)
    log = worker.log()
    assert [event for event in log if isinstance(event, Exit)] == [Exit(rank, rank) for rank in range(60)]
    outputs = {(event.rank, event.stream): event.data for event in log if isinstance(event, Output)}
    assert outputs == {(r, s): b"%d\n" % r if s == 1 else b"e%d" % r for r in range(60) for s in (1, 2)}

"""The main process of a worker in a job started by ``hort run``: carries the output of its ranks into the worker's log.

The rank wrapper tells of each rank by a line in the FIFO ``$HORT_RUN_DIR/collector`` and connects the program to two
FIFOs of its own; this program reads them and writes whole tagged lines (``tagged.py``) to its standard output. It blocks
when its reader does, and so do the ranks: nothing is dropped. It ends when every rank that came has ended and the
daemons that started them (prted, orted, hydra's proxy) are gone, or when the launcher says that none will come; else it
waits for the operator, who cleans running workers up. It starts nothing. Standard library only; runs as
``start.py collector``.
"""

# ruff: noqa: PTH115
from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time

from hortator.jobs.tagged import MAX_LINE, STDERR, STDOUT, Encoder, exit_line, start_line

__all__ = ["Collector", "main"]

PIPE_SIZE = 1 << 20
#: After TERM the ranks get TERM too; those that stay are left to the pod's end after this many seconds.
TERM_SECONDS = 8.0
#: Between TERM and KILL for a program whose wrapper was killed.
ORPHAN_SECONDS = 2.0
POLL_SECONDS = 0.2
#: Logs are kept up to a size, from the end: after so many bytes the ranks are told once more.
REPEAT_BYTES = 16 << 20


class _Stream:
    __slots__ = ("encoder", "fd", "path", "rank")

    def __init__(self, rank: _Rank, fd: int, path: str, encoder: Encoder) -> None:
        self.rank = rank
        self.fd = fd
        self.path = path
        self.encoder = encoder


class _Rank:
    __slots__ = ("code", "done", "kill_at", "number", "pid", "start", "streams", "wrapper")

    def __init__(self, number: int, pid: int, wrapper: int, *, start: bytes) -> None:
        self.number = number
        self.start = start
        self.pid = pid
        self.wrapper = wrapper
        self.streams: list[_Stream] = []
        self.code: int | None = None
        self.done = False
        self.kill_at: float | None = None


class Collector:
    """See the module. ``out`` is the descriptor of the log; ``run`` returns when there is no more to collect."""

    def __init__(self, run_dir: str, *, out: int = 1) -> None:
        self._dir = run_dir
        self._out = out
        self._poll = select.poll()
        self._ranks: dict[int, _Rank] = {}
        self._streams: dict[int, _Stream] = {}
        self._watched: dict[int, int] = {}  # pidfd -> pid
        self._alive: set[int] = set()  # daemons and wrappers
        self._daemons: set[int] = set()
        self._partial = b""
        self._since = 0  # bytes written since the ranks were told
        self._closed: set[int] = set()  # descriptors closed while handling one batch of events
        self._stop_at: float | None = None
        self._none = False  # the launcher said that no more ranks will come
        path = f"{run_dir}/collector"
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Open for writing too: it never reports an end, whoever comes and goes.
        self._news = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._news, select.POLLIN)
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        self._poll.register(self._wake, select.POLLIN)

    def stop(self) -> None:
        """End the ranks and stop when they are gone, in a while at the latest. Safe in a signal handler."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + TERM_SECONDS
            os.write(self._woken, b".")

    def run(self) -> None:
        """Collect until all is over."""
        told = False
        while not self._over():
            if self._stop_at is not None and not told:
                told = True
                for rank in self._ranks.values():
                    if rank.code is None:
                        _kill(rank.pid, signal.SIGTERM)
            self._closed.clear()
            for fd, event in self._poll.poll(self._patience()):
                if fd in self._closed:  # its number may be another's by now
                    continue
                if fd in self._streams:
                    self._read(self._streams[fd], ended=not event & select.POLLIN)
                elif fd == self._news:
                    self._hear()
                elif fd == self._wake:
                    os.read(self._wake, 64)
                else:
                    self._gone(fd)
            self._look()
        self._finish()

    def _over(self) -> bool:
        if self._stop_at is not None and (
            time.monotonic() >= self._stop_at or all(rank.done for rank in self._ranks.values())
        ):
            return True
        if not self._ranks:
            return self._none
        if not all(rank.done for rank in self._ranks.values()):
            return False
        return not self._daemons & self._alive

    def _patience(self) -> float | None:
        """Return how long to wait for news, in milliseconds."""
        now = time.monotonic()
        times = [rank.kill_at for rank in self._ranks.values() if rank.kill_at is not None]
        if self._stop_at is not None:
            times.append(self._stop_at)
        if len(self._watched) < len(self._alive):  # some cannot be watched by descriptor
            times.append(now + POLL_SECONDS)
        return max(0.0, min(times) - now) * 1000 if times else None

    def _write(self, data: bytes) -> None:
        self._since += len(data)
        if self._since > REPEAT_BYTES:
            self._since = 0
            for rank in self._ranks.values():
                data += rank.start + (
                    exit_line(rank.number, rank.code) if rank.done and rank.code is not None else b""
                )
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]

    def _hear(self) -> None:
        """Take the wrappers' lines."""
        while True:
            try:
                data = os.read(self._news, 65536)
            except BlockingIOError:
                return
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                word, *rest = line.decode(errors="replace").split(" ")
                if word == "start" and len(rest) == 7:
                    self._started(rest)
                elif word == "exit" and len(rest) == 2:
                    rank = self._ranks.get(int(rest[0]))
                    if rank is not None:
                        self._ended(rank, int(rest[1]))
                elif word == "none":
                    self._none = True

    def _started(self, fields: list[str]) -> None:
        number, local, pid, wrapper, daemon = (int(field) for field in fields[:5])
        cpus, gpus = (None if field == "-" else field for field in fields[5:])
        start = start_line(number, {"pid": pid, "local": local, "cpus": cpus, "gpus": gpus})
        rank = self._ranks[number] = _Rank(number, pid, wrapper, start=start)
        for stream, suffix in ((STDOUT, "out"), (STDERR, "err")):
            path = f"{self._dir}/{number}.{suffix}"
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            # Not Linux, or the user's pipes are used up: slower, as right.
            with contextlib.suppress(AttributeError, OSError):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            self._streams[fd] = _Stream(rank, fd, path, Encoder(number, stream))
            rank.streams.append(self._streams[fd])
            self._poll.register(fd, select.POLLIN)
        # With what started it: as long as that is there, somebody waits for its exit code.
        for each in _chain(daemon):
            self._watch(each)
            self._daemons.add(each)
        self._watch(wrapper)
        self._write(start)

    def _read(self, stream: _Stream, *, ended: bool = False) -> int:
        """Take what is there, at most one buffer; return how much, 0 for nothing now or no more ever."""
        try:
            data = os.read(stream.fd, MAX_LINE)
        except BlockingIOError:
            return 0
        if data:
            text = stream.encoder.feed(data)
            if text:
                self._write(text)
        elif ended:
            self._close(stream)
        return len(data)

    def _close(self, stream: _Stream) -> None:
        rest = stream.encoder.close()
        if rest:
            self._write(rest)
        self._forget(stream.fd)
        del self._streams[stream.fd]
        stream.rank.streams.remove(stream)

    def _ended(self, rank: _Rank, code: int) -> None:
        """Take all that the program wrote, which is there now, then tell of its end.

        What a process that it left behind writes later is still taken, but not waited for.
        """
        if rank.code is not None:
            return
        rank.code = code
        rank.kill_at = None
        for stream in list(rank.streams):
            left = PIPE_SIZE
            while left > 0 and (count := self._read(stream, ended=True)):
                left -= count
        self._write(exit_line(rank.number, code))
        rank.done = True

    def _watch(self, pid: int) -> None:
        if pid in self._alive:
            return
        self._alive.add(pid)
        try:
            fd = os.pidfd_open(pid)
        except (AttributeError, OSError):  # gone already, or not Linux: looked at again and again
            return
        self._watched[fd] = pid
        self._poll.register(fd, select.POLLIN)

    def _gone(self, fd: int) -> None:
        self._forget(fd)
        self._died(self._watched.pop(fd))

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        os.close(fd)
        self._closed.add(fd)

    def _died(self, pid: int) -> None:
        self._alive.discard(pid)
        self._hear()  # the wrapper's last line came before its end
        for rank in self._ranks.values():
            if rank.wrapper == pid and rank.code is None and rank.kill_at is None:
                _kill(rank.pid, signal.SIGTERM)
                rank.kill_at = time.monotonic() + ORPHAN_SECONDS

    def _look(self) -> None:
        """See to what no descriptor tells."""
        if len(self._watched) < len(self._alive):
            for pid in self._alive - set(self._watched.values()):
                if not _kill(pid, 0):
                    self._died(pid)
        for rank in self._ranks.values():
            if rank.kill_at is not None and rank.code is None:
                late = time.monotonic() >= rank.kill_at
                if late:
                    _kill(rank.pid, signal.SIGKILL)
                if late or not rank.streams:
                    self._ended(rank, 128 + signal.SIGKILL)

    def _finish(self) -> None:
        for stream in list(self._streams.values()):
            left = PIPE_SIZE
            while left > 0 and (count := self._read(stream)):
                left -= count
            if stream.fd in self._streams:
                self._close(stream)


def _chain(pid: int) -> list[int]:
    """Return ``pid`` and its ancestors up to, and without, the process that started us, as far as they can be seen."""
    found = []
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # another namespace's
            return [pid]
        while pid not in (0, 1, os.getpid(), os.getppid()):
            found.append(pid)
            with open(f"/proc/{pid}/stat", "rb") as stream:
                pid = int(stream.read().rpartition(b")")[2].split()[1])
    except OSError:
        return found or [pid]
    return found


def _kill(pid: int, number: int) -> bool:
    """Send a signal; return whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(arguments: list[str]) -> None:
    """Entry point."""
    term = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, term)  # until there is something to stop
    collector = Collector(os.environ["HORT_RUN_DIR"])
    signal.signal(signal.SIGTERM, lambda *_: collector.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, term)
    collector.run()

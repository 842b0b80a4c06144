"""One container, from the agent's side: started through the zygote, spoken to over its control socket.

It knows processes and descriptors and nothing of the API; when to start or stop one is :mod:`.worker`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hortator.local.streams import STDERR, STDOUT, LogOptions, NotRunning

from .channel import AsyncChannel, Message
from .logs import LineMerger, SegmentReader, last_lines_start, segments, whole_end
from .pump import segment_name
from .sessions import ProcessSession
from .zygote import Zygote

__all__ = ["ContainerProcess", "Exit", "LaunchFailed", "log_end", "read_log", "set_window"]

#: Seconds after which the held-back beginning of a line is shown to a follower all the same.
_HOLD = 0.25


class LaunchFailed(Exception):
    """Raised when the program of a container did not start; ``reason`` is the one for the status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended."""

    code: int
    signal: int = 0
    oom: bool = False
    #: Why there is no exit code of the program itself, if there is none.
    lost: str = ""


class ContainerProcess:
    """A running container. Made by :meth:`launch`."""

    def __init__(self, channel: AsyncChannel, directory: Path, stdin: int, terminal: int) -> None:
        self._channel = channel
        self._directory = directory
        self._stdin = stdin
        self._terminal = terminal
        self._reader: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._end: Exit | None = None
        self._execs: dict[int, tuple[asyncio.Future[None], asyncio.Future[int]]] = {}
        self._pins: dict[int, asyncio.Future[int]] = {}
        self._number = 0
        self._wake = -1
        self._grown: set[asyncio.Event] = set()
        self.init_pid = 0

    @classmethod
    async def launch(
        cls, zygote: Zygote, spec: Message, *, stdin: bool = False, tty: bool = False
    ) -> ContainerProcess:
        """Start a container and return once its program runs. Raises :class:`LaunchFailed` or ``SpawnFailed``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        fds = [theirs.fileno()]
        keep_in = terminal = -1
        given: list[int] = []
        if tty:
            terminal, slave = os.openpty()
            set_window(terminal, 80, 24)
            given = [terminal, slave]
            if stdin:
                keep_in = os.dup(terminal)
        elif stdin:
            reading, keep_in = os.pipe2(os.O_CLOEXEC)
            given = [reading]
        spec = {**spec, "tty": tty}
        self = cls(AsyncChannel(ours), Path(spec["log"]["directory"]), keep_in, terminal)
        try:
            self.init_pid = await zygote.spawn(spec, fds + given)
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            for fd in given:
                if fd != terminal:
                    os.close(fd)
        self._reader = asyncio.create_task(self._read(), name=f"container {spec.get('id', '')}")
        try:
            await self._started
        except asyncio.CancelledError:
            await self.close()
            raise
        except LaunchFailed:
            await self.close()
            raise
        return self

    @property
    def running(self) -> bool:
        """Whether the end has not been heard of yet."""
        return not self._exit.done()

    @property
    def directory(self) -> Path:
        """Where its log is."""
        return self._directory

    async def wait(self) -> Exit:
        """Wait for the end of the container: every process has gone, every byte is in the log."""
        return await asyncio.shield(self._exit)

    async def signal(self, number: int) -> None:
        """Send a signal to the container's own program; nothing happens when it has gone."""
        await self._send({"op": "signal", "signal": number})

    async def kill(self) -> None:
        """End it and every process of it."""
        await self._send({"op": "kill"})

    async def close(self) -> None:
        """Let go of the container; what still runs of it is ended."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._close()
        if not self._exit.done():
            self._exit.set_result(Exit(137, 9, lost="the container was let go"))
        self._notify()

    def _close(self) -> None:
        if self._wake >= 0:
            asyncio.get_running_loop().remove_reader(self._wake)
        for name in ("_stdin", "_terminal", "_wake"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)
        self._channel.close()

    # -- exec and attach -----------------------------------------------------------------------------------------

    async def exec(
        self, command: Sequence[str], *, stdin: bool, tty: bool, env: dict[str, str] | None = None
    ) -> ProcessSession:
        """Start another program in it. Raises :class:`NotRunning`; a program that cannot be started is reported
        as ``LaunchFailed``.
        """
        if not self.running:
            raise NotRunning("the container is not running")
        self._number += 1
        number = self._number
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[int] = loop.create_future()
        self._execs[number] = (started, ended)
        given: list[int] = []
        mine: list[int] = []
        try:
            if tty:
                master, slave = os.openpty()
                os.set_inheritable(master, False)
                set_window(master, 80, 24)
                given, mine = [slave], [master]
            else:
                given, mine = _exec_pipes(stdin)
            await self._send(
                {"op": "exec", "id": number, "argv": list(command), "tty": tty, "env": env or {}}, given
            )
            for fd in given:
                os.close(fd)
            given = []
            await started
        except BaseException:
            for fd in given + mine:
                if fd >= 0:
                    os.close(fd)
            self._execs.pop(number, None)
            raise

        async def hang_up(how: signal.Signals) -> None:
            if not ended.done():
                await self._send({"op": "hangup", "id": number, "signal": int(how)})

        if tty:
            return ProcessSession.on_terminal(mine[0], ended, hang_up, stdin=stdin)
        return ProcessSession.on_pipes(mine, ended, hang_up)

    async def write_stdin(self, data: bytes) -> None:
        """Write to the program's own standard input; data for a program that has none or has gone is dropped."""
        view = memoryview(data)
        while view and self._stdin >= 0:
            os.set_blocking(self._stdin, False)
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await _writable(self._stdin)
            except OSError:
                return

    def close_stdin(self) -> None:
        """End the program's own standard input (a terminal stays open)."""
        if self._stdin >= 0 and self._terminal < 0:
            os.close(self._stdin)
            self._stdin = -1

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, if it has one."""
        if self._terminal >= 0:
            set_window(self._terminal, columns, rows)

    # -- the log -------------------------------------------------------------------------------------------------

    async def pin(self, reader: int, segment: int, *, answer: bool) -> int:
        """Keep segments from this number on for a reader; return the oldest that is kept (with ``answer``)."""
        fds: list[int] = []
        if self._wake < 0:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            asyncio.get_running_loop().add_reader(self._wake, self._woken)
            fds = [self._wake]
        message = {"op": "pin", "reader": reader, "segment": segment, "answer": answer}
        if not answer:
            await self._send(message, fds)
            return segment
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pins[reader] = future
        try:
            await self._send(message, fds)
            return await future
        finally:
            self._pins.pop(reader, None)

    async def unpin(self, reader: int) -> None:
        """Let a reader's segments go."""
        await self._send({"op": "unpin", "reader": reader})

    def watch_log(self) -> asyncio.Event:
        """Return an event that is set whenever the log has grown, and at the end of the container."""
        event = asyncio.Event()
        self._grown.add(event)
        return event

    def unwatch_log(self, event: asyncio.Event) -> None:
        """Stop setting the event."""
        self._grown.discard(event)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._notify()

    def _notify(self) -> None:
        for event in self._grown:
            event.set()

    # -- the control socket --------------------------------------------------------------------------------------

    async def _send(self, message: Message, fds: Sequence[int] = ()) -> None:
        # When the peer has gone the reading side says so.
        with contextlib.suppress(OSError):
            await self._channel.send(message, fds)

    async def _read(self) -> None:
        try:
            while (received := await self._channel.receive()) is not None:
                self._event(received[0])
        finally:
            self._lost()
        self._close()

    def _event(self, message: Message) -> None:
        match message["event"]:
            case "started":
                if not self._started.done():
                    self._started.set_result(None)
            case "failed":
                if not self._started.done():
                    self._started.set_exception(LaunchFailed(message["reason"], message["message"]))
            case "exited":
                # The first process lingers until we have read this; the end is told when it has gone too.
                self._end = Exit(message["code"], message["signal"], message["oom"])
                self._channel.close_writing()
            case "exec-started":
                future = self._execs[message["id"]][0]
                if not future.done():
                    future.set_result(None)
            case "exec-failed":
                future, _ = self._execs.pop(message["id"])
                if not future.done():
                    future.set_exception(LaunchFailed("StartError", message["message"]))
            case "exec-exited":
                _, ended = self._execs.pop(message["id"], (None, None))
                if ended is not None and not ended.done():
                    ended.set_result(message["code"])
            case "pinned":
                pinned = self._pins.get(message["reader"])
                if pinned is not None and not pinned.done():
                    pinned.set_result(message["segment"])

    def _lost(self) -> None:
        """The first process has gone: whatever is still waited for has ended with it."""
        if not self._started.done():
            self._started.set_exception(LaunchFailed("CreateContainerError", "its first process was killed"))
        if not self._exit.done():
            lost = Exit(137, 9, lost="the first process of the container was killed")
            self._exit.set_result(self._end or lost)
        for started, ended in self._execs.values():
            if not started.done():
                started.set_exception(LaunchFailed("StartError", "the container has ended"))
            if not ended.done():
                ended.set_result(137)
        self._execs.clear()
        for future in self._pins.values():
            if not future.done():
                future.set_result(0)
        self._notify()


def set_window(fd: int, columns: int, rows: int) -> None:
    """Set a terminal's size."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _exec_pipes(stdin: bool) -> tuple[list[int], list[int]]:
    """Return (the program's 0, 1, 2), (our ends of them; -1 where there is no stdin)."""
    if stdin:
        read_in, write_in = os.pipe2(os.O_CLOEXEC)
    else:
        read_in, write_in = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), -1
    read_out, write_out = os.pipe2(os.O_CLOEXEC)
    read_err, write_err = os.pipe2(os.O_CLOEXEC)
    for fd in (write_out, write_err):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, 1031, 1 << 18)
    return [read_in, write_out, write_err], [write_in, read_out, read_err]


_reader_numbers = iter(range(1, 1 << 62))


async def read_log(
    directory: Path,
    options: LogOptions,
    live: ContainerProcess | None,
    *,
    begin: tuple[int, int] | None = None,
    announce: bool = False,
) -> AsyncGenerator[bytes, None]:
    """Yield a container's log. ``live`` is the container if it still runs: what its reader has not had is kept.

    ``begin`` is a place that :func:`log_end` returned. With ``announce``, an empty chunk comes before the first wait for
    output, so that the caller knows that the log has begun.

    Reading is inline because the pages are nearly always in memory; what is not asked for is not read.
    """
    streams = {"Stdout": {STDOUT}, "Stderr": {STDERR}}.get(options.stream, {STDOUT, STDERR})
    merger = LineMerger(streams, timestamps=options.timestamps, since=options.since_time)
    reader_number = next(_reader_numbers)
    left = options.limit_bytes if options.limit_bytes is not None else -1
    grown = live.watch_log() if live is not None else None
    reader: SegmentReader | None = None
    try:
        if live is not None:
            await live.pin(reader_number, 0, answer=True)
        start: tuple[int, int, int] | None = (*begin, 0) if begin is not None else None
        numbers = segments(directory)
        if not numbers:
            return
        if options.tail_lines is not None and start is None:
            if options.tail_lines == 0:
                start = (*log_end(directory), 0)
            else:
                start = await asyncio.to_thread(last_lines_start, directory, options.tail_lines, streams)
        number, offset, skip = start or (numbers[0], 0, 0)
        reader = SegmentReader(directory, number, offset)
        pinned = number
        if live is not None:
            await live.pin(reader_number, pinned, answer=False)
        chunks: list[bytes] = list(merger.gap(reader.missing)) if reader.missing else []
        while True:
            if grown is not None:
                grown.clear()
            running = live is not None and live.running
            records = reader.next()
            if live is not None and reader.number != pinned:
                pinned = reader.number
                await live.pin(reader_number, pinned, answer=False)
            for record in records:
                if skip and record.stream in streams:
                    record, skip = type(record)(record.time_ns, record.stream, record.data[skip:]), 0
                chunks += merger.feed(record)
            if not records and not (options.follow and running):
                chunks += merger.finish()
            if chunks:
                data = b"".join(chunks) if len(chunks) > 1 else chunks[0]
                chunks = []
                if 0 <= left < len(data):
                    data = data[:left]
                if data:
                    yield data
                if left >= 0:
                    left -= len(data)
                    if left == 0:
                        return
                announce = False
            if records:
                await asyncio.sleep(0)
                continue
            if not (options.follow and running) or grown is None:
                return
            if announce:
                announce = False
                yield b""
                continue
            if merger.holding:
                try:
                    await asyncio.wait_for(grown.wait(), _HOLD)
                except TimeoutError:
                    chunks = list(merger.finish())
            else:
                await grown.wait()
    finally:
        if reader is not None:
            reader.close()
        if live is not None and grown is not None:
            live.unwatch_log(grown)
            await live.unpin(reader_number)


def log_end(directory: Path) -> tuple[int, int]:
    """Return the present end of a log that has begun, as a place to read from."""
    number = segments(directory)[-1]
    with (directory / segment_name(number)).open("rb") as file:
        return number, whole_end(file.fileno())


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

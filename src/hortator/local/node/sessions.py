"""Conversations with processes: exec, attach and port-forward as :class:`~hortator.local.streams.Session`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from hortator.local.streams import STDERR, STDOUT

if TYPE_CHECKING:
    from .container import ContainerProcess

__all__ = ["AttachSession", "FailedSession", "PortSession", "ProcessSession"]

_CHUNK = 1 << 18


async def _ready(fd: int, *, reading: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
    add(fd, _settle, ready)
    try:
        await ready
    finally:
        remove(fd)


class ProcessSession:
    """A program started by exec. Its descriptors are ours; nothing in between copies."""

    def __init__(
        self,
        stdin: int,
        outputs: dict[int, int],
        ended: asyncio.Future[int],
        hang_up: Callable[[signal.Signals], Awaitable[None]],
        terminal: int = -1,
    ) -> None:
        self._stdin = stdin
        self._outputs = outputs  # descriptor -> stream
        self._ended = ended
        self._hang_up = hang_up
        self._terminal = terminal
        for fd in {*outputs, *([stdin] if stdin >= 0 else [])}:
            os.set_blocking(fd, False)

    @classmethod
    def on_pipes(
        cls, ends: list[int], ended: asyncio.Future[int], hang_up: Callable[[signal.Signals], Awaitable[None]]
    ) -> ProcessSession:
        """A session over three pipes (the first may be -1)."""
        return cls(ends[0], {ends[1]: STDOUT, ends[2]: STDERR}, ended, hang_up)

    @classmethod
    def on_terminal(
        cls,
        master: int,
        ended: asyncio.Future[int],
        hang_up: Callable[[signal.Signals], Awaitable[None]],
        *,
        stdin: bool,
    ) -> ProcessSession:
        """A session over a terminal."""
        writing = os.dup(master) if stdin else -1
        return cls(writing, {master: STDOUT}, ended, hang_up, terminal=master)

    async def write(self, data: bytes) -> None:
        """Write to standard input; waits while the program does not read; silently ends when it has gone."""
        view = memoryview(data)
        while view and self._stdin >= 0:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                waiting = asyncio.ensure_future(_ready(self._stdin, reading=False))
                await asyncio.wait((waiting, self._ended), return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait((waiting,))
                    return
            except OSError:
                await self.close_stdin()

    async def close_stdin(self) -> None:
        """Let the program read end-of-file; on a terminal by its end-of-file character."""
        if self._stdin < 0:
            return
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                os.write(self._stdin, b"\x04")
        os.close(self._stdin)
        self._stdin = -1

    async def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal; without a terminal nothing happens."""
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (stream, bytes) until every output is at its end, or the program has ended and they are empty."""
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        self._ended.add_done_callback(lambda _: wake.set())
        try:
            while self._outputs:
                ended = self._ended.done()
                quiet = True
                for fd, stream in list(self._outputs.items()):
                    try:
                        data = os.read(fd, _CHUNK)
                    except BlockingIOError:
                        continue
                    except OSError:  # a terminal whose last user has gone
                        data = b""
                    quiet = False
                    if data:
                        yield stream, data
                        # The consumer may have waited long; whoever else is ready goes first.
                        continue
                    del self._outputs[fd]
                    os.close(fd)
                    if fd == self._terminal:
                        self._terminal = -1
                if quiet:
                    # A daemon that the program left behind may hold the outputs open; the program has ended.
                    if ended:
                        return
                    for fd in self._outputs:
                        loop.add_reader(fd, wake.set)
                    await wake.wait()
                    wake.clear()
                    for fd in self._outputs:
                        loop.remove_reader(fd)
        finally:
            for fd in self._outputs:
                loop.remove_reader(fd)

    async def wait(self) -> int:
        """Return the exit code."""
        return await asyncio.shield(self._ended)

    async def close(self, how: signal.Signals = signal.SIGHUP) -> None:
        """End the program by a signal to its session, if it has not ended, and release everything."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1
        for fd in self._outputs:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
        self._outputs.clear()
        self._terminal = -1
        await self._hang_up(how)


class AttachSession:
    """The main program of a container, from now on."""

    def __init__(
        self,
        container: ContainerProcess,
        log: Callable[[str], AsyncGenerator[bytes, None]],
        *,
        stdin: bool,
        tty: bool,
        stdin_once: bool,
    ) -> None:
        self._container = container
        self._log = log
        self._stdin = stdin
        self._stdin_once = stdin_once
        self._queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(16)
        streams = [(STDOUT, "Stdout")] if tty else [(STDOUT, "Stdout"), (STDERR, "Stderr")]
        self._tasks = {asyncio.create_task(self._follow(stream, name)) for stream, name in streams}

    async def _follow(self, stream: int, name: str) -> None:
        try:
            async with contextlib.aclosing(self._log(name)) as chunks:
                async for chunk in chunks:
                    await self._queue.put((stream, chunk))
        finally:
            await self._queue.put(None)

    async def write(self, data: bytes) -> None:
        """Write to the program's standard input."""
        if self._stdin:
            await self._container.write_stdin(data)

    async def close_stdin(self) -> None:
        """End its standard input if the container says that it has only one attachment (``stdinOnce``)."""
        if self._stdin and self._stdin_once:
            self._container.close_stdin()

    async def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal."""
        self._container.resize(columns, rows)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield what it writes since the session began, until it ends."""
        left = len(self._tasks)
        while left:
            item = await self._queue.get()
            if item is None:
                left -= 1
            else:
                yield item

    async def wait(self) -> int:
        """Return the container's exit code."""
        return (await self._container.wait()).code

    async def close(self) -> None:
        """Let go; the container goes on."""
        for task in self._tasks:
            task.cancel()
        # A full queue must not hold the readers, who put their last word into it.
        while not all(task.done() for task in self._tasks):
            while not self._queue.empty():
                self._queue.get_nowait()
            await asyncio.wait(self._tasks, timeout=0.01)


class PortSession:
    """A connection to a port of a pod."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._done = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """Send; silently ends when the peer has gone."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        """Half-close the connection."""
        with contextlib.suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """A connection has no size."""

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield what arrives until the peer closes."""
        try:
            while data := await self._reader.read(_CHUNK):
                yield STDOUT, data
        except ConnectionError:
            return
        finally:
            self._done.set()

    async def wait(self) -> int:
        """Return 0 once the peer has closed."""
        await self._done.wait()
        return 0

    async def close(self) -> None:
        """Close the connection."""
        self._done.set()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class FailedSession:
    """A command that could not be started: the reason on standard error, and a shell's exit code for it."""

    def __init__(self, message: str, code: int) -> None:
        self._message = message
        self._code = code

    async def write(self, data: bytes) -> None:
        """Nobody reads it."""

    async def close_stdin(self) -> None:
        """Nobody reads it."""

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the reason."""
        yield STDERR, self._message.encode() + b"\n"

    async def wait(self) -> int:
        """Return the exit code."""
        return self._code

    async def close(self) -> None:
        """Nothing to release."""


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

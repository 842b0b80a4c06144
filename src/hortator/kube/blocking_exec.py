"""A command in a container, as a blocking program sees it: its streams and its exit code.

The protocol is that of ``channels`` in the frames of ``websocket``; one thread does everything.
Stdlib only, quick to import: a remote-shell agent is little more than :meth:`BlockingExec.pump`.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque

from hortator.kube import channels, websocket
from hortator.kube.wire import unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from hortator.kube.errors import KubeError
    from hortator.kube.wire import Wire

__all__ = ["BlockingExec"]

_PIECE = 32 * 1024
#: Unsent bytes beyond which no more standard input is read.
_FULL = 8 * _PIECE
#: client-go's rhythm and patience on a network (v0.36, seconds).
_PING_PERIOD = 5.0
_PATIENCE = 60.0


class BlockingExec:
    """A running command. For one thread; :meth:`pump` moves both directions at once, the rest one at a time."""

    def __init__(self, wire: Wire, protocol: str, leftover: bytes = b"") -> None:
        self._wire = wire
        self.protocol = protocol
        self._frames = websocket.FrameDecoder()
        self._outbox = bytearray()
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._status: bytes | None = None
        self._ended = False
        self._heard = time.monotonic()
        self._pinged = self._heard
        if leftover:
            self._take(leftover)

    def __enter__(self) -> BlockingExec:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._wire.fileno()

    def send(self, data: bytes) -> None:
        """Write to the command's standard input; output that comes meanwhile is kept. Raises ``StreamClosed``."""
        self._queue_stdin(data)
        self._flush()

    def close_stdin(self) -> None:
        """Let the command read end-of-file. Raises ``StreamClosed`` when the server speaks only v4."""
        self._queue_end()
        self._flush()

    def resize(self, columns: int, rows: int) -> None:
        """Tell the command's terminal its size."""
        self._queue(channels.RESIZE, b'{"Width":%d,"Height":%d}' % (columns, rows))
        self._flush()

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Yield (``channels.STDOUT`` or ``STDERR``, bytes) until the command has ended. Raises ``StreamClosed``."""
        while True:
            while self._inbox:
                yield self._inbox.popleft()
            if self._status is not None:
                return
            self._check_open()
            self._step()

    def wait(self) -> int:
        """Return the exit code, dropping what output is left.

        Raises ``ApiError`` when the command could not be run and ``StreamClosed`` when the connection ended first.
        """
        for _ in self.output():
            pass
        assert self._status is not None  # noqa: S101 - output() ends only then
        code = channels.exit_code(self._status)
        if code is None:
            from hortator.kube.streams import command_error

            raise command_error(self._status)
        return code

    def pump(self, *, stdin: int | None, stdout: int, stderr: int) -> int:
        """Join the command to three descriptors until it ends; return its exit code.

        End-of-file on ``stdin`` reaches the command; output is written as it comes, and a reader that does not read
        holds the command up. Raises as :meth:`wait`, and ``BrokenPipeError`` when nobody reads any more.
        """
        targets = {channels.STDOUT: stdout, channels.STDERR: stderr}
        while True:
            while self._inbox:
                channel, data = self._inbox.popleft()
                _write(targets[channel], data)
            if self._status is not None:
                return self.wait()
            self._check_open()
            readable = self._step(stdin if len(self._outbox) < _FULL else None)
            if readable and stdin is not None:
                data = os.read(stdin, _PIECE)
                if data:
                    self._queue_stdin(data)
                else:
                    stdin = None
                    self._queue_end()

    def close(self) -> None:
        """Hang up; a command that still runs is ended by its node."""
        farewell = b""
        if not self._ended and not self._outbox:
            farewell = websocket.encode_frame(websocket.CLOSE, websocket.close_payload(1000), mask=True)
        self._ended = True
        self._wire.close(farewell)

    def _queue(self, channel: int, data: bytes) -> None:
        self._outbox += websocket.encode_frame(websocket.BINARY, bytes((channel,)) + data, mask=True)

    def _queue_stdin(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            self._queue(channels.STDIN, data[start : start + _PIECE])

    def _queue_end(self) -> None:
        if self.protocol != channels.V5:
            raise _closed(f"the server speaks {self.protocol}, which cannot end standard input")
        self._queue(channels.CLOSE, bytes((channels.STDIN,)))

    def _flush(self) -> None:
        while self._outbox:
            if self._status is not None:
                self._outbox.clear()  # nobody is left to read it
                return
            self._check_open()
            self._step()

    def _check_open(self) -> None:
        if self._ended:
            raise _closed("the connection was closed before the command's exit code came")

    def _step(self, also: int | None = None) -> bool:
        """Wait until something can be done, and do it; return whether the other descriptor can be read."""
        poll = select.poll()
        poll.register(self._wire, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        if also is not None:
            poll.register(also, select.POLLIN)
        events = dict(poll.poll(0 if self._wire.pending() else self._wait()))
        if self._outbox and events.get(self._wire.fileno(), 0) & select.POLLOUT:
            del self._outbox[: self._wire.try_send(self._outbox)]
        if self._wire.pending() or events.get(self._wire.fileno(), 0) & ~select.POLLOUT:
            data = self._wire.try_receive()
            if data:
                self._take(data)
            elif data is not None:
                self._ended = True
        return also is not None and bool(events.get(also))

    def _wait(self) -> int | None:
        """Return the milliseconds to wait; on a network, ask for a sign of life when it is time."""
        if self._wire.is_local:
            return None
        now = time.monotonic()
        if now - self._heard > _PATIENCE:
            raise unavailable("the command's connection", f"silent for {_PATIENCE:g} s")
        if now - self._pinged >= _PING_PERIOD:
            self._pinged = now
            self._outbox += websocket.encode_frame(websocket.PING, b"", mask=True)
            return 0
        return int(1000 * (self._pinged + _PING_PERIOD - now)) + 1

    def _take(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            for opcode, payload in self._frames.feed(data):
                if opcode == websocket.PING:
                    self._outbox += websocket.encode_frame(websocket.PONG, payload, mask=True)
                elif opcode == websocket.CLOSE:
                    self._ended = True
                elif opcode in (websocket.BINARY, websocket.TEXT) and len(payload) > 1:
                    self._deliver(payload[0], payload[1:])
        except websocket.WebSocketError as error:
            raise _closed(f"the server's stream cannot be read: {error}") from error

    def _deliver(self, channel: int, data: bytes) -> None:
        if channel == channels.ERROR:
            self._status = data
        elif channel in (channels.STDOUT, channels.STDERR):
            self._inbox.append((channel, data))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Somebody made the descriptor non-blocking; it may be shared, so it stays so.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def _closed(message: str) -> KubeError:
    from hortator.kube.errors import StreamClosed

    return StreamClosed(message)

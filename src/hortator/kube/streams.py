"""A program's side of a conversation with a pod: a command's streams, or a connection to a port.

The channels are those of :mod:`hortator.kube.channels`; the messages travel over any ``Duplex``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from hortator.kube import channels
from hortator.kube.errors import InvalidAnswer, KubeError, StreamClosed, error_from_status
from hortator.kube.http import Duplex

__all__ = ["ExecStream", "PortStream", "command_error"]

#: Biggest piece of standard input in one message.
_PIECE = 32 * 1024


class ExecStream:
    """A command in a container. Read :meth:`output` (or call :meth:`wait`), then :meth:`close` it."""

    def __init__(self, duplex: Duplex, protocol: str) -> None:
        self._duplex = duplex
        self.protocol = protocol
        self._status: bytes | None = None

    async def __aenter__(self) -> ExecStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, data: bytes) -> None:
        """Write to the command's standard input. Raises ``StreamClosed`` when the conversation is over."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            await self._send(channels.STDIN, view[start : start + _PIECE])

    async def close_stdin(self) -> None:
        """Let the command read end-of-file.

        Raises ``StreamClosed`` when the server speaks only v4, which cannot say so, or has gone.
        """
        if self.protocol != channels.V5:
            raise StreamClosed(f"the server speaks {self.protocol}, which cannot end standard input")
        await self._send(channels.CLOSE, bytes((channels.STDIN,)))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the command's terminal its size."""
        await self._send(channels.RESIZE, json.dumps({"Width": columns, "Height": rows}).encode())

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (``STDOUT`` or ``STDERR`` of channels, bytes) until the end. Raises ``StreamClosed``."""
        while self._status is None:
            try:
                message = await self._duplex.receive()
            except ConnectionError as error:
                raise StreamClosed("the connection broke before the command ended") from error
            if message is None:
                raise StreamClosed("the connection was closed before the command's exit code came")
            if len(message) < 2:
                continue
            if message[0] == channels.ERROR:
                self._status = message[1:]
            elif message[0] in (channels.STDOUT, channels.STDERR):
                yield message[0], message[1:]

    async def wait(self) -> int:
        """Return the exit code; output that has not been read yet is dropped.

        Raises ``ApiError`` when the command could not be run, ``StreamClosed`` as :meth:`output`.
        """
        async for _ in self.output():
            pass
        assert self._status is not None  # noqa: S101 - output() ends only then
        code = channels.exit_code(self._status)
        if code is None:
            raise command_error(self._status)
        return code

    async def close(self) -> None:
        """Hang up; a command that still runs is ended by the node."""
        await self._duplex.close()

    async def _send(self, channel: int, data: bytes | memoryview) -> None:
        try:
            await self._duplex.send(bytes((channel,)) + data)
        except ConnectionError as error:
            raise StreamClosed("the command's connection is closed") from error


def command_error(status: bytes) -> KubeError:
    """Return the error for a Status that has no exit code: the command could not be run."""
    try:
        document = json.loads(status)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return InvalidAnswer(f"the command's status cannot be read: {status[:200]!r}")
    return error_from_status({**document, "code": document.get("code") or 500})


class PortStream:
    """A TCP connection to a port of a pod, through the API server."""

    def __init__(self, duplex: Duplex, port: int) -> None:
        self._duplex = duplex
        self.port = port
        # Each channel opens with two bytes that repeat the port number.
        self._greeted: set[int] = set()

    async def send(self, data: bytes) -> None:
        """Write to the connection. Raises ``ConnectionError`` when it has gone."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            await self._duplex.send(b"\x00" + view[start : start + _PIECE])

    async def receive(self) -> bytes | None:
        """Return what the pod sent, None at the end. Raises ``StreamClosed`` with the server's error."""
        while True:
            message = await self._duplex.receive()
            if message is None:
                return None
            channel, data = message[0] if message else 0, message[1:]
            if channel not in self._greeted:
                self._greeted.add(channel)
                data = data[2:]
            if not data:
                continue
            if channel == 1:
                raise StreamClosed(f"port {self.port}: {data.decode('utf-8', 'replace')}")
            return data

    async def close(self) -> None:
        """Close the connection."""
        await self._duplex.close()

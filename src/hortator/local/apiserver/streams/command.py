"""exec and attach: a session with a container over WebSocket channels or SPDY streams.

Takes a started :class:`~hortator.local.streams.Session` and moves bytes until its output is at an end, then says
how it went in a Status, as remote command protocols 4 and 5 have it. Starting the session is :mod:`..handlers.pods`'.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from hortator.kube.http import Duplex
from hortator.local.apiserver.streams import channels
from hortator.local.apiserver.streams.channels import ByteStream
from hortator.local.apiserver.streams.spdy import SpdyConnection, SpdyStream
from hortator.local.streams import STDERR, STDOUT, Session

__all__ = ["SPDY_PROTOCOLS", "WEBSOCKET_PROTOCOLS", "Wanted", "over_spdy", "over_websocket"]

#: A client that offers none is taken to speak the first version.
WEBSOCKET_PROTOCOLS = (channels.V5, channels.V4, channels.V1, "")
SPDY_PROTOCOLS = (channels.V5, channels.V4)
_STREAMS_SECONDS = 30.0
#: Of standard input that a program has not read yet; a client that sends more is not listened to meanwhile.
_UNREAD_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams the client asked for, and whether it is told the exit code (upstream: for exec, not for attach)."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    exit_code: bool = True


def status_of(code: int) -> dict[str, Any]:
    """Return the Status that ends a session, from its exit code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        "code": 500,
    }


def plain_status(status: dict[str, Any]) -> bytes:
    """Return a status as the first version of the protocol says it: what went wrong, in words."""
    return str(status.get("message", "")).encode()


async def over_websocket(
    duplex: Duplex, session: Session, wanted: Wanted, protocol: str = channels.V5
) -> None:
    """Serve a session on a WebSocket until the command has ended or the client has gone."""
    encode = plain_status if protocol in (channels.V1, "") else msgspec.json.encode

    async def send(channel: int, data: bytes) -> None:
        await duplex.send(bytes((channel,)) + data)

    async def read() -> None:
        stdin = _Input(session)
        feeding = asyncio.ensure_future(stdin.feed())
        try:
            while (message := await duplex.receive()) is not None:
                if not message:
                    continue
                channel, data = message[0], message[1:]
                if channel == channels.STDIN and wanted.stdin:
                    await stdin.put(data)
                elif channel == channels.RESIZE:
                    await _resize(session, data)
                elif channel == channels.CLOSE and data[:1] == bytes((channels.STDIN,)):
                    await stdin.put(None)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    # An empty message tells clients of the older versions that the other side is there.
    await send(channels.STDOUT if wanted.stdout or not wanted.stderr else channels.STDERR, b"")
    await _serve(session, wanted, read, send, encode)
    await duplex.close()


async def over_spdy(channel: ByteStream, session: Session, wanted: Wanted) -> None:
    """Serve a session on a SPDY connection until the command has ended or the client has gone."""
    connection = SpdyConnection(channel)
    reader = asyncio.create_task(connection.run())
    try:
        streams = await _streams(connection, wanted)
        if streams is None:
            return

        async def send(number: int, data: bytes) -> None:
            name = {channels.STDOUT: "stdout", channels.STDERR: "stderr", channels.ERROR: "error"}[number]
            stream = streams.get(name)
            if stream is not None and data:
                await stream.send(data)

        async def read() -> None:
            async with asyncio.TaskGroup() as group:
                tasks = []
                if (stdin := streams.get("stdin")) is not None:
                    tasks.append(group.create_task(_feed(session, stdin)))
                if (resize := streams.get("resize")) is not None:
                    tasks.append(group.create_task(_resizes(session, resize)))
                await asyncio.wait((reader,))
                # The client has gone; a program that does not read its input may hold a task up for ever.
                for task in tasks:
                    task.cancel()

        await _serve(session, wanted, read, send)
        for stream in streams.values():
            await stream.close()
    finally:
        # The client closes the connection once it has read the status; a client that does not is not waited for.
        with contextlib.suppress(TimeoutError, ConnectionError, asyncio.CancelledError):
            async with asyncio.timeout(_STREAMS_SECONDS):
                await asyncio.shield(reader)
        reader.cancel()
        await session.close()
        await connection.close()


async def _serve(
    session: Session,
    wanted: Wanted,
    read: Callable[[], Awaitable[None]],
    send: Callable[[int, bytes], Awaitable[None]],
    encode: Callable[[dict[str, Any]], bytes] = msgspec.json.encode,
) -> None:
    """Move bytes in both directions; the output's end ends it, and so does the client."""

    async def pump() -> None:
        async for descriptor, data in session.output():
            if (descriptor == STDOUT and wanted.stdout) or (descriptor == STDERR and wanted.stderr):
                await send(descriptor, data)
        code = await session.wait()
        status = encode(status_of(code if wanted.exit_code else 0))
        if status:
            await send(channels.ERROR, status)

    writing = asyncio.ensure_future(pump())
    reading = asyncio.ensure_future(read())
    try:
        await asyncio.wait((writing, reading), return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            with contextlib.suppress(ConnectionError):
                writing.result()
    finally:
        for task in (writing, reading):
            task.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)
        await session.close()


class _Input:
    """Standard input on its way to a program that may not read it: what else the client says does not wait for that."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unread = 0
        self._taken = asyncio.Event()

    async def put(self, data: bytes | None) -> None:
        """Take bytes, or the end; waits while very much is unread."""
        self._queue.put_nowait(data)
        self._unread += len(data or b"")
        while self._unread > _UNREAD_LIMIT:
            self._taken.clear()
            await self._taken.wait()

    async def feed(self) -> None:
        """Hand everything to the program until the end."""
        while (data := await self._queue.get()) is not None:
            await self._session.write(data)
            self._unread -= len(data)
            self._taken.set()
        await self._session.close_stdin()


async def _streams(connection: SpdyConnection, wanted: Wanted) -> dict[str, SpdyStream] | None:
    """Wait for the streams that the client's query announced."""
    expected = 1 + wanted.stdin + wanted.stdout + (wanted.stderr and not wanted.tty) + wanted.tty
    found: dict[str, SpdyStream] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STREAMS_SECONDS):
            while len(found) < expected:
                stream = await connection.accept()
                if stream is None:
                    return None
                found[stream.headers.get("streamtype", "")] = stream
    return found if "error" in found else None


async def _feed(session: Session, stdin: SpdyStream) -> None:
    while (data := await stdin.receive()) is not None:
        await session.write(data)
    await session.close_stdin()


async def _resizes(session: Session, stream: SpdyStream) -> None:
    while (data := await stream.receive()) is not None:
        await _resize(session, data)


async def _resize(session: Session, data: bytes) -> None:
    try:
        size = msgspec.json.decode(data)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return  # not a size: upstream ignores it too
    await session.resize(columns, rows)

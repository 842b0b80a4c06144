"""port-forward: connections to a pod's ports over SPDY streams (raw or tunnelled) or WebSocket channels.

SPDY: the client opens a pair of streams (``error`` and ``data``, joined by ``requestid``) for each connection. Channels
(``v4.channel.k8s.io``, used by other clients than kubectl): channels 2i and 2i+1 are data and error of the i-th port of the
query, and begin with the port as two little-endian bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Sequence

from hortator.kube.http import Duplex
from hortator.local.apiserver.streams.channels import ByteStream
from hortator.local.apiserver.streams.spdy import SpdyConnection, SpdyStream
from hortator.local.streams import NotRunning, Session

__all__ = ["CHANNEL_PROTOCOLS", "SPDY_PROTOCOL", "TUNNEL_PROTOCOL", "over_channels", "over_spdy"]

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io",)

#: Connects to a port of the pod. Raises ``OSError`` or :class:`~hortator.local.streams.NotRunning`.
Connect = Callable[[int], Awaitable[Session]]


async def over_spdy(channel: ByteStream, connect: Connect) -> None:
    """Serve connections until the client ends the SPDY connection."""
    connection = SpdyConnection(channel)
    waiting: dict[str, dict[str, SpdyStream]] = {}
    forwards: set[asyncio.Task[None]] = set()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(connection.run())
            while (stream := await connection.accept()) is not None:
                request = stream.headers.get("requestid", "")
                pair = waiting.setdefault(request, {})
                pair[stream.headers.get("streamtype", "")] = stream
                if "data" in pair and "error" in pair:
                    del waiting[request]
                    task = group.create_task(_forward(pair["data"], pair["error"], connect))
                    forwards.add(task)
                    task.add_done_callback(forwards.discard)
            # The client has gone; what it was connected to may have nothing more to say, ever.
            for task in forwards:
                task.cancel()
    except* ConnectionError:
        pass  # the client has gone, which is how a port-forward ends
    finally:
        await connection.close()


async def _forward(data: SpdyStream, error: SpdyStream, connect: Connect) -> None:
    text = data.headers.get("port", "")
    try:
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise ValueError(f"{text!r} is not a port")
        session = await connect(int(text))
    except (OSError, NotRunning, ValueError) as problem:
        await error.send(f"error forwarding port {text} to pod: {problem}".encode())
        await error.close()
        await data.close()
        return
    await error.close()

    async def inward() -> None:
        while (chunk := await data.receive()) is not None:
            await session.write(chunk)
        await session.close_stdin()

    async def outward() -> None:
        with contextlib.suppress(ConnectionError):
            async for _, chunk in session.output():
                await data.send(chunk)

    await _both(inward, outward, session)
    await data.close()


async def over_channels(duplex: Duplex, ports: Sequence[int], connect: Connect) -> None:
    """Serve one connection for each port of the query until the client closes the WebSocket."""
    sessions: dict[int, Session] = {}

    async def outward(index: int, session: Session) -> None:
        async for _, chunk in session.output():
            await duplex.send(bytes((2 * index,)) + chunk)
        # There is no way to close one channel; with a single port the end of the WebSocket says it.
        if len(ports) == 1:
            await duplex.close()

    try:
        async with asyncio.TaskGroup() as group:
            for index, port in enumerate(ports):
                prefix = struct.pack("<H", port)
                await duplex.send(bytes((2 * index,)) + prefix)
                await duplex.send(bytes((2 * index + 1,)) + prefix)
                try:
                    sessions[index] = session = await connect(port)
                except (OSError, NotRunning) as problem:
                    text = f"error forwarding port {port} to pod: {problem}"
                    await duplex.send(bytes((2 * index + 1,)) + text.encode())
                    continue
                group.create_task(outward(index, session))
            while (message := await duplex.receive()) is not None:
                if not message:
                    continue
                found = sessions.get(message[0] // 2) if message[0] % 2 == 0 else None
                if found is not None and len(message) > 1:
                    await found.write(message[1:])
            for session in sessions.values():
                await session.close_stdin()
                await session.close()
    except* ConnectionError:
        pass  # the client has gone
    finally:
        for session in sessions.values():
            await session.close()
        await duplex.close()


async def _both(
    inward: Callable[[], Awaitable[None]], outward: Callable[[], Awaitable[None]], session: Session
) -> None:
    """Run both directions until the pod's side has ended."""
    reading = asyncio.ensure_future(inward())
    try:
        await outward()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await session.close()

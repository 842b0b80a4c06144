"""The health question, against a server that speaks as much HTTP/2 as the answer needs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from hortator.local.node.grpchealth import HealthFailed, check_health

REAL_TIME = True

SETTINGS, PING, HEADERS, DATA, RST, GOAWAY = 4, 6, 1, 0, 3, 7


def frame(kind: int, flags: int = 0, stream: int = 1, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def health(number: int) -> bytes:
    """Return the frames of an answer: headers, one message, headers that end the stream."""
    message = bytes((0x08, number)) if number else b""
    data = b"\0" + len(message).to_bytes(4) + message
    return frame(HEADERS, 4, payload=b"\x88") + frame(DATA, 0, payload=data) + frame(HEADERS, 5)


class Server:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._serving: list[asyncio.Task[None]] = []
        self.port = 0
        self.asked = b""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            await asyncio.gather(*self._serving)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        writer.write(frame(SETTINGS, 0, 0) + frame(PING, 0, 0, b"12345678"))
        seen: dict[tuple[int, int], bytes] = {}
        # The question, and both of our own frames acknowledged.
        while not {(DATA, 1), (SETTINGS, 1), (PING, 1)} <= seen.keys():
            head = await reader.readexactly(9)
            seen[head[3], head[4]] = await reader.readexactly(int.from_bytes(head[:3]))
        assert seen[PING, 1] == b"12345678"
        self.asked = seen[DATA, 1]
        writer.write(self._answer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize(("service", "asked"), [("", b"\0\0\0\0\0"), ("a.b", b"\0\0\0\0\x05\x0a\x03a.b")])
async def test_a_service_that_serves_is_healthy(service: str, asked: bytes) -> None:
    async with Server(health(1)).serving() as server:
        await check_health("127.0.0.1", server.port, service)
        assert server.asked == asked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (health(2), 'service unhealthy .responded with "NOT_SERVING".'),
        (health(0), 'service unhealthy .responded with "UNKNOWN".'),
        (frame(HEADERS, 5), "answered without a health status"),
        (frame(RST, payload=b"\0\0\0\1"), "answered without a health status"),
        (frame(GOAWAY, 0, 0, b"\0" * 8), "answered without a health status"),
        (b"", "the connection was closed"),
    ],
)
async def test_every_other_answer_is_a_failure(answer: bytes, message: str) -> None:
    async with Server(answer).serving() as server:
        with pytest.raises(HealthFailed, match=message):
            await check_health("127.0.0.1", server.port, "")


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(
        HealthFailed,
        match=f'failed to connect service at "127.0.0.1:{port}": dial tcp .*: connect: connection refused',
    ):
        await check_health("127.0.0.1", port, "")

"""The sockets in front of an API server: a Unix socket for the owner, and TLS on a loopback address for kubectl.

Turns HTTP into :class:`~hortator.kube.http.Request` and back, WebSockets and raw upgrades included, and knows nothing of
Kubernetes. Built on aiohttp's low-level server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from aiohttp import WSMsgType, web

from hortator.kube.http import Duplex, Handler, Request, Response
from hortator.local.apiserver.bodies import MAX_BODY

__all__ = ["AddressInUse", "HttpServer", "RawStream"]

log = logging.getLogger(__name__)
# Where aiohttp tells of requests that are no HTTP: the client is answered 400, and the log is not the client's to fill.
_requests_log = logging.getLogger(f"{__name__}.requests")
_requests_log.setLevel(logging.CRITICAL)

#: A reader that takes nothing for so long is given up.
_WRITE_SECONDS = 60.0
#: A body that has not arrived after so long is given up (upstream's request timeout).
_BODY_SECONDS = 60.0
_RAW_LIMIT = 256 * 1024
#: Bytes of a request line, which large selectors need; upstream allows as much for all headers together.
_MAX_LINE = 1024 * 1024
_MAX_FIELD = 64 * 1024


class AddressInUse(Exception):
    """Raised when somebody else listens on the address already."""

    def __init__(self, address: str, advice: str) -> None:
        super().__init__(f"{address} is in use by another program. {advice}")
        self.address = address
        self.advice = advice


class RawStream(asyncio.Protocol):
    """The bytes of a connection that left HTTP behind (SPDY)."""

    def __init__(self, transport: asyncio.Transport, http: asyncio.Protocol, tail: bytes) -> None:
        self._transport = transport
        self._http = http
        self._data = bytearray(tail)
        self._ended = False
        self._lost = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; stop reading while nobody takes it."""
        self._data += data
        self._readable.set()
        if len(self._data) > _RAW_LIMIT:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note that the peer sends nothing more; the other direction stays open."""
        self._ended = True
        self._readable.set()
        return not isinstance(self._transport.get_extra_info("sslcontext"), ssl.SSLContext)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody up, and let the HTTP side forget the connection."""
        self._ended = self._lost = True
        self._readable.set()
        self._writable.set()
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hold writers back."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    async def read(self) -> bytes:
        """Return what has arrived, at least a byte; nothing when the peer has ended."""
        while not self._data and not self._ended:
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._data)
        self._data.clear()
        if not self._lost:
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the peer is slow. Raises ``ConnectionError`` when it has gone."""
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError("the peer has gone")
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    async def close(self) -> None:
        """Close the connection after what was written."""
        self._transport.close()


class _WebSocket:
    """A WebSocket as a duplex of binary messages."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: bytes) -> None:
        await self._socket.send_bytes(message)

    async def receive(self) -> bytes | None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                return cast(bytes, message.data)
            if message.type is WSMsgType.TEXT:
                return cast(str, message.data).encode()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return None

    async def close(self) -> None:
        await self._socket.close()


class HttpServer:
    """Listens for one handler. Start it on the running loop; stop it before the loop ends."""

    def __init__(
        self,
        handler: Handler,
        *,
        socket_path: Path | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on ``socket_path`` (0600), and on ``host`` and ``port`` with ``tls``; port 0 takes a free one."""
        self._handler = handler
        self._socket_path = socket_path
        self._host = host
        self._wanted_port = port
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._web = web.Server(
            self._answer,
            handler_cancellation=True,
            access_log=None,
            # Also how long a new connection may take to send the headers of its first request.
            keepalive_timeout=75.0,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_FIELD,
            logger=_requests_log,
        )
        #: The port that is listened on, once started.
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises :class:`AddressInUse`, or ``OSError`` for anything else."""
        loop = asyncio.get_running_loop()
        if self._socket_path is not None:
            listener = _unix_listener(self._socket_path)
            self._servers.append(await loop.create_unix_server(self._web, sock=listener))
        if self._wanted_port is not None:
            if self._tls is None:
                raise ValueError("a port needs TLS")
            try:
                server = await loop.create_server(self._web, self._host, self._wanted_port, ssl=self._tls)
            except OSError as error:
                await self.stop()
                if error.errno in (98, 48):
                    raise AddressInUse(f"port {self._wanted_port}", "Choose another port.") from error
                raise
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listeners and every connection."""
        for server in self._servers:
            server.close()
        self._web.pre_shutdown()  # connections that are idle close now, the others get a moment
        await self._web.shutdown(2.0)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)

    async def _answer(self, received: web.BaseRequest) -> web.StreamResponse:
        raw_path, _, raw_query = received.raw_path.partition("?")
        hijacked: list[RawStream] = []

        async def hijack() -> RawStream:
            stream = _take_over(received)
            hijacked.append(stream)
            return stream

        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _body(received)
        except TimeoutError:
            received.protocol.close()
            return web.Response(status=408, text="the request's body did not arrive in time")
        request = Request(
            received.method,
            unquote(raw_path) if "%" in raw_path else raw_path,
            tuple(parse_qsl(raw_query, keep_blank_values=True)) if raw_query else (),
            received.headers,
            body,
            peer=_peer(received) if self._tls is not None else None,
            hijack=hijack,
        )
        response = await self._handler(request)
        if hijacked:
            # The connection is no longer HTTP's; whatever is returned here finds it closed.
            with contextlib.suppress(ConnectionError):
                await hijacked[0].close()
            return web.Response(status=200)
        if response.converse is not None:
            return await _converse(received, response.subprotocol, response.converse)
        if response.stream is not None:
            return await _stream(received, response, response.stream)
        answer = web.Response(status=response.status, headers=cast(Any, response.headers), body=response.body)
        if len(body) > MAX_BODY:
            answer.force_close()  # says so to the client, who would use the connection again
        return answer


async def _body(received: web.BaseRequest) -> bytes:
    """Return the body; of one that is too large, just enough for the server to see that."""
    if not received.body_exists:
        return b""
    chunks: list[bytes] = []
    size = 0
    async for chunk in received.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            received.protocol.close()  # the rest is not worth reading; the connection ends after the answer
            break
    return b"".join(chunks)


async def _stream(
    received: web.BaseRequest, response: Response, stream: AsyncIterator[bytes]
) -> web.StreamResponse:
    answer = web.StreamResponse(status=response.status, headers=cast(Any, response.headers))
    try:
        await answer.prepare(received)
        async for chunk in stream:
            async with asyncio.timeout(_WRITE_SECONDS):
                await answer.write(chunk)
        await answer.write_eof()
    except (ConnectionError, TimeoutError):
        if received.transport is not None:
            received.transport.abort()
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return answer


async def _converse(
    received: web.BaseRequest, subprotocol: str, converse: Callable[[Duplex], Awaitable[None]]
) -> web.StreamResponse:
    protocols = (subprotocol,) if subprotocol else ()
    answer = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=4 * MAX_BODY)
    await answer.prepare(received)
    with contextlib.suppress(ConnectionError):
        await converse(_WebSocket(answer))
    await answer.close()
    return answer


def _take_over(received: web.BaseRequest) -> RawStream:
    """Take the connection away from HTTP; whoever gets it answers on it."""
    transport = received.transport
    if transport is None:
        raise ConnectionResetError("the peer has gone")
    protocol = received.protocol
    tail = bytes(getattr(protocol, "_message_tail", b""))
    stream = RawStream(transport, protocol, tail)
    transport.set_protocol(stream)
    transport.resume_reading()
    return stream


def _peer(received: web.BaseRequest) -> tuple[str, tuple[str, ...]] | None:
    transport = received.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    if not certificate:
        return None
    names = [(key, value) for part in certificate.get("subject", ()) for key, value in part]
    common = next((value for key, value in names if key == "commonName"), "")
    return common, tuple(value for key, value in names if key == "organizationName")


def _unix_listener(path: Path) -> socket.socket:
    """Return a socket that only the owner can connect to, in a directory that only the owner can enter."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()  # left behind by a process that was killed
        else:
            raise AddressInUse(str(path), "Stop that cluster first.")
        finally:
            probe.close()
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(0o600)
    except BaseException:
        listener.close()
        raise
    return listener

"""A real HTTP server around a Handler, on a Unix socket or on 127.0.0.1, for tests of clients."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import WSMsgType, web

from hortator.kube.http import Handler, Request, Response


@asynccontextmanager
async def serve(
    handler: Handler, *, socket_path: Path | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve until left; gives the port (0 for a Unix socket)."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = await handler(
            Request(
                request.method,
                request.path,
                tuple(request.query.items()),
                {name.lower(): value for name, value in request.headers.items()},
                await request.read(),
            )
        )
        return await _answer(request, response)

    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=1)
    await runner.setup()
    site: web.BaseSite
    if socket_path is not None:
        site = web.UnixSite(runner, str(socket_path))
    else:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield 0 if socket_path is not None else runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _answer(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    if response.converse is not None:
        socket = web.WebSocketResponse(protocols=(response.subprotocol,), max_msg_size=0)
        await socket.prepare(request)
        await response.converse(_Socket(socket))
        await socket.close()
        return socket
    if response.stream is None:
        return web.Response(status=response.status, headers=response.headers, body=response.body)
    answer = web.StreamResponse(status=response.status, headers=response.headers)
    answer.enable_chunked_encoding()
    await answer.prepare(request)
    try:
        async for chunk in response.stream:
            await answer.write(chunk)
    finally:
        await response.stream.aclose()  # type: ignore[attr-defined]
    await answer.write_eof()
    return answer


class _Socket:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: bytes) -> None:
        await self._socket.send_bytes(message)

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        return bytes(message.data) if message.type == WSMsgType.BINARY else None

    async def close(self) -> None:
        await self._socket.close()

"""What carries a request to a Kubernetes API and its answer back.

A transport knows addresses, connections and credentials, and nothing of objects;
:class:`~hortator.kube.client.Client` knows objects and nothing of connections. The one over HTTP is in
``transport_http``. The one here calls a server in the same process: the same bytes, the same identity, the
same chain of checks, only no socket.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from hortator.kube.errors import Unavailable, error_from_answer
from hortator.kube.http import Duplex, Handler, Request, Response

__all__ = ["InProcess", "Transport"]


class Transport(Protocol):
    """How a client reaches one API server. Safe for many tasks at once."""

    async def request(self, request: Request) -> Response:
        """Return the whole answer, whatever its status code. Raises ``Unavailable`` when there is none."""

    async def stream(self, request: Request) -> Response:
        """Return the answer with ``stream`` set, as soon as its head is there.

        The caller closes ``stream`` (``aclose``). Raises ``Unavailable``, also from the stream when it breaks
        off.
        """

    async def connect(self, request: Request, subprotocols: Sequence[str]) -> tuple[Duplex, str]:
        """Open a WebSocket; return it with the agreed subprotocol.

        Raises ``ApiError`` when the server refuses and ``Unavailable`` when it does not answer.
        """

    async def close(self) -> None:
        """Close every connection. Requests under way fail with ``Unavailable``."""


class InProcess:
    """A transport to a server in this process, as the identity that ``token`` stands for."""

    def __init__(self, handler: Handler, *, token: str = "") -> None:
        self._handler = handler
        self._authorization = f"Bearer {token}" if token else ""
        self._conversations: set[asyncio.Task[None]] = set()
        self._closed = False

    async def request(self, request: Request) -> Response:
        """Call the server and collect its whole answer."""
        response = await self._call(request)
        stream = response.stream
        if stream is None:
            return response
        try:
            body = b"".join([chunk async for chunk in stream])
        finally:
            await _close_stream(stream)
        return Response(response.status, response.headers, body)

    async def stream(self, request: Request) -> Response:
        """Call the server and hand its stream over; a whole body becomes a stream of one chunk."""
        response = await self._call(request)
        if response.stream is None:
            response = Response(response.status, response.headers, stream=_one_chunk(response.body))
        return response

    async def connect(self, request: Request, subprotocols: Sequence[str]) -> tuple[Duplex, str]:
        """Ask for an upgrade as a WebSocket client would, and talk through a pair of queues."""
        headers = {
            **request.headers,
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
            "sec-websocket-protocol": ", ".join(subprotocols),
        }
        response = await self._call(replace(request, headers=headers))
        if response.status != 101 or response.converse is None:
            body = response.body
            if response.stream is not None:
                try:
                    body = b"".join([chunk async for chunk in response.stream])
                finally:
                    await _close_stream(response.stream)
            raise error_from_answer(response.status, response.headers, body)
        near, far = _Pipe.pair()
        task = asyncio.create_task(_converse(response.converse, far), name=f"conversation {request.path}")
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        return near, response.subprotocol

    async def close(self) -> None:
        """End every conversation; later calls raise ``Unavailable``."""
        self._closed = True
        tasks = list(self._conversations)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, request: Request) -> Response:
        if self._closed:
            raise Unavailable("the API server in this process", "the connection is closed")
        if self._authorization and "authorization" not in request.headers:
            request = replace(request, headers={**request.headers, "authorization": self._authorization})
        return await self._handler(request)


async def _one_chunk(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _close_stream(stream: AsyncIterator[bytes]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


async def _converse(converse: Callable[[Duplex], Awaitable[None]], far: _Pipe) -> None:
    try:
        await converse(far)
    except ConnectionError:
        # The client has gone; the server noticed while sending. That is how such a conversation ends.
        await far.close()
    except BaseException as error:
        far.fail(error)
        raise
    else:
        await far.close()


class _Pipe:
    """One end of a two-way queue of messages. A sender waits while the other end has many unread."""

    LIMIT = 64

    def __init__(self) -> None:
        self._inbox: list[bytes] = []
        self._closed = False
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._peer: _Pipe

    @classmethod
    def pair(cls) -> tuple[_Pipe, _Pipe]:
        """Return two connected ends."""
        near, far = cls(), cls()
        near._peer, far._peer = far, near
        return near, far

    async def send(self, message: bytes) -> None:
        """Hand a message to the other end. Raises ``ConnectionResetError`` when either end is closed."""
        peer = self._peer
        while not (self._closed or peer._closed) and not peer._room.is_set():
            await peer._room.wait()
        if self._closed or peer._closed:
            raise ConnectionResetError("the other side has closed the connection")
        peer._inbox.append(bytes(message))
        if len(peer._inbox) >= self.LIMIT:
            peer._room.clear()
        peer._changed.set()

    async def receive(self) -> bytes | None:
        """Return the next message, None at the end. Raises ``ConnectionResetError`` when the peer failed."""
        while True:
            if self._inbox:
                message = self._inbox.pop(0)
                if len(self._inbox) < self.LIMIT:
                    self._room.set()
                return message
            if self._error is not None:
                raise ConnectionResetError("the other side failed") from self._error
            if self._closed or self._peer._closed:
                return None
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Close both directions; what the peer has not read yet stays readable to it."""
        self._closed = True
        for end in (self, self._peer):
            end._changed.set()
            end._room.set()

    def fail(self, error: BaseException) -> None:
        """Close, and let the peer's ``receive`` raise after what is left."""
        self._peer._error = error
        self._closed = True
        for end in (self, self._peer):
            end._changed.set()
            end._room.set()

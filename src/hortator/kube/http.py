"""The values that travel between a Kubernetes client and a server, whatever carries them.

A server is a plain function ``(Request) -> Response`` (:data:`Handler`), so that the same server can be reached over
HTTP, over a Unix socket, or by a function call in the same process. What carries the bytes is a
:class:`~hortator.kube.transport.Transport`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

__all__ = ["Duplex", "Handler", "Request", "Response"]


class Duplex(Protocol):
    """A two-way stream of binary messages: a WebSocket, or its in-process twin."""

    async def send(self, message: bytes) -> None:
        """Hand one message over; waits while the peer is slow. Raises ``ConnectionError`` when the peer has gone."""

    async def receive(self) -> bytes | None:
        """Return the next message, or None when the peer has closed its side."""

    async def close(self) -> None:
        """Close both directions; repeated calls do nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. ``path`` is decoded and has no query; header names are lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Subject of a verified client certificate (common name, organizations); only a server's front end sets it.
    peer: tuple[str, tuple[str, ...]] | None = None
    #: Raw socket hand-over for protocols that are not WebSocket (SPDY); only a server's front end sets it.
    hijack: Callable[[], Awaitable[object]] | None = None

    @property
    def target(self) -> str:
        """Path and query as they stand on the request line (the path is not escaped here)."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def param(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)

    def params(self, name: str) -> list[str]:
        """Return every value of a query parameter, in order."""
        return [value for key, value in self.query if key == name]


@dataclass(slots=True)
class Response:
    """One HTTP response: a whole body, a stream of chunks, or (status 101) a conversation.

    A server that streams sets ``stream``; whoever consumes it must close the iterator (``aclose``), which is how the
    server learns that the reader has gone. A server that accepts an upgrade sets ``converse``: it is awaited
    with the accepted connection, and the conversation is over when it returns.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    #: WebSocket subprotocol that was agreed on, with ``converse``.
    subprotocol: str = ""
    converse: Callable[[Duplex], Awaitable[None]] | None = None


Handler = Callable[[Request], Awaitable[Response]]

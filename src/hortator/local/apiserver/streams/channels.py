"""The channel protocols over WebSockets: binary messages whose first byte says which stream they belong to.

``v4.channel.k8s.io`` and ``v5.channel.k8s.io`` (which can close one direction) as upstream's kubelet and API server
speak them, and the first version, which has no number (and no structured status); version 5 also carries SPDY as bytes
for port-forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hortator.kube.http import Duplex, Request

__all__ = [
    "CLOSE",
    "ERROR",
    "RESIZE",
    "STDIN",
    "ByteStream",
    "MessageBytes",
    "agree",
    "wants_spdy",
    "wants_websocket",
]

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4
CLOSE = 255

V1 = "channel.k8s.io"
V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"


def wants_websocket(request: Request) -> bool:
    """Whether the request asks to become a WebSocket."""
    return request.headers.get("upgrade", "").lower() == "websocket"


def wants_spdy(request: Request) -> bool:
    """Whether the request asks to become SPDY."""
    return request.headers.get("upgrade", "").lower() == "spdy/3.1"


def agree(request: Request, known: Sequence[str]) -> str | None:
    """Return the first subprotocol of the client's that is known, or None; ``""`` is that of a client that offers none."""
    offered = [part.strip() for part in request.headers.get("sec-websocket-protocol", "").split(",")]
    return next((protocol for protocol in offered if protocol in known), None)


class ByteStream(Protocol):
    """A two-way stream of bytes: a connection that left HTTP behind, or its likeness over WebSocket messages."""

    async def read(self) -> bytes:
        """Return what has arrived, at least a byte; nothing when the peer has ended."""

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the peer is slow. Raises ``ConnectionError`` when the peer has gone."""

    async def close(self) -> None:
        """Close the connection after what was written; repeated calls do nothing."""


class MessageBytes:
    """A WebSocket as a stream of bytes: message boundaries mean nothing."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex

    async def read(self) -> bytes:
        """Return the bytes of the next message that has any; nothing when the peer has closed."""
        while (message := await self._duplex.receive()) is not None:
            if message:
                return message
        return b""

    async def write(self, data: bytes) -> None:
        """Send bytes as one message."""
        await self._duplex.send(data)

    async def close(self) -> None:
        """Close the WebSocket."""
        await self._duplex.close()

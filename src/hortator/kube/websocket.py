"""WebSocket (RFC 6455) as bytes, without any socket: the handshake's headers and frames. Stdlib only, quick
to import.

For the blocking client, and for a server that has the raw bytes; the asynchronous client uses aiohttp's.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "FrameDecoder",
    "WebSocketError",
    "accept_key",
    "agreed_protocol",
    "close_payload",
    "encode_frame",
    "new_key",
    "upgrade_headers",
]

CONTINUATION = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """Raised when the peer breaks the protocol; ``code`` is what to close with."""

    def __init__(self, message: str, *, code: int = 1002) -> None:
        self.code = code
        super().__init__(message)


def new_key() -> str:
    """Return a fresh ``Sec-WebSocket-Key``."""
    return b2a_base64(os.urandom(16), newline=False).decode()


def accept_key(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` that belongs to a key."""
    try:
        # hashlib would load libcrypto first, for the same result.
        from _sha1 import sha1  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha1
    return b2a_base64(sha1(key.encode() + _GUID).digest(), newline=False).decode()  # noqa: S324 - the RFC's


def upgrade_headers(key: str, protocols: Sequence[str]) -> dict[str, str]:
    """Return the headers with which a client asks for a WebSocket."""
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
    }
    if protocols:
        headers["sec-websocket-protocol"] = ", ".join(protocols)
    return headers


def agreed_protocol(headers: Mapping[str, str], key: str, protocols: Sequence[str]) -> str:
    """Return the subprotocol in a server's 101 answer (lower-case names). Raises ``WebSocketError``."""
    if headers.get("sec-websocket-accept") != accept_key(key):
        raise WebSocketError("the server's answer does not belong to this handshake")
    protocol = headers.get("sec-websocket-protocol", "")
    if protocol and protocol not in protocols:
        raise WebSocketError(f"the server chose the protocol {protocol!r}, which was not offered")
    return protocol


def encode_frame(opcode: int, payload: bytes, *, mask: bool) -> bytes:
    """Return one unfragmented frame. Clients mask, servers do not."""
    length = len(payload)
    bit = 0x80 if mask else 0
    first = 0x80 | opcode
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 65536:
        head = bytes((first, bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + length.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + _mask(payload, key)


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame."""
    return code.to_bytes(2, "big") + reason.encode()[:123]


def _mask(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    # As one big number: a hundred times faster than byte by byte.
    pattern = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(length, "big")


class FrameDecoder:
    """Takes bytes from the wire and gives messages, fragments joined, control frames in between."""

    def __init__(self, *, masked: bool = False, limit: int = 64 * 1024 * 1024) -> None:
        self._masked = masked
        self._limit = limit
        self._buffer = bytearray()
        self._opcode = 0
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield each (opcode, payload) that ``data`` completes; to be exhausted before the next call.

        Raises ``WebSocketError``.
        """
        self._buffer += data
        while True:
            frame = self._frame()
            if frame is None:
                return
            final, opcode, payload = frame
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if (opcode == CONTINUATION) != bool(self._opcode):
                raise WebSocketError("a fragment without a beginning, or a message inside another")
            self._opcode = self._opcode or opcode
            self._parts.append(payload)
            self._size += len(payload)
            if self._size > self._limit:
                raise WebSocketError("the message is too big", code=1009)
            if final:
                message = b"".join(self._parts)
                opcode, self._opcode, self._parts, self._size = self._opcode, 0, [], 0
                yield opcode, message

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        final, opcode = bool(buffer[0] & 0x80), buffer[0] & 0x0F
        masked, length = bool(buffer[1] & 0x80), buffer[1] & 0x7F
        if buffer[0] & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise WebSocketError(f"unknown kind of frame: {buffer[0]:#x}")
        if opcode >= CLOSE and (not final or length > 125):
            raise WebSocketError("a control frame that is fragmented or too long")
        if masked != self._masked:
            raise WebSocketError("the frame is masked, or not, against the rule")
        at = 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(buffer) < at + size:
                return None
            length = int.from_bytes(buffer[at : at + size], "big")
            at += size
        if length > self._limit:
            raise WebSocketError("the frame is too big", code=1009)
        end = at + (4 if masked else 0) + length
        if len(buffer) < end:
            return None
        payload = bytes(buffer[end - length : end])
        if masked:
            payload = _mask(payload, bytes(buffer[at : at + 4]))
        del buffer[:end]
        return final, opcode, payload

"""One question of the gRPC health protocol (``grpc.health.v1.Health/Check``), asked as the kubelet asks it.

One unary call over plain HTTP/2 needs a handful of frames. Headers of the answer are not decoded: the health is in its
message, and an answer without a message is a failure whatever its status says.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

from ..dial import dial_failure

__all__ = ["HealthFailed", "check_health"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_MAX_FRAME = 1 << 24
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class HealthFailed(Exception):
    """Raised when the service is not known to be healthy; ``str`` is the kubelet's sentence."""


async def check_health(host: str, port: int, service: str) -> None:
    """Return if the service says that it is serving. Raises :class:`HealthFailed`; takes as long as the server."""
    address = f"{host}:{port}"
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        words = dial_failure(host, port, error)
        raise HealthFailed(f'error: failed to connect service at "{address}": {words}') from error
    try:
        name = service.encode()
        question = b"\x0a" + _varint(len(name)) + name if name else b""
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        writer.write(_frame(_HEADERS, _END_HEADERS, 1, _request_headers(address)))
        writer.write(_frame(_DATA, _END_STREAM, 1, struct.pack(">BI", 0, len(question)) + question))
        await writer.drain()
        answer = await _answer(reader, writer)
    except (OSError, EOFError) as error:
        raise HealthFailed("error: health rpc probe failed: the connection was closed") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if len(answer) < 5:
        raise HealthFailed("error: health rpc probe failed: the server answered without a health status")
    status = _status(answer[5:])
    if status != "SERVING":
        raise HealthFailed(f'service unhealthy (responded with "{status}")')


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the data of the answer, with gRPC's five bytes before it; empty when the call was refused."""
    message = b""
    while True:
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        payload = await reader.readexactly(min(size, _MAX_FRAME))
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA:
            message += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
        elif kind in (_RST_STREAM, _GOAWAY):
            return message
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return message


def _status(message: bytes) -> str:
    """Return the name of field 1 of a HealthCheckResponse; without the field it is the zero value."""
    number = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    return _STATUS.get(number, str(number))


def _request_headers(authority: str) -> bytes:
    # :method POST and :scheme http are entries 3 and 6 of HPACK's table; the others are literals that nobody indexes.
    literals = {
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "user-agent": "kube-probe/1.36",
        "te": "trailers",
    }
    return b"\x83\x86" + b"".join(
        b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in literals.items()
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))

"""The server side of SPDY/3.1, as far as Kubernetes clients use it: streams opened by the client, without flow control.

Works on any stream of bytes, so that the same code serves a raw upgrade and SPDY tunnelled through a WebSocket. What the
streams mean is left to the caller. Facts from the SPDY/3.1 draft; clients are built on moby/spdystream (0.5).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections import deque
from collections.abc import Mapping

from hortator.local.apiserver.streams.channels import ByteStream

__all__ = ["SpdyConnection", "SpdyError", "SpdyStream"]

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = (
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
_FIN = 1
_VERSION = 3
_MAX_FRAME = 1 << 24
_CHUNK = 32 * 1024
#: A stream whose reader is this far behind holds the connection up.
_UNREAD_LIMIT = 1024 * 1024

_WORDS = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
]
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug "
    "Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [*_WORDS, "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    return b"".join(struct.pack(">I", len(word)) + word.encode() for word in words) + _TAIL.encode()


DICTIONARY = _dictionary()


class SpdyError(ConnectionError):
    """Raised when the peer does not speak SPDY/3.1."""


class SpdyStream:
    """One stream that the client opened."""

    def __init__(self, connection: SpdyConnection, number: int, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._number = number
        self._inbox: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._closed = False
        #: The headers that it was opened with, names in lower case.
        self.headers = headers

    async def receive(self) -> bytes | None:
        """Return the next bytes, or None when the client has closed its side."""
        while not self._inbox and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if not self._inbox:
            return None
        data = self._inbox.popleft()
        self._unread -= len(data)
        self._changed.set()
        return data

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises ``ConnectionError`` when the client has gone."""
        for start in range(0, len(data), _CHUNK):
            await self._connection.send_data(self._number, data[start : start + _CHUNK])

    async def close(self) -> None:
        """Close our side; repeated calls do nothing."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(ConnectionError):
                await self._connection.send_data(self._number, b"", fin=True)
            if self._ended:
                self._connection.forget(self._number)

    async def feed(self, data: bytes) -> None:
        """Take what arrived; waits while the reader is far behind."""
        if data and not self._ended:
            self._inbox.append(data)
            self._unread += len(data)
            self._changed.set()
        while self._unread > _UNREAD_LIMIT and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    def end(self) -> None:
        """Note that nothing more comes."""
        self._ended = True
        self._changed.set()
        if self._closed:
            self._connection.forget(self._number)


class SpdyConnection:
    """All streams of one connection. Call :meth:`run` in a task and take new streams with :meth:`accept`."""

    def __init__(self, channel: ByteStream) -> None:
        self._channel = channel
        self._streams: dict[int, SpdyStream] = {}
        self._new: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._buffer = bytearray()
        self._writing = asyncio.Lock()

    async def accept(self) -> SpdyStream | None:
        """Return the next stream that the client opens, or None when the connection is over."""
        return await self._new.get()

    async def run(self) -> None:
        """Read frames until the client ends the connection. Raises :class:`SpdyError`."""
        try:
            while (frame := await self._frame()) is not None:
                await self._take(*frame)
        finally:
            for stream in list(self._streams.values()):
                stream.end()
            self._new.put_nowait(None)

    async def send_data(self, number: int, data: bytes, *, fin: bool = False) -> None:
        """Send one data frame."""
        flags = _FIN if fin else 0
        async with self._writing:
            await self._channel.write(struct.pack(">II", number, flags << 24 | len(data)) + data)

    def forget(self, number: int) -> None:
        """Let go of a stream that both sides have closed: a connection may outlive very many."""
        self._streams.pop(number, None)

    @property
    def open_streams(self) -> int:
        """How many streams are not closed by both sides."""
        return len(self._streams)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _frame(self) -> tuple[int, int, bytes] | None:
        """Return (first word, flags, payload) of the next frame."""
        if not await self._fill(8):
            return None
        word, rest = struct.unpack_from(">II", self._buffer)
        size = rest & 0xFFFFFF
        if size > _MAX_FRAME or not await self._fill(8 + size):
            return None
        payload = bytes(self._buffer[8 : 8 + size])
        del self._buffer[: 8 + size]
        return word, rest >> 24, payload

    async def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            data = await self._channel.read()
            if not data:
                return False
            self._buffer += data
        return True

    async def _take(self, word: int, flags: int, payload: bytes) -> None:
        if not word & 0x80000000:
            stream = self._streams.get(word)
            if stream is not None:
                await stream.feed(payload)
                if flags & _FIN:
                    stream.end()
            return
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"the client speaks SPDY version {version}, not {_VERSION}")
        if kind == _SYN_STREAM:
            await self._open(flags, payload)
        elif kind == _RST_STREAM and len(payload) >= 4:
            stream = self._streams.pop(struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF, None)
            if stream is not None:
                stream.end()
        elif kind == _PING:
            async with self._writing:
                await self._channel.write(
                    struct.pack(">HHI", 0x8000 | _VERSION, _PING, len(payload)) + payload
                )
        elif kind == _HEADERS and len(payload) >= 4:
            self._headers(payload[4:])  # the state of the decompressor depends on reading them
        # SETTINGS, WINDOW_UPDATE and GOAWAY need no answer: these clients do no flow control.

    async def _open(self, flags: int, payload: bytes) -> None:
        if len(payload) < 10:
            raise SpdyError("a SYN_STREAM frame is too short")
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        stream = SpdyStream(self, number, self._headers(payload[10:]))
        self._streams[number] = stream
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        frame = struct.pack(">HHII", 0x8000 | _VERSION, _SYN_REPLY, len(block) + 4, number) + block
        async with self._writing:
            await self._channel.write(frame)
        if flags & _FIN:
            stream.end()
        self._new.put_nowait(stream)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            data = self._inflate.decompress(block, 1 << 20)
            (count,) = struct.unpack_from(">I", data)
            offset = 4
            headers: dict[str, str] = {}
            for _ in range(count):
                pair: list[str] = []
                for _ in range(2):
                    (size,) = struct.unpack_from(">I", data, offset)
                    pair.append(data[offset + 4 : offset + 4 + size].decode("latin-1"))
                    offset += 4 + size
                headers[pair[0].lower()] = pair[1]
        except (zlib.error, struct.error) as error:
            raise SpdyError(f"a block of SPDY headers cannot be read: {error}") from error
        return headers

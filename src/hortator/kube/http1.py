"""HTTP/1.1 as bytes, without any socket: what a blocking client writes and reads. Stdlib only, quick to
import.

``http.client`` would do for plain requests, but costs more than the rest of a short program's start, and
cannot give the connection back after an upgrade. The asynchronous side uses aiohttp.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["BodyDecoder", "Head", "ProtocolError", "encode_request", "parse_head"]

#: A head bigger than this is no answer of an API server.
MAX_HEAD = 256 * 1024


class ProtocolError(Exception):
    """Raised when what came is not HTTP/1.1, or broke off inside a message."""


class Head:
    """Status line and headers of an answer: names in lower case, repeated ones joined by commas."""

    __slots__ = ("headers", "keep_alive", "status")

    def __init__(self, status: int, headers: dict[str, str], *, keep_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.keep_alive = keep_alive


def encode_request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request as bytes; ``target`` is already escaped. Raises ``ValueError`` for a broken header."""
    lines = [f"{method} {target} HTTP/1.1"]
    fields: Iterable[tuple[str, str]] = headers.items()
    if body or method in ("POST", "PUT", "PATCH"):
        fields = [*fields, ("content-length", str(len(body)))]
    for name, value in fields:
        if "\r" in value or "\n" in value:
            raise ValueError(f"the header {name} has a line break in it")
        lines.append(f"{name}: {value}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def parse_head(data: bytes) -> tuple[Head, bytes] | None:
    """Return an answer's head and the bytes after it, None while incomplete. Raises ``ProtocolError``."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MAX_HEAD:
            raise ProtocolError("the answer's head does not end")
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isdecimal() and len(code) == 3):
        raise ProtocolError(f"not an HTTP answer: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"not an HTTP header: {line[:80]!r}")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    return Head(int(code), headers, keep_alive=keep_alive), data[end + 4 :]


class BodyDecoder:
    """Takes bytes from the wire and gives those of the body, whichever way it is delimited."""

    def __init__(self, head: Head, *, method: str = "GET") -> None:
        #: Whether the body is complete.
        self.finished = False
        #: What followed the body on the wire.
        self.rest = b""
        self._pending = b""
        self._left = 0
        self._trailer = False
        self._chunked = head.headers.get("transfer-encoding", "").lower().endswith("chunked")
        length = head.headers.get("content-length")
        self._until_eof = not self._chunked and length is None
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            self._chunked = self._until_eof = False
            self.finished = True
        elif not self._chunked and length is not None:
            if not length.isdecimal():
                raise ProtocolError(f"not a length: {length[:80]!r}")
            self._left = int(length)
            self.finished = self._left == 0

    @property
    def delimited(self) -> bool:
        """Whether the connection can be used again after the body."""
        return not self._until_eof

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body that ``data`` completes. Raises ``ProtocolError``."""
        if self.finished:
            self.rest += data
            return b""
        if self._until_eof:
            return data
        if not self._chunked:
            part, self.rest = data[: self._left], data[self._left :]
            self._left -= len(part)
            self.finished = self._left == 0
            return part
        return self._feed_chunks(data)

    def feed_eof(self) -> None:
        """Take note that the connection was closed. Raises ``ProtocolError`` inside a body."""
        if not self.finished and not self._until_eof:
            raise ProtocolError("the connection was closed in the middle of an answer")
        self.finished = True

    def _feed_chunks(self, data: bytes) -> bytes:
        data = self._pending + data if self._pending else data
        parts: list[bytes] = []
        at = 0
        while True:
            if self._left > 0:
                part = data[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                parts.append(part)
                if self._left > 0:
                    break
                self._left = -2
            if self._left < 0:
                if len(data) - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ProtocolError("a chunk does not end where it said")
                at += 2
                self._left = 0
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > MAX_HEAD:
                    raise ProtocolError("a chunk's size does not end")
                break
            line = data[at:end]
            at = end + 2
            if self._trailer:
                if not line:
                    self.finished = True
                    self.rest = data[at:]
                    at = len(data)
                    break
                continue
            size = line.partition(b";")[0].strip()
            if not size or size.strip(b"0123456789abcdefABCDEF"):
                raise ProtocolError(f"not a chunk's size: {line[:80]!r}")
            self._left = int(size, 16)
            self._trailer = self._left == 0
        self._pending = data[at:]
        return b"".join(parts)

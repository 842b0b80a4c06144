"""An HTTP answer as a blocking program reads it: whole, or as it comes. Stdlib only, quick to import."""

from __future__ import annotations

from hortator.kube import http1
from hortator.kube.wire import unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

    from hortator.kube.wire import Wire

__all__ = ["BlockingStream"]


class BlockingStream:
    """An answer's body as it comes. Iterate it, or :meth:`read` when :meth:`fileno` is readable; then close it."""

    def __init__(
        self, wire: Wire, head: http1.Head, leftover: bytes, *, method: str, keep: Callable[[Wire], None]
    ) -> None:
        self._keep = keep
        self.wire = wire
        self._head = head
        self.status = head.status
        self.headers = head.headers
        #: What came after the head.
        self.leftover = leftover
        self.body = b""
        self._closed = False
        self._decoder = http1.BodyDecoder(head, method=method)
        self._first = self._decoder.feed(leftover) if head.status != 101 else b""

    def __enter__(self) -> BlockingStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        while not self.finished:
            chunk = self.read()
            if chunk:
                yield chunk

    @property
    def finished(self) -> bool:
        """Whether everything has been read."""
        return self._decoder.finished and not self._first

    @property
    def pending(self) -> bool:
        """Whether :meth:`read` returns at once, whatever ``select`` says of the descriptor."""
        return bool(self._first) or self._decoder.finished or self.wire.pending()

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self.wire.fileno()

    def read(self, *, timeout: float | None = None) -> bytes:
        """Return what came, waiting for the next bytes; may be empty before the end, see :attr:`finished`."""
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._decoder.finished:
            return b""
        data = self.wire.receive(timeout=timeout)
        try:
            if not data:
                self._decoder.feed_eof()
                return b""
            return self._decoder.feed(data)
        except http1.ProtocolError as error:
            raise unavailable(self.wire, str(error)) from error

    def read_all(self, timeout: float) -> None:
        """Read the whole body into ``body``, and let the connection go."""
        parts = []
        try:
            while not self.finished:
                parts.append(self.read(timeout=timeout))
        finally:
            self.close()
        self.body = b"".join(parts)

    def refuse(self) -> NoReturn:
        """Raise what the server refused with."""
        from hortator.kube.errors import error_from_answer

        if not self._closed:
            self.read_all(60.0)
        raise error_from_answer(self.status, self.headers, self.body)

    def close(self) -> None:
        """Let go; a connection that is at the end of the body serves the next request."""
        if self._closed:
            return
        self._closed = True
        decoder = self._decoder
        if self.finished and decoder.delimited and self._head.keep_alive and not decoder.rest:
            self._keep(self.wire)
        else:
            self.wire.close()

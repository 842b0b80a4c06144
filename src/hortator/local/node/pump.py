"""Where a container's output is kept: segments of records, capped, with readers that hold them back.

The writer is the first process of the container (standard library only); :mod:`.logs` reads. One record is what one
read gave, so that the cost is per chunk and never per line.

File ``NNNNNNNN.log``: :data:`SEGMENT` then records :data:`RECORD`, payload, :data:`LENGTH` (the length again, so that
a file can be read from its end). A record of stream 0 marks bytes that could not be stored; its payload is their number.
"""

from __future__ import annotations

import errno
import os
import struct
import time

__all__ = ["LENGTH", "MAGIC", "RECORD", "SEGMENT", "Pump", "segment_name"]

MAGIC = b"HRTLOG1\n"
#: magic, number of the segment, payload bytes of this log before it.
SEGMENT = struct.Struct("<8sQQ")
#: nanoseconds since the epoch, payload length, stream (1 stdout, 2 stderr, 0 gap).
RECORD = struct.Struct("<QIB3x")
LENGTH = struct.Struct("<I")

#: Errors after which output is dropped (and the gap marked) instead of ending the program.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:08d}.log"


class Pump:
    """Appends chunks to segments of at most about ``segment_bytes``, keeping the last ``keep`` of them."""

    def __init__(self, directory: int, *, segment_bytes: int, keep: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._keep = max(keep, 1)
        self._first = 0
        self._number = -1
        self._fd = -1
        self._size = 0
        self._total = 0
        self._lost = 0
        self._pins: dict[int, int] = {}
        self._draining = False
        self._rotate()

    @property
    def oldest(self) -> int:
        """Number of the oldest segment that is kept."""
        return self._first

    @property
    def followed(self) -> bool:
        """Whether anyone holds a pin."""
        return bool(self._pins)

    @property
    def blocked(self) -> bool:
        """Whether the next chunk would push out what a reader still needs; then the program must wait."""
        return (
            not self._draining
            and self._size >= self._segment_bytes
            and self._number - self._first + 1 >= self._keep
            and any(pin <= self._first for pin in self._pins.values())
        )

    def pin(self, reader: int, segment: int) -> None:
        """Keep this segment and later ones until the reader pins a later one or lets go."""
        self._pins[reader] = segment

    def unpin(self, reader: int) -> None:
        """Forget a reader."""
        self._pins.pop(reader, None)

    def drain(self) -> None:
        """Never block again: the program has ended and only what is in its pipes is left."""
        self._draining = True

    def append(self, stream: int, chunk: bytes | memoryview) -> None:
        """Store one chunk. What does not fit on the disk is dropped, counted and marked."""
        if self._size >= self._segment_bytes:
            self._rotate()
        if self._lost and not self._record(0, LENGTH.pack(min(self._lost, 0xFFFFFFFF))):
            self._lost += len(chunk)
            return
        self._lost = 0
        if self._record(stream, chunk):
            self._total += len(chunk)
        else:
            self._lost += len(chunk)

    def _record(self, stream: int, chunk: bytes | memoryview) -> bool:
        if self._fd < 0:
            return False
        header = RECORD.pack(time.time_ns(), len(chunk), stream)
        trailer = LENGTH.pack(len(chunk))
        whole = RECORD.size + len(chunk) + LENGTH.size
        try:
            written = os.writev(self._fd, [header, chunk, trailer])
            if written < whole:
                rest = b"".join((header, chunk, trailer))[written:]
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            os.ftruncate(self._fd, self._size)
            return False
        self._size += whole
        return True

    def _rotate(self) -> None:
        number = self._number + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = -1
        try:
            fd = os.open(segment_name(number), flags, 0o600, dir_fd=self._directory)
            os.write(fd, SEGMENT.pack(MAGIC, number, self._total))
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            if error.errno not in _NO_ROOM:
                raise
            return
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._number, self._size = fd, number, SEGMENT.size
        while self._number - self._first >= self._keep and not any(
            p <= self._first for p in self._pins.values()
        ):
            os.unlink(segment_name(self._first), dir_fd=self._directory)
            self._first += 1

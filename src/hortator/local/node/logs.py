"""Reading what :mod:`.pump` wrote: whole lines of one or both streams, from any moment, while it is being written.

The way of the bytes has no work per line, except where a caller asks for timestamps or the last N lines.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hortator.local.streams import STDERR, STDOUT

from .pump import LENGTH, MAGIC, RECORD, SEGMENT, segment_name

__all__ = ["LineMerger", "Record", "SegmentReader", "last_lines_start", "segments", "whole_end"]

_BLOCK = 1 << 20
#: How much of a line without end is held back for the sake of whole lines when both streams are read.
_LONGEST = 1 << 16
#: The stream of a record that says how many bytes are missing.
GAP = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One chunk of output."""

    time_ns: int
    stream: int
    data: bytes


def segments(directory: Path) -> list[int]:
    """Return the numbers of the segments that are there, oldest first."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 -- names are wanted, not paths
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit())


class SegmentReader:
    """Reads records in order from a segment on, moving to the next when there is one."""

    def __init__(self, directory: Path, number: int, offset: int = 0) -> None:
        self._directory = directory
        self.number = number
        self._fd = os.open(directory / segment_name(number), os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = b""
        self._offset = offset or SEGMENT.size
        self.missing = 0
        head = os.pread(self._fd, SEGMENT.size, 0)
        if len(head) == SEGMENT.size:
            magic, _, before = SEGMENT.unpack(head)
            if magic == MAGIC and not offset:
                self.missing = before

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> list[Record]:
        """Return the next records (about a megabyte), or none at the present end of this segment."""
        while True:
            block = os.pread(self._fd, _BLOCK, self._offset + len(self._buffer))
            if not block and len(self._buffer) < RECORD.size:
                return []
            buffer = self._buffer + block if self._buffer else block
            records: list[Record] = []
            at = 0
            while at + RECORD.size <= len(buffer):
                time_ns, length, stream = RECORD.unpack_from(buffer, at)
                end = at + RECORD.size + length + LENGTH.size
                if end > len(buffer):
                    break
                records.append(Record(time_ns, stream, buffer[at + RECORD.size : end - LENGTH.size]))
                at = end
            self._buffer = buffer[at:]
            self._offset += at
            if records or not block:
                return records

    def next(self) -> list[Record]:
        """Return the next records, going on to the next segment where there is one; none at the present end."""
        while True:
            # Looked for before reading: a segment that has a successor is not written to any more.
            following = self._directory / segment_name(self.number + 1)
            more = following.exists()
            records = self.read()
            if records or not more:
                return records
            fd = os.open(following, os.O_RDONLY | os.O_CLOEXEC)
            self.close()
            self._fd, self.number = fd, self.number + 1
            self._buffer, self._offset = b"", SEGMENT.size


def last_lines_start(directory: Path, lines: int, wanted: set[int]) -> tuple[int, int, int] | None:
    """Find where the last ``lines`` lines of the wanted streams begin, reading backwards.

    Returns (segment, offset of a record, bytes of wanted data to skip from there), or None when all is wanted.
    """
    left = lines
    first = True
    for number in reversed(segments(directory)):
        path = directory / segment_name(number)
        with path.open("rb") as file:
            ends = whole_end(file.fileno())
            at = ends
            while at > SEGMENT.size:
                (length,) = LENGTH.unpack(os.pread(file.fileno(), LENGTH.size, at - LENGTH.size))
                start = at - LENGTH.size - length - RECORD.size
                _, _, stream = RECORD.unpack(os.pread(file.fileno(), RECORD.size, start))
                if stream in wanted and length:
                    data = os.pread(file.fileno(), length, start + RECORD.size)
                    count = data.count(b"\n")
                    if first:
                        # The newline that ends the last line does not begin another.
                        left += data.endswith(b"\n")
                        first = False
                    if count >= left:
                        position = len(data)
                        for _ in range(left):
                            position = data.rindex(b"\n", 0, position)
                        return number, start, position + 1
                    left -= count
                at = start
    return None


def whole_end(fd: int) -> int:
    """Return where the last whole record ends: a writer that was killed may have left a part of one."""
    size = os.fstat(fd).st_size
    at = SEGMENT.size
    if size >= at + LENGTH.size + RECORD.size:
        # Nearly always the file ends with a whole record; check by its two lengths.
        (length,) = LENGTH.unpack(os.pread(fd, LENGTH.size, size - LENGTH.size))
        start = size - LENGTH.size - length - RECORD.size
        if start >= at and RECORD.unpack(os.pread(fd, RECORD.size, start))[1] == length:
            return size
    while at + RECORD.size <= size:
        end = at + RECORD.size + RECORD.unpack(os.pread(fd, RECORD.size, at))[1] + LENGTH.size
        if end > size:
            break
        at = end
    return at


class LineMerger:
    """Turns records into the bytes that a reader is sent: chosen streams, whole lines, perhaps with their times.

    Where both streams are read, the beginning of a line waits for its end while the other stream is in the middle of
    one, up to a limit; so that lines of the two are not torn.
    """

    def __init__(self, streams: set[int], *, timestamps: bool = False, since: float | None = None) -> None:
        self._streams = streams
        self._timestamps = timestamps
        self._since = int(since * 1e9) if since is not None else 0
        self._pending: dict[int, deque[bytes]] = {}
        self._open = 0  # the stream whose unfinished line has been sent
        self._at_start = {STDOUT: True, STDERR: True}
        self._skipping: set[int] = set()
        self._fresh = {STDOUT: True, STDERR: True}

    @property
    def holding(self) -> bool:
        """Whether something is held back."""
        return bool(self._pending)

    def feed(self, record: Record) -> Iterator[bytes]:
        """Take one record, yield what can be sent."""
        if record.stream == GAP:
            yield from self.gap(LENGTH.unpack(record.data)[0])
            return
        if record.stream not in self._streams:
            return
        data = record.data
        stream = record.stream
        if self._since:
            if record.time_ns < self._since:
                self._skipping.discard(stream)
                if not data.endswith(b"\n"):
                    self._skipping.add(stream)
                return
            if stream in self._skipping:
                # The rest of a line that began too early.
                _, found, data = data.partition(b"\n")
                if not found:
                    return
                self._skipping.discard(stream)
        if self._timestamps:
            data = self._stamped(data, record.time_ns, stream)
        if not data:
            return
        if len(self._streams) == 1:
            yield data
            return
        other = STDERR if stream == STDOUT else STDOUT
        if self._open == other:
            yield from self._hold(stream, data)
            return
        self._open = 0 if data.endswith(b"\n") else stream
        yield data
        if not self._open:
            yield from self._release(other)

    def _hold(self, stream: int, data: bytes) -> Iterator[bytes]:
        queue = self._pending.setdefault(stream, deque())
        queue.append(data)
        if sum(map(len, queue)) > _LONGEST:
            # The other line has no end in sight.
            yield b"\n"
            self._open = 0
            yield from self._release(stream)

    def _release(self, stream: int) -> Iterator[bytes]:
        queue = self._pending.pop(stream, None)
        if queue:
            data = b"".join(queue)
            self._open = 0 if data.endswith(b"\n") else stream
            yield data

    def gap(self, count: int) -> Iterator[bytes]:
        """Mark bytes that are missing."""
        yield from self.finish()
        yield (b"\n" if self._open else b"") + b"[hort: %d bytes of this log are not kept]\n" % count
        self._open = 0

    def finish(self) -> Iterator[bytes]:
        """Yield what was held back."""
        for stream in list(self._pending):
            if self._open and self._open != stream:
                yield b"\n"
            yield from self._release(stream)

    def _stamped(self, data: bytes, time_ns: int, stream: int) -> bytes:
        stamp = datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        prefix = f"{stamp}.{time_ns % 10**9:09d}Z ".encode()
        lead = prefix if self._at_start[stream] else b""
        ends = data.endswith(b"\n")
        self._at_start[stream] = ends
        body = data[:-1] if ends else data
        return lead + body.replace(b"\n", b"\n" + prefix) + (b"\n" if ends else b"")

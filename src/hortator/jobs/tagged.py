"""The form in which a worker's log carries the output of all its ranks.

One line of the log is one line, or one piece of a line, of one stream of one rank::

    [3] text            a line that rank 3 wrote to its standard output
    [3:err] text        the same for its standard error
    [3+] text           a piece: the newline at its end is not the program's (also [3:err+])
    [3:start] {json}    rank 3 has started: pid, worker's CPUs and GPUs that it got
    [3:exit] 0          rank 3 has ended, all that it wrote is above

A long log tells of starts and ends again and again, since only its end is kept.

Whatever follows the tag is raw bytes. Decoding gives back each stream byte for byte; between streams only the order
within a rank's stream is kept. Both directions work on whole buffers, never line by line in Python.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

__all__ = [
    "MAX_LINE",
    "STDERR",
    "STDOUT",
    "Decoder",
    "Encoder",
    "Exit",
    "Other",
    "Output",
    "Start",
    "exit_line",
    "start_line",
]

STDOUT = 1
STDERR = 2
#: A line longer than this many bytes is cut into pieces.
MAX_LINE = 65536

_TAG = re.compile(rb"\[(\d+)(?::(err|start|exit))?(\+)?\] ")


def start_line(rank: int, facts: dict[str, Any]) -> bytes:
    """Return the line that tells of a rank's start."""
    return b"[%d:start] %s\n" % (rank, json.dumps(facts, separators=(",", ":")).encode())


def exit_line(rank: int, code: int) -> bytes:
    """Return the line that tells of a rank's end."""
    return b"[%d:exit] %d\n" % (rank, code)


class Encoder:
    """Tags one stream of one rank. ``feed`` takes at most :data:`MAX_LINE` bytes at a time."""

    __slots__ = ("_cut", "_follow", "_rest", "_tag")

    def __init__(self, rank: int, stream: int) -> None:
        name = b"%d" % rank if stream == STDOUT else b"%d:err" % rank
        self._tag = b"[" + name + b"] "
        self._cut = b"[" + name + b"+] "
        self._follow = b"\n" + self._tag
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the tagged lines that ``data`` completes; the beginning of a line is kept for the next call."""
        rest = self._rest
        end = data.rfind(b"\n")
        if end < 0:
            rest += data
            if len(rest) <= MAX_LINE:
                self._rest = rest
                return b""
            self._rest = rest[MAX_LINE:]
            return self._cut + rest[:MAX_LINE] + b"\n"
        lead = b""
        if rest:
            if len(rest) + data.find(b"\n") > MAX_LINE:
                lead = self._cut + rest + b"\n"
                body = data[:end]
            else:
                body = rest + data[:end]
        else:
            body = data[:end]
        self._rest = data[end + 1 :]
        return b"".join((lead, self._tag, body.replace(b"\n", self._follow), b"\n"))

    def close(self) -> bytes:
        """Return what is left: the last line, if the program did not end it."""
        rest, self._rest = self._rest, b""
        return self._cut + rest + b"\n" if rest else b""


class Output(NamedTuple):
    """Bytes of one stream of one rank, as the program wrote them (often many lines)."""

    rank: int
    stream: int
    data: bytes


class Start(NamedTuple):
    """A rank has started. ``facts``: ``pid``, ``local`` (rank within the worker), ``cpus`` and ``gpus`` (or None)."""

    rank: int
    facts: dict[str, Any]


class Exit(NamedTuple):
    """A rank has ended with ``code`` (128 + signal when a signal ended it)."""

    rank: int
    code: int


class Other(NamedTuple):
    """Lines of the log that no rank wrote."""

    data: bytes


class Decoder:
    """Reads one worker's log; feed it the log's bytes in any pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._runs: dict[bytes, re.Pattern[bytes]] = {}

    def feed(self, data: bytes) -> list[Output | Start | Exit | Other]:
        """Return what the whole lines up to here say, in the log's order."""
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
            return []
        whole = self._rest + data[: end + 1]
        self._rest = data[end + 1 :]
        return self._decode(whole)

    def close(self) -> list[Output | Start | Exit | Other]:
        """Return what an unfinished last line says (the log ended in the middle of it)."""
        rest, self._rest = self._rest, b""
        found = _TAG.match(rest)
        if not rest or (found and found[2] in (b"start", b"exit")):
            return []
        if found:
            return [Output(int(found[1]), STDERR if found[2] else STDOUT, rest[found.end() :])]
        return [Other(rest)]

    def _decode(self, text: bytes) -> list[Output | Start | Exit | Other]:
        result: list[Output | Start | Exit | Other] = []
        at = 0
        while at < len(text):
            found = _TAG.match(text, at)
            if found is None:
                end = text.index(b"\n", at) + 1
                result.append(Other(text[at:end]))
            elif found[2] in (b"start", b"exit"):
                end = text.index(b"\n", at) + 1
                result.append(self._fact(found, text[at:end]))
            else:
                stream = STDERR if found[2] else STDOUT
                tag = found[0]
                end = self._run(tag).match(text, at).end()  # type: ignore[union-attr]
                body = text[at + len(tag) : end]
                # A piece carries a newline that is not the program's.
                body = body[:-1].replace(b"\n" + tag, b"") if found[3] else body.replace(b"\n" + tag, b"\n")
                result.append(Output(int(found[1]), stream, body))
            at = end
        return result

    def _run(self, tag: bytes) -> re.Pattern[bytes]:
        """Return the pattern of lines in a row that begin with ``tag``."""
        pattern = self._runs.get(tag)
        if pattern is None:
            pattern = self._runs[tag] = re.compile(rb"(?:" + re.escape(tag) + rb".*+\n)++")
        return pattern

    @staticmethod
    def _fact(found: re.Match[bytes], line: bytes) -> Start | Exit | Other:
        text = line[found.end() - found.start() : -1]
        try:
            if found[2] == b"exit":
                return Exit(int(found[1]), int(text))
            facts = json.loads(text)
        except ValueError:
            return Other(line)
        return Start(int(found[1]), facts) if isinstance(facts, dict) else Other(line)

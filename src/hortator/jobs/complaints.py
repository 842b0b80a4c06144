"""What is said on mpirun's standard error when a rank fails, turned into facts and taken out; all else passes unchanged.

Read are the rank wrapper's own lines (``hort-exit RANK CODE``, ``hort-stranger``), which any MPI carries, and the framed
paragraphs of Open MPI 4 (orterun) and 5 (prterun) about an exit code or a signal.
"""

from __future__ import annotations

__all__ = ["Complaints"]

RULE = b"-" * 74
LIMIT = 8192  # no such paragraph is longer


#: Open MPI 4 and PRRTE 3 say these of themselves and go on: the agent had started before it was moved into a process
#: group, and the login shell is none that it knows (``nologin``), which matters only where a shell reads start-up files.
_NOISE = (
    b"plm:ssh: Warning: setpgid(",
    b"plm:rsh: Warning: setpgid(",
    b"WARNING: local probe returned unhandled shell:",
)


def _is_noise(line: bytes) -> bool:
    return line.startswith(b"[") and any(text in line for text in _NOISE)


class Complaints:
    """Filters a stream; ``failed`` is the (rank, exit code) that mpirun blamed first, 128 + signal for signals.

    ``stranger`` tells whether a program of another MPI than mpirun's was found out.
    """

    __slots__ = ("_block", "_rest", "failed", "stranger")

    def __init__(self) -> None:
        self.stranger = False
        self.failed: tuple[int, int] | None = None
        self._rest = b""
        self._block: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what may pass."""
        out = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for text in lines:
            line = text + b"\n"
            # Paragraphs reach mpirun from several hosts: a rule may follow a stray blank, and other lines come in between.
            rule = text.strip() == RULE
            if self._is_the_wrappers(text) or _is_noise(text):
                continue
            if self._block is None:
                if rule:
                    self._block = line
                else:
                    out += line
            elif rule:
                out += self._judge(self._block + line)
                self._block = None
            else:
                self._block += line
                if len(self._block) > LIMIT:
                    out, self._block = out + self._block, None
        return out

    def close(self) -> bytes:
        """Return what was held back, as a whole line."""
        out = (self._block or b"") + (self._rest + b"\n" if self._rest.strip() else b"")
        self._block, self._rest = None, b""
        return out

    def _is_the_wrappers(self, line: bytes) -> bool:
        if line == b"hort-stranger":
            self.stranger = True
            return True
        words = line.split(b" ")
        if len(words) != 3 or words[0] != b"hort-exit" or not (words[1].isdigit() and words[2].isdigit()):
            return False
        if self.failed is None:
            self.failed = int(words[1]), int(words[2])
        return True

    def _judge(self, block: bytes) -> bytes:
        words = block.decode(errors="replace").split()
        text = " ".join(words)
        if "returned a non-zero exit code" in text and "job has been aborted" in text:
            return b""
        found: tuple[int, int] | None = None
        try:
            if "exited with non-zero status" in text:
                tail = text.partition("Process name: ")[2].partition(" Exit code: ")
                rank = int(tail[0].rstrip("]").rpartition(",")[2])
                found = rank, int(tail[2].split()[0])
            elif "noticed that process rank" in text and "exited on signal" in text:
                rank = int(text.partition("process rank ")[2].split()[0])
                found = rank, 128 + int(text.partition("exited on signal ")[2].split()[0])
        except (ValueError, IndexError):
            return block
        if found is None:
            return block
        if self.failed is None:
            self.failed = found
        return b""

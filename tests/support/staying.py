"""A command that stays while a test looks on, and the processes that it should not leave behind."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from support.hort import Hort


def until(condition: Callable[[], object], what: str, *, seconds: float = 60) -> None:
    """Wait until ``condition`` holds; fail with ``what`` if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.02)


def processes(mark: str) -> dict[int, str]:
    """Return the processes of this machine whose command line or environment has ``mark``: pid -> command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes()
                if mark.encode() in line or mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


class Staying:
    """``hort WORDS`` running, its output gathered as it comes. Killed when the ``with`` block is left."""

    def __init__(self, hort: Hort, *words: str, **options: Any) -> None:
        self.process: subprocess.Popen[bytes] = hort.start(*words, **options)
        self.stdout, self.stderr = bytearray(), bytearray()
        self._readers = [
            threading.Thread(target=self._gather, args=pair)
            for pair in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
            if pair[0] is not None
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _gather(pipe: IO[bytes], into: bytearray) -> None:
        while data := pipe.read1(65536):  # type: ignore[attr-defined]
            into += data

    def __enter__(self) -> Staying:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close() if pipe is self.process.stdin else None
        for reader in self._readers:
            reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def said(self, text: str, times: int = 1) -> None:
        """Wait until standard output holds ``text`` as often as that."""
        until(
            lambda: self.stdout.count(text.encode()) >= times or self.process.poll() is not None,
            f"{times} times {text!r} in {bytes(self.stdout[-500:])!r}; stderr {bytes(self.stderr[-500:])!r}",
        )
        assert self.stdout.count(text.encode()) >= times, (bytes(self.stdout), bytes(self.stderr))

    def told(self, text: str) -> None:
        """Wait until standard error holds ``text``."""
        until(lambda: text.encode() in self.stderr, f"{text!r} on stderr, which has {bytes(self.stderr)!r}")

    @property
    def job(self) -> str:
        """The name of the job, from the first line."""
        self.told("hort: job ")
        until(lambda: re.search(rb"hort: job [^,:]+[,:]", self.stderr), "the whole first line")
        match = re.search(rb"hort: job ([^,:]+)[,:]", self.stderr)
        assert match is not None
        return match[1].decode()

    def end(self, timeout: float = 60) -> int:
        """Wait for its end; return the exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

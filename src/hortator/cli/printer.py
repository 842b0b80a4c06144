"""Printing what pods wrote: ranks' output taken apart again, stdout to stdout and stderr to stderr, filtered."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hortator.jobs.state import ANNOTATION_TAGGED, is_launcher
from hortator.jobs.tagged import STDERR, Decoder, Other, Output

if TYPE_CHECKING:
    from hortator.kube.blocking import BlockingClient

__all__ = ["Printer", "carries_ranks"]


def carries_ranks(job: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether a pod's log carries its ranks' tagged output (the workers of jobs that hort compiled)."""
    return ANNOTATION_TAGGED in (job["metadata"].get("annotations") or {}) and not is_launcher(pod)


@dataclass(slots=True)
class Printer:
    """Prints logs of one job; safe for a thread per pod. ``ranks``: only these; None: all."""

    job: Mapping[str, Any]
    ranks: frozenset[int] | None = None
    tag_output: bool = False
    query: Mapping[str, Any] = field(default_factory=dict)
    _printing: threading.Lock = field(default_factory=threading.Lock)

    def print_pod(self, client: BlockingClient, pod: Mapping[str, Any], *, follow: bool) -> None:
        """Print one pod's log to its end. Raises ``BrokenPipeError`` when nobody reads any more, and the API's errors."""
        if carries_ranks(self.job, pod):
            decoder = Decoder()
            for data in self._chunks(client, pod, follow=follow, stream=""):
                self._print_ranks(decoder.feed(data))
            self._print_ranks(decoder.close())
        elif self.ranks is None:
            self._print_plain(client, pod, follow=follow)

    def _print_plain(self, client: BlockingClient, pod: Mapping[str, Any], *, follow: bool) -> None:
        """Read the two streams side by side, so that they stay apart."""
        ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def copy(stream: str, descriptor: int) -> None:
            try:
                for data in self._chunks(client, pod, follow=follow, stream=stream):
                    self._write(descriptor, data)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                ends.put(error)
            else:
                ends.put(None)

        for pair in (("Stdout", 1), ("Stderr", 2)):
            threading.Thread(target=copy, args=pair, daemon=True).start()
        for _ in range(2):
            # What stops one stream is told at once: the other may have nothing to say for hours.
            problem = ends.get()
            if problem is not None:
                raise problem

    def _chunks(
        self, client: BlockingClient, pod: Mapping[str, Any], *, follow: bool, stream: str
    ) -> Iterable[bytes]:
        meta = pod["metadata"]
        return client.logs(meta["namespace"], meta["name"], follow=follow, stream=stream, **self.query)

    def _print_ranks(self, items: Iterable[object]) -> None:
        for item in items:
            if isinstance(item, Output) and (self.ranks is None or item.rank in self.ranks):
                self._write(2 if item.stream == STDERR else 1, self._tagged(item))
            elif isinstance(item, Other) and self.ranks is None:
                self._write(2, item.data)

    def _tagged(self, item: Output) -> bytes:
        if not self.tag_output:
            return item.data
        tag = b"[%d] " % item.rank
        return tag + item.data[:-1].replace(b"\n", b"\n" + tag) + item.data[-1:]

    def _write(self, descriptor: int, data: bytes) -> None:
        left = memoryview(data)
        with self._printing:
            while left:
                left = left[os.write(descriptor, left) :]

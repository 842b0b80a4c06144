"""Staying with a job until it ends: its output as it comes, its stdin, its exit code.

One thread watches the job and one its pods; one reads each pod's log; one feeds stdin. They tell the main thread,
which alone decides. Bytes go out as whole lines per rank; stdout and stderr stay apart. A log is read to its end before
the job counts as ended, so nothing that was written is lost.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Literal

from hortator.cli.finding import Found
from hortator.cli.kinds import pods_label, resource_of
from hortator.cli.printer import Printer
from hortator.cli.target import Target
from hortator.jobs.state import JobView, is_launcher, pods_of, view
from hortator.kube.errors import ApiError, Expired, KubeError
from hortator.kube.resources import PODS, Resource

__all__ = ["Ending", "Follower", "Lost"]


class Lost(Exception):
    """Raised when the cluster stopped answering while the job was being followed."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the job ended: what is known of it, its exit code, and whether somebody deleted it meanwhile."""

    view: JobView
    code: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class _News:
    kind: Literal["job", "pod", "log-end", "signal", "lost", "gone", "pipe"]
    value: Any = None


class Follower:
    """Follows one job. ``on_signal(number, count)`` is called in the main thread for each signal that was told."""

    def __init__(
        self,
        target: Target,
        found: Found,
        *,
        stdin: IO[bytes] | None = None,
        printer: Printer | None = None,
        only: Callable[[dict[str, Any]], bool] = lambda pod: True,
        progress: Callable[[JobView], None] = lambda view: None,
        on_signal: Callable[[Found, int, int], None] | None = None,
    ) -> None:
        self._target = target
        self._job = found.job
        self._resource: Resource = resource_of(found.job)
        self._pods: dict[str, dict[str, Any]] = {}
        self._stdin = stdin
        self._printer = printer or Printer(found.job)
        self._only = only
        self._progress = progress
        self._on_signal = on_signal
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._reading: dict[str, str] = {}  # pod uid -> reading | ended
        self._listed = False  # the pods, after the end
        self._fed = False
        self._signals = 0
        self._stopped = False

    def signal(self, number: int) -> None:
        """Tell of a signal; safe in a signal handler."""
        self._news.put(_News("signal", number))

    def follow(self) -> Ending:
        """Return when the job has ended and all its output is printed. Raises :class:`Lost` or ``BrokenPipeError``."""
        self._start(self._watch, self._resource, "job", f"metadata.name={self._name}", "")
        self._start(self._watch, PODS, "pod", "", pods_label(self._job))
        lost: str | None = None
        try:
            while True:
                news = self._news.get()
                if news.kind == "job":
                    self._job = news.value | {"kind": self._job["kind"]}
                elif news.kind == "pod":
                    self._pod(news.value)
                elif news.kind == "gone":
                    seen = view(self._job, self._mine())
                    return Ending(seen, 125, deleted=True)
                elif news.kind == "log-end":
                    self._reading[news.value] = "ended"
                elif news.kind == "pipe":
                    raise BrokenPipeError
                elif news.kind == "lost":
                    lost = news.value
                elif news.kind == "signal" and self._on_signal is not None:
                    self._signals += 1
                    self._on_signal(Found(self._job, self._mine()), news.value, self._signals)
                if lost is not None:
                    raise Lost(lost)
                seen = view(self._job, self._mine())
                self._progress(seen)
                if self._code(seen) is None:
                    continue
                self._list_pods_once()
                # Only the pods know the code that the program gave.
                seen = view(self._job, self._mine())
                code = self._code(seen)
                if code is None:
                    continue
                if "reading" not in self._reading.values():
                    return Ending(seen, code)
        finally:
            self._stopped = True

    def _list_pods_once(self) -> None:
        """Look for pods that the watch has not told of yet: the news of the job's end may come before theirs."""
        if self._listed:
            return
        self._listed = True
        try:
            pods = self._target.client.list(
                PODS, namespace=self._namespace, labels=pods_label(self._job)
            ).items
        except KubeError as error:
            raise Lost(str(error)) from error
        for pod in pods:
            self._pod(pod)

    @property
    def _name(self) -> str:
        return str(self._job["metadata"]["name"])

    @property
    def _namespace(self) -> str:
        return str(self._job["metadata"]["namespace"])

    def _mine(self) -> list[Any]:
        return list(pods_of(self._job, self._pods.values()))

    def _code(self, seen: JobView) -> int | None:
        """Return the exit code as soon as it is certain: when the one launcher ended well, or when the job did.

        A launcher that failed may have been ended by the time limit or a cancellation: that, the job tells.
        """
        if seen.finished:
            # The job's own condition may come before the pod's state with the code that the program gave.
            if seen.state == "F" and (code := self._main_code()) is not None:
                return code
            return seen.exit_code
        if self._job["kind"] == "MPIJob" and self._retries() == 0:
            return 0 if self._main_code() == 0 else None
        return None

    def _retries(self) -> int | None:
        limit = ((self._job.get("spec") or {}).get("runPolicy") or {}).get("backoffLimit")
        return int(limit) if limit is not None else None

    def _main_code(self) -> int | None:
        mains = [pod for pod in self._mine() if is_launcher(pod) or self._job["kind"] == "Job"]
        codes = [code for pod in mains if (code := _ended_with(pod)) is not None]
        return max(codes) if codes and len(codes) == len(mains) else None

    def _pod(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if pod.get("deleted"):
            self._pods.pop(uid, None)
            return
        self._pods[uid] = pod
        if uid not in self._reading and _has_started(pod):
            self._reading[uid] = "ended"
            if self._only(pod):
                self._reading[uid] = "reading"
                self._start(self._read, pod)
            first = (pod["metadata"].get("labels") or {}).get(
                "training.kubeflow.org/replica-index", "0"
            ) == "0"
            if self._stdin is not None and not self._fed and first and not is_launcher(pod):
                self._fed = True
                self._start(self._feed, pod)

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    # What follows runs in threads of its own.

    def _watch(self, resource: Resource, kind: Literal["job", "pod"], fields: str, labels: str) -> None:
        version, client = "", self._target.client
        try:
            while not self._stopped:
                if not version:
                    page = client.list(resource, namespace=self._namespace, fields=fields, labels=labels)
                    version = page.resource_version
                    for item in page.items:
                        self._news.put(_News(kind, item))
                    if kind == "job" and not page.items:
                        self._news.put(_News("gone"))
                        return
                try:
                    for event in client.watch(
                        resource,
                        namespace=self._namespace,
                        fields=fields,
                        labels=labels,
                        resource_version=version,
                    ):
                        version = event.resource_version or version
                        if event.type == "DELETED" and kind == "job":
                            self._news.put(_News("gone"))
                            return
                        if event.type in ("ADDED", "MODIFIED", "DELETED"):
                            item = event.object | ({"deleted": True} if event.type == "DELETED" else {})
                            self._news.put(_News(kind, item))
                except Expired:
                    version = ""
        except KubeError as error:
            self._news.put(_News("lost", str(error)))

    def _read(self, pod: dict[str, Any]) -> None:
        try:
            self._printer.print_pod(self._target.client, pod, follow=True)
        except BrokenPipeError:
            self._news.put(_News("pipe"))
        except ApiError:
            # The pod went before its log was opened: whoever deleted it has ended the job too, which its watch tells.
            pass
        except KubeError as error:
            self._news.put(_News("lost", str(error)))
        finally:
            self._news.put(_News("log-end", pod["metadata"]["uid"]))

    def _feed(self, pod: dict[str, Any]) -> None:
        """Stream stdin to rank 0 until either ends."""
        assert self._stdin is not None  # noqa: S101 - started only with one
        from hortator.jobs.compile_local import feed_command

        client = self._target.client
        try:
            with client.exec(self._namespace, pod["metadata"]["name"], feed_command(), stdin=True) as feeder:
                while data := os.read(self._stdin.fileno(), 1 << 20):
                    feeder.send(data)
                feeder.close_stdin()
                feeder.wait()
        except (KubeError, OSError) as error:
            # Normal when the job ends without having read it all; the job's own end tells the rest.
            if not self._stopped and os.environ.get("HORT_LOG") == "debug":
                print(f"hort: stdin: {error}", file=sys.stderr)


def _has_started(pod: dict[str, Any]) -> bool:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        state = container.get("state") or {}
        if "running" in state or "terminated" in state:
            return True
    return False


def _ended_with(pod: dict[str, Any]) -> int | None:
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
        return None
    for container in (pod["status"] or {}).get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return int(ended.get("exitCode", 1))
    return None

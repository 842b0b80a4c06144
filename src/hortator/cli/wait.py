"""``hort wait``: wait until jobs end (or reach a state), exit with the largest exit code."""

from __future__ import annotations

import argparse
import queue
import threading
import time

from hortator.cli.errors import CommandError, UsageError
from hortator.cli.finding import Found, find
from hortator.cli.kinds import pods_label, resource_of
from hortator.cli.target import Target, add_target, choose
from hortator.jobs.state import STATES
from hortator.kube.errors import Expired, KubeError
from hortator.kube.resources import PODS, Resource

__all__ = ["configure", "run", "until_end"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("jobs", metavar="JOB", nargs="+", help="the jobs' names (hort jobs)")
    parser.add_argument(
        "--for", dest="state", metavar="state=S", help="a state such as state=R (default: the end)"
    )
    parser.add_argument(
        "--timeout", metavar="TIME", help="give up after this long, such as 10m (exit code 124)"
    )
    add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Wait for all of them."""
    state = _state(args.state)
    limit = _limit(args.timeout)
    target = choose(args)
    return until_end(target, args.jobs, state=state, seconds=limit)


def until_end(
    target: Target, names: list[str], *, state: str | None = None, seconds: float | None = None
) -> int:
    """Wait for every job of ``names``; return the largest exit code, or 124 when ``seconds`` are over."""
    jobs = [find(target, name) for name in names]
    deadline = time.monotonic() + seconds if seconds is not None else None
    return max(_until(target, job, state, deadline) for job in jobs)


def _state(text: str | None) -> str | None:
    if text is None:
        return None
    state = text.removeprefix("state=").upper()
    if state not in STATES:
        raise UsageError(f"--for {text}: no such state", hint=f"state= and one of {', '.join(STATES)}")
    return state


def _limit(text: str | None) -> float | None:
    if text is None:
        return None
    from hortator.jobs.amounts import InvalidAmount, parse_duration

    try:
        return parse_duration(text)
    except InvalidAmount as error:
        raise UsageError(f"--timeout {text}: {error}") from error


def _until(target: Target, job: Found, state: str | None, deadline: float | None) -> int:
    """Wait for one job; return its exit code, 0 when only a state was waited for, 124 past the deadline."""
    changes: _Changes | None = None
    try:
        while True:
            found = find(target, f"{job.namespace}/{job.name}") if changes is not None else job
            if state is not None and found.view.state == state:
                return 0
            if found.view.finished:
                if state is not None:
                    raise CommandError(
                        f"{found.name} ended ({found.view.state_name}) without ever being {STATES[state]}"
                    )
                return found.view.exit_code or 0
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return 124
            changes = changes or _Changes(target, found)
            changes.next(left)
    finally:
        if changes is not None:
            changes.stopped = True


class _Changes:
    """Tells that a job or one of its pods has changed: what a job is doing shows in both."""

    def __init__(self, target: Target, job: Found) -> None:
        self._target = target
        self._namespace = job.namespace
        self._news: queue.SimpleQueue[KubeError | None] = queue.SimpleQueue()
        self.stopped = False
        for resource, fields, labels in (
            (resource_of(job.job), f"metadata.name={job.name}", ""),
            (PODS, "", pods_label(job.job)),
        ):
            threading.Thread(target=self._watch, args=(resource, fields, labels), daemon=True).start()

    def next(self, seconds: float | None) -> None:
        """Return after the next change, or after ``seconds``. Raises the API's errors."""
        try:
            news = self._news.get(timeout=seconds)
            while news is None:
                news = self._news.get_nowait()
        except queue.Empty:
            return
        raise news

    def _watch(self, resource: Resource, fields: str, labels: str) -> None:
        client, version = self._target.client, ""
        try:
            while not self.stopped:
                if not version:
                    version = client.list(
                        resource, namespace=self._namespace, fields=fields, labels=labels
                    ).resource_version
                    self._news.put(None)  # what came before the watch began
                try:
                    for event in client.watch(
                        resource,
                        namespace=self._namespace,
                        fields=fields,
                        labels=labels,
                        resource_version=version,
                    ):
                        version = event.resource_version or version
                        if event.type != "BOOKMARK":
                            self._news.put(None)
                except Expired:
                    version = ""
        except KubeError as error:
            self._news.put(error)

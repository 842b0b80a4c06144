"""``hort wait``: wait until jobs end (or reach a state), exit with the largest exit code."""

from __future__ import annotations

import argparse
import time

from hortator.cli.errors import CommandError, NotFound, UsageError
from hortator.cli.finding import Found, find
from hortator.cli.kinds import resource_of
from hortator.cli.target import Target, add_target, choose
from hortator.jobs.state import STATES
from hortator.kube.errors import Expired

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
    while True:
        found = find(target, f"{job.namespace}/{job.name}")
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
        _next_change(target, found, left)


def _next_change(target: Target, found: Found, left: float | None) -> None:
    """Return when the job has changed since ``found`` was read, or after ``left`` seconds (a minute at most)."""
    seconds = max(1, int(min(60.0, left if left is not None else 60.0)))
    try:
        for event in target.client.watch(
            resource_of(found.job),
            namespace=found.namespace,
            fields=f"metadata.name={found.name}",
            resource_version=found.job["metadata"]["resourceVersion"],
            timeout_seconds=seconds,
        ):
            if event.type == "DELETED":
                raise NotFound(f"{found.name} was deleted")
            if event.type in ("MODIFIED", "ADDED"):
                return
    except Expired:
        return  # the version is too old to watch from: the caller reads the job again

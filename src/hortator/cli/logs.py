"""``hort logs``: what a job has written, of all ranks or of some; with ``-f`` until it ends."""

from __future__ import annotations

import argparse
import re
from typing import Any

from hortator.cli.errors import CommandError, NotFound, UsageError
from hortator.cli.finding import Found, find
from hortator.cli.printer import Printer, carries_ranks
from hortator.cli.target import Target, add_target, choose
from hortator.jobs.state import is_launcher, worker_index
from hortator.kube.errors import BadRequest

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("job", metavar="JOB", help="the job's name (hort jobs)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    parser.add_argument("--rank", metavar="RANKS", help="only these ranks, such as 0,3 or 4-7")
    parser.add_argument(
        "--worker", metavar="WORKER", help="only this worker: its number, w2, or the pod's name"
    )
    parser.add_argument("--launcher", action="store_true", help="only the launcher")
    parser.add_argument("--tag-output", action="store_true", help="begin each line with its rank")
    parser.add_argument("--tail", type=int, metavar="LINES", help="only the last lines of each pod")
    parser.add_argument("--since", metavar="TIME", help="only what is newer, such as 5m")
    parser.add_argument("--exit", action="store_true", help="with -f: exit with the job's code")
    add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Print the logs."""
    ranks = _ranks(args.rank)
    query = _query(args)
    target = choose(args)
    found = find(target, args.job)
    printer = Printer(found.job, ranks=ranks, tag_output=args.tag_output, query=query)
    if args.follow:
        from hortator.cli.follow import Follower

        ending = Follower(target, found, printer=printer, only=lambda pod: _wanted(found, pod, args)).follow()
        return ending.code if args.exit else 0
    chosen = [pod for pod in found.pods if _wanted(found, pod, args)]
    if not chosen:
        raise NotFound(f"{found.name} has no such pod", cause=_gone(found), hint=f"hort show {found.name}")
    for pod in chosen:
        _print(target, printer, pod)
    return 0


def _print(target: Target, printer: Printer, pod: dict[str, Any]) -> None:
    try:
        printer.print_pod(target.client, pod, follow=False)
    except BadRequest as error:
        # A pod that has not started has written nothing; that is no failure of the others' logs.
        if (pod.get("status") or {}).get("phase") != "Pending":
            raise CommandError(
                f"cannot read the log of {pod['metadata']['name']}", cause=str(error)
            ) from error


def _gone(found: Found) -> str:
    return "" if found.pods else "its pods are gone, and their logs with them"


def _wanted(found: Found, pod: dict[str, Any], args: argparse.Namespace) -> bool:
    if args.launcher:
        return is_launcher(pod)
    if args.worker is not None:
        number = args.worker.removeprefix("w")
        named = number.isdigit() and worker_index(pod) == int(number)
        return not is_launcher(pod) and (named or args.worker == pod["metadata"]["name"])
    # The workers of an ordinary MPIJob only idle: what the ranks write comes through mpirun, in the launcher's log.
    return found.job["kind"] == "Job" or is_launcher(pod) or carries_ranks(found.job, pod)


def _ranks(text: str | None) -> frozenset[int] | None:
    if text is None:
        return None
    ranks: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", part.strip())
        if match is None:
            raise UsageError(f"--rank {text}: {part!r} is not a rank", hint="as in 0,3 or 4-7")
        first, last = int(match[1]), int(match[2] or match[1])
        ranks.update(range(first, last + 1))
    return frozenset(ranks)


def _query(args: argparse.Namespace) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if args.tail is not None:
        if args.tail < 0:
            raise UsageError(f"--tail {args.tail}: must not be negative")
        query["tail_lines"] = args.tail
    if args.since is not None:
        from hortator.jobs.amounts import InvalidAmount, parse_duration

        try:
            query["since_seconds"] = max(1, int(parse_duration(args.since)))
        except InvalidAmount as error:
            raise UsageError(f"--since {args.since}: {error}") from error
    return query

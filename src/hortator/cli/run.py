"""``hort run``: run a command as a job, show its output, exit with its code."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from pathlib import Path
from typing import IO, Any

from hortator.cli.errors import CommandError, UsageError
from hortator.cli.options import add_job_flags, create_job, prepare, said
from hortator.cli.target import Target, add_target, choose

__all__ = ["configure", "run"]

#: A failure of ours in a verb that passes the job's code through, as docker and podman have it.
OUR_FAILURE = 125


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.usage = "hort run [-n RANKS] [options] -- COMMAND [ARGUMENT ...]"
    add_job_flags(parser)
    parser.add_argument(
        "-i", "--interactive", action="store_true", help="read standard input even from a terminal"
    )
    parser.add_argument("--tag-output", action="store_true", help="begin each line with its rank")
    add_target(parser)
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments"
    )


def run(args: argparse.Namespace) -> int:
    """Run it."""
    command = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not command:
        raise UsageError("no command was given", hint="hort run -n 4 -- ./program")
    stdin = _stdin(interactive=args.interactive)
    try:
        wanted = prepare(args, command, stdin=stdin is not None)
        target = choose(args, start=True)
        job, note = create_job(target, wanted)
        _say(target, job, note)
        # Imported while the pods are starting already.
        from hortator.cli.stay import stay

        return stay(target, job, stdin, tag_output=args.tag_output)
    except CommandError as error:
        if error.code == CommandError.code:
            error.code = OUR_FAILURE
        raise


def _stdin(*, interactive: bool) -> IO[bytes] | None:
    """Return the standard input if it is to be streamed: not from a terminal unless asked, and not from nothing."""
    try:
        facts = os.fstat(0)
    except OSError:
        return None  # closed
    if os.isatty(0):
        return sys.stdin.buffer if interactive else None
    if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == Path(os.devnull).stat().st_rdev:
        return None
    return sys.stdin.buffer


def _say(target: Target, job: dict[str, Any], note: str) -> None:
    name = job["metadata"]["name"]
    stays = f"; it goes on without this terminal (hort logs -f {name})" if os.isatty(2) else ""
    print(f"hort: {said(job)}, on {target.describe()}{stays}", file=sys.stderr)
    if note:
        print(f"hort: {note}", file=sys.stderr)

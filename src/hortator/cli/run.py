"""``hort run``: run a command as a job, show its output, exit with its code."""

from __future__ import annotations

import argparse
import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import IO, Any

from hortator.cli.errors import CommandError, UsageError
from hortator.cli.finding import Found
from hortator.cli.follow import Ending, Follower, Lost
from hortator.cli.options import add_job_flags, create_job, prepare, said
from hortator.cli.printer import Printer
from hortator.cli.target import Target, add_target, choose
from hortator.jobs.state import JobView

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
    values = prepare(args, command, stdin=stdin is not None)
    try:
        target = choose(args, start=True)
        job, note = create_job(target, args.name, values)
        _say(target, job, note)
        return _stay(target, Found(job, []), stdin, tag_output=args.tag_output)
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


def _stay(target: Target, found: Found, stdin: IO[bytes] | None, *, tag_output: bool) -> int:
    progress = _Progress()
    signals: list[int] = []

    def told(job: Found, number: int, count: int) -> None:
        from hortator.cli.cancel import cancel, kill

        signals.append(number)
        if count == 1:
            print(f"hort: cancelling {job.name}; once more ends it at once", file=sys.stderr)
            cancel(target, job)
        else:
            kill(target, job)

    printer = Printer(found.job, tag_output=tag_output)
    follower = Follower(target, found, stdin=stdin, printer=printer, progress=progress.show, on_signal=told)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: follower.signal(received))
    try:
        ending = follower.follow()
    except BrokenPipeError:
        from hortator.cli.cancel import cancel

        cancel(target, found)
        raise
    except Lost as error:
        raise CommandError(
            f"lost the cluster while {found.name} was running",
            cause=str(error),
            hint=f"hort up -d, then hort show {found.name}",
        ) from error
    finally:
        progress.end()
    if signals:
        return 128 + signals[0]
    _explain(ending)
    return ending.code


def _explain(ending: Ending) -> None:
    """Say in a line or two why the job did not end well."""
    view = ending.view
    if ending.deleted:
        print(f"hort: {view.name} was deleted", file=sys.stderr)
        return
    if not ending.code:
        return
    if view.state == "TO":
        print(f"hort: {view.name} ran into its time limit", file=sys.stderr)
    else:
        # Which rank, and why, the launcher has said already, in the job's own log.
        print(f"hort: {view.name} failed with exit code {ending.code}", file=sys.stderr)


class _Progress:
    """Why the job waits: a live line on a terminal, one line per change elsewhere, nothing while all goes fast."""

    #: A job that starts within this many seconds is not commented on.
    QUIET_SECONDS = 1.0

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = ""
        self._live: Any = None

    def show(self, view: JobView) -> None:
        """Take note of what the job is doing."""
        text = _progress_text(view)
        if not text:
            self.end()
        elif text != self._last and (
            time.monotonic() - self._began > self.QUIET_SECONDS or view.state == "PD"
        ):
            if os.isatty(2):
                self._show_live(text)
            elif view.state == "PD" and view.reason:
                print(f"hort: {text}", file=sys.stderr)
        self._last = text

    def _show_live(self, text: str) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.status import Status

            self._live = Status(text, console=Console(stderr=True))
            self._live.start()
        else:
            self._live.update(text)

    def end(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _progress_text(view: JobView) -> str:
    if view.state == "CF":
        return f"{view.reason.lower()} {view.message}".strip()
    if view.state == "PD" and view.reason:
        sentence, _, _ = view.message.partition(". ")
        return f"waiting: {view.reason}: {sentence.rstrip('.')}"
    return ""

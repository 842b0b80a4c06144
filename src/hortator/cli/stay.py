"""Staying with a job in the foreground: its output, Ctrl-C, why it waits, and how it ended, for the person who watches."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import IO, Any

from hortator.cli.errors import CommandError
from hortator.cli.finding import Found
from hortator.cli.follow import Ending, Follower, Lost
from hortator.cli.printer import Printer
from hortator.cli.target import Target
from hortator.jobs.state import JobView

__all__ = ["stay"]


def stay(target: Target, job: dict[str, Any], stdin: IO[bytes] | None, *, tag_output: bool) -> int:
    """Return the job's exit code once it has ended and all its output is printed; 128 + signal after Ctrl-C or TERM.

    Raises ``BrokenPipeError`` when nobody reads the output any more (the job is cancelled then) and
    :class:`CommandError` when the cluster stops answering.
    """
    found = Found(job, [])
    progress = _Progress()
    signals: list[int] = []

    def told(now: Found, number: int, count: int) -> None:
        from hortator.cli.cancel import cancel, kill

        signals.append(number)
        if count == 1:
            print(f"hort: cancelling {now.name}; once more ends it at once", file=sys.stderr)
            cancel(target, now)
        else:
            kill(target, now)

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

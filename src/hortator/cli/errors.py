"""What a command says when it cannot do what was asked: what failed, the first cause, the next step.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 not allowed, 5 cluster unreachable, 6 conflict, 7 can never run. Verbs
that pass a job's exit code through use 125 for failures of our own, 124 for a time limit and 130 for Ctrl-C.
"""

from __future__ import annotations

__all__ = [
    "CommandError",
    "Conflict",
    "InUse",
    "NeverFits",
    "NotAllowed",
    "NotFound",
    "Unreachable",
    "UsageError",
]


class CommandError(Exception):
    """A failure that a person can act on. ``cause`` and ``hint`` are sentences without a full stop, or empty."""

    code = 1

    def __init__(self, what: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.hint = hint

    def lines(self) -> list[str]:
        """Return the message as it is printed."""
        said = [f"error: {self.what}"]
        if self.cause:
            said.append(f"  cause: {self.cause}")
        if self.hint:
            said.append(f"  try: {self.hint}")
        return said


class UsageError(CommandError):
    """Raised when the words of the command do not fit."""

    code = 2


class NotFound(CommandError):
    """Raised when something that was named does not exist."""

    code = 3


class NotAllowed(CommandError):
    """Raised when the cluster refuses for want of rights or a login."""

    code = 4


class Unreachable(CommandError):
    """Raised when no cluster answers."""

    code = 5


class Conflict(CommandError):
    """Raised when something else holds what is needed."""

    code = 6


class InUse(Conflict):
    """Raised when another cluster holds the data folder."""


class NeverFits(CommandError):
    """Raised when the job could not run even on an idle cluster."""

    code = 7

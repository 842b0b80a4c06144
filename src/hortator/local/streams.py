"""What the API server asks of a node for logs, exec, attach and port-forward.

The API server side of these streams (WebSocket, SPDY) is in ``apiserver/streams``; the node side, which reaches into
pods, in ``node/``. They meet in the types of this module only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["STDERR", "STDOUT", "Connector", "ContainerNotFound", "LogOptions", "NotRunning", "Session"]

STDOUT = 1
STDERR = 2


class ContainerNotFound(Exception):
    """Raised when the pod has no such container, or it has no log yet (``str`` says which)."""


class NotRunning(Exception):
    """Raised when the container to be entered is not running."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of ``GET …/pods/NAME/log``, checked by the API server."""

    container: str
    follow: bool = False
    previous: bool = False
    since_time: float | None = None  # seconds since the epoch
    tail_lines: int | None = None
    limit_bytes: int | None = None
    timestamps: bool = False
    stream: str = "All"  # All, Stdout or Stderr (KEP-3288)


class Session(Protocol):
    """A process that was started in a container (exec), or its main process (attach)."""

    async def write(self, data: bytes) -> None:
        """Write to its standard input; waits while the process does not read; silently ends when it has gone."""

    async def close_stdin(self) -> None:
        """Let the process read end-of-file."""

    async def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal; without a terminal nothing happens."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (:data:`STDOUT` or :data:`STDERR`, bytes) until both are at their end. To be called once."""

    async def wait(self) -> int:
        """Return the exit code (128+signal when killed); for attach, that of the container."""

    async def close(self) -> None:
        """Let go: an exec'd process is hung up on (SIGHUP to its session); an attached one goes on."""


class Connector(Protocol):
    """One node, as the API server reaches it. ``pod`` is the whole Pod object."""

    def logs(self, pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
        """Yield a container's log; with ``follow``, until the container ends.

        The first chunk comes at once, and is empty while the container says nothing. Raises :class:`ContainerNotFound`.
        """

    async def exec(
        self, pod: dict[str, Any], container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> Session:
        """Start a command in a running container. Raises :class:`ContainerNotFound` or :class:`NotRunning`."""

    async def attach(self, pod: dict[str, Any], container: str, *, stdin: bool, tty: bool) -> Session:
        """Join a running container's streams. Raises :class:`ContainerNotFound` or :class:`NotRunning`."""

    async def port_forward(self, pod: dict[str, Any], port: int) -> Session:
        """Connect to a port of the pod; the session's stdin and STDOUT are the connection."""

"""The remote shell of launch mode exec: ``remote_shell HOST COMMAND...``, which mpirun calls instead of ssh or rsh.

Runs in the launcher's pod as ``python -I -S remote_shell.py``, so standard library only, and quick to start: hundreds are
started at once. The first label of HOST is the worker pod's name; the words of COMMAND are joined by blanks and run by
``/bin/sh`` there, as ssh does it, with this program's streams. The exit code is the command's, or 255 when it could not be
run. What the worker's environment names in ``HORT_ENTER`` is put before the command.

A worker that has no node yet is waited for as long as it takes, since the scheduler decides; one that has a node, or
does not exist, for ``HORT_CONNECT_TIMEOUT`` seconds (60). Nothing here polls: the API is watched.
"""

from __future__ import annotations

import os
import sys
import time

if not __package__:
    # Run as a file, without site-packages: make our own package known, behind the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)).rsplit(os.sep, 3)[0])  # noqa: PTH120

from hortator.kube.blocking import BlockingClient
from hortator.kube.credentials import CredentialError, TokenFile
from hortator.kube.endpoint import Endpoint, InvalidEndpoint

# The errors' module and the table of resources are imported where something has to be waited for or explained.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from hortator.kube.blocking_exec import BlockingExec

__all__ = ["Deadline", "Unreachable", "assess", "main", "parse_arguments", "remote_command"]

ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
#: The exit code of an ssh that could not do its work.
FAILED = 255
_USAGE = "usage: remote_shell [OPTIONS] HOST COMMAND..."
#: Options of ssh that take a value; all options are accepted and mean nothing here, but -n.
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOopQRSWw")
_ENTER = 'exec $HORT_ENTER "$@"'
#: Seconds for which a pod is watched at a time.
_PIECE = 60


class Unreachable(Exception):
    """Raised when a command cannot be run in a worker; ``str`` names the worker and says why."""


class Usage(Exception):
    """Raised for arguments that name no host or no command."""


def parse_arguments(arguments: Sequence[str]) -> tuple[str, str, bool]:
    """Return host, command line, and whether standard input is forwarded. Raises :class:`Usage`.

    Options of ssh and rsh may stand before the host, and after it, as with rsh.
    """
    words = list(arguments)
    forward = True
    host = ""
    while words:
        word = words[0]
        if word.startswith("-") and len(word) > 1:
            del words[0]
            if word == "--":
                break
            letters = word[1:]
            forward = forward and "n" not in letters
            # The value is the rest of the word, or the next one.
            valued = next((at for at, letter in enumerate(letters) if letter in _WITH_VALUE), None)
            if valued is not None:
                forward = forward or "n" in letters[valued:]
                if valued == len(letters) - 1 and words:
                    del words[0]
            continue
        if host:
            break
        host = words.pop(0)
    if not host and words:
        host = words.pop(0)
    host = host.rpartition("@")[2]
    if not host or not words:
        raise Usage(_USAGE)
    return host, " ".join(words), forward


def remote_command(line: str) -> list[str]:
    """Return what is executed in the worker for a command line."""
    return ["/bin/sh", "-c", _ENTER, "sh", "/bin/sh", "-c", line]


class Deadline:
    """How long a worker is waited for; time in which the scheduler has not placed it does not count."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end: float | None = clock() + seconds

    def pause(self) -> None:
        """Stop counting."""
        self._end = None

    def resume(self) -> None:
        """Start counting, from the beginning, if it was stopped."""
        if self._end is None:
            self._end = self._clock() + self.seconds

    @property
    def left(self) -> float | None:
        """Seconds left, not below zero; None while the deadline does not count."""
        return None if self._end is None else max(0.0, self._end - self._clock())


def assess(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Return a worker's state and why: ``up``, ``starting``, ``unplaced`` or ``ended``."""
    status = pod.get("status") or {}
    phase = status.get("phase") or "Pending"
    if phase in ("Succeeded", "Failed"):
        return "ended", f"it has {phase.lower()}{_because(status)}"
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return "ended", "it is being deleted"
    if not (pod.get("spec") or {}).get("nodeName"):
        scheduled = _scheduled(status)
        return "unplaced", scheduled or "it has not been placed on a node"
    main = (status.get("containerStatuses") or [{}])[0]
    state = main.get("state") or {}
    if phase == "Running" and ("running" in state or not state):
        return "up", ""
    waiting = state.get("waiting") or {}
    because = ": ".join(str(waiting[key]) for key in ("reason", "message") if waiting.get(key))
    return "starting", because or f"it is {phase}"


def _because(status: Mapping[str, Any]) -> str:
    parts = [str(status[key]) for key in ("reason", "message") if status.get(key)]
    return f" ({': '.join(parts)})" if parts else ""


def _scheduled(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled":
            return str(condition.get("message") or "")
    return ""


class _Worker:
    """One worker pod, and the way to it."""

    def __init__(
        self, client: BlockingClient, namespace: str, name: str, deadline: Deadline, *, tell: bool
    ) -> None:
        self._client = client
        self._tell = tell
        self._namespace = namespace
        self._name = name
        self._deadline = deadline
        #: The pod's version at which the last attempt was made, and what came of it.
        self._tried = ""
        self._problem = ""
        self._told = ""

    def execute(self, command: list[str], *, stdin: bool) -> BlockingExec:
        """Start the command, waiting for the pod as long as it is worth it. Raises :class:`Unreachable`."""
        while True:
            try:
                return self._client.exec(self._namespace, self._name, command, stdin=stdin)
            except Exception as error:
                from hortator.kube.errors import ApiError, Forbidden, Unauthorized

                if not isinstance(error, ApiError) or isinstance(error, Forbidden | Unauthorized):
                    raise
                # Not there, not running yet, or just going; the pod itself tells which.
                self._problem = str(error)
            self._wait()

    def _wait(self) -> None:
        """Return once the pod runs and is not as it was at the last attempt. Raises :class:`Unreachable`."""
        from hortator.kube.resources import PODS

        while True:
            left = self._deadline.left
            # In pieces of a minute, so that a connection that died unseen is not waited for.
            seconds = _PIECE if left is None else min(_PIECE, max(1, int(left + 0.999)))
            events: Any = self._client.watch(
                PODS, namespace=self._namespace, fields=f"metadata.name={self._name}", timeout_seconds=seconds
            )
            try:
                for event in events:
                    if event.type in ("ADDED", "MODIFIED") and self._is_up(event.object):
                        return
                    if event.type == "DELETED":
                        raise Unreachable(f"worker {self._name} cannot be reached: it was deleted")
            finally:
                events.close()
            if self._deadline.left == 0.0:
                limit = f"{self._deadline.seconds:g} seconds"
                raise Unreachable(f"worker {self._name} did not start within {limit}: {self._problem}")

    def _is_up(self, pod: Mapping[str, Any]) -> bool:
        state, why = assess(pod)
        if state == "ended":
            raise Unreachable(f"worker {self._name} cannot be reached: {why}")
        if state == "unplaced":
            self._deadline.pause()
            if self._tell and why != self._told:
                _say(f"waiting for worker {self._name}: {why}")
                self._told = why
            return False
        self._deadline.resume()
        if state == "starting":
            self._problem = why
            return False
        version = str((pod.get("metadata") or {}).get("resourceVersion") or "")
        fresh = version != self._tried
        self._tried = version
        return fresh


def connect(environ: Mapping[str, str]) -> tuple[BlockingClient, str]:
    """Return a client that speaks as the pod's ServiceAccount, and the pod's namespace. Raises :class:`Unreachable`."""
    folder = environ.get("HORT_SERVICE_ACCOUNT_DIR") or ACCOUNT_DIR
    try:
        with open(f"{folder}/namespace", encoding="utf-8") as file:
            namespace = file.read().strip()
        credentials = TokenFile(f"{folder}/token")
        if socket_path := environ.get("HORT_API_SOCKET"):
            endpoint = Endpoint(socket_path=socket_path, credentials=credentials)
        else:
            host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
            with open(f"{folder}/ca.crt", "rb") as file:
                authorities = file.read()
            host = f"[{host}]" if ":" in host else host
            endpoint = Endpoint(f"https://{host}:{port}", ca=authorities, credentials=credentials)
    except KeyError as error:
        raise Unreachable(
            "this is not a pod: neither HORT_API_SOCKET nor KUBERNETES_SERVICE_HOST is set"
        ) from error
    except (OSError, InvalidEndpoint) as error:
        raise Unreachable(f"the pod's service account cannot be used: {error}") from error
    return BlockingClient(endpoint), namespace


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command in a worker; return the exit code."""
    try:
        host, line, forward = parse_arguments(arguments)
    except Usage as error:
        _say(str(error))
        return FAILED
    name = host.partition(".")[0]
    if name == environ.get("HOSTNAME"):
        # A launcher that takes ranks, where its host name is not the machine's: it is here.
        os.execv("/bin/sh", remote_command(line))  # noqa: S606
    try:
        client, namespace = connect(environ)
        seconds = float(environ.get("HORT_CONNECT_TIMEOUT") or 60)
        # Of a job of its own, hort itself tells why it waits.
        worker = _Worker(client, namespace, name, Deadline(seconds), tell="HORT_JOB_ID" not in environ)
        stdin = 0 if forward and _has_input() else None
        with worker.execute(remote_command(line), stdin=stdin is not None) as session:
            return session.pump(stdin=stdin, stdout=1, stderr=2)
    except (Unreachable, CredentialError) as error:
        _say(str(error))
    except Exception as error:
        from hortator.kube.errors import KubeError

        if not isinstance(error, KubeError):
            raise
        _say(f"worker {name} cannot be reached: {error}")
    return FAILED


def _has_input() -> bool:
    """Say whether standard input can hold anything; mpirun mostly passes the null device."""
    try:
        found, null = os.fstat(0), os.stat("/dev/null")  # noqa: PTH116
    except OSError:
        return False
    return (found.st_rdev, found.st_mode) != (null.st_rdev, null.st_mode)


def _say(text: str) -> None:
    os.write(2, f"hortator: {text}\n".encode(errors="replace"))


def _run() -> NoReturn:
    try:
        code = main(sys.argv[1:], os.environ)
    except BrokenPipeError:
        code = FAILED
    # No clean-up of modules: it would take longer than the work.
    os._exit(code)


if __name__ == "__main__":
    _run()

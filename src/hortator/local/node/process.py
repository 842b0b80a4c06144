"""Starting one program: fork, make its descriptors, identity and directory, exec, and say precisely what failed.

Standard library only; called in the first process of a container (single thread), never in the cluster itself.
"""

# Strings and calls of os: this is on the way of every start, where pathlib costs.
# ruff: noqa: PTH110, PTH112, S606

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import syscalls

__all__ = ["Identity", "StartFailed", "exit_code", "find_program", "start"]


class StartFailed(Exception):
    """Raised when a program could not be started; ``str`` is the sentence for the user."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the program runs as; None keeps what its parent is."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None


def find_program(name: str, path: str, cwd: str) -> str:
    """Return the file that ``name`` means. Raises :class:`StartFailed` in the words of runc."""
    if "/" in name:
        candidate = name if name.startswith("/") else f"{cwd}/{name}"
        reason = _not_runnable(candidate)
        if reason:
            raise StartFailed(
                f'exec: "{name}": stat {name}: {reason}'
                if "no such" in reason
                else f'exec: "{name}": {reason}'
            )
        return candidate
    denied = False
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        reason = _not_runnable(candidate)
        if not reason:
            return candidate
        denied = denied or reason == "permission denied"
    raise StartFailed(
        f'exec: "{name}": permission denied'
        if denied
        else f'exec: "{name}": executable file not found in $PATH'
    )


def _not_runnable(path: str) -> str:
    if not os.path.exists(path):
        return "no such file or directory"
    if os.path.isdir(path):
        return "is a directory"
    return "" if os.access(path, os.X_OK) else "permission denied"


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    stdio: tuple[int, int, int],
    *,
    identity: Identity,
    terminal: bool = False,
    die_with_parent: bool = False,
) -> int:
    """Start a program in a session of its own and return its pid once it has been exec'd.

    With ``terminal``, ``stdio[0]`` becomes its controlling terminal. Raises :class:`StartFailed`.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(argv, env, cwd, stdio, identity, terminal, die_with_parent, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        failure = pipe.read()
    if failure:
        os.waitpid(pid, 0)
        raise StartFailed(json.loads(failure))
    return pid


def _child(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    stdio: tuple[int, int, int],
    identity: Identity,
    terminal: bool,
    die_with_parent: bool,
    writing: int,
) -> None:
    try:
        message = ""
        try:
            os.setsid()
            # Above the low numbers first, so that no dup2 below overwrites one that is still needed.
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in stdio]
            for number, fd in enumerate(high):
                os.dup2(fd, number, inheritable=True)
            if terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            _reset_signals()
            if identity.groups is not None:
                os.setgroups(identity.groups)
            if identity.gid is not None:
                os.setresgid(identity.gid, identity.gid, identity.gid)
            if identity.uid is not None:
                os.setresuid(identity.uid, identity.uid, identity.uid)
            if die_with_parent:
                syscalls.die_with_parent(signal.SIGKILL)
            try:
                os.chdir(cwd)
            except OSError as error:
                raise StartFailed(f'chdir to "{cwd}": {_words(error)}') from error
            program = find_program(argv[0], env.get("PATH", os.defpath), cwd)
            try:
                os.execve(program, list(argv), dict(env))
            except OSError as error:
                if error.errno == errno.ENOEXEC:  # a script without #!, which every shell runs
                    os.execve("/bin/sh", ["/bin/sh", program, *argv[1:]], dict(env))
                raise StartFailed(f'exec: "{argv[0]}": {_words(error)}') from error
        except StartFailed as error:
            message = str(error)
        except (OSError, ValueError) as error:
            message = f'exec: "{argv[0]}": {_words(error)}'
        os.write(writing, json.dumps(message).encode())
    finally:
        os._exit(128)


def _words(error: Exception) -> str:
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return text[:1].lower() + text[1:]


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (
        signal.SIGPIPE,
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGXFSZ,
    ):
        signal.signal(number, signal.SIG_DFL)


def exit_code(status: int) -> int:
    """Return a wait status as a shell shows it: the code, or 128 + the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code

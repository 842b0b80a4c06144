"""The first process of a container: builds its sandbox, starts its program, keeps its output, ends all of it.

One such process per container, forked from the zygote; standard library only, one thread, one poll loop. What a pod is
(which containers, in which order, restarted when) is the agent's business; here is only: run this, say how it ended.
In a PID namespace it is process 1, so the kernel ends every descendant with it; without one it adopts all orphans and
walks its descendants until none is left.

It talks to the agent over its control socket. Requests: ``exec`` (descriptors for 0, 1, 2 come along), ``signal``,
``kill`` (everything), ``pin``/``unpin`` (a reader of the log), ``closed`` (the agent has read the end). Events:
``failed``, ``started``, ``exec-started``, ``exec-failed``, ``exec-exited``, ``pinned``, ``exited``. When the agent or the
zygote goes away, everything here ends.
"""

# Strings and calls of os: this is on the way of every start, where pathlib costs.
# ruff: noqa: PTH103, PTH112, PTH208

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from pathlib import Path
from typing import Any, NoReturn

from . import process
from .channel import Channel, Message
from .process import Identity, StartFailed
from .pump import Pump
from .sandbox import Mount, Sandbox, SandboxFailed, build, keep_identity

__all__ = ["run"]

_CHUNK = 1 << 20
_PIPE = 1 << 20
_F_SETPIPE_SZ = 1031


def run(spec: Message, fds: list[int], lifeline: int, sandbox: Sandbox) -> NoReturn:
    """Be the container until it ends. ``fds``: control socket, then stdin, or both ends of a terminal."""
    status = 1
    try:
        _Init(spec, fds, lifeline, sandbox).run()
        status = 0
    finally:
        os._exit(status)


class _Init:
    def __init__(self, spec: Message, fds: list[int], lifeline: int, sandbox: Sandbox) -> None:
        self._spec = spec
        self._fds = fds[1:]
        self._sandbox = sandbox
        self._lifeline = lifeline
        self._channel = Channel(socket.socket(fileno=fds[0]))
        self._poll = select.poll()
        self._main = 0
        self._status: int | None = None
        self._execs: dict[int, int] = {}
        self._sources: dict[int, int] = {}  # descriptor -> stream
        self._paused = False
        self._buffer = memoryview(bytearray(_CHUNK))
        self._wake = -1
        self._orphaned = False

    # -- start ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        waker, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        directory = os.open(self._spec["log"]["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._pump = Pump(
            directory, segment_bytes=self._spec["log"]["segment_bytes"], keep=self._spec["log"]["segments"]
        )
        try:
            self._prepare()
            self._start()
        except (SandboxFailed, StartFailed, OSError) as error:
            reason = "StartError" if isinstance(error, StartFailed) else "CreateContainerError"
            self._end_all()
            self._tell({"event": "failed", "reason": reason, "message": str(error)})
            self._linger()
            return
        self._waker = waker
        for fd in (waker, self._lifeline, self._channel.fileno()):
            self._poll.register(fd, select.POLLIN)
        self._loop()

    def _prepare(self) -> None:
        spec = self._spec
        if spec.get("cpus"):
            os.sched_setaffinity(0, spec["cpus"])
        if spec.get("nice"):
            with contextlib.suppress(OSError):
                os.nice(spec["nice"])
        if not self._sandbox.mounts:
            return
        uid, gid = spec["owner"]
        mounts = [Mount(**entry) for entry in spec["mounts"]]
        build(mounts, stage=spec["stage"], hostname=spec["hostname"], proc=self._sandbox.proc)
        if self._sandbox.user:
            keep_identity(uid, gid)

    def _start(self) -> None:
        spec = self._spec
        identity = spec.get("identity") or {}
        self._identity = Identity(
            identity.get("uid"),
            identity.get("gid"),
            tuple(identity["groups"]) if "groups" in identity else None,
        )
        cwd = spec["cwd"]
        if not os.path.isdir(cwd):
            try:
                os.makedirs(cwd, exist_ok=True)
            except OSError as error:
                raise StartFailed(f'chdir to "{cwd}": {(error.strerror or "").lower()}') from error
        if spec.get("tty"):
            master, slave = self._fds
            stdio = (slave, slave, slave)
            self._sources[master] = 1
            child_ends = [slave]
        else:
            stdin = self._fds[0] if self._fds else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            out, out_child = _big_pipe()
            err, err_child = _big_pipe()
            self._sources.update({out: 1, err: 2})
            stdio = (stdin, out_child, err_child)
            child_ends = [stdin, out_child, err_child]
        try:
            self._main = process.start(
                spec["argv"],
                spec["env"],
                cwd,
                stdio,
                identity=self._identity,
                terminal=bool(spec.get("tty")),
                die_with_parent=not self._sandbox.mounts,
            )
        finally:
            for fd in child_ends:
                os.close(fd)
        for fd in self._sources:
            self._poll.register(fd, select.POLLIN)
        self._tell({"event": "started", "pid": self._main})

    # -- the loop ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._lifeline:
                    self._orphaned = True
                elif fd == self._channel.fileno():
                    self._orphaned = not self._serve()
                elif fd == self._waker:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 4096)
                elif not self._paused:
                    self._take(fd)
                if self._orphaned:
                    self._end_all()
                    return
            self._reap()
            if self._status is not None:
                self._finish(self._status)
                return
            self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        if self._pump.blocked != self._paused:
            self._paused = not self._paused
            for fd in self._sources:
                if self._paused:
                    self._poll.unregister(fd)
                else:
                    self._poll.register(fd, select.POLLIN)

    def _take(self, fd: int) -> bool:
        """Move one chunk from a pipe into the log; return False at its end."""
        if fd not in self._sources:
            return False
        try:
            count = os.readv(fd, [self._buffer])
        except OSError:  # a terminal whose last user has gone gives EIO
            count = 0
        if count == 0:
            if not self._paused:
                self._poll.unregister(fd)
            del self._sources[fd]
            os.close(fd)
            return False
        self._pump.append(self._sources[fd], self._buffer[:count])
        if self._wake >= 0 and self._pump.followed:
            self._notify()
        return True

    def _notify(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._main:
                self._status = status
            elif pid in self._execs:
                self._tell(
                    {"event": "exec-exited", "id": self._execs.pop(pid), "code": process.exit_code(status)}
                )

    # -- the end -------------------------------------------------------------------------------------------------

    def _finish(self, status: int) -> None:
        self._end_all()
        self._pump.drain()
        for fd in list(self._sources):
            self._paused = True  # already off the poll or about to be: only the descriptors matter now
            os.set_blocking(fd, False)
            while self._take(fd):
                pass
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        oom = _oom_kills(self._spec.get("oom_file", "")) > int(self._spec.get("oom_before", 0))
        self._tell({"event": "exited", "code": process.exit_code(status), "signal": number, "oom": oom})
        if self._wake >= 0:
            self._notify()
        self._linger()

    def _linger(self) -> None:
        """Wait until the agent has read what was said last and closes."""
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._lifeline or not self._serve():
                    return

    def _end_all(self) -> None:
        """End every process of this container and reap until none is left."""
        while True:
            if self._sandbox.mounts:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:
                for pid in descendants(os.getpid()):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid == self._main and self._status is None:
                self._status = status
            if pid in self._execs:
                self._tell(
                    {"event": "exec-exited", "id": self._execs.pop(pid), "code": process.exit_code(status)}
                )

    # -- requests ------------------------------------------------------------------------------------------------

    def _tell(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        # An agent that has gone is noticed by the poll loop.
        with contextlib.suppress(OSError):
            self._channel.send(message, fds)

    def _serve(self) -> bool:
        try:
            messages = self._channel.receive()
        except OSError:
            return False
        if messages is None:
            return False
        for message, fds in messages:
            self._request(message, fds)
        return True

    def _request(self, message: Message, fds: list[int]) -> None:
        kept: list[int] = []
        match message["op"]:
            case "exec":
                self._exec(message, fds)
            case "signal":
                if self._main and self._status is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._main, message["signal"])
            case "hangup":
                for pid, number in self._execs.items():
                    if number == message["id"]:
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(pid, message["signal"])
            case "kill":
                if self._main and self._status is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._main, signal.SIGKILL)
            case "pin":
                if fds and self._wake < 0:
                    self._wake = fds[0]
                    kept = fds[:1]
                segment = max(message["segment"], self._pump.oldest)
                self._pump.pin(message["reader"], segment)
                if message.get("answer"):
                    self._tell({"event": "pinned", "reader": message["reader"], "segment": segment})
            case "unpin":
                self._pump.unpin(message["reader"])
        for fd in fds:
            if fd not in kept:
                os.close(fd)

    def _exec(self, message: Message, fds: list[int]) -> None:
        number = message["id"]
        if self._status is not None or not self._main:
            self._tell({"event": "exec-failed", "id": number, "message": "the container is not running"})
            return
        stdin, stdout, stderr = fds if len(fds) == 3 else fds * 3
        env: dict[str, str] = {**self._spec["env"], **message.get("env", {})}
        try:
            pid = process.start(
                message["argv"],
                env,
                self._spec["cwd"],
                (stdin, stdout, stderr),
                identity=self._identity,
                terminal=message.get("tty", False),
                die_with_parent=not self._sandbox.mounts,
            )
        except StartFailed as error:
            self._tell({"event": "exec-failed", "id": number, "message": str(error)})
            return
        self._execs[pid] = number
        self._tell({"event": "exec-started", "id": number, "pid": pid})


def _big_pipe() -> tuple[int, int]:
    import fcntl

    reading, writing = os.pipe()
    # More room means fewer, larger chunks; a user's pipe quota may refuse it.
    with contextlib.suppress(OSError):
        fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE)
    return reading, writing


def _oom_kills(path: str) -> int:
    """Return how many processes of this cgroup the kernel has killed for memory (either cgroup version)."""
    if not path:
        return 0
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def descendants(root: int) -> list[int]:
    """Return every living descendant of a process, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields: list[Any] = text[text.rindex(")") + 2 :].split()
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    queue = list(children.get(root, ()))
    while queue:
        pid = queue.pop(0)
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found

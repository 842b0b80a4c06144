"""The small process from which every container is forked, so that the threaded cluster never forks.

:meth:`Zygote.start` must run before the cluster has an event loop or a thread. The zygote makes the namespaces, forks the
container's first process (:mod:`.init`) and adopts it; when the cluster goes away, however it goes, the zygote ends
every container and then itself. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

from .channel import AsyncChannel, Channel, Message
from .sandbox import Sandbox

__all__ = ["SpawnFailed", "Zygote"]

_PATIENCE = 5.0  # seconds that containers get to end themselves when the cluster has gone


class SpawnFailed(Exception):
    """Raised when the zygote could not start a container's first process, or the zygote itself has gone."""


class Zygote:
    """The cluster's end. One per process, whatever number of nodes."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._socket = sock
        self.pid = pid
        self._channel: AsyncChannel | None = None
        self._reader: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._sandbox: asyncio.Future[Sandbox] | None = None

    @classmethod
    def start(cls, *, sandbox: bool = True) -> Zygote:
        """Fork the zygote. To be called before any event loop or thread exists; raises ``RuntimeError`` otherwise.

        With ``sandbox=False`` pods are plain processes even where the kernel would allow more.
        """
        if threading.active_count() > 1:
            raise RuntimeError("the zygote must be forked before any thread is started")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ours.close()
                _Server(theirs, sandbox).serve()
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        return cls(ours, pid)

    @classmethod
    def launch(cls, *, sandbox: bool = True, prefix: Sequence[str] = ()) -> Zygote:
        """Start the zygote as a program of its own, which may be done at any time but takes longer.

        ``prefix`` is a command that runs it (``setpriv ... python3``); the default is this Python.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            words = [*(prefix or (sys.executable,)), "-m", __name__, str(theirs.fileno())]
            process = subprocess.Popen(words + ([] if sandbox else ["plain"]), pass_fds=(theirs.fileno(),))
        zygote = cls(ours, process.pid)
        zygote._process = process
        return zygote

    async def open(self) -> Sandbox:
        """Connect the running event loop to the zygote and return what the kernel allows. May be repeated."""
        if self._sandbox is None:
            self._sandbox = asyncio.get_running_loop().create_future()
            self._channel = AsyncChannel(self._socket)
            self._reader = asyncio.create_task(self._read(self._channel, self._sandbox))
        return await asyncio.shield(self._sandbox)

    async def spawn(self, spec: Message, fds: list[int]) -> int:
        """Start a container's first process and return its pid on the machine. Raises :class:`SpawnFailed`.

        ``spec`` is described in :mod:`.init`; the descriptors stay open here.
        """
        await self.open()
        assert self._channel is not None  # noqa: S101 -- for the type checker: open() has set it
        self._next += 1
        number = self._next
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._channel.send({"op": "spawn", "id": number, "spec": spec}, fds)
            return await answer
        except OSError as error:
            raise SpawnFailed("the process that starts pods has gone") from error
        finally:
            self._waiting.pop(number, None)

    async def _read(self, channel: AsyncChannel, sandbox: asyncio.Future[Sandbox]) -> None:
        while (received := await channel.receive()) is not None:
            message, _ = received
            if message["event"] == "ready":
                sandbox.set_result(Sandbox(**message["sandbox"]))
                continue
            answer = self._waiting.get(message["id"])
            if answer is None or answer.done():
                continue
            if "pid" in message:
                answer.set_result(message["pid"])
            else:
                answer.set_exception(SpawnFailed(message["message"]))
        gone = SpawnFailed("the process that starts pods has gone")
        if not sandbox.done():
            sandbox.set_exception(gone)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(gone)

    async def close(self) -> None:
        """End the zygote and with it every container, and wait until they are gone."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._channel is not None:
            self._channel.close()
        self._socket.close()
        await asyncio.get_running_loop().run_in_executor(None, self._wait)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait()
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Server:
    """The zygote itself."""

    def __init__(self, sock: socket.socket, sandbox: bool) -> None:
        # Imported only in the zygote: the cluster's own start stays light.
        from . import sandbox as sandboxes
        from . import syscalls

        self._channel = Channel(sock)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._waker, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._stop = False
        signal.signal(signal.SIGTERM, self._terminate)
        self._lifeline, self._lifeline_end = os.pipe()
        syscalls.name_process("hort-zygote")
        syscalls.become_subreaper()
        self._sandbox = (
            sandboxes.probe()
            if sandbox
            else Sandbox(mounts=False, user=False, proc=False, why="switched off")
        )
        self._inits: dict[int, list[str]] = {}  # pid -> control groups that go with it
        gc.collect()
        gc.freeze()

    def _terminate(self, *_: object) -> None:
        self._stop = True

    def serve(self) -> None:
        from dataclasses import asdict

        # Imported here, once, so that no container pays for it.
        from . import init  # noqa: F401

        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        with contextlib.suppress(OSError):
            self._channel.send({"event": "ready", "sandbox": asdict(self._sandbox)})
        while not self._stop:
            for fd, _ in poll.poll():
                if fd == self._waker:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 4096)
                    self._reap()
                elif not self._serve():
                    self._stop = True
        self._end()

    def _serve(self) -> bool:
        try:
            messages = self._channel.receive()
            for message, fds in messages or ():
                answer = self._spawn(message["spec"], fds)
                for fd in fds:
                    os.close(fd)
                self._channel.send({"event": "spawned", "id": message["id"], **answer})
        except OSError:
            return False
        return messages is not None

    def _spawn(self, spec: Message, fds: list[int]) -> Message:
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            return {"message": f"no process could be started: {error.strerror}"}
        if pid == 0:
            self._launch(spec, fds, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer: Message = json.loads(pipe.read() or b'{"message": "the first process died at once"}')
        if answer.get("pid") != pid:
            os.waitpid(pid, 0)
        if "pid" in answer:
            self._inits[answer["pid"]] = spec.get("cgroups", [])
        else:
            _remove_cgroups(spec.get("cgroups", []))
        return answer

    def _launch(self, spec: Message, fds: list[int], writing: int) -> NoReturn:
        """In the child: make the namespaces, then become (or fork) the first process."""
        try:
            signal.set_wakeup_fd(-1)
            os.close(self._lifeline_end)
            spec["owner"] = [os.geteuid(), os.getegid()]
            pid = os.getpid()
            first = True
            try:
                _join_cgroups(spec.get("cgroups", ()))
                if self._sandbox.mounts:
                    from .sandbox import enter_namespaces

                    enter_namespaces(user=self._sandbox.user)
                    pid = os.fork()
                    first = pid == 0
            except OSError as error:
                os.write(writing, json.dumps({"message": f"the sandbox could not be made: {error}"}).encode())
                os._exit(1)
            if not first or not self._sandbox.mounts:
                os.write(writing, json.dumps({"pid": pid}).encode())
            if not first:
                os._exit(0)
            _close_all_but({0, 1, 2, self._lifeline, *fds})
            from . import init, syscalls

            syscalls.become_subreaper()
            syscalls.name_process("hort-init")
            init.run(spec, fds, self._lifeline, self._sandbox)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._inits:
                _remove_cgroups(self._inits.pop(pid))
                if not self._sandbox.mounts:
                    self._end_orphans()

    def _end_orphans(self) -> None:
        """Without namespaces: end what a container left behind when its first process was killed itself."""
        from .init import descendants

        mine = set(descendants(os.getpid()))
        kept = set(self._inits)
        for init in self._inits:
            kept.update(descendants(init))
        for pid in mine - kept:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        """The cluster has gone: let the containers end themselves, end those that do not, reap all."""
        os.close(self._lifeline_end)
        until = time.monotonic() + _PATIENCE
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        while True:
            self._reap()
            if not self._inits:
                break
            left = until - time.monotonic()
            if left <= 0:
                for pid in self._inits:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                left = _PATIENCE
            if poll.poll(left * 1000):
                with contextlib.suppress(BlockingIOError):
                    os.read(self._waker, 4096)
        while True:
            self._end_orphans()
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def _join_cgroups(directories: list[str]) -> None:
    for directory in directories:
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write("0")


def _remove_cgroups(directories: list[str]) -> None:
    for directory in directories:
        # Another process in it would be none of ours; then it stays.
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106


def _close_all_but(kept: set[int]) -> None:
    previous = -1
    for fd in sorted(kept):
        if fd > previous + 1:
            os.closerange(previous + 1, fd)
        previous = fd
    os.closerange(previous + 1, os.sysconf("SC_OPEN_MAX") if previous < 4096 else previous + 4096)


def main(words: Sequence[str]) -> None:
    """Be the zygote of the process that launched this one (see :meth:`Zygote.launch`)."""
    fd = int(words[0])
    os.set_inheritable(fd, False)
    _Server(socket.socket(fileno=fd), words[1:] != ["plain"]).serve()


if __name__ == "__main__":
    main(sys.argv[1:])

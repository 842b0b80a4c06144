"""One run of one container: configured, started, stopped, and how it ended. While it runs, :mod:`.health` looks after it.

What is known goes into the pod's frozen :class:`~.pod.Container` states; :mod:`.worker` looks at them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hortator.apimachinery.quantity import parse
from hortator.kube.errors import KubeError

from .channel import Message
from .container import ContainerProcess, Exit, LaunchFailed, read_log
from .environment import ConfigError, Object, references
from .health import Health
from .host import Host
from .launch import NoCommand, container_message, log_directory, termination_path
from .pod import Container, Ended
from .probes import run_hook
from .resources import is_sidecar
from .restarts import next_backoff
from .volumes import MountFailed
from .zygote import SpawnFailed

if TYPE_CHECKING:
    from .worker import PodWorker

__all__ = ["ContainerRun"]

_log = logging.getLogger(__name__)

#: Seconds between attempts to configure a container whose ConfigMap, Secret or volume is not there yet; a change of
#: what it waits for wakes it sooner.
_RETRY = 5.0
_MESSAGE_BYTES = 4096
_LOG_LINES = 80
_LOG_BYTES = 2048
#: What a program gets at least between TERM and KILL when its hook or another container took its grace.
_LAST_SECONDS = 2.0


class ContainerRun:
    """From :meth:`begin` to the end of the process; the next run of the same container is another object."""

    def __init__(self, worker: PodWorker, host: Host, spec: Object, states: dict[str, Container]) -> None:
        self._worker = worker
        self._host = host
        self.spec = spec
        self._states = states
        self.name: str = spec["name"]
        self.process: ContainerProcess | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._until = float("inf")  # when KILL is due
        self._hurry = asyncio.Event()
        self._health: asyncio.Task[None] | None = None

    @property
    def state(self) -> Container:
        """What is known of the container."""
        return self._states[self.name]

    def set(self, **changes: Any) -> None:
        """Change what is known of the container."""
        self._states[self.name] = replace(self.state, **changes)
        self._worker.changed.set()

    def begin(self, again: bool) -> None:
        """Note that a start is under way, so that the plan does not ask for it twice."""
        state = self.state
        if again:
            self.set(
                state="starting",
                restarts=state.restarts + 1,
                backoff=0.0 if state.changed else next_backoff(state.backoff, state.lasted),
                changed=False,
                last=state.ended,
                ended=None,
                reason="",
                message="",
                started=False,
                ready=False,
                stopping=False,
                retry_clock=0.0,
            )
        else:
            self.set(state="starting", stopping=False, started=False, ready=False, retry_clock=0.0)

    async def run(self) -> None:
        """Start the container and stay with it until it has ended."""
        try:
            process = await self._launch()
            if process is None:
                return
            exit_ = await self._attend(process)
            await self._ended(exit_)
        finally:
            for task in (self._health, self._stopping):
                if task is not None:
                    task.cancel()

    # -- start ---------------------------------------------------------------------------------------------------

    async def _launch(self) -> ContainerProcess | None:
        worker, spec = self._worker, self.spec
        run = self.state.restarts
        identifier = f"hort://{uuid.uuid4().hex}"
        try:
            lookup = await self._referenced()
            message = container_message(
                self._host,
                worker.pod,
                spec,
                run=run,
                belongings=worker.belongings,
                volumes=worker.volumes,
                context=worker.context(),
                lookup=lambda kind, name: lookup.get((kind, name)),
            )
            self._drop_old_runs(run)
            if self._until <= asyncio.get_running_loop().time():
                raise LaunchFailed("StartError", "the pod was ended before the container had started")
            self._limit_memory(message, identifier)
            process = await ContainerProcess.launch(
                self._host.zygote, message, stdin=bool(spec.get("stdin")), tty=bool(spec.get("tty"))
            )
        except (ConfigError, KubeError, MountFailed) as error:
            self._postpone("CreateContainerConfigError", str(error), _RETRY)
        except (SpawnFailed, OSError) as error:
            self._postpone("CreateContainerError", str(error), _RETRY)
        except NoCommand as error:
            # Nothing but a new pod can change this.
            self._postpone("CreateContainerError", str(error), float("inf"))
        except LaunchFailed as error:
            now, clock = datetime.now(UTC), asyncio.get_running_loop().time()
            worker.tell("Warning", "Failed", f"Error: {error}", container=self.name)
            self.set(
                state="ended",
                ended=Ended(
                    128, error.reason, str(error), started_at=now, finished_at=now, container_id=identifier
                ),
                started_clock=clock,
                ended_clock=clock,
                container_id=identifier,
            )
        else:
            self.process = process
            worker.tell("Normal", "Created", f"Container created: {self.name}", container=self.name)
            worker.tell("Normal", "Started", f"Container started: {self.name}", container=self.name)
            hooked = bool((spec.get("lifecycle") or {}).get("postStart"))
            probed = "startupProbe" in spec
            self.set(
                # As upstream: a container is running when its postStart hook is behind it.
                state="starting" if hooked else "running",
                reason="",
                message="",
                container_id=identifier,
                started_at=datetime.now(UTC),
                started_clock=asyncio.get_running_loop().time(),
                started=not (hooked or probed),
                ready=not (hooked or probed or "readinessProbe" in spec),
            )
            return process
        return None

    async def _referenced(self) -> dict[tuple[str, str], dict[str, Any] | None]:
        namespace = self._worker.pod["metadata"].get("namespace", "")
        wanted = sorted(references([self.spec]))
        found = await asyncio.gather(
            *(self._host.objects.get(kind, namespace, name) for kind, name in wanted)
        )
        for (kind, name), obj in zip(wanted, found, strict=True):
            if obj is None:
                self._host.objects.watch(kind, namespace, name, self._worker.volumes_changed)
        return dict(zip(wanted, found, strict=True))

    def _limit_memory(self, message: Message, identifier: str) -> None:
        limit = ((self.spec.get("resources") or {}).get("limits") or {}).get("memory")
        if limit is None or self._host.memory is None:
            return
        try:
            group = self._host.memory.create(identifier.rpartition("/")[2], int(parse(limit)))
        except OSError as error:
            _log.warning("no memory limit for %s: %s", message["id"], error)
            return
        # The zygote removes it after the container's last process.
        message["cgroups"] = [str(group.path)]
        message["oom_file"] = str(group.oom_file)

    def _postpone(self, reason: str, message: str, seconds: float) -> None:
        self._worker.tell_once(
            f"{reason} {self.name} {message}", "Warning", "Failed", f"Error: {message}", container=self.name
        )
        self.set(
            state="waiting",
            reason=reason,
            message=message,
            stopping=False,
            retry_clock=asyncio.get_running_loop().time() + seconds,
        )

    def _drop_old_runs(self, run: int) -> None:
        """Keep the logs of this run and the one before (``kubectl logs --previous``)."""
        data, _ = self._host.places.of(self._worker.uid)
        top = log_directory(data, self.name, run).parent
        for folder in top.iterdir():
            if folder.name.isdigit() and int(folder.name) < run - 1:
                shutil.rmtree(folder, ignore_errors=True)

    # -- while it runs -------------------------------------------------------------------------------------------

    async def _attend(self, process: ContainerProcess) -> Exit:
        self._health = self._worker.spawn(Health(self, self._worker, process).watch())
        if self._until != float("inf"):
            # Asked to stop before it had started.
            self._begin_stopping()
        return await process.wait()

    def tell(self, kind: str, reason: str, message: str) -> None:
        """Record an Event about the container."""
        self._worker.tell(kind, reason, message, container=self.name)

    # -- stop ----------------------------------------------------------------------------------------------------

    def stop(self, grace: float, reason: str) -> None:
        """Stop the container: preStop hook, TERM, and KILL when the grace is over. Repeated calls only shorten it."""
        if self.state.stopping:
            self.shorten(grace)
            return
        self._until = asyncio.get_running_loop().time() + grace
        # As upstream it stays as ready as its probe says: who is being deleted is for others to see.
        self.set(stopping=True)
        if reason == "FailedPostStartHook":
            self.tell("Normal", "Killing", reason)
        elif reason in ("Deleted", "Completed", "Terminated", "DeadlineExceeded"):
            self.tell("Normal", "Killing", f"Stopping container {self.name}")
        if self.process is not None:
            self._begin_stopping()

    def image_changed(self) -> None:
        """Take note that the container's image was changed: another run of it begins, without back-off."""
        state = self.state
        if state.state == "ended":
            self.set(backoff=0.0)
        elif self.process is not None and not (state.stopping or self._worker.ends):
            init = "Init c" if is_sidecar(self.spec) else "C"
            again = "" if is_sidecar(self.spec) else ", will be restarted"
            self.tell("Normal", "Killing", f"{init}ontainer {self.name} definition changed{again}")
            self.stop(self._worker.grace(), "Changed")
            self.set(changed=True, backoff=0.0)

    def shorten(self, grace: float) -> None:
        """Bring the end forward; nothing happens when it is nearer already, or no stop has begun."""
        if self.state.stopping:
            self._until = min(self._until, asyncio.get_running_loop().time() + grace)
            self._hurry.set()

    def _begin_stopping(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name=f"stop {self.name}")

    async def _stop(self) -> None:
        process = self.process
        if process is None:
            return
        loop = asyncio.get_running_loop()
        lifecycle = self.spec.get("lifecycle") or {}
        hook = lifecycle.get("preStop")
        if hook and self._until > loop.time():
            fine = await self._bounded(run_hook(hook, self.spec, process, self._worker.belongings.ip))
            if fine is False and process.running:
                self.tell("Warning", "FailedPreStopHook", "PreStopHook failed")
        if self._until > loop.time() or hook:
            number = getattr(signal, lifecycle.get("stopSignal") or "SIGTERM", signal.SIGTERM)
            await process.signal(int(number))
            if hook:
                # As the kubelet: something is left for the program itself.
                self._until = max(self._until, loop.time() + _LAST_SECONDS)
        await self._bounded(process.wait())
        if process.running:
            await process.kill()

    async def _bounded(self, awaitable: Any) -> Any:
        """Await until the grace is over (which may come nearer meanwhile); None then."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(awaitable)
        try:
            while not task.done():
                left = self._until - loop.time()
                if left <= 0:
                    return None
                self._hurry.clear()
                hurried = asyncio.ensure_future(self._hurry.wait())
                try:
                    await asyncio.wait((task, hurried), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    hurried.cancel()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    # -- the end -------------------------------------------------------------------------------------------------

    async def _ended(self, exit_: Exit) -> None:
        state = self.state
        if exit_.oom and exit_.code == 137:
            reason = "OOMKilled"
        elif exit_.lost:
            reason = "ContainerStatusUnknown"
        else:
            reason = "Completed" if exit_.code == 0 else "Error"
        self.set(
            state="ended",
            ended=Ended(
                exit_code=exit_.code,
                reason=reason,
                message=exit_.lost or await self._message(exit_),
                signal=0,
                started_at=state.started_at,
                finished_at=datetime.now(UTC),
                container_id=state.container_id,
            ),
            ended_clock=asyncio.get_running_loop().time(),
            ready=False,
            started=False,
            stopping=False,
        )

    async def _message(self, exit_: Exit) -> str:
        """Return the termination message: the file's, or with FallbackToLogsOnError the end of the log."""
        data, _ = self._host.places.of(self._worker.uid)
        run = self.state.restarts
        path = termination_path(data, self.name, run)
        text = _tail(path)
        if (
            not text
            and exit_.code != 0
            and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        ):
            from hortator.local.streams import LogOptions

            options = LogOptions(container=self.name, tail_lines=_LOG_LINES)
            chunks = [chunk async for chunk in read_log(log_directory(data, self.name, run), options, None)]
            text = b"".join(chunks)[-_LOG_BYTES:]
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return text.decode("utf-8", "replace")


def _tail(path: Path) -> bytes:
    """Return the end of a message: as upstream, what was written last counts."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _MESSAGE_BYTES, 0))
            return file.read(_MESSAGE_BYTES)
    except OSError:
        return b""

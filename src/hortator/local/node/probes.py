"""Probes and lifecycle hooks of a container: what is asked of it, and what the answers mean.

The meaning (results, thresholds, periods, words) is the kubelet's; what follows from it is :mod:`.run`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from hortator.local.streams import NotRunning

from ..dial import dial_failure
from .container import ContainerProcess, LaunchFailed
from .environment import Object, expand
from .grpchealth import HealthFailed, check_health
from .httpget import HttpFailed, http_get

__all__ = ["Outcome", "Threshold", "find_port", "probe_once", "run_hook", "watch_probe"]

_OUTPUT = 10 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt said. A ``warning`` is a success; ``unknown`` counts for nothing: the question went wrong."""

    result: Literal["success", "warning", "failure", "unknown"]
    text: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return self.result in ("success", "warning")


SUCCESS = Outcome("success")


class Threshold:
    """Counts equal answers in a row: the verdict changes only after enough of them. Pure."""

    def __init__(self, spec: Object, *, verdict: bool) -> None:
        self.verdict = verdict
        self._need = {
            True: int(spec.get("successThreshold") or 1),
            False: int(spec.get("failureThreshold") or 3),
        }
        self._last: bool | None = None
        self._count = 0

    def add(self, ok: bool) -> bool:
        """Take an answer; return whether it has just confirmed (or changed) the verdict by its number."""
        self._count = self._count + 1 if ok == self._last else 1
        self._last = ok
        if self._count < self._need[ok]:
            return False
        self.verdict = ok
        return True


def find_port(container: Object, port: Any) -> int:
    """Return the number of a port that may be named. Raises ``ValueError``."""
    if isinstance(port, str):
        named = [each["containerPort"] for each in container.get("ports") or () if each.get("name") == port]
        if not named and not port.isdigit():
            raise ValueError(f"port {port} not found")
        port = named[0] if named else port
    if not 0 < int(port) < 65536:
        raise ValueError(f"invalid port number: {port}")
    return int(port)


async def probe_once(spec: Object, container: Object, process: ContainerProcess, ip: str) -> Outcome:
    """Do what a probe says once; anything that goes wrong is an outcome, not an exception."""
    seconds = float(spec.get("timeoutSeconds") or 1)
    try:
        if "exec" in spec:
            static = {each["name"]: each["value"] for each in container.get("env") or () if each.get("value")}
            command = [expand(word, static) for word in spec["exec"].get("command") or []]
            return await _exec(command, process, seconds)
        if "httpGet" in spec:
            return await _http(spec["httpGet"], container, ip, seconds)
        if "tcpSocket" in spec:
            return await _tcp(spec["tcpSocket"], container, ip, seconds)
        if "grpc" in spec:
            return await _grpc(spec["grpc"], ip, seconds)
    except (ValueError, NotRunning, LaunchFailed) as error:
        return Outcome("unknown", str(error))
    return Outcome("unknown", "missing probe handler")


async def _exec(command: list[str], process: ContainerProcess, seconds: float | None) -> Outcome:
    session = await process.exec(command, stdin=False, tty=False)
    output = bytearray()
    number = signal.SIGKILL
    try:
        async with asyncio.timeout(seconds):
            async for _, data in session.output():
                if len(output) < _OUTPUT:
                    output += data[: _OUTPUT - len(output)]
            code = await session.wait()
        number = signal.SIGHUP
    except TimeoutError:
        return Outcome(
            "failure", f'command timed out: "{" ".join(command)}" timed out after {_seconds(seconds)}'
        )
    finally:
        # What did not end in time is not asked whether it wants to.
        await session.close(number)
    return Outcome("success" if code == 0 else "failure", bytes(output).decode("utf-8", "replace"))


async def _http(spec: Object, container: Object, ip: str, seconds: float) -> Outcome:
    port = find_port(container, spec["port"])
    try:
        answer = await http_get(spec, port, ip=ip, purpose="probe", seconds=seconds)
    except HttpFailed as error:
        return Outcome("failure", str(error))
    if 200 <= answer.status < 300:
        return SUCCESS
    if 300 <= answer.status < 400:
        return Outcome("warning", f"Probe terminated redirects, Response body: {answer.body}")
    return Outcome("failure", f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(spec: Object, container: Object, ip: str, seconds: float) -> Outcome:
    host, port = spec.get("host") or ip, find_port(container, spec["port"])
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Outcome("failure", dial_failure(host, port, error))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return SUCCESS


async def _grpc(spec: Object, ip: str, seconds: float) -> Outcome:
    port = int(spec["port"])
    try:
        async with asyncio.timeout(seconds):
            await check_health(ip, port, spec.get("service") or "")
    except TimeoutError:
        return Outcome("failure", f"timeout: health rpc did not complete within {_seconds(seconds)}")
    except HealthFailed as error:
        return Outcome("failure", str(error))
    return SUCCESS


def _seconds(seconds: float | None) -> str:
    return f"{seconds:g}s"


async def watch_probe(
    spec: Object,
    attempt: Callable[[], Awaitable[Outcome]],
    *,
    started_clock: float,
    verdict: bool,
    report: Callable[[bool, Outcome], bool],
) -> None:
    """Repeat a probe until ``report(confirmed, outcome)``, which hears of each attempt, returns False.

    ``confirmed`` says that with this answer the thresholds make the verdict hold. Periods are counted from the beginning
    of attempts, the initial delay from the start of the container.
    """
    loop = asyncio.get_running_loop()
    threshold = Threshold(spec, verdict=verdict)
    period = float(spec.get("periodSeconds") or 10)
    await asyncio.sleep(started_clock + float(spec.get("initialDelaySeconds") or 0) - loop.time())
    while True:
        following = loop.time() + period
        outcome = await attempt()
        confirmed = outcome.result != "unknown" and threshold.add(outcome.ok)
        if not report(confirmed, outcome):
            return
        await asyncio.sleep(following - loop.time())


async def run_hook(hook: Object, container: Object, process: ContainerProcess, ip: str) -> bool:
    """Run a lifecycle hook to its end and return whether it did not fail; to HTTP any answer will do, as upstream."""
    try:
        if "exec" in hook:
            return (await _exec(hook["exec"].get("command") or [], process, None)).ok
        if "httpGet" in hook:
            port = find_port(container, hook["httpGet"]["port"])
            await http_get(hook["httpGet"], port, ip=ip, purpose="lifecycle", seconds=None)
            return True
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"].get("seconds", 0))
            return True
    except (ValueError, NotRunning, LaunchFailed, HttpFailed):
        return False
    return False  # tcpSocket, which upstream accepts and never runs

"""Probes and lifecycle hooks of a container: exec, http, tcp, and what their answers mean.

The meaning (thresholds, periods) is the kubelet's; what follows from it is :mod:`.worker`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hortator.local.streams import NotRunning

from .container import ContainerProcess, LaunchFailed
from .environment import Object

__all__ = ["Outcome", "Threshold", "find_port", "run_action", "run_hook"]

_OUTPUT = 10 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt said."""

    ok: bool
    text: str = ""


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
    if isinstance(port, int) or (isinstance(port, str) and port.isdigit()):
        return int(port)
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    raise ValueError(f"couldn't find port: {port} in the container")


async def run_action(
    action: Object, container: Object, process: ContainerProcess, *, ip: str, seconds: float
) -> Outcome:
    """Do what a probe or hook says once; anything that goes wrong is an outcome, not an exception."""
    try:
        async with asyncio.timeout(seconds):
            if "exec" in action:
                return await _exec(action["exec"].get("command") or [], process)
            if "httpGet" in action:
                return await _http(action["httpGet"], container, ip)
            if "tcpSocket" in action:
                spec = action["tcpSocket"]
                _, writer = await asyncio.open_connection(
                    spec.get("host") or ip, find_port(container, spec["port"])
                )
                writer.close()
                return Outcome(True)
            if "sleep" in action:
                await asyncio.sleep(action["sleep"].get("seconds", 0))
                return Outcome(True)
    except TimeoutError:
        return Outcome(False, f"timed out after {seconds:g}s")
    except (OSError, ValueError, NotRunning, LaunchFailed, EOFError) as error:
        return Outcome(False, str(error))
    kinds = ", ".join(key for key in ("grpc",) if key in action) or "no known action"
    return Outcome(False, f"{kinds}: not supported on a local node")


async def _exec(command: list[str], process: ContainerProcess) -> Outcome:
    session = await process.exec(command, stdin=False, tty=False)
    output = bytearray()
    try:
        async for _, data in session.output():
            if len(output) < _OUTPUT:
                output += data[: _OUTPUT - len(output)]
        code = await session.wait()
    finally:
        await session.close()
    return Outcome(code == 0, bytes(output).decode("utf-8", "replace"))


async def _http(spec: Object, container: Object, ip: str) -> Outcome:
    host = spec.get("host") or ip
    port = find_port(container, spec["port"])
    path = spec.get("path") or "/"
    tls: ssl.SSLContext | None = None
    if spec.get("scheme", "HTTP").upper() == "HTTPS":
        # As the kubelet: a probe asks whether it answers, not who it is.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    headers = {
        "Host": f"{host}:{port}",
        "User-Agent": "kube-probe/1.36",
        "Accept": "*/*",
        "Connection": "close",
    }
    headers.update({each["name"]: each.get("value", "") for each in spec.get("httpHeaders") or ()})
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        target = path if path.startswith("/") else f"/{path}"
        writer.write(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
        await writer.drain()
        status = (await reader.readline()).split(None, 2)
        if len(status) < 2 or not status[1].isdigit():
            return Outcome(False, "the answer is not HTTP")
        code = int(status[1])
        if 200 <= code < 400:
            return Outcome(True)
        return Outcome(False, f"HTTP probe failed with statuscode: {code}")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def watch_probe(
    kind: str,
    spec: Object,
    container: Object,
    process: ContainerProcess,
    *,
    ip: str,
    verdict: bool,
    report: Callable[[bool, bool, str], None],
) -> None:
    """Repeat a probe until cancelled. ``report(confirmed, ok, text)`` hears of each attempt: ``confirmed`` when the
    thresholds say that the verdict holds.
    """
    threshold = Threshold(spec, verdict=verdict)
    period = float(spec.get("periodSeconds") or 10)
    timeout = float(spec.get("timeoutSeconds") or 1)
    await asyncio.sleep(float(spec.get("initialDelaySeconds") or 0))
    while True:
        outcome = await run_action(spec, container, process, ip=ip, seconds=timeout)
        report(threshold.add(outcome.ok), outcome.ok, outcome.text)
        await asyncio.sleep(period)


async def run_hook(
    hook: Mapping[str, Any], container: Object, process: ContainerProcess, *, ip: str, seconds: float
) -> Outcome:
    """Run a lifecycle hook."""
    return await run_action(hook, container, process, ip=ip, seconds=seconds)

"""Whether a container that runs has started, is ready and is alive: its postStart hook, then its probes.

One attempt and its meaning are :mod:`.probes`'; here is what follows: the container's state, Events, and its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .container import ContainerProcess
from .environment import Object
from .probes import Outcome, probe_once, run_hook, watch_probe
from .resources import is_sidecar

if TYPE_CHECKING:
    from .run import ContainerRun
    from .worker import PodWorker

__all__ = ["Health"]


class Health:
    """Looks after one run of a container. :meth:`watch` is cancelled with it."""

    def __init__(self, run: ContainerRun, worker: PodWorker, process: ContainerProcess) -> None:
        self._run = run
        self._worker = worker
        self._process = process

    async def watch(self) -> None:
        """Hook, then startup probe, then the other two side by side until cancelled."""
        spec = self._run.spec
        if not await self._post_start() or not await self._started():
            return
        self._run.set(started=True, ready="readinessProbe" not in spec)
        async with asyncio.TaskGroup() as tasks:
            if "livenessProbe" in spec:
                tasks.create_task(self._probe("livenessProbe", True, self._liveness))
            if "readinessProbe" in spec:
                tasks.create_task(self._probe("readinessProbe", False, self._readiness))

    async def _post_start(self) -> bool:
        hook = (self._run.spec.get("lifecycle") or {}).get("postStart")
        if not hook:
            return True
        if await run_hook(hook, self._run.spec, self._process, self._worker.belongings.ip):
            self._run.set(state="running")
            return True
        # What went wrong is not told: it may hold what only the container may know.
        self._run.tell("Warning", "FailedPostStartHook", "PostStartHook failed")
        self._run.stop(self._worker.grace(), "FailedPostStartHook")
        return False

    async def _started(self) -> bool:
        if "startupProbe" not in self._run.spec:
            return True
        passed = False

        def startup(confirmed: bool, outcome: Outcome) -> bool:
            nonlocal passed
            self._say("Startup", outcome)
            passed = confirmed and outcome.ok
            if confirmed and not passed:
                self._fail("Startup", self._run.spec["startupProbe"])
            return not confirmed

        await self._probe("startupProbe", False, startup)
        return passed

    def _liveness(self, confirmed: bool, outcome: Outcome) -> bool:
        if self._worker.ends:
            return False
        self._say("Liveness", outcome)
        if confirmed and not outcome.ok:
            self._fail("Liveness", self._run.spec["livenessProbe"])
            return False
        return True

    def _readiness(self, confirmed: bool, outcome: Outcome) -> bool:
        self._say("Readiness", outcome)
        if confirmed and self._run.state.ready != outcome.ok:
            self._run.set(ready=outcome.ok)
        return True

    def _probe(
        self, field: str, verdict: bool, report: Callable[[bool, Outcome], bool]
    ) -> Coroutine[Any, Any, None]:
        spec = self._run.spec
        return watch_probe(
            spec[field],
            lambda: probe_once(spec[field], spec, self._process, self._worker.belongings.ip),
            started_clock=self._run.state.started_clock,
            verdict=verdict,
            report=report,
        )

    def _say(self, kind: str, outcome: Outcome) -> None:
        match outcome.result:
            case "failure":
                self._run.tell("Warning", "Unhealthy", f"{kind} probe failed: {outcome.text}")
            case "unknown":
                text = f"{kind} probe errored and resulted in unknown state: {outcome.text}"
                self._run.tell("Warning", "Unhealthy", text)
            case "warning":
                self._run.tell("Warning", "ProbeWarning", f"{kind} probe warning: {outcome.text}")

    def _fail(self, kind: str, probe: Object) -> None:
        """Stop a container whose startup or liveness probe says so; its policy says whether it is started again."""
        run, worker = self._run, self._worker
        if run.state.stopping or worker.ends:
            return
        text = f"{'Init container' if is_sidecar(run.spec) else 'Container'} {run.name} failed {kind.lower()} probe"
        policy = run.spec.get("restartPolicy") or worker.pod["spec"].get("restartPolicy")
        again = policy != "Never" and not is_sidecar(run.spec)
        run.tell("Normal", "Killing", f"{text}, will be restarted" if again else text)
        grace = probe.get("terminationGracePeriodSeconds")
        run.stop(worker.grace() if grace is None else float(grace), f"{kind}ProbeFailed")

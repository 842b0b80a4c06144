"""The life of a pod as a pure function: what is known of its containers in, what to do next out.

The rules are the kubelet's: init containers one after another, native sidecars kept running beside (KEP-753), restart
policies with back-off, deletion and deadlines. Doing it is :mod:`.worker`'s, saying it in status :mod:`.podstatus`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .resources import is_sidecar
from .restarts import pause, should_restart

__all__ = [
    "Action",
    "Container",
    "Ended",
    "Observed",
    "Plan",
    "Remove",
    "Start",
    "Stop",
    "initialized",
    "make_plan",
]

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run of a container ended."""

    exit_code: int
    reason: str
    message: str = ""
    signal: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of one container. Times named ``*_clock`` are seconds of the monotonic clock."""

    state: Literal["waiting", "starting", "running", "ended"] = "waiting"
    reason: str = ""
    message: str = ""
    restarts: int = 0
    container_id: str = ""
    started_at: datetime | None = None
    started_clock: float = 0.0
    ended: Ended | None = None
    ended_clock: float = 0.0
    last: Ended | None = None
    started: bool = False  # startup probe and postStart are behind it
    ready: bool = False
    stopping: bool = False
    backoff: float = 0.0  # seconds between the last end and the next start, unless the run was a long one
    changed: bool = False  # its image was changed while it ran: it is started again whatever the policy says
    retry_clock: float = 0.0  # when a start that failed for want of something is tried again

    @property
    def alive(self) -> bool:
        """Whether there is a process, or there is about to be one."""
        return self.state in ("starting", "running")

    @property
    def lasted(self) -> float:
        """How many seconds its last run took."""
        return self.ended_clock - self.started_clock if self.started_clock else 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that the plan looks at."""

    pod: Object
    containers: Mapping[str, Container]
    prepared: bool  # volumes and sandbox are there
    clock: float
    started_clock: float  # when the node took the pod
    ending: str = ""  # reason for which the node ends the pod (deadline is found here, not outside)
    ephemeral: Mapping[str, Container] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """Start a container; ``again`` says that an earlier run has ended."""

    name: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a container, with the pod's grace."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Everything has ended and the object is being deleted: remove it."""


Action = Start | Stop | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now; when to look again (monotonic clock) if nothing happens; whether the pod is over."""

    actions: tuple[Action, ...] = ()
    wake: float | None = None
    over: bool = False
    failure: str = ""  # pod-level reason when the node ends it (DeadlineExceeded, ...)
    waiting: Mapping[str, float] = field(default_factory=dict)  # container -> seconds of back-off in force


def _runs_again(spec: Object, container: Object, state: Container) -> bool:
    if state.ended is None:
        return False
    return state.changed or should_restart(spec, container, state.ended.exit_code)


def initialized(spec: Object, containers: Mapping[str, Container]) -> bool:
    """Whether every init container has done its part, or a main container already ran (never repeated then)."""
    if any(
        containers[c["name"]].state != "waiting" or containers[c["name"]].last is not None
        for c in spec["containers"]
    ):
        return True
    for each in spec.get("initContainers") or ():
        state = containers[each["name"]]
        if is_sidecar(each):
            if not (state.alive and state.started):
                return False
        elif state.ended is None or state.ended.exit_code != 0:
            return False
    return True


def make_plan(seen: Observed) -> Plan:
    """Return what to do next."""
    spec = seen.pod["spec"]
    deleting = bool(seen.pod["metadata"].get("deletionTimestamp"))
    failure = seen.ending
    wakes: list[float] = []
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not failure:
        if seen.clock >= seen.started_clock + deadline:
            failure = "DeadlineExceeded"
        else:
            wakes.append(seen.started_clock + deadline)
    if deleting or failure:
        return _end(seen, spec, failure, deleting)
    outcome = _outcome(spec, seen.containers)
    if outcome:
        return _end(seen, spec, "", deleting)
    if not seen.prepared:
        return Plan(wake=min(wakes, default=None))

    actions: list[Start] = []
    waiting: dict[str, float] = {}

    def consider(container: Object) -> None:
        name = container["name"]
        state = seen.containers[name]
        if state.alive:
            return
        if state.state == "waiting":
            if state.retry_clock <= seen.clock:
                actions.append(Start(name))
            elif state.retry_clock != float("inf"):
                wakes.append(state.retry_clock)
        elif _runs_again(spec, container, state):
            due = max(state.ended_clock + pause(state.backoff, state.lasted), state.retry_clock)
            if due <= seen.clock:
                actions.append(Start(name, again=True))
            else:
                wakes.append(due)
                waiting[name] = state.backoff

    ready_for_mains = initialized(spec, seen.containers)
    for each in spec.get("initContainers") or ():
        state = seen.containers[each["name"]]
        if is_sidecar(each):
            consider(each)
            if not ready_for_mains and not (state.alive and state.started):
                break
        elif not ready_for_mains and (state.ended is None or state.ended.exit_code != 0):
            consider(each)
            break
    if ready_for_mains:
        for each in spec["containers"]:
            consider(each)
            starts = actions and actions[-1].name == each["name"]
            if _hooked(each) and (starts or seen.containers[each["name"]].state == "starting"):
                # As upstream: what comes after a container waits for its postStart hook.
                break
    for name, state in seen.ephemeral.items():
        if state.state == "waiting" and state.retry_clock <= seen.clock:
            actions.append(Start(name))
    return Plan(actions=tuple(actions), wake=min(wakes, default=None), waiting=waiting)


def _hooked(container: Object) -> bool:
    return bool((container.get("lifecycle") or {}).get("postStart"))


def _outcome(spec: Object, containers: Mapping[str, Container]) -> str:
    """Return Succeeded or Failed when nothing that counts will run again, else the empty string."""
    if not initialized(spec, containers):
        for each in spec.get("initContainers") or ():
            ended = containers[each["name"]].ended
            if (
                not is_sidecar(each)
                and ended is not None
                and ended.exit_code != 0
                and not should_restart(spec, each, ended.exit_code)
            ):
                return "Failed"
        return ""
    mains = [containers[each["name"]] for each in spec["containers"]]
    if any(
        state.ended is None or _runs_again(spec, each, state)
        for each, state in zip(spec["containers"], mains, strict=True)
    ):
        return ""
    return "Succeeded" if all(s.ended is not None and s.ended.exit_code == 0 for s in mains) else "Failed"


def _end(seen: Observed, spec: Object, failure: str, deleting: bool) -> Plan:
    """Stop what still runs: main, ephemeral and init containers first, then sidecars from the last to the first."""
    sidecars = [each["name"] for each in spec.get("initContainers") or () if is_sidecar(each)]
    everyone = {**seen.containers, **seen.ephemeral}
    others = [name for name, state in everyone.items() if state.alive and name not in sidecars]
    alive_sidecars = [name for name in reversed(sidecars) if everyone[name].alive]
    stop = others or alive_sidecars[:1]
    if stop:
        reason = failure or ("Deleted" if deleting else "Completed")
        actions = tuple(Stop(name, reason) for name in stop if not everyone[name].stopping)
        return Plan(actions=actions, failure=failure)
    if deleting:
        return Plan(actions=(Remove(),), over=True, failure=failure)
    return Plan(over=True, failure=failure)

"""What ``kubectl get pods`` shows of a pod: the rules by which STATUS, READY and RESTARTS are made.

They are those of upstream's ``printers.go`` (1.36).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.conditions import find, is_true
from hortator.apimachinery.meta import is_deleting, name_of
from hortator.local.apiserver.strategies.ages import age, since
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, wide

__all__ = ["COLUMNS", "pod_row", "pod_status"]

Object = Mapping[str, Any]

COLUMNS = (
    NAME,
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
)
NONE = "<none>"


def pod_row(pod: Object, now: datetime) -> list[Any]:
    """Return the cells of a pod."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    word, ready, restarts, last = _summary(pod)
    total = len(spec.get("containers") or ())
    total += sum(1 for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    shown = f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)
    addresses = status.get("podIPs") or ()
    return [
        name_of(pod),
        f"{ready}/{total}",
        word,
        shown,
        age(pod, now),
        (addresses[0].get("ip") if addresses else "") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec.get("readinessGates") or (), status.get("conditions")),
    ]


def pod_status(pod: Object) -> str:
    """Return the word in the STATUS column."""
    return _summary(pod)[0]


def _gates(gates: Sequence[Object], conditions: Any) -> str:
    if not gates:
        return NONE
    met = sum(1 for gate in gates if is_true(conditions, gate.get("conditionType", "")))
    return f"{met}/{len(gates)}"


def _summary(pod: Object) -> tuple[str, int, int, str]:
    """Return the status word, ready containers, restarts and the time of the last one (or "")."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    conditions = status.get("conditions")
    phase = status.get("phase") or ""
    word = status.get("reason") or phase
    scheduled = find(conditions, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        word = "SchedulingGated"

    sidecars = {
        each.get("name") for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    }
    initial = status.get("initContainerStatuses") or ()
    waiting_for, ready = _initializing(initial, sidecars, len(spec.get("initContainers") or ()))
    if waiting_for and not is_true(conditions, "Initialized"):
        # Only the init containers that were looked at count, as upstream stops there.
        restarts, last = _restarts(initial[: _stop(initial, sidecars) + 1])
        word = waiting_for
    else:
        running = status.get("containerStatuses") or ()
        restarts, last = _restarts([*(each for each in initial if each.get("name") in sidecars), *running])
        word = waiting_for or word
        found, running_ready = _running(running, word, conditions)
        word, ready = found, ready + running_ready

    if is_deleting(pod):
        if status.get("reason") == "NodeLost":
            word = "Unknown"
        elif phase not in ("Failed", "Succeeded"):
            word = "Terminating"
    return word, ready, restarts, last


def _passed(container: Object, sidecars: set[Any]) -> bool:
    terminated = (container.get("state") or {}).get("terminated")
    if terminated is not None and not terminated.get("exitCode"):
        return True
    return container.get("name") in sidecars and bool(container.get("started"))


def _stop(containers: Sequence[Object], sidecars: set[Any]) -> int:
    """Return the index of the init container that the pod is at; past the end when all are done."""
    for index, container in enumerate(containers):
        if not _passed(container, sidecars):
            return index
    return len(containers)


def _initializing(containers: Sequence[Object], sidecars: set[Any], total: int) -> tuple[str, int]:
    """Return the word for a pod that is still starting, or "", and how many sidecars are ready."""
    at = _stop(containers, sidecars)
    ready = 0
    for container in containers[:at]:
        terminated = (container.get("state") or {}).get("terminated")
        if (terminated is None or terminated.get("exitCode")) and container.get("ready"):
            ready += 1
    if at == len(containers):
        return "", ready
    state = containers[at].get("state") or {}
    terminated, waiting = state.get("terminated"), state.get("waiting") or {}
    if terminated is not None:
        return f"Init:{_ended(terminated)}", ready
    if waiting.get("reason") and waiting["reason"] != "PodInitializing":
        return f"Init:{waiting['reason']}", ready
    return f"Init:{at}/{total}", ready


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _running(containers: Sequence[Object], word: str, conditions: Any) -> tuple[str, int]:
    """Return the status word of a pod past its initialization, and how many containers are ready."""
    ready, has_running, error = 0, False, ""
    for container in reversed(containers):
        state = container.get("state") or {}
        terminated = state.get("terminated")
        if (state.get("waiting") or {}).get("reason"):
            word = state["waiting"]["reason"]
        elif terminated is not None:
            word = _ended(terminated)
            if terminated.get("exitCode"):
                error = word
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            ready += 1
    if word == "Completed":
        if has_running and is_true(conditions, "Ready"):
            word = "Running"
        elif error:
            word = error
        elif has_running:
            word = "NotReady"
    return word, ready


def _restarts(containers: Sequence[Object]) -> tuple[int, str]:
    count, last = 0, ""
    for container in containers:
        count += container.get("restartCount") or 0
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        last = max(last, ended)  # UTC in whole seconds: text order is time order
    return count, last

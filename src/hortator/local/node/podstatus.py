"""The status of a pod as a pure function of what is known of its containers, in the kubelet's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hortator.apimachinery.meta import rfc3339

from .pod import Container, Ended, Object, Observed, Plan, initialized
from .resources import is_sidecar, qos_class
from .restarts import should_restart

__all__ = ["Identity", "already_says", "container_status", "make_status", "phase_of"]

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
#: What the termination messages of a pod may take together, as upstream.
_MESSAGE_BYTES = 12 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """What of the status does not come from containers."""

    host_ip: str
    pod_ip: str
    start_time: datetime


def phase_of(seen: Observed, plan: Plan) -> str:
    """Return the phase."""
    spec = seen.pod["spec"]
    if plan.failure and plan.over:
        return "Failed"
    init = spec.get("initContainers") or ()
    if not initialized(spec, seen.containers):
        failed = any(
            not is_sidecar(each)
            and (ended := seen.containers[each["name"]].ended) is not None
            and ended.exit_code != 0
            and not should_restart(spec, each, ended.exit_code)
            for each in init
        )
        if failed or plan.over:
            return "Failed"
        return "Pending"
    mains = [seen.containers[each["name"]] for each in spec["containers"]]
    if plan.over:
        return "Succeeded" if all(s.ended is not None and s.ended.exit_code == 0 for s in mains) else "Failed"
    fresh = any(s.ended is None and s.last is None and s.state != "running" for s in mains)
    return "Pending" if fresh else "Running"


def make_status(
    seen: Observed, plan: Plan, identity: Identity, now: datetime, *, message: str = ""
) -> dict[str, Any]:
    """Return the whole status that the node is responsible for, as a strategic merge patch would carry it."""
    pod = seen.pod
    spec = pod["spec"]
    phase = phase_of(seen, plan)
    done_init = initialized(spec, seen.containers)
    terminal = phase in ("Succeeded", "Failed")
    everyone = [each for key in _CONTAINER_LISTS for each in spec.get(key) or ()]
    share = _MESSAGE_BYTES // max(len(everyone), 1)

    def statuses(
        containers: Sequence[Object], known: Mapping[str, Container], init: bool
    ) -> list[dict[str, Any]]:
        return [
            container_status(
                pod,
                each,
                known[each["name"]],
                backoff=plan.waiting.get(each["name"], 0.0),
                default="ContainerCreating"
                if init or done_init or not spec.get("initContainers")
                else "PodInitializing",
                init=init and not is_sidecar(each),
                message_bytes=share,
            )
            for each in containers
        ]

    mains = statuses(spec["containers"], seen.containers, False)
    status: dict[str, Any] = {
        "phase": phase,
        "hostIP": identity.host_ip,
        "hostIPs": [{"ip": identity.host_ip}],
        "startTime": rfc3339(identity.start_time),
        "containerStatuses": mains,
        "qosClass": qos_class(spec),
    }
    if seen.prepared or identity.pod_ip:
        status["podIP"] = identity.pod_ip
        status["podIPs"] = [{"ip": identity.pod_ip}]
    if spec.get("initContainers"):
        status["initContainerStatuses"] = statuses(spec["initContainers"], seen.containers, True)
    if seen.ephemeral:
        status["ephemeralContainerStatuses"] = statuses(
            [each for each in spec.get("ephemeralContainers") or () if each["name"] in seen.ephemeral],
            seen.ephemeral,
            False,
        )
    generation = pod["metadata"].get("generation")
    if generation:
        status["observedGeneration"] = generation
    if plan.failure:
        status["reason"] = plan.failure
        status["message"] = message
    status["conditions"] = _conditions(seen, phase, done_init, mains, terminal, plan, now)
    return status


def _conditions(
    seen: Observed,
    phase: str,
    done_init: bool,
    mains: Sequence[Mapping[str, Any]],
    terminal: bool,
    plan: Plan,
    now: datetime,
) -> list[dict[str, Any]]:
    pod = seen.pod
    spec = pod["spec"]
    known = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    result: list[dict[str, Any]] = []

    def add(kind: str, value: bool, reason: str = "", message: str = "") -> None:
        status = "True" if value else "False"
        before = known.get(kind)
        changed = before is None or before.get("status") != status
        condition: dict[str, Any] = {
            "type": kind,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": rfc3339(now) if changed or before is None else before["lastTransitionTime"],
        }
        if pod["metadata"].get("generation"):
            condition["observedGeneration"] = pod["metadata"]["generation"]
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        if not reason and before is not None and before.get("reason"):
            condition["reason"] = None  # a merge keeps what is not named
            condition["message"] = None
        result.append(condition)

    over = plan.over and terminal
    add("PodReadyToStartContainers", seen.prepared and not over)
    if phase == "Succeeded":
        add("Initialized", True, "PodCompleted")
    elif done_init:
        add("Initialized", True)
    else:
        names = [
            each["name"]
            for each in spec.get("initContainers") or ()
            if not _init_done(each, seen.containers[each["name"]])
        ]
        add(
            "Initialized",
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(names)}]",
        )
    unready = [each["name"] for each in mains if not each["ready"]]
    unready = [
        each["name"]
        for each in spec.get("initContainers") or ()
        if is_sidecar(each) and not seen.containers[each["name"]].ready
    ] + unready
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    closed = [gate for gate in gates if (known.get(gate) or {}).get("status") != "True"]
    if phase == "Succeeded":
        add("ContainersReady", False, "PodCompleted")
        add("Ready", False, "PodCompleted")
    elif phase == "Failed":
        add("ContainersReady", False, "PodFailed")
        add("Ready", False, "PodFailed")
    elif unready:
        text = f"containers with unready status: [{' '.join(unready)}]"
        add("ContainersReady", False, "ContainersNotReady", text)
        add("Ready", False, "ContainersNotReady", text)
    else:
        add("ContainersReady", True)
        if closed:
            text = "; ".join(f'the status of pod readiness gate "{gate}" is not "True"' for gate in closed)
            add("Ready", False, "ReadinessGatesNotReady", text)
        else:
            add("Ready", True)
    return result


def _init_done(spec: Object, state: Container) -> bool:
    if is_sidecar(spec):
        return state.alive and state.started
    return state.ended is not None and state.ended.exit_code == 0


def container_status(
    pod: Object,
    spec: Object,
    state: Container,
    *,
    backoff: float = 0.0,
    default: str = "ContainerCreating",
    init: bool = False,
    message_bytes: int = _MESSAGE_BYTES,
) -> dict[str, Any]:
    """Return one entry of ``containerStatuses``. ``backoff`` is the one in force, in seconds."""
    last = state.last
    if backoff and state.ended is not None:
        last = state.ended
        metadata = pod["metadata"]
        current: dict[str, Any] = {
            "waiting": {
                "reason": "CrashLoopBackOff",
                "message": f"back-off {_go_duration(backoff)} restarting failed container={spec['name']} "
                f"pod={metadata['name']}_{metadata.get('namespace', '')}({metadata['uid']})",
            }
        }
    elif state.state == "running":
        current = (
            {"running": {"startedAt": rfc3339(state.started_at)}} if state.started_at else {"running": {}}
        )
    elif state.changed and state.ended is not None:
        last = state.ended
        current = {"waiting": {"reason": default}}
    elif state.ended is not None:
        current = {"terminated": _terminated(state.ended, message_bytes)}
    else:
        text = {"reason": state.reason or default}
        if state.message:
            text["message"] = state.message
        current = {"waiting": text}
    done = init and state.ended is not None and state.ended.exit_code == 0
    status = {
        "name": spec["name"],
        "image": spec.get("image", ""),
        "imageID": "",
        "state": current,
        "lastState": {"terminated": _terminated(last, message_bytes)} if last is not None else {},
        "ready": done or (state.state == "running" and state.ready),
        "started": state.state == "running" and state.started,
        "restartCount": state.restarts,
    }
    identifier = state.container_id or (last.container_id if last else "")
    if identifier:
        status["containerID"] = identifier
    return status


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _terminated(ended: Ended, message_bytes: int) -> dict[str, Any]:
    result: dict[str, Any] = {"exitCode": ended.exit_code, "reason": ended.reason}
    if ended.signal:
        result["signal"] = ended.signal
    if ended.message:
        result["message"] = ended.message.encode()[:message_bytes].decode("utf-8", "ignore")
    if ended.started_at:
        result["startedAt"] = rfc3339(ended.started_at)
    if ended.finished_at:
        result["finishedAt"] = rfc3339(ended.finished_at)
    if ended.container_id:
        result["containerID"] = ended.container_id
    return result


def already_says(status: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a stored status already says everything that the patch would."""
    for key, value in wanted.items():
        if key == "conditions":
            stored = {each["type"]: each for each in status.get("conditions") or ()}
            if not all(already_says(stored.get(each["type"], {}), each) for each in value):
                return False
        elif key == "lastProbeTime" or value is None:
            if status.get(key) is not None:
                return False
        elif status.get(key) != value:
            return False
    return True

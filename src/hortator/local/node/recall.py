"""What is known of a container from the status that an earlier run of the cluster recorded: it has ended since. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.meta import parse_time

from .pod import Container, Ended

__all__ = ["LOST", "recalled"]

LOST = "The cluster was stopped while this container ran; what it did after that is not known."


def recalled(status: Mapping[str, Any] | None, clock: float, now: datetime) -> tuple[Container, bool]:
    """Return what a recorded status says, and whether the container ran then: how it ended nobody has seen."""
    if status is None:
        return Container(), False
    state = status.get("state") or {}
    last = _read_ended((status.get("lastState") or {}).get("terminated"))
    ended = _read_ended(state.get("terminated"))
    ran = "running" in state
    if ran:
        started = state["running"].get("startedAt")
        ended = Ended(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message=LOST,
            started_at=parse_time(started) if started else None,
            finished_at=now,
            container_id=status.get("containerID", ""),
        )
    elif ended is None and last is not None:
        ended, last = last, None
    container = Container(
        state="ended" if ended is not None else "waiting",
        restarts=status.get("restartCount", 0),
        container_id=status.get("containerID", ""),
        ended=ended,
        ended_clock=clock,
        last=last,
    )
    return container, ran


def _read_ended(terminated: Mapping[str, Any] | None) -> Ended | None:
    if not terminated:
        return None

    def moment(name: str) -> datetime | None:
        text = terminated.get(name)
        return parse_time(text) if text else None

    return Ended(
        exit_code=terminated.get("exitCode", 0),
        reason=terminated.get("reason", ""),
        message=terminated.get("message", ""),
        signal=terminated.get("signal", 0),
        started_at=moment("startedAt"),
        finished_at=moment("finishedAt"),
        container_id=terminated.get("containerID", ""),
    )

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hortator.local.node.recall import LOST, recalled

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STAMP = "2026-01-01T00:00:00Z"
ENDED = {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": STAMP, "finishedAt": STAMP}}


@pytest.mark.parametrize(
    ("status", "state", "code", "ran"),
    [
        (None, "waiting", None, False),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, "waiting", None, False),
        ({"state": {"running": {"startedAt": STAMP}}}, "ended", 137, True),
        ({"state": ENDED}, "ended", 3, False),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED}, "ended", 3, False),
    ],
    ids=["nothing", "waiting", "running", "ended", "backing off"],
)
def test_what_a_container_was_and_is_now(
    status: dict[str, Any] | None, state: str, code: int | None, ran: bool
) -> None:
    container, running = recalled(status, 5.0, NOW)
    assert (container.state, running) == (state, ran)
    assert (container.ended.exit_code if container.ended else None) == code


def test_a_container_that_ran_has_ended_nobody_knows_how() -> None:
    status = {
        "state": {"running": {"startedAt": STAMP}},
        "lastState": ENDED,
        "restartCount": 2,
        "containerID": "x",
    }
    container, _ = recalled(status, 5.0, NOW)
    assert container.ended is not None and container.last is not None
    assert (container.ended.reason, container.ended.message, container.ended.finished_at) == (
        "ContainerStatusUnknown",
        LOST,
        NOW,
    )
    assert (container.restarts, container.ended_clock, container.last.exit_code) == (2, 5.0, 3)

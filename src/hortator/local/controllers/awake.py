"""How long the machine has slept, so that deadlines do not count the night that a laptop was closed."""

from __future__ import annotations

import time

__all__ = ["asleep"]


def asleep() -> float:
    """Return the seconds that the machine has slept since it was started; 0 where that is not known."""
    with_sleep = getattr(time, "CLOCK_BOOTTIME", None)
    if with_sleep is None:
        return 0.0
    return max(0.0, time.clock_gettime(with_sleep) - time.clock_gettime(time.CLOCK_MONOTONIC))

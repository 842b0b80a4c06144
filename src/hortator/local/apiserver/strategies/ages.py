"""Times as ``kubectl get`` shows them: how long ago, in at most two units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hortator.apimachinery.meta import parse_time

__all__ = ["UNKNOWN", "age", "between", "human_duration", "since"]

UNKNOWN = "<unknown>"


def human_duration(span: timedelta) -> str:
    """Return a span as upstream's ``duration.HumanDuration``: ``45s``, ``3m20s``, ``5d3h``, ``2y``."""
    seconds = int(span.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 60 * 2:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(text: str | None, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was; ``<unknown>`` where there is none."""
    return human_duration(now - parse_time(text)) if text else UNKNOWN


def between(start: str, end: str) -> str:
    """Return how long lies between two RFC 3339 times."""
    return human_duration(parse_time(end) - parse_time(start))


def age(obj: Mapping[str, Any], now: datetime) -> str:
    """Return how long ago the object was created."""
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)

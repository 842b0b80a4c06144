"""Who manages which field of an object: ``metadata.managedFields`` for apply and for every other write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hortator.apimachinery import apply
from hortator.local.apiserver.catalog import Served

__all__ = ["apply_patch", "track"]

Object = dict[str, Any]
_NO_STATUS = (("status",),)
_ONLY_STATUS = (("spec",),)


def track(
    old: Object | None, new: Object, served: Served, *, manager: str, now: datetime, subresource: str = ""
) -> Object:
    """Return the new object with the managed fields that follow from the change."""
    entries = apply.track_update(
        old,
        new,
        served.apply_schema(),
        manager=manager,
        api_version=served.kind.api_version,
        now=now,
        subresource=subresource,
        reset=_reset(served, subresource),
    )
    metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**new, "metadata": metadata}


def apply_patch(
    live: Object | None,
    applied: Object,
    served: Served,
    *,
    manager: str,
    force: bool,
    now: datetime,
    subresource: str = "",
) -> Object:
    """Return the live object with a configuration applied. Raises 409 where others own its fields."""
    return apply.apply(
        live,
        applied,
        served.apply_schema(),
        manager=manager,
        force=force,
        api_version=served.kind.api_version,
        now=now,
        subresource=subresource,
        reset=_reset(served, subresource),
    )


def _reset(served: Served, subresource: str) -> tuple[tuple[str, ...], ...]:
    if subresource == "status":
        return _ONLY_STATUS
    return _NO_STATUS if not subresource and served.kind.has_status() else ()

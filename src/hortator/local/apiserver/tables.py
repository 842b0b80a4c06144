"""Tables: objects as ``kubectl get`` prints them.

The cells are the strategy's; which objects, and the metadata of the list, are left to the handler.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from hortator.local.apiserver.scheme.kinds import Kind
from hortator.local.apiserver.strategies.base import Strategy

__all__ = ["make_table"]


def make_table(
    kind: Kind,
    strategy: Strategy,
    objects: Iterable[dict[str, Any]],
    *,
    include_object: str = "Metadata",
    now: datetime,
) -> dict[str, Any]:
    """Return a ``meta.k8s.io/v1`` Table with one row for each object.

    ``include_object`` is ``None``, ``Metadata`` or ``Object``: what each row carries beside its cells.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in strategy.columns
        ],
        "rows": [_row(kind, strategy, obj, include_object, now) for obj in objects],
    }


def _row(
    kind: Kind, strategy: Strategy, obj: dict[str, Any], include_object: str, now: datetime
) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": strategy.row(obj, now)}
    conditions = strategy.row_conditions(obj)
    if conditions:
        row["conditions"] = list(conditions)
    if include_object == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj.get("metadata") or {},
        }
    elif include_object == "Object":
        row["object"] = {"kind": kind.kind, "apiVersion": kind.api_version, **obj}
    return row

"""Conditions of a status: reading one, and setting one without touching the others or the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.meta import rfc3339

__all__ = ["find", "is_true", "set_condition"]

Conditions = Sequence[Mapping[str, Any]] | None


def find(conditions: Conditions, kind: str) -> Mapping[str, Any] | None:
    """Return the condition of this type, or None."""
    return next((each for each in conditions or () if each.get("type") == kind), None)


def is_true(conditions: Conditions, kind: str) -> bool:
    """Say whether the condition of this type is there and its status is "True"."""
    condition = find(conditions, kind)
    return condition is not None and condition.get("status") == "True"


def set_condition(
    conditions: Conditions,
    kind: str,
    status: str | bool,
    *,
    reason: str,
    message: str,
    now: datetime,
    observed_generation: int | None = None,
) -> list[dict[str, Any]]:
    """Return the conditions with this one set; a new one goes to the end.

    ``lastTransitionTime`` moves only when ``status`` changes (as upstream's ``meta.SetStatusCondition``),
    other fields of an existing condition are kept. When nothing changes the result equals the input.
    """
    word = ("True" if status else "False") if isinstance(status, bool) else status
    result = [dict(each) for each in conditions or ()]
    index = next((i for i, each in enumerate(result) if each.get("type") == kind), None)
    fields: dict[str, Any] = {"status": word, "reason": reason, "message": message}
    if observed_generation is not None:
        fields["observedGeneration"] = observed_generation
    if index is None:
        result.append({"type": kind, "lastTransitionTime": rfc3339(now), **fields})
        return result
    old = result[index]
    if old.get("status") != word or not old.get("lastTransitionTime"):
        fields["lastTransitionTime"] = rfc3339(now)
    result[index] = {**old, **fields}
    return result

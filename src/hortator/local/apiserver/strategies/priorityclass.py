"""PriorityClasses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden
from hortator.apimachinery.meta import name_of
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import check_choice, check_immutable

__all__ = ["SYSTEM_CLASSES", "PriorityClassStrategy"]

HIGHEST = 1_000_000_000
#: The classes that every cluster has.
SYSTEM_CLASSES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


class PriorityClassStrategy(Strategy):
    """Behaviour of priority classes."""

    columns = (
        NAME,
        Column("Value", "integer"),
        Column("Global-Default", "boolean"),
        AGE,
        wide("PreemptionPolicy"),
    )

    def default(self, obj: Object) -> Object:
        """Return the class with upstream's default for preemption."""
        return {"preemptionPolicy": "PreemptLowerPriority", **obj}

    def prepare_create(self, obj: Object) -> Object:
        """Return the class in its first generation, the only one that it has."""
        return {**obj, "metadata": {**obj["metadata"], "generation": 1}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a class."""
        errors: list[FieldError] = []
        name, value = name_of(obj), obj.get("value") or 0
        if name.startswith("system-"):
            reason = _not_system(name, value, bool(obj.get("globalDefault")))
            if reason:
                words = (
                    "priority class names with 'system-' prefix are reserved for system use only. "
                    f"error: {reason}"
                )
                errors.append(forbidden(Path("metadata").child("name"), words))
        elif value > HIGHEST:
            words = f"maximum allowed value of a user defined priority is {HIGHEST}"
            errors.append(forbidden(Path("value"), words))
        policies = ("PreemptLowerPriority", "Never")
        return errors + check_choice(Path("preemptionPolicy"), obj.get("preemptionPolicy"), policies)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: value and preemption are fixed."""
        errors = self.validate_body(new)
        if (new.get("value") or 0) != (old.get("value") or 0):
            errors.append(forbidden(Path("value"), "may not be changed in an update."))
        path = Path("preemptionPolicy")
        return errors + check_immutable(path, new.get("preemptionPolicy"), old.get("preemptionPolicy"))

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a class."""
        return [
            name_of(obj),
            obj.get("value") or 0,
            bool(obj.get("globalDefault")),
            age(obj, now),
            obj.get("preemptionPolicy") or "",
        ]


def _not_system(name: str, value: int, is_default: bool) -> str:
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""

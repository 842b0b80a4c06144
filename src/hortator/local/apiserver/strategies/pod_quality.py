"""The quality-of-service class of a pod, from requests and limits (upstream's ``GetPodQOS``, 1.36)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hortator.apimachinery.quantity import Quantity, parse

__all__ = ["qos_class"]

COUNTED = ("cpu", "memory")


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return ``Guaranteed``, ``Burstable`` or ``BestEffort``."""
    own = spec.get("resources") or {}
    if own.get("requests") or own.get("limits"):
        owners = [own]
    else:
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        owners = [container.get("resources") or {} for container in containers]
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    guaranteed = True
    for resources in owners:
        _add(requests, resources.get("requests") or {})
        if _add(limits, resources.get("limits") or {}) != set(COUNTED):
            guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed and requests == limits else "Burstable"


def _add(total: dict[str, Quantity], amounts: Mapping[str, str]) -> set[str]:
    found = set()
    for name in COUNTED:
        amount = parse(amounts[name]) if name in amounts else Quantity()
        if amount > Quantity():
            found.add(name)
            total[name] = total[name] + amount if name in total else amount
    return found

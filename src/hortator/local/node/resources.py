"""What a pod and its containers ask for, as upstream adds it up (KEP-753 for sidecars). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hortator.apimachinery.quantity import Quantity, parse

__all__ = ["container_amount", "exclusive_cpus", "is_sidecar", "pod_amount", "pod_containers", "qos_class"]

_ZERO = Quantity()


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container is a native sidecar."""
    return container.get("restartPolicy") == "Always"


def pod_containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield init containers, then main ones."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def container_amount(container: Mapping[str, Any], resource: str) -> Quantity:
    """Return what one container asks for: its request, else its limit, else nothing."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        amount = (resources.get(kind) or {}).get(resource)
        if amount is not None:
            return parse(amount)
    return _ZERO


def pod_amount(spec: Mapping[str, Any], resource: str) -> Quantity:
    """Return what a pod asks for: the largest moment of its life."""
    sidecars = peak = _ZERO
    for container in spec.get("initContainers") or ():
        amount = container_amount(container, resource)
        if is_sidecar(container):
            sidecars = sidecars + amount
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + amount)
    total = sidecars
    for container in spec.get("containers") or ():
        total = total + container_amount(container, resource)
    return max(total, peak)


def exclusive_cpus(spec: Mapping[str, Any]) -> int:
    """Return how many CPUs the pod should own alone: its CPU request if that is a whole number, else 0."""
    amount = pod_amount(spec, "cpu")
    milli = amount.milli()
    return milli // 1000 if milli >= 1000 and milli % 1000 == 0 else 0


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return Guaranteed, Burstable or BestEffort by upstream's rule."""
    guaranteed, anything = True, False
    for container in pod_containers(spec):
        resources = container.get("resources") or {}
        for name in ("cpu", "memory"):
            limit = (resources.get("limits") or {}).get(name)
            request = (resources.get("requests") or {}).get(name, limit)
            anything = anything or bool(request) or bool(limit)
            if limit is None or request is None or parse(request) != parse(limit):
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"

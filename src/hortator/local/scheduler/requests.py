"""What a pod asks of a node: whole numbers per resource name, and the ports that it occupies.

CPU counts in thousandths, everything else in its own unit (bytes, pieces). The sums follow kube-scheduler:
the largest of what the init containers need one after the other and what the containers need together,
sidecars (init containers that restart always) counted with both, plus the pod's overhead (KEP-753, KEP-688).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from hortator.apimachinery import quantity as quantities

__all__ = ["Port", "amount", "amounts", "pod_ports", "pod_requests"]

POD_LEVEL = ("cpu", "memory")


class Port(NamedTuple):
    """A port that a pod occupies on its machine. ``explicit``: asked for as a host port, not just declared."""

    protocol: str
    number: int
    address: str
    explicit: bool


@lru_cache(maxsize=8192)
def amount(resource: str, quantity: str | int | float) -> int:
    """Return a quantity as the whole number that is compared; fractions round up. Raises ``InvalidQuantity``."""
    parsed = quantities.parse(quantity)
    return parsed.milli() if resource == "cpu" else int(parsed)


def amounts(resources: Mapping[str, Any] | None) -> dict[str, int]:
    """Return a resource list (``requests``, ``allocatable``) as numbers."""
    return {name: amount(name, quantity) for name, quantity in (resources or {}).items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _requests(container: Mapping[str, Any]) -> dict[str, int]:
    return amounts((container.get("resources") or {}).get("requests"))


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def pod_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return what a pod's spec asks for, per resource. Limits do not count: defaulting made them requests."""
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(total, _requests(container))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        wanted = _requests(container)
        if _is_sidecar(container):
            _add(total, wanted)
            _add(sidecars, wanted)
            step = dict(sidecars)
        else:
            step = wanted
            _add(step, sidecars)
        for name, value in step.items():
            peak[name] = max(peak.get(name, 0), value)
    for name, value in peak.items():
        total[name] = max(total.get(name, 0), value)
    for name, quantity in ((spec.get("resources") or {}).get("requests") or {}).items():
        if name in POD_LEVEL or name.startswith("hugepages-"):
            total[name] = amount(name, quantity)
    _add(total, amounts(spec.get("overhead")))
    return total


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from spec.get("containers") or ()
    yield from (one for one in spec.get("initContainers") or () if _is_sidecar(one))


def pod_ports(spec: Mapping[str, Any]) -> tuple[Port, ...]:
    """Return the ports that a pod occupies on its machine.

    Upstream counts only ``hostPort`` (which ``hostNetwork`` sets to the ``containerPort``). Here every pod
    uses the machine's own network, so a declared ``containerPort`` occupies the machine's port as well; it is
    marked as not ``explicit``, because pods of one controller declare the same port together and are let
    through (see ``fit``).
    """
    host_network = bool(spec.get("hostNetwork"))
    found: Iterable[Port] = (
        Port(
            protocol=port.get("protocol") or "TCP",
            number=port.get("hostPort") or port.get("containerPort") or 0,
            address=port.get("hostIP") or "0.0.0.0",  # noqa: S104 the API's word for any address, nothing listens
            explicit=host_network or bool(port.get("hostPort")),
        )
        for container in _containers(spec)
        for port in container.get("ports") or ()
    )
    return tuple(dict.fromkeys(port for port in found if port.number))

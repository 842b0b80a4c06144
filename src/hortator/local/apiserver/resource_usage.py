"""What objects use of the things that a ResourceQuota counts. Pure.

Names and rules follow upstream's quota evaluators (kubernetes 1.36, ``pkg/quota/v1``): pods (requests, limits, scopes),
PersistentVolumeClaims (storage), Services, and a plain count of anything (``count/jobs.batch``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.meta import parse_time
from hortator.apimachinery.quantity import Quantity
from hortator.apimachinery.quantity import parse as parse_quantity

__all__ = ["Usage", "add", "in_scope", "pod_requests", "usage_of"]

Object = dict[str, Any]
Usage = dict[str, Quantity]

_ONE = parse_quantity(1)
_ZERO = parse_quantity(0)
#: Resources that have a name of their own in quotas beside ``count/…``.
_NAMED = frozenset(
    f"/{plural}"
    for plural in (
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    )
)
_PLAIN = ("cpu", "memory", "ephemeral-storage")


def add(total: Usage, more: Mapping[str, Quantity], *, sign: int = 1) -> None:
    """Add a usage to a total, in place."""
    for name, amount in more.items():
        before = total.get(name, _ZERO)
        total[name] = before + amount if sign > 0 else before - amount


def usage_of(resource: str, obj: Object, *, now: datetime) -> Usage:
    """Return what one object of a collection (``/pods``) counts for."""
    group, _, plural = resource.partition("/")
    if resource == "/pods" and _is_over(obj, now):
        return {f"count/{plural}": _ONE}
    used: Usage = {f"count/{plural}.{group}" if group else f"count/{plural}": _ONE}
    if resource in _NAMED:
        used[plural] = _ONE
    spec = obj.get("spec") or {}
    if resource == "/pods":
        add(used, _pod_usage(spec))
    elif resource == "/persistentvolumeclaims":
        add(used, _claim_usage(spec))
    elif resource == "/services":
        add(used, _service_usage(spec))
    return used


def _is_over(pod: Object, now: datetime) -> bool:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    marked = pod["metadata"].get("deletionTimestamp")
    # A pod that should be gone by now (its node does not answer) no longer counts.
    return bool(marked) and parse_time(marked) < now


def pod_requests(spec: Mapping[str, Any], key: str) -> Usage:
    """Return a pod's effective ``requests`` or ``limits``: containers together, or the largest init container."""
    total: Usage = {}
    for container in spec.get("containers") or ():
        add(total, _resources(container, key))
    sidecars: Usage = {}
    largest: Usage = {}
    for container in spec.get("initContainers") or ():
        needed = _resources(container, key)
        if container.get("restartPolicy") == "Always":
            add(sidecars, needed)
            needed = dict(sidecars)
        else:
            add(needed, sidecars)
        for name, amount in needed.items():
            largest[name] = max(largest.get(name, _ZERO), amount)
    add(total, sidecars)
    for name, amount in largest.items():
        total[name] = max(total.get(name, _ZERO), amount)
    for name, amount in _parse((spec.get("resources") or {}).get(key)).items():
        total[name] = amount  # resources of the whole pod replace the sum
    add(total, _parse(spec.get("overhead")) if key == "requests" or total else {})
    return total


def _resources(container: Mapping[str, Any], key: str) -> Usage:
    return _parse((container.get("resources") or {}).get(key))


def _parse(values: Mapping[str, Any] | None) -> Usage:
    return {name: parse_quantity(value) for name, value in (values or {}).items()}


def _pod_usage(spec: Mapping[str, Any]) -> Usage:
    used: Usage = {}
    for name, amount in pod_requests(spec, "requests").items():
        used[f"requests.{name}"] = amount
        if name in _PLAIN:
            used[name] = amount
    for name, amount in pod_requests(spec, "limits").items():
        if name in _PLAIN or name.startswith("hugepages-"):
            used[f"limits.{name}"] = amount
    return used


def _claim_usage(spec: Mapping[str, Any]) -> Usage:
    used: Usage = {}
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    amount = parse_quantity(storage) if storage is not None else None
    if amount is not None:
        used["requests.storage"] = amount
    if name := spec.get("storageClassName"):
        used[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = _ONE
        if amount is not None:
            used[f"{name}.storageclass.storage.k8s.io/requests.storage"] = amount
    return used


def _service_usage(spec: Mapping[str, Any]) -> Usage:
    kind = spec.get("type")
    ports = parse_quantity(len(spec.get("ports") or ()))
    if kind == "NodePort":
        return {"services.nodeports": ports}
    if kind == "LoadBalancer":
        used: Usage = {"services.loadbalancers": _ONE}
        if spec.get("allocateLoadBalancerNodePorts") is not False:
            used["services.nodeports"] = ports
        return used
    return {}


def in_scope(quota: Object, resource: str, obj: Object) -> bool:
    """Whether an object is one that a quota's scopes are about."""
    spec = quota.get("spec") or {}
    scopes: list[Mapping[str, Any]] = [
        {"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()
    ]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not scopes:
        return True
    return resource == "/pods" and all(_matches(scope, obj.get("spec") or {}) for scope in scopes)


def _matches(scope: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    name = scope.get("scopeName")
    limited = spec.get("activeDeadlineSeconds") is not None
    if name == "Terminating":
        return limited
    if name == "NotTerminating":
        return not limited
    best_effort = not any(_effort(spec))
    if name == "BestEffort":
        return best_effort
    if name == "NotBestEffort":
        return not best_effort
    if name == "PriorityClass":
        return _has_class(scope, spec.get("priorityClassName") or "")
    return False


def _effort(spec: Mapping[str, Any]) -> Iterable[bool]:
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            resources = container.get("resources") or {}
            for part in ("requests", "limits"):
                yield any(name in ("cpu", "memory") for name in resources.get(part) or ())


def _has_class(scope: Mapping[str, Any], name: str) -> bool:
    operator, values = scope.get("operator"), scope.get("values") or ()
    if operator == "In":
        return name in values
    if operator == "NotIn":
        return name not in values
    return bool(name) if operator == "Exists" else not name

"""One object in the words of another version of its API.

Versions of one built-in resource that differ in name only are relabelled. Events, which upstream serves under two groups
(core/v1 and events.k8s.io/v1) from one store, and autoscalers, whose version 1 knows one metric, are translated here.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["convert", "storage_of", "stored_version"]

_AUTOSCALER = "autoscaling/v2"
#: Where version 1 keeps what it has no fields for: (annotation, part of the object, field of version 2).
_KEPT = (
    ("autoscaling.alpha.kubernetes.io/metrics", "spec", "metrics"),
    ("autoscaling.alpha.kubernetes.io/behavior", "spec", "behavior"),
    ("autoscaling.alpha.kubernetes.io/current-metrics", "status", "currentMetrics"),
    ("autoscaling.alpha.kubernetes.io/conditions", "status", "conditions"),
)
_EVENTS = "events.k8s.io/v1"
# (core/v1 name, events.k8s.io/v1 name)
_EVENT_FIELDS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def storage_of(group: str, plural: str) -> str:
    """Return the collection that a resource's objects live in."""
    return "/events" if plural == "events" and group == "events.k8s.io" else f"{group}/{plural}"


def stored_version(group: str, plural: str, api_version: str) -> str:
    """Return the ``apiVersion`` in which a built-in resource is stored."""
    if group == "autoscaling":
        return _AUTOSCALER
    return "v1" if plural == "events" and group == "events.k8s.io" else api_version


def convert(obj: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Return an object in another of its versions. The input is not changed."""
    found = obj.get("apiVersion")
    if found == api_version:
        return obj
    result = {**obj, "apiVersion": api_version}
    if api_version == _EVENTS and found == "v1":
        _rename(result, [(core, new) for core, new in _EVENT_FIELDS])
    elif found == _EVENTS and api_version == "v1":
        _rename(result, [(new, core) for core, new in _EVENT_FIELDS])
    elif found == _AUTOSCALER and api_version == "autoscaling/v1":
        return _autoscaler_v1(result)
    elif found == "autoscaling/v1" and api_version == _AUTOSCALER:
        return _autoscaler_v2(result)
    return result


def _rename(obj: dict[str, Any], names: list[tuple[str, str]]) -> None:
    for old, new in names:
        if old in obj:
            obj[new] = obj.pop(old)


def _autoscaler_v1(obj: dict[str, Any]) -> dict[str, Any]:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics = spec.get("metrics") or []
    if len(metrics) == 1 and (percent := _cpu_percent(metrics[0], "target")) is not None:
        spec["targetCPUUtilizationPercentage"] = percent
        del spec["metrics"]
    for metric in status.get("currentMetrics") or ():
        if (percent := _cpu_percent(metric, "current")) is not None:
            status["currentCPUUtilizationPercentage"] = percent
    parts = {"spec": spec, "status": status}
    notes = dict((obj.get("metadata") or {}).get("annotations") or {})
    for annotation, part, field in _KEPT:
        if value := parts[part].pop(field, None):
            notes[annotation] = json.dumps(value, separators=(",", ":"))
    return _assembled(obj, parts, notes)


def _autoscaler_v2(obj: dict[str, Any]) -> dict[str, Any]:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    parts = {"spec": spec, "status": status}
    notes = dict((obj.get("metadata") or {}).get("annotations") or {})
    for annotation, part, field in _KEPT:
        if (text := notes.pop(annotation, None)) is not None:
            try:
                parts[part][field] = json.loads(text)
            except ValueError:
                continue  # as upstream: what cannot be read was no keepsake of ours
    status.pop("currentCPUUtilizationPercentage", None)
    if (percent := spec.pop("targetCPUUtilizationPercentage", None)) is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        resource = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        spec["metrics"] = [*(spec.get("metrics") or ()), resource]
    return _assembled(obj, parts, notes)


def _cpu_percent(metric: dict[str, Any], side: str) -> int | None:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    found = (resource.get(side) or {}).get("averageUtilization")
    return int(found) if found is not None else None


def _assembled(obj: dict[str, Any], parts: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "annotations"}
    if notes:
        metadata["annotations"] = notes
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "spec", "status")}
    return {**rest, "metadata": metadata, **{key: part for key, part in parts.items() if key in obj}}

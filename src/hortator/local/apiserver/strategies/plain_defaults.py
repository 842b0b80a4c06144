"""Defaults of kinds without a strategy of their own, as upstream's ``defaults.go`` of each group (1.36)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hortator.local.apiserver.strategies.pod_defaults import default_template

__all__ = ["DEFAULTS"]

Object = dict[str, Any]


def _endpoints(obj: Object) -> Object:
    if not obj.get("subsets"):
        return obj
    return {**obj, "subsets": [_subset(subset) for subset in obj["subsets"]]}


def _subset(subset: Object) -> Object:
    if not subset.get("ports"):
        return subset
    return {**subset, "ports": [{"protocol": "TCP", **port} for port in subset["ports"]]}


def _endpoint_slice(obj: Object) -> Object:
    if not obj.get("ports"):
        return obj
    return {**obj, "ports": [{"name": "", "protocol": "TCP", **port} for port in obj["ports"]]}


def _pod_template(obj: Object) -> Object:
    return {**obj, "template": default_template(obj.get("template") or {})}


def _network_policy(obj: Object) -> Object:
    spec = dict(obj.get("spec") or {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for key in ("ingress", "egress"):
        if spec.get(key):
            spec[key] = [_policy_rule(rule) for rule in spec[key]]
    return {**obj, "spec": spec}


def _policy_rule(rule: Object) -> Object:
    if not rule.get("ports"):
        return rule
    return {**rule, "ports": [{"protocol": "TCP", **port} for port in rule["ports"]]}


def _ingress_class(obj: Object) -> Object:
    spec = obj.get("spec") or {}
    if not spec.get("parameters"):
        return obj
    return {**obj, "spec": {**spec, "parameters": {"scope": "Cluster", **spec["parameters"]}}}


def _autoscaler(obj: Object) -> Object:
    spec = {"minReplicas": 1, **(obj.get("spec") or {})}
    # Version 1 has no metrics to begin with; the version that is stored gets them by conversion.
    if not spec.get("metrics") and obj.get("apiVersion") != "autoscaling/v1":
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**obj, "spec": spec}


def _csi_driver(obj: Object) -> Object:
    spec = {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False,
        "seLinuxMount": False,
        **(obj.get("spec") or {}),
    }
    return {**obj, "spec": spec}


#: ``plural.group`` -> from an object to the object with defaults.
DEFAULTS: dict[str, Callable[[Object], Object]] = {
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "podtemplates": _pod_template,
    "networkpolicies.networking.k8s.io": _network_policy,
    "ingressclasses.networking.k8s.io": _ingress_class,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "csidrivers.storage.k8s.io": _csi_driver,
}

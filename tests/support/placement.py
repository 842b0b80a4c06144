"""Builders of nodes and pods for tests of the scheduler."""

from __future__ import annotations

from itertools import count
from typing import Any

from hortator.local.scheduler.cluster import Cluster
from hortator.local.scheduler.pods import PodInfo, pod_info

_numbers = count(1)


def node(
    name: str = "a",
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: int = 110,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    unschedulable: bool = False,
    machine: str = "",
    **extended: str,
) -> dict[str, Any]:
    capacity = {"cpu": cpu, "memory": memory, "pods": str(pods)}
    capacity |= {key.replace("__", "/").replace("_", "."): value for key, value in extended.items()}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": taints or [], "unschedulable": unschedulable},
        "status": {"allocatable": capacity, "nodeInfo": {"machineID": machine or name}},
    }


def pod(
    name: str = "",
    *,
    cpu: str = "",
    memory: str = "",
    requests: dict[str, str] | None = None,
    namespace: str = "default",
    labels: dict[str, str] | None = None,
    on: str = "",
    priority: int = 0,
    owner: str = "",
    started: str = "",
    containers: list[dict[str, Any]] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    wanted = {key: value for key, value in {"cpu": cpu, "memory": memory}.items() if value} | (requests or {})
    name = name or f"pod-{next(_numbers)}"
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{namespace}-{name}",
        "labels": labels or {},
        "creationTimestamp": started or "2026-01-01T00:00:00Z",
    }
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "batch/v1", "kind": "Job", "name": owner, "uid": owner, "controller": True}
        ]
    made = {
        "containers": containers or [{"name": "main", "resources": {"requests": wanted}}],
        "priority": priority,
        **spec,
    }
    if on:
        made["nodeName"] = on
    return {"metadata": metadata, "spec": made, "status": {"phase": "Pending", "startTime": started}}


def info(*args: Any, **kwargs: Any) -> PodInfo:
    return pod_info(pod(*args, **kwargs))


def cluster(*objects: dict[str, Any]) -> Cluster:
    """A cluster of nodes, then of pods that are bound to them."""
    made = Cluster()
    for one in objects:
        if "containers" in one["spec"]:
            made.place(pod_info(one))
        else:
            made.set_node(one)
    return made

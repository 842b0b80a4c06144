"""Objects as people write them for kubectl: small, and such that no controller changes them by itself."""

from __future__ import annotations

from typing import Any

__all__ = ["config", "cron_job", "deployment", "job", "named", "node", "pod", "secret", "service"]

Object = dict[str, Any]


def named(kind: str, name: str, *, api: str = "v1", labels: Object | None = None, **fields: Any) -> Object:
    """Return any object."""
    metadata = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def config(name: str = "c", labels: Object | None = None, **data: str) -> Object:
    return named("ConfigMap", name, labels=labels, **({"data": data} if data else {}))


def secret(name: str = "s", **data: str) -> Object:
    return named("Secret", name, stringData=data)


def pod(name: str = "p", labels: Object | None = None, **spec: Any) -> Object:
    """Return a pod that waits for a scheduler that never comes."""
    return named("Pod", name, labels=labels, spec=_pod_spec(**spec))


def _pod_spec(**spec: Any) -> Object:
    container = {"name": "main", "image": "example.com/image:1", "command": ["true"]}
    return {"schedulerName": "nobody", "containers": [container], **spec}


def job(name: str = "j", **spec: Any) -> Object:
    """Return a suspended Job."""
    template = {"spec": _pod_spec(restartPolicy="Never")}
    return named("Job", name, api="batch/v1", spec={"suspend": True, "template": template, **spec})


def cron_job(name: str = "cj", **spec: Any) -> Object:
    """Return a suspended CronJob."""
    template = {"spec": {"template": {"spec": _pod_spec(restartPolicy="Never")}}}
    spec = {"suspend": True, "schedule": "0 0 1 1 *", "jobTemplate": template, **spec}
    return named("CronJob", name, api="batch/v1", spec=spec)


def deployment(name: str = "d", **spec: Any) -> Object:
    """Return a Deployment of no replicas that is paused."""
    template = {"metadata": {"labels": {"app": name}}, "spec": _pod_spec()}
    spec = {
        "replicas": 0,
        "paused": True,
        "selector": {"matchLabels": {"app": name}},
        "template": template,
    } | spec
    return named("Deployment", name, api="apps/v1", spec=spec)


def service(name: str = "web", **spec: Any) -> Object:
    return named(
        "Service",
        name,
        spec={"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}], **spec},
    )


def node(name: str = "n1", labels: Object | None = None, **spec: Any) -> Object:
    return named("Node", name, labels=labels, spec=spec)

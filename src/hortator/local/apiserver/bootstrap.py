"""What every cluster has from the start: namespaces, priority classes, and the default roles and bindings.

Made when the server starts, where missing; the roles are brought up to date, as upstream reconciles them. The rules
are those of upstream's bootstrap policy (1.36), as far as they concern what runs here.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from hortator.apimachinery.meta import rfc3339
from hortator.local.apiserver.authorization import CLUSTER_BINDINGS, CLUSTER_ROLES
from hortator.local.apiserver.catalog import Catalog
from hortator.local.apiserver.storage import Key, Storage

__all__ = ["bootstrap", "kubernetes_service"]

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")


def _rule(verbs: tuple[str, ...], group: str | tuple[str, ...], resources: str, names: str = "") -> Object:
    rule: Object = {
        "apiGroups": [group] if isinstance(group, str) else list(group),
        "resources": resources.split(),
        "verbs": list(verbs),
    }
    if names:
        rule["resourceNames"] = names.split()
    return rule


def _urls(*paths: str) -> Object:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


_VIEW = [
    _rule(
        _READ,
        "",
        "pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status endpoints "
        "persistentvolumeclaims persistentvolumeclaims/status configmaps",
    ),
    _rule(
        _READ,
        "",
        "limitranges resourcequotas bindings pods/status resourcequotas/status namespaces/status "
        "replicationcontrollers/status pods/log",
    ),
    _rule(_READ, "", "namespaces"),
    _rule(_READ, ("", "events.k8s.io"), "events"),
    _rule(_READ, "discovery.k8s.io", "endpointslices"),
    _rule(
        _READ,
        "apps",
        "controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status "
        "deployments deployments/status deployments/scale replicasets replicasets/status replicasets/scale",
    ),
    _rule(_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    _rule(
        _READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/status deployments/scale ingresses ingresses/status "
        "networkpolicies replicasets replicasets/status replicasets/scale replicationcontrollers/scale",
    ),
    _rule(_READ, "batch", "jobs cronjobs cronjobs/status jobs/status"),
    _rule(_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    _rule(_READ, "networking.k8s.io", "networkpolicies ingresses ingresses/status"),
    _rule(_READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
]

_EDIT = [
    _rule(_READ, "", "pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy"),
    _rule(("impersonate",), "", "serviceaccounts"),
    _rule(_WRITE, "", "pods pods/attach pods/proxy pods/exec pods/portforward"),
    _rule(("create",), "", "pods/eviction"),
    _rule(
        _WRITE,
        "",
        "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy "
        "persistentvolumeclaims configmaps secrets",
    ),
    _rule(("create",), "", "serviceaccounts/token"),
    _rule(_WRITE, ("", "events.k8s.io"), "events"),
    _rule(
        _WRITE,
        "apps",
        "statefulsets statefulsets/scale daemonsets deployments deployments/scale deployments/rollback replicasets "
        "replicasets/scale",
    ),
    _rule(_WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(
        _WRITE,
        "extensions",
        "daemonsets deployments deployments/scale deployments/rollback ingresses networkpolicies replicasets "
        "replicasets/scale replicationcontrollers/scale",
    ),
    _rule(_WRITE, "batch", "jobs cronjobs"),
    _rule(_WRITE, "policy", "poddisruptionbudgets"),
    _rule(_WRITE, "networking.k8s.io", "networkpolicies ingresses"),
    _rule((*_READ, *_WRITE), "coordination.k8s.io", "leases"),
    _rule(_WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
]

_ADMIN = [
    _rule(("create",), "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule((*_READ, *_WRITE), _RBAC, "roles rolebindings"),
]

_BASIC = [
    _rule(("create",), "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
    _rule(("create",), "authentication.k8s.io", "selfsubjectreviews"),
]

_DELEGATOR = [
    _rule(("create",), "authentication.k8s.io", "tokenreviews"),
    _rule(("create",), "authorization.k8s.io", "subjectaccessreviews"),
]

_DISCOVERY = _urls(
    "/livez",
    "/readyz",
    "/healthz",
    "/version",
    "/version/",
    "/openapi",
    "/openapi/*",
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
)

_MONITORING = [
    _urls(
        "/metrics", "/metrics/slis", "/livez", "/readyz", "/healthz", "/livez/*", "/readyz/*", "/healthz/*"
    ),
    _rule(("get",), "", "nodes/metrics"),
]

#: name -> rules, or the role that it aggregates to; and which role it is aggregated to itself.
_ROLES: tuple[tuple[str, list[Object] | None, str], ...] = (
    ("cluster-admin", [_rule(("*",), "*", "*"), {"nonResourceURLs": ["*"], "verbs": ["*"]}], ""),
    ("system:discovery", [_DISCOVERY], ""),
    ("system:basic-user", _BASIC, ""),
    ("system:public-info-viewer", [_urls(*_HEALTH)], ""),
    ("system:monitoring", _MONITORING, ""),
    ("system:auth-delegator", _DELEGATOR, ""),
    ("admin", None, ""),
    ("edit", None, "admin"),
    ("view", None, "edit"),
    ("system:aggregate-to-admin", _ADMIN, "admin"),
    ("system:aggregate-to-edit", _EDIT, "edit"),
    ("system:aggregate-to-view", _VIEW, "view"),
)

_BINDINGS = (
    ("cluster-admin", ("system:masters",)),
    ("system:discovery", ("system:authenticated",)),
    ("system:basic-user", ("system:authenticated",)),
    ("system:public-info-viewer", ("system:authenticated", "system:unauthenticated")),
    ("system:monitoring", ("system:monitoring",)),
)

_PRIORITIES = (("system-cluster-critical", 2000000000), ("system-node-critical", 2000001000))


def _objects() -> list[tuple[str, Object]]:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    annotations = {_AUTOUPDATE: "true"}
    found: list[tuple[str, Object]] = []
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        found.append(("/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    for name, value in _PRIORITIES:
        found.append(
            (
                "scheduling.k8s.io/priorityclasses",
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": name},
                    "value": value,
                    "preemptionPolicy": "PreemptLowerPriority",
                },
            )
        )
    for name, rules, target in _ROLES:
        extra = {f"{_RBAC}/aggregate-to-{target}": "true"} if target else {}
        role: Object = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": {**labels, **extra}, "annotations": annotations},
        }
        if rules is None:
            selector = {"matchLabels": {f"{_RBAC}/aggregate-to-{name}": "true"}}
            role["aggregationRule"] = {"clusterRoleSelectors": [selector]}
        else:
            role["rules"] = rules
        found.append((CLUSTER_ROLES, role))
    for name, groups in _BINDINGS:
        found.append(
            (
                CLUSTER_BINDINGS,
                {
                    "apiVersion": f"{_RBAC}/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": name, "labels": labels, "annotations": annotations},
                    "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
                    "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups],
                },
            )
        )
    return found


async def bootstrap(storage: Storage, catalog: Catalog, now: datetime) -> None:
    """Write what is missing, and the default roles that an earlier version wrote differently."""
    for resource, obj in _objects():
        name = obj["metadata"]["name"]
        served = catalog.stored(resource)
        if served is None:
            raise LookupError(f"{resource} is not served")
        current = storage.get(resource, "", name)
        strategy = served.strategy
        if current is None:
            system = {"uid": str(uuid.uuid4()), "creationTimestamp": rfc3339(now)}
            obj = strategy.prepare_create(
                strategy.default({**obj, "metadata": {**obj["metadata"], **system}})
            )
        else:
            old = current.decode()
            if resource != CLUSTER_ROLES or old.get("rules") == obj.get("rules") or "aggregationRule" in obj:
                continue
            if old["metadata"].get("annotations", {}).get(_AUTOUPDATE) != "true":
                continue
            obj = {**old, "rules": obj["rules"]}
        await storage.write(Key(resource, "", name), obj, expected=current, fields=strategy.fields(obj))


def kubernetes_service(address: str, port: int) -> Object:
    """Return the Service ``default/kubernetes``, by which clients find the server and people see where it listens."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": address,
            "ports": [{"name": "https", "protocol": "TCP", "port": port, "targetPort": port}],
        },
    }

"""Defaults of a pod's spec and of a pod template's, as upstream's ``core/v1/defaults.go`` (1.36).

Priority, the tolerations for nodes that are not ready and the service account are admission's.
"""

from __future__ import annotations

import re
from typing import Any

from hortator.apimachinery.quantity import Quantity, parse

__all__ = ["default_pod_spec", "default_template", "effective_requests"]

Object = dict[str, Any]

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
FILE_MODE = 0o644
# A reference whose repository is not lower case cannot be parsed and therefore counts as having a tag.
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
POD_LEVEL_RESOURCES = ("cpu", "memory")


def default_template(template: Object) -> Object:
    """Return a pod template with defaults."""
    return {**template, "spec": default_pod_spec(template.get("spec") or {}, pod=False)}


def default_pod_spec(spec: Object, *, pod: bool) -> Object:
    """Return a spec with defaults; with ``pod`` also those that only a pod gets, not a template."""
    result = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
    }
    result.update({key: value for key, value in spec.items() if value is not None and value != ""})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        # The old field's name is kept in step by the conversion between versions.
        result["serviceAccountName"] = result["serviceAccount"] = account
    for key in ("containers", "initContainers", "ephemeralContainers"):
        if spec.get(key):
            result[key] = [_container(each) for each in spec[key]]
    if spec.get("volumes"):
        result["volumes"] = [_volume(each) for each in spec["volumes"]]
    return _pod_only(result) if pod else result


def _pod_only(spec: Object) -> Object:
    spec.setdefault("enableServiceLinks", True)
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [_requests(each) for each in spec[key]]
            if spec.get("hostNetwork"):
                spec[key] = [_host_ports(each) for each in spec[key]]
    resources = spec.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        requests = dict(resources.get("requests") or {})
        for name, quantity in effective_requests(spec).items():
            if name in POD_LEVEL_RESOURCES:
                requests.setdefault(name, str(quantity))
        for name, text in limits.items():
            if name in POD_LEVEL_RESOURCES or name.startswith("hugepages-"):
                requests.setdefault(name, text)
        spec["resources"] = {**resources, "requests": requests}
    return spec


def effective_requests(spec: Object) -> dict[str, Quantity]:
    """Return what the containers of a pod ask for together: the running ones, or the largest initial phase.

    Restartable init containers count with everything that starts after them (KEP-753).
    """
    total: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        _add(total, _asked(container))
    sidecars: dict[str, Quantity] = {}
    initial: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(total, asked)
            _add(sidecars, asked)
            phase = dict(sidecars)
        else:
            phase = dict(sidecars)
            _add(phase, asked)
        for name, quantity in phase.items():
            initial[name] = max(initial.get(name, Quantity()), quantity)
    for name, quantity in initial.items():
        total[name] = max(total.get(name, Quantity()), quantity)
    return total


def _asked(container: Object) -> dict[str, Quantity]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return {name: parse(text) for name, text in requests.items()}


def _add(total: dict[str, Quantity], more: dict[str, Quantity]) -> None:
    for name, quantity in more.items():
        total[name] = total[name] + quantity if name in total else quantity


def _requests(container: Object) -> Object:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if not limits:
        return container
    requests = {**limits, **(resources.get("requests") or {})}
    return {**container, "resources": {**resources, "requests": requests}}


def _host_ports(container: Object) -> Object:
    if not container.get("ports"):
        return container
    ports = [
        port if port.get("hostPort") else {**port, "hostPort": port.get("containerPort")}
        for port in container["ports"]
    ]
    return {**container, "ports": ports}


def _container(container: Object) -> Object:
    result: Object = {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": _pull_policy(container.get("image") or ""),
        "resources": {},
    }
    result.update({key: value for key, value in container.items() if value is not None and value != ""})
    if container.get("ports"):
        result["ports"] = [{**port, "protocol": port.get("protocol") or "TCP"} for port in container["ports"]]
    if container.get("env"):
        result["env"] = [_variable(each) for each in container["env"]]
    for key in PROBES:
        if container.get(key) is not None:
            result[key] = _probe(container[key])
    lifecycle = container.get("lifecycle")
    if lifecycle:
        result["lifecycle"] = {
            key: _handler(value) if key in ("postStart", "preStop") else value
            for key, value in lifecycle.items()
        }
    resources = container.get("resources")
    if resources:
        result["resources"] = {
            key: {name: _milli(text) for name, text in value.items()}
            if key in ("limits", "requests")
            else value
            for key, value in resources.items()
        }
    return result


def _milli(text: str) -> str:
    """Return a quantity rounded up to thousandths, as upstream stores resource lists."""
    quantity = parse(text)
    rest = quantity.nano % 1_000_000
    return str(quantity if not rest else Quantity(quantity.nano - rest + 1_000_000, quantity.format))


def _pull_policy(image: str) -> str:
    name, _, digest = image.partition("@")
    folder, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    repository = folder + slash + base
    host, slash, rest = repository.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        repository = rest
    if digest or not REPOSITORY.fullmatch(repository):
        return "IfNotPresent"
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _variable(variable: Object) -> Object:
    source = variable.get("valueFrom")
    return {**variable, "valueFrom": _field_source(source)} if source else variable


def _field_source(source: Object) -> Object:
    """Return a downward source (of a variable or a file) with its defaults."""
    if "fieldRef" in source:
        source = {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}
    if "resourceFieldRef" in source:
        source = {**source, "resourceFieldRef": {"divisor": "0", **source["resourceFieldRef"]}}
    return source


def _probe(probe: Object) -> Object:
    result = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    result.update({key: value for key, value in _handler(probe).items() if key not in result or value})
    return result


def _handler(handler: Object) -> Object:
    if handler.get("httpGet"):
        get = handler["httpGet"]
        get = {**get, "path": get.get("path") or "/", "scheme": get.get("scheme") or "HTTP"}
        handler = {**handler, "httpGet": get}
    if handler.get("grpc"):
        handler = {**handler, "grpc": {"service": "", **handler["grpc"]}}
    return handler


def _volume(volume: Object) -> Object:
    sources = [key for key, value in volume.items() if key != "name" and value is not None]
    if not sources:
        return {**volume, "emptyDir": {}}
    for key in sources:
        default = VOLUME_DEFAULTS.get(key)
        if default is not None:
            volume = {**volume, key: {**default, **volume[key]}}
    if "projected" in sources:
        items = [_projection(each) for each in volume["projected"].get("sources") or ()]
        volume = {**volume, "projected": {**volume["projected"], "sources": items}}
    if "downwardAPI" in sources and volume["downwardAPI"].get("items"):
        items = [_field_source(each) for each in volume["downwardAPI"]["items"]]
        volume = {**volume, "downwardAPI": {**volume["downwardAPI"], "items": items}}
    if "image" in sources and not volume["image"].get("pullPolicy"):
        policy = _pull_policy(volume["image"].get("reference") or "")
        volume = {**volume, "image": {**volume["image"], "pullPolicy": policy}}
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim:
        spec = {"volumeMode": "Filesystem", **(claim.get("spec") or {})}
        volume = {**volume, "ephemeral": {"volumeClaimTemplate": {**claim, "spec": spec}}}
    return volume


VOLUME_DEFAULTS: dict[str, Object] = {
    "secret": {"defaultMode": FILE_MODE},
    "configMap": {"defaultMode": FILE_MODE},
    "downwardAPI": {"defaultMode": FILE_MODE},
    "projected": {"defaultMode": FILE_MODE},
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def _projection(source: Object) -> Object:
    if source.get("serviceAccountToken"):
        token = {"expirationSeconds": 3600, **source["serviceAccountToken"]}
        return {**source, "serviceAccountToken": token}
    if source.get("downwardAPI"):
        items = [_field_source(each) for each in source["downwardAPI"].get("items") or ()]
        return {**source, "downwardAPI": {**source["downwardAPI"], "items": items}}
    return source

"""Validation of a pod's containers. Rules and words are upstream's (``core/validation``, 1.36)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
)
from hortator.apimachinery.names import (
    dns1123_label,
    http_header_name,
    port_name,
    port_number,
)
from hortator.apimachinery.quantity import parse
from hortator.local.apiserver.strategies.checks import (
    check_choice,
    check_local_path,
    check_name,
    check_nonnegative,
    check_port,
    check_quantity,
    check_resource_name,
    is_native,
)
from hortator.local.apiserver.strategies.pod_environment import check_environment, check_environment_sources

__all__ = ["check_containers", "check_resources"]

Object = Mapping[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
INIT_ONLY = "may not be set for init containers without restartPolicy=Always"
EPHEMERAL_FORBIDDEN = (
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "startupProbe",
)
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def check_containers(spec: Object, volumes: Mapping[str, Object], path: Path) -> list[FieldError]:
    """Return what is wrong with the containers of all three kinds; ``volumes`` are the good ones by name."""
    return [
        *_regular(spec, volumes, path.child("containers")),
        *_initial(spec, volumes, path.child("initContainers")),
        *_ephemeral(spec, volumes, path.child("ephemeralContainers")),
    ]


def _regular(spec: Object, volumes: Mapping[str, Object], path: Path) -> list[FieldError]:
    containers = spec.get("containers") or ()
    if not containers:
        return [required(path)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        here = path.index(index)
        errors += _common(container, spec, volumes, here)
        errors += _repeated(container, seen, here)
        errors += _hooks(container, spec, here)
        errors += _restart_rules(container, here)
    return errors + _host_ports(containers, path)


def _initial(spec: Object, volumes: Mapping[str, Object], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen = {each.get("name") or "" for each in spec.get("containers") or ()}
    for index, container in enumerate(spec.get("initContainers") or ()):
        here = path.index(index)
        errors += _common(container, spec, volumes, here)
        errors += _restart_rules(container, here)
        errors += _repeated(container, seen, here)
        errors += _host_ports([container], path)
        if container.get("restartPolicy") == "Always":
            errors += _hooks(container, spec, here)
        else:
            errors += [
                forbidden(here.child(key), INIT_ONLY)
                for key in ("lifecycle", *PROBES)
                if container.get(key) is not None
            ]
    return errors


def _ephemeral(spec: Object, volumes: Mapping[str, Object], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    others = {
        each.get("name") or ""
        for each in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    }
    seen = set(others)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        here = path.index(index)
        errors += _common(container, spec, volumes, here)
        errors += _repeated(container, seen, here)
        target = container.get("targetContainerName")
        if target and target not in others:
            errors.append(not_found(here.child("targetContainerName"), target))
        errors += [
            forbidden(here.child(key), "cannot be set for an Ephemeral Container")
            for key in EPHEMERAL_FORBIDDEN
            if container.get(key)
        ]
    return errors


def _repeated(container: Object, seen: set[str], path: Path) -> list[FieldError]:
    name = container.get("name") or ""
    if name and name in seen:
        return [duplicate(path.child("name"), name)]
    seen.add(name)
    return []


def _common(container: Object, spec: Object, volumes: Mapping[str, Object], path: Path) -> list[FieldError]:
    errors = check_name(path.child("name"), container.get("name") or "", dns1123_label)
    image = container.get("image") or ""
    if not image:
        errors.append(required(path.child("image")))
    elif image != image.strip():
        errors.append(invalid(path.child("image"), image, "must not have leading or trailing whitespace"))
    errors += check_choice(
        path.child("terminationMessagePolicy"),
        container.get("terminationMessagePolicy"),
        ("File", "FallbackToLogsOnError"),
    )
    errors += _ports(container.get("ports") or (), path.child("ports"))
    errors += check_environment(container.get("env") or (), path.child("env"))
    errors += check_environment_sources(container.get("envFrom") or (), path.child("envFrom"))
    errors += _mounts(container, volumes, path)
    policies = ("Always", "IfNotPresent", "Never")
    errors += check_choice(path.child("imagePullPolicy"), container.get("imagePullPolicy"), policies)
    claims = {each.get("name") for each in spec.get("resourceClaims") or ()}
    errors += check_resources(container.get("resources") or {}, path.child("resources"), claims=claims)
    errors += _resize(container.get("resizePolicy") or (), spec, path.child("resizePolicy"))
    return errors + _security(container.get("securityContext") or {}, path.child("securityContext"))


def _ports(ports: Sequence[Object], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = path.index(index)
        name = port.get("name") or ""
        if name:
            messages = port_name(name)
            errors += [invalid(here.child("name"), name, message) for message in messages]
            if not messages and name in names:
                errors.append(duplicate(here.child("name"), name))
            names.add(name)
        number = port.get("containerPort") or 0
        if not number:
            errors.append(required(here.child("containerPort")))
        else:
            errors += [invalid(here.child("containerPort"), number, text) for text in port_number(number)]
        host = port.get("hostPort") or 0
        if host:
            errors += [invalid(here.child("hostPort"), host, text) for text in port_number(host)]
        errors += check_choice(here.child("protocol"), port.get("protocol"), PROTOCOLS)
    return errors


def _host_ports(containers: Sequence[Object], path: Path) -> list[FieldError]:
    seen: set[str] = set()
    errors = []
    for index, container in enumerate(containers):
        for at, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                text = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
                if text in seen:
                    here = path.index(index).child("ports").index(at).child("hostPort")
                    errors.append(duplicate(here, text))
                seen.add(text)
    return errors


def _mounts(container: Object, volumes: Mapping[str, Object], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    devices = container.get("volumeDevices") or ()
    device_names = {each.get("name") for each in devices}
    device_paths = {each.get("devicePath") for each in devices}
    for index, device in enumerate(devices):
        if (device.get("name") or "") not in volumes:
            errors.append(
                not_found(path.child("volumeDevices").index(index).child("name"), device.get("name"))
            )
    seen: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        here = path.child("volumeMounts").index(index)
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(here.child("name")))
        if name not in volumes:
            errors.append(not_found(here.child("name"), name))
        if not where:
            errors.append(required(here.child("mountPath")))
        if where in seen:
            errors.append(invalid(here.child("mountPath"), where, "must be unique"))
        seen.add(where)
        if name in device_names:
            errors.append(invalid(here.child("name"), name, "must not already exist in volumeDevices"))
        if where in device_paths:
            words = "must not already exist as a path in volumeDevices"
            errors.append(invalid(here.child("mountPath"), where, words))
        for key in ("subPath", "subPathExpr"):
            if mount.get(key):
                errors += check_local_path(path.child("volumeMounts", key), mount[key], reserved=False)
        if mount.get("subPath") and mount.get("subPathExpr"):
            words = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid(here.child("subPathExpr"), mount["subPathExpr"], words))
        modes = ("Bidirectional", "HostToContainer", "None")
        errors += check_choice(
            path.child("volumeMounts", "mountPropagation"),
            mount.get("mountPropagation"),
            modes,
            optional=True,
        )
    return errors


def check_resources(
    resources: Object, path: Path, *, claims: set[Any] | None = None, container: bool = True
) -> list[FieldError]:
    """Return what is wrong with requests and limits."""
    errors: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, text in limits.items():
        here = path.child("limits").key(name)
        errors += check_resource_name(here, name, container=container)
        errors += check_quantity(here, name, text)
    for name, text in requests.items():
        here = path.child("requests").key(name)
        errors += check_resource_name(here, name, container=container)
        errors += check_quantity(here, name, text)
        overcommit = is_native(name) and not name.startswith("hugepages-")
        if name in limits:
            if parse(text) != parse(limits[name]) and not overcommit:
                words = f"must be equal to {name} limit of {limits[name]}"
                errors.append(invalid(path.child("requests"), text, words))
            elif parse(text) > parse(limits[name]):
                words = f"must be less than or equal to {name} limit of {limits[name]}"
                errors.append(invalid(path.child("requests"), text, words))
        elif not overcommit:
            words = "Limit must be set for non overcommitable resources"
            errors.append(required(path.child("limits"), words))
    asked = {*limits, *requests}
    if any(name.startswith("hugepages-") for name in asked) and not asked & {"cpu", "memory"}:
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    for index, claim in enumerate(resources.get("claims") or ()):
        name = claim.get("name") or ""
        here = path.child("claims").index(index)
        if not name:
            errors.append(required(here))
        elif claims is not None and name not in claims:
            errors.append(not_found(here, name))
    return errors


def _resize(policies: Sequence[Object], spec: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for policy in policies:
        errors += check_choice(path, policy.get("resourceName"), ("cpu", "memory"))
        restart = policy.get("restartPolicy")
        errors += check_choice(path, restart, ("NotRequired", "RestartContainer"))
        if spec.get("restartPolicy") == "Never" and restart != "NotRequired":
            words = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            errors.append(invalid(path, restart, words))
    return errors


def _security(context: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("runAsUser", "runAsGroup"):
        number = context.get(key)
        if number is not None and not 0 <= number <= 2**31 - 1:
            words = "must be between 0 and 2147483647, inclusive"
            errors.append(invalid(path.child(key), number, words))
    errors += check_choice(
        path.child("procMount"), context.get("procMount"), ("Default", "Unmasked"), optional=True
    )
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(invalid(path, context, words))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(invalid(path, context, words))
    return errors


def _restart_rules(container: Object, path: Path) -> list[FieldError]:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    here = path.child("restartPolicy")
    if policy is None:
        if rules:
            return [required(here, "must specify restartPolicy when restart rules are used")]
        return []
    return check_choice(here, policy, ("Always", "Never", "OnFailure"))


def _hooks(container: Object, spec: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    lifecycle = container.get("lifecycle") or {}
    for key in ("postStart", "preStop"):
        if lifecycle.get(key) is not None:
            errors += _handler(lifecycle[key], spec, path.child("lifecycle", key))
    for key in PROBES:
        probe = container.get(key)
        if probe is None:
            continue
        here = path.child(key)
        errors += _handler(probe, spec, here)
        for field in (
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ):
            errors += check_nonnegative(here.child(field), probe.get(field))
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and key == "readinessProbe":
            words = "must not be set for readinessProbes"
            errors.append(invalid(here.child("terminationGracePeriodSeconds"), grace, words))
        elif grace is not None and grace <= 0:
            errors.append(
                invalid(here.child("terminationGracePeriodSeconds"), grace, "must be greater than 0")
            )
        if key != "readinessProbe" and probe.get("successThreshold") != 1:
            errors.append(
                invalid(here.child("successThreshold"), probe.get("successThreshold") or 0, "must be 1")
            )
    return errors


def _handler(handler: Object, spec: Object, path: Path) -> list[FieldError]:
    present = [key for key in HANDLERS if handler.get(key) is not None]
    if not present:
        return [required(path, "must specify a handler type")]
    errors = [forbidden(path.child(key), "may not specify more than 1 handler type") for key in present[1:]]
    key = present[0]
    here, action = path.child(key), handler[key]
    if key == "exec" and not action.get("command"):
        errors.append(required(here.child("command")))
    elif key == "httpGet":
        if not action.get("path"):
            errors.append(required(here.child("path")))
        errors += check_port(here.child("port"), action.get("port"))
        errors += check_choice(here.child("scheme"), action.get("scheme"), ("HTTP", "HTTPS"))
        for header in action.get("httpHeaders") or ():
            name = header.get("name") or ""
            errors += [invalid(here.child("httpHeaders"), name, text) for text in http_header_name(name)]
    elif key in ("tcpSocket", "grpc"):
        errors += check_port(here.child("port"), action.get("port"))
    elif key == "sleep":
        grace = spec.get("terminationGracePeriodSeconds") or 0
        seconds = action.get("seconds") or 0
        if not 0 <= seconds <= grace:
            words = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            errors.append(invalid(here, seconds, words))
    return errors

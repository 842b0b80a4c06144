"""Nodes: taints, what is fixed once set, columns."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.conditions import find
from hortator.apimachinery.fielderrors import ErrorKind, FieldError, Path, forbidden, invalid
from hortator.apimachinery.meta import labels_of, name_of
from hortator.apimachinery.names import label_value, qualified_name
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import check_choice, check_quantity, check_resource_name

__all__ = ["NodeStrategy"]

ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
UNKNOWN = "<unknown>"
NONE = "<none>"


class NodeStrategy(Strategy):
    """Behaviour of nodes."""

    columns = (
        NAME,
        Column("Status"),
        Column("Roles"),
        AGE,
        Column("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    )

    def default(self, obj: Object) -> Object:
        """Return the node with all its capacity allocatable and its network in both forms, unless it says otherwise."""
        spec = obj.get("spec") or {}
        if spec.get("podCIDR") and not spec.get("podCIDRs"):
            obj = {**obj, "spec": {**spec, "podCIDRs": [spec["podCIDR"]]}}
        status = obj.get("status") or {}
        if status.get("capacity") and "allocatable" not in status:
            return {**obj, "status": {**status, "allocatable": status["capacity"]}}
        return obj

    def prepare_create(self, obj: Object) -> Object:
        """Return the node as it is: a kubelet registers with its status."""
        return obj

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a node."""
        spec = obj.get("spec") or {}
        networks = _networks(spec.get("podCIDRs") or ())
        return [*_taints(spec.get("taints") or ()), *networks, *_resources(obj.get("status") or {})]

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change of a node."""
        errors = self.validate_body(new)
        after, before = new.get("spec") or {}, old.get("spec") or {}
        for key, word in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
            if before.get(key) and after.get(key) != before[key]:
                words = f'node updates may not change {word} except from "" to valid'
                errors.append(forbidden(Path("spec").child(key), words))
        return errors

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a write to the status."""
        return [*super().validate_status(new, old), *_resources(new.get("status") or {})]

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of nodes may name."""
        closed = "true" if (obj.get("spec") or {}).get("unschedulable") else "false"
        return {**super().fields(obj), "spec.unschedulable": closed}

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a node."""
        status = obj.get("status") or {}
        info = status.get("nodeInfo") or {}
        kernel = info.get("kernelVersion") or UNKNOWN
        if info.get("architecture"):
            kernel += f" ({info['architecture']})"
        return [
            name_of(obj),
            _word(obj),
            ",".join(_roles(obj)) or NONE,
            age(obj, now),
            info.get("kubeletVersion") or "",
            _address(status, "InternalIP"),
            _address(status, "ExternalIP"),
            info.get("osImage") or UNKNOWN,
            kernel,
            info.get("containerRuntimeVersion") or UNKNOWN,
        ]


def _word(obj: Object) -> str:
    ready = find((obj.get("status") or {}).get("conditions"), "Ready")
    word = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    closed = (obj.get("spec") or {}).get("unschedulable")
    return f"{word},SchedulingDisabled" if closed else word


def _roles(obj: Object) -> list[str]:
    roles = set()
    for key, value in labels_of(obj).items():
        if key.startswith(ROLE_PREFIX):
            roles.add(key.removeprefix(ROLE_PREFIX))
        elif key == ROLE_LABEL:
            roles.add(value)
    return sorted(roles - {""})


def _address(status: Object, kind: str) -> str:
    for address in status.get("addresses") or ():
        if address.get("type") == kind:
            return str(address.get("address"))
    return NONE


def _taints(taints: Any) -> list[FieldError]:
    path = Path("metadata").child("taints")  # upstream's path, although they are in the spec
    errors: list[FieldError] = []
    seen = set()
    for index, taint in enumerate(taints):
        here = path.index(index)
        key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect")
        errors += [invalid(here.child("key"), key, message) for message in qualified_name(key)]
        messages = label_value(value)
        if messages:
            errors.append(invalid(here.child("value"), value, ";".join(messages)))
        errors += check_choice(here.child("effect"), effect, EFFECTS)
        if (key, effect) in seen:
            words = "taints must be unique by key and effect pair"
            errors.append(FieldError(ErrorKind.DUPLICATE, here, taint, words))
        seen.add((key, effect))
    return errors


def _networks(networks: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, text in enumerate(networks):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            errors.append(invalid(Path("spec").child("podCIDRs").index(index), text, words))
    return errors


def _resources(status: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("capacity", "allocatable"):
        for name, text in (status.get(key) or {}).items():
            here = Path("status").child(key).key(name)
            errors += check_resource_name(here, name, container=False)
            errors += check_quantity(here, name, text)
    return errors

"""Validation of a container's environment, and of what of a pod may be passed down into it or into a file.

Rules and words are upstream's (``core/validation``, 1.36).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, invalid, not_supported, required
from hortator.apimachinery.names import config_map_key, dns1123_subdomain, env_var_name, qualified_name
from hortator.local.apiserver.strategies.checks import check_name

__all__ = [
    "check_downward_field",
    "check_downward_resource",
    "check_environment",
    "check_environment_sources",
]

Object = Mapping[str, Any]

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
DOWNWARD_FIELDS = {
    *ENV_FIELDS,
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
RESOURCE_FIELDS = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)


def check_environment(variables: Sequence[Object], path: Path) -> list[FieldError]:
    """Return what is wrong with the variables of a container."""
    errors: list[FieldError] = []
    for index, variable in enumerate(variables):
        here = path.index(index)
        errors += check_name(here.child("name"), variable.get("name") or "", env_var_name)
        if variable.get("valueFrom") is not None:
            errors += _value_from(variable, here.child("valueFrom"))
    return errors


def _value_from(variable: Object, path: Path) -> list[FieldError]:
    source = variable["valueFrom"]
    errors: list[FieldError] = []
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        errors += check_downward_field(source["fieldRef"], ENV_FIELDS, path.child("fieldRef"))
    if source.get("resourceFieldRef") is not None:
        count += 1
        errors += check_downward_resource(source["resourceFieldRef"], path.child("resourceFieldRef"))
    for key in ("configMapKeyRef", "secretKeyRef"):
        if source.get(key) is not None:
            count += 1
            errors += _key_reference(source[key], path.child(key))
    if source.get("fileKeyRef") is not None:
        count += 1
    if not count:
        errors.append(
            invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                "`fileKeyRef`",
            )
        )
    elif variable.get("value"):
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_reference(reference: Object, path: Path) -> list[FieldError]:
    name = reference.get("name") or ""
    errors = [invalid(path.child("name"), name, message) for message in dns1123_subdomain(name)]
    return errors + check_name(path.child("key"), reference.get("key") or "", config_map_key)


def check_downward_field(reference: Object, allowed: Sequence[str], path: Path) -> list[FieldError]:
    """Require a field of the pod that may be passed down."""
    if not reference.get("apiVersion"):
        return [required(path.child("apiVersion"))]
    field = reference.get("fieldPath") or ""
    if not field:
        return [required(path.child("fieldPath"))]
    match = re.fullmatch(r"([^\[]+)\['(.*)'\]", field)
    if match:
        if match[1] not in ("metadata.annotations", "metadata.labels"):
            words = f"error converting fieldPath: field label does not support subscript: {field}"
            return [invalid(path.child("fieldPath"), field, words)]
        key = match[2].lower() if match[1] == "metadata.annotations" else match[2]
        return [invalid(path, key, message) for message in qualified_name(key)]
    if reference["apiVersion"] != "v1":
        words = f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}"
        return [invalid(path.child("fieldPath"), field, words)]
    if field not in DOWNWARD_FIELDS:
        words = f"error converting fieldPath: field label not supported: {field}"
        return [invalid(path.child("fieldPath"), field, words)]
    return [] if field in allowed else [not_supported(path.child("fieldPath"), field, sorted(allowed))]


def check_downward_resource(reference: Object, path: Path, *, volume: bool = False) -> list[FieldError]:
    """Require a resource of a container that may be passed down, in a divisor that suits it."""
    errors = []
    resource = reference.get("resource") or ""
    if volume and not reference.get("containerName"):
        errors.append(required(path.child("containerName")))
    elif not resource:
        errors.append(required(path.child("resource")))
    elif resource not in RESOURCE_FIELDS and not resource.startswith(
        ("limits.hugepages-", "requests.hugepages-")
    ):
        errors.append(not_supported(path.child("resource"), resource, RESOURCE_FIELDS))
    divisor = str(reference.get("divisor") or "0")
    if divisor != "0":
        name = resource.partition(".")[2]
        if name == "cpu" and divisor not in ("1m", "1"):
            words = "only divisor's values 1m and 1 are supported with the cpu resource"
            errors.append(invalid(path.child("divisor"), resource, words))
        elif name in ("memory", "ephemeral-storage") and not re.fullmatch(r"1([kMGTPE]i?|Ki)?", divisor):
            named = "local ephemeral storage" if name == "ephemeral-storage" else name
            words = (
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported "
                f"with the {named} resource"
            )
            errors.append(invalid(path.child("divisor"), resource, words))
    return errors


def check_environment_sources(sources: Sequence[Object], path: Path) -> list[FieldError]:
    """Return what is wrong with the ConfigMaps and Secrets whose keys become variables."""
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        here = path.index(index)
        prefix = source.get("prefix") or ""
        errors += check_name(here.child("prefix"), prefix, env_var_name, optional=True)
        present = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        for key in present:
            errors += check_name(here.child(key, "name"), source[key].get("name") or "", dns1123_subdomain)
        if not present:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(present) > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    return errors

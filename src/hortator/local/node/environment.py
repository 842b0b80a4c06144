"""The environment, command and arguments of a container: references resolved, ``$(VAR)`` expanded. Pure.

The rules are those of the kubelet (``makeEnvironmentVariables``) and of upstream's ``golang/expansion``.
Where ConfigMaps and Secrets come from is the caller's.
"""

from __future__ import annotations

import base64
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery.quantity import Quantity, parse

__all__ = [
    "ConfigError",
    "FieldContext",
    "command_line",
    "expand",
    "field_value",
    "make_environment",
    "references",
]

Object = Mapping[str, Any]


class ConfigError(Exception):
    """Raised when a container cannot be configured yet: something that it refers to is not there, or is wrong."""


@dataclass(frozen=True, slots=True)
class FieldContext:
    """What fields of a pod may refer to beside its object."""

    pod: Object
    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, str]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; ``$$`` is a dollar; what is not known stays as it stands."""
    if "$" not in text:
        return text
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        parts.append(text[at:dollar])
        following = text[dollar + 1]
        at = dollar + 2
        if following == "$":
            parts.append("$")
        elif following == "(" and (end := text.find(")", dollar)) > 0:
            name = text[dollar + 2 : end]
            parts.append(variables.get(name, f"$({name})"))
            at = end + 1
        else:
            parts.append("$" + following)
    parts.append(text[at:])
    return "".join(parts)


def references(containers: Iterable[Object]) -> set[tuple[str, str]]:
    """Return the (``ConfigMap`` or ``Secret``, name) pairs that the environments of containers read."""
    found: set[tuple[str, str]] = set()
    for container in containers:
        for source in container.get("envFrom") or ():
            for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if field in source:
                    found.add((kind, source[field].get("name", "")))
        for variable in container.get("env") or ():
            origin = variable.get("valueFrom") or {}
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if field in origin:
                    found.add((kind, origin[field].get("name", "")))
    return found


def make_environment(
    container: Object,
    services: Mapping[str, str],
    context: FieldContext,
    lookup: Callable[[str, str], Object | None],
) -> dict[str, str]:
    """Return the variables that a container declares, and those of Services, which its values may refer to too.

    ``lookup(kind, name)`` finds ConfigMaps and Secrets. Raises :class:`ConfigError` in the words of the kubelet.
    """
    namespace = context.pod["metadata"].get("namespace", "")
    result: dict[str, str] = {}
    services = dict(services)

    def data_of(kind: str, reference: Object) -> dict[str, str] | None:
        name = reference.get("name", "")
        obj = lookup(kind, name)
        if obj is None:
            if reference.get("optional"):
                return None
            raise ConfigError(f'{kind.lower()} "{name}" not found')
        return text_data(kind, obj)

    for source in container.get("envFrom") or ():
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field in source:
                for key, value in (data_of(kind, source[field]) or {}).items():
                    result[source.get("prefix", "") + key] = value
    for variable in container.get("env") or ():
        name, text = variable["name"], variable.get("value") or ""
        origin = variable.get("valueFrom") or {}
        if text:
            text = expand(text, ChainMap(result, services))
        elif "fieldRef" in origin:
            text = field_value(origin["fieldRef"].get("fieldPath", ""), context)
        elif "resourceFieldRef" in origin:
            text = resource_value(origin["resourceFieldRef"], container, context)
        else:
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if field not in origin:
                    continue
                reference = origin[field]
                data = data_of(kind, reference)
                if data is None or reference["key"] not in data:
                    if reference.get("optional"):
                        break
                    raise ConfigError(
                        f"couldn't find key {reference['key']} in {kind} {namespace}/{reference.get('name', '')}"
                    )
                text = data[reference["key"]]
            else:
                result[name] = text
            continue
        result[name] = text
    for name, text in result.items():
        if "\0" in text or "\0" in name:
            raise ConfigError(f"environment variable {name} has a NUL byte, which no process can be given")
    return {**services, **result}


def text_data(kind: str, obj: Object) -> dict[str, str]:
    """Return the data of a ConfigMap or Secret as text; bytes that are not UTF-8 become surrogates."""
    data = obj.get("data") or {}
    if kind == "ConfigMap":
        return dict(data)
    return {
        key: base64.b64decode(value or "").decode("utf-8", "surrogateescape") for key, value in data.items()
    }


def command_line(container: Object, variables: Mapping[str, str]) -> list[str]:
    """Return command and arguments, expanded."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return [expand(word, variables) for word in words]


def field_value(path: str, context: FieldContext) -> str:
    """Return what ``fieldRef`` names. Raises :class:`ConfigError` for a field that is not supported."""
    pod = context.pod
    metadata, spec = pod["metadata"], pod["spec"]
    for prefix, field in (("metadata.labels", "labels"), ("metadata.annotations", "annotations")):
        values = metadata.get(field) or {}
        if path == prefix:
            return "\n".join(f'{key}="{_quote(values[key])}"' for key in sorted(values))
        if path.startswith(prefix + "['") and path.endswith("']"):
            return str(values.get(path[len(prefix) + 2 : -2], ""))
    simple = {
        "metadata.name": metadata.get("name", ""),
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": context.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": context.host_ip,
        "status.hostIPs": context.host_ip,
        "status.podIP": context.pod_ip,
        "status.podIPs": context.pod_ip,
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path])


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(selector: Object, container: Object, context: FieldContext) -> str:
    """Return what ``resourceFieldRef`` names, in units of its divisor, rounded up."""
    name = selector.get("containerName")
    if name:
        everyone = [*(context.pod["spec"].get("initContainers") or ()), *context.pod["spec"]["containers"]]
        container = next((c for c in everyone if c["name"] == name), {})
        if not container:
            raise ConfigError(f"container {name} not found")
    kind, _, resource = selector.get("resource", "").partition(".")
    amounts = (container.get("resources") or {}).get(kind) or {}
    text = amounts.get(resource)
    if text is None and kind == "limits":
        # Without a limit the node's room is the limit.
        text = context.allocatable.get(resource)
    amount = parse(text) if text is not None else Quantity()
    divisor = parse(selector.get("divisor") or "1")
    if not divisor:
        divisor = parse("1")
    ratio = amount.value / divisor.value
    return str(-(-ratio.numerator // ratio.denominator))

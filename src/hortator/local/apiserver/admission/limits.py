"""LimitRanger: defaults and bounds for the resources of containers, pods and claims of a namespace (as upstream, 1.36)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hortator.apimachinery.quantity import parse as parse_quantity
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.admission.plugin import CREATE, UPDATE, Attempt, Plugin
from hortator.local.apiserver.resource_usage import Usage, pod_requests
from hortator.local.apiserver.storage import Storage

__all__ = ["LimitRanges"]

Object = dict[str, Any]

RANGES = "/limitranges"
_DEFAULTED = "kubernetes.io/limit-ranger"


class LimitRanges(Plugin):
    """Fills in default requests and limits of new pods, and refuses what is out of bounds."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def _limits(self, namespace: str) -> list[tuple[str, Object]]:
        """Return every limit of a namespace with the name of its LimitRange."""
        collection = self._storage.collection(RANGES)
        if not collection.count(namespace):
            return []
        return [
            (item.name, limit)
            for item in collection.ordered(namespace)
            for limit in (item.decode().get("spec") or {}).get("limits") or ()
        ]

    async def mutate(self, attempt: Attempt) -> None:
        """Fill in defaults of a new pod's containers."""
        if attempt.operation != CREATE or not attempt.is_for("/pods") or attempt.obj is None:
            return
        limits = [limit for _, limit in self._limits(attempt.namespace) if limit.get("type") == "Container"]
        if not limits:
            return
        requests: dict[str, str] = {}
        bounds: dict[str, str] = {}
        for limit in limits:
            requests.update(limit.get("defaultRequest") or {})
            bounds.update(limit.get("default") or {})
        spec = {**(attempt.obj.get("spec") or {})}
        notes: list[str] = []
        for key, word in (("containers", "container"), ("initContainers", "init container")):
            if spec.get(key):
                spec[key] = [_filled(container, requests, bounds, word, notes) for container in spec[key]]
        if not notes:
            return
        metadata = {**attempt.obj["metadata"]}
        note = "LimitRanger plugin set: " + "; ".join(notes)
        metadata["annotations"] = {**(metadata.get("annotations") or {}), _DEFAULTED: note}
        attempt.obj = {**attempt.obj, "metadata": metadata, "spec": spec}

    async def validate(self, attempt: Attempt) -> None:
        """Refuse (403) resources out of bounds."""
        if attempt.obj is None or attempt.subresource not in ("", "resize"):
            return
        if attempt.resource == "/pods" and (attempt.operation == CREATE or attempt.subresource == "resize"):
            errors = self._pod_errors(attempt)
        elif attempt.resource == "/persistentvolumeclaims" and attempt.operation in (CREATE, UPDATE):
            errors = self._claim_errors(attempt)
        else:
            return
        if errors:
            name = attempt.obj["metadata"].get("name") or ""
            text = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
            raise StatusError.forbidden(attempt.served.plural, attempt.served.group, name, text)

    def _pod_errors(self, attempt: Attempt) -> list[str]:
        spec = (attempt.obj or {}).get("spec") or {}
        errors: list[str] = []
        for _, limit in self._limits(attempt.namespace):
            kind = limit.get("type")
            if kind == "Container":
                for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                    resources = container.get("resources") or {}
                    errors += _judge(
                        limit, kind, _parse(resources.get("requests")), _parse(resources.get("limits"))
                    )
            elif kind == "Pod":
                errors += _judge(limit, kind, pod_requests(spec, "requests"), pod_requests(spec, "limits"))
        return errors

    def _claim_errors(self, attempt: Attempt) -> list[str]:
        spec = (attempt.obj or {}).get("spec") or {}
        requests = _parse((spec.get("resources") or {}).get("requests"))
        errors: list[str] = []
        for _, limit in self._limits(attempt.namespace):
            if limit.get("type") == "PersistentVolumeClaim":
                errors += _judge(limit, "PersistentVolumeClaim", requests, {}, requests_only=True)
        return errors


def _filled(
    container: Object, requests: Mapping[str, str], bounds: Mapping[str, str], word: str, notes: list[str]
) -> Object:
    resources = container.get("resources") or {}
    name = container.get("name", "")
    result = {**resources}
    for key, defaults, label in (("limits", bounds, "limit"), ("requests", requests, "request")):
        given = result.get(key) or {}
        missing = {each: value for each, value in defaults.items() if each not in given}
        if missing:
            result[key] = {**given, **missing}
            notes.append(f"{', '.join(sorted(missing))} {label} for {word} {name}")
    return container if result == resources else {**container, "resources": result}


def _parse(values: Mapping[str, Any] | None) -> Usage:
    return {name: parse_quantity(value) for name, value in (values or {}).items()}


def _judge(
    limit: Object, kind: str, requests: Usage, bounds: Usage, *, requests_only: bool = False
) -> list[str]:
    return [
        *_below(limit, kind, requests, bounds, requests_only=requests_only),
        *_above(limit, kind, requests, bounds, requests_only=requests_only),
        *_ratios(limit, kind, requests, bounds),
    ]


def _below(limit: Object, kind: str, requests: Usage, bounds: Usage, *, requests_only: bool) -> Iterable[str]:
    for name, least in _parse(limit.get("min")).items():
        request, bound = requests.get(name), bounds.get(name)
        if request is None:
            yield f"minimum {name} usage per {kind} is {least}.  No request is specified"
        elif request < least:
            yield f"minimum {name} usage per {kind} is {least}, but request is {request}"
        elif bound is not None and bound < least and not requests_only:
            yield f"minimum {name} usage per {kind} is {least}, but limit is {bound}"


def _above(limit: Object, kind: str, requests: Usage, bounds: Usage, *, requests_only: bool) -> Iterable[str]:
    for name, most in _parse(limit.get("max")).items():
        request, bound = requests.get(name), bounds.get(name)
        if requests_only:
            if request is None:
                yield f"maximum {name} usage per {kind} is {most}.  No request is specified"
            elif request > most:
                yield f"maximum {name} usage per {kind} is {most}, but request is {request}"
        elif bound is None:
            yield f"maximum {name} usage per {kind} is {most}.  No limit is specified"
        elif bound > most:
            yield f"maximum {name} usage per {kind} is {most}, but limit is {bound}"
        elif request is not None and request > most:
            yield f"maximum {name} usage per {kind} is {most}, but request is {request}"


def _ratios(limit: Object, kind: str, requests: Usage, bounds: Usage) -> Iterable[str]:
    for name, ratio in _parse(limit.get("maxLimitRequestRatio")).items():
        request, bound = requests.get(name), bounds.get(name)
        if request is None or request.value == 0:
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but no request is specified or request is 0"
        elif bound is None or bound.value == 0:
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but no limit is specified or limit is 0"
        elif bound.value / request.value > ratio.value:
            shown = f"{float(bound.value / request.value):f}"
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but provided ratio is {shown}"

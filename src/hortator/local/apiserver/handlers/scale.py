"""The scale subresource: a number of replicas, of built-in and custom kinds alike (autoscaling/v1 Scale)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hortator.apimachinery import fielderrors, patches
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.selectors import LabelSelector
from hortator.apimachinery.status import StatusError
from hortator.kube.http import Response
from hortator.local.apiserver import bodies
from hortator.local.apiserver.bodies import Format, accepted, json_response
from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.jsonpath import simple_path
from hortator.local.apiserver.patching import JSON, MERGE, STRATEGIC, patched
from hortator.local.apiserver.registry import Registry
from hortator.local.apiserver.scheme.kinds import Kind
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Strategy
from hortator.local.apiserver.tables import make_table
from hortator.local.apiserver.versions import in_version

__all__ = ["Scales"]

Object = dict[str, Any]


SCALE = Kind("autoscaling", "v1", "Scale", "scales", "scale", definition="io.k8s.api.autoscaling.v1.Scale")


class ScaleStrategy(Strategy):
    """The columns of a Scale."""

    columns = (NAME, Column("Desired", "integer"), Column("Available", "integer"), AGE)

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a Scale."""
        return [name_of(obj), obj["spec"].get("replicas", 0), obj["status"]["replicas"], age(obj, now)]


class Scales:
    """Reads and writes the replicas of an object."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def answer(self, call: Call) -> Response:
        """Answer get, update and patch."""
        served = call.served
        if call.info.verb == "get":
            item = self._registry.storage.get(served.storage, call.namespace, call.info.name)
            if item is None:
                raise call.not_found()
            return self._shown(call, await in_version(served, item.decode(), served.kind.api_version))
        if call.info.verb == "update":
            wanted = await self._registry.body_of("autoscaling/v1", "Scale", call)
        else:
            wanted = {}
            kind = bodies.media_type(call.request.headers.get("content-type", ""))
            if kind not in (JSON, MERGE, STRATEGIC):
                raise StatusError.unsupported_media_type((JSON, MERGE, STRATEGIC))
            patch = await bodies.load_json(call.request.body)

        def produce(old: Object) -> Object:
            scale = wanted
            if call.info.verb == "patch":
                # A scale has no lists that a strategic patch would merge differently.
                scale = patched(call, MERGE if kind == STRATEGIC else kind, scale_of(served, old), patch)
            return with_scale(served, old, scale)

        result = await self._registry.update(call, produce, subresource="scale")
        return self._shown(call, await in_version(served, result.item.decode(), served.kind.api_version))

    def _shown(self, call: Call, obj: Object) -> Response:
        """Return the object's Scale as the client takes it: as it is, or as a table."""
        scale = scale_of(call.served, obj)
        if accepted(call.request, Format.TABLE).format != Format.TABLE:
            return json_response(scale)
        version = scale["metadata"].get("resourceVersion")
        table = make_table(SCALE, ScaleStrategy(SCALE), [scale], now=call.now)
        return json_response({**table, "metadata": {"resourceVersion": version}})


def scale_of(served: Served, obj: Object) -> Object:
    """Return the Scale of an object."""
    metadata = {
        key: obj["metadata"][key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in obj["metadata"]
    }
    status = obj.get("status") or {}
    if served.scale_paths is None:
        replicas = (obj.get("spec") or {}).get("replicas")
        spec_replicas = 1 if replicas is None else replicas
        actual: Any = status.get("replicas") or 0
        raw = (obj.get("spec") or {}).get("selector")
        if isinstance(raw, dict) and served.storage == "/replicationcontrollers":
            raw = {"matchLabels": raw}
        selector = str(LabelSelector.from_object(raw)) if raw else ""
    else:
        spec_path, status_path, label_path = served.scale_paths
        spec_replicas = _at(obj, spec_path) or 0
        actual = _at(obj, status_path) or 0
        selector = (_at(obj, label_path) if label_path else "") or ""
    result: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": spec_replicas} if spec_replicas else {},
        "status": {"replicas": actual},
    }
    if selector:
        result["status"]["selector"] = selector
    return result


def with_scale(served: Served, obj: Object, scale: Any) -> Object:
    """Return the object with the replicas that a Scale asks for. Raises 400, 409 or 422."""
    metadata, spec = scale.get("metadata") or {}, scale.get("spec") or {}
    name = obj["metadata"]["name"]
    if metadata.get("name", name) != name:
        raise StatusError.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    for key in ("uid", "resourceVersion"):
        if metadata.get(key) and metadata[key] != obj["metadata"].get(key):
            raise StatusError.stale(served.plural, served.group, name)
    replicas = spec.get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise StatusError.bad_request("spec.replicas must be a whole number")
    if replicas < 0:
        error = fielderrors.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise StatusError.invalid("Scale", name, [error], group="autoscaling")
    path = ("spec", "replicas") if served.scale_paths is None else simple_path(served.scale_paths[0])
    change: Any = replicas
    for key in reversed(path):
        change = {key: change}
    result: Object = patches.merge_patch(obj, change)
    return result


def _at(obj: Any, path: str) -> Any:
    for key in simple_path(path):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(key)
    return obj

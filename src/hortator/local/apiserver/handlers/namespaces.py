"""namespaces/finalize: the controller that empties a namespace says that it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hortator.kube.http import Response
from hortator.local.apiserver.bodies import JSON_HEADERS
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.handlers.resources import Subresource
from hortator.local.apiserver.registry import Registry

__all__ = ["Namespaces"]

Object = dict[str, Any]


class Namespaces:
    """The handler of the subresource."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def subresources(self) -> Mapping[tuple[str, str], Subresource]:
        """Return what is answered here."""
        return {("/namespaces", "finalize"): self.finalize}

    async def finalize(self, call: Call) -> Response:
        """Replace ``spec.finalizers``; a namespace that is being deleted goes with the last one. Raises 404 or 409."""
        wanted = await self._registry.body(call)
        given = wanted["metadata"].get("resourceVersion")
        finalizers = (wanted.get("spec") or {}).get("finalizers") or []

        def produce(old: Object) -> Object:
            if given and given != old["metadata"]["resourceVersion"]:
                raise call.stale(call.info.name)
            spec = {key: value for key, value in (old.get("spec") or {}).items() if key != "finalizers"}
            if finalizers:
                spec["finalizers"] = finalizers
            return {**old, "spec": spec}

        result = await self._registry.change(call, produce)
        return Response(200, JSON_HEADERS, result.item.data)

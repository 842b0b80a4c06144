"""Answers to requests for resources: which verb does what, and which subresource goes where."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.kube.http import Request, Response
from hortator.local.apiserver.bodies import JSON_HEADERS, Format, accepted, decode, encode, json_response
from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.deletion import DeleteOptions, default_orphans
from hortator.local.apiserver.listing import Form, list_objects, selection, watch_objects
from hortator.local.apiserver.patching import patch_object
from hortator.local.apiserver.registry import Registry, Result
from hortator.local.apiserver.scheme import Scheme
from hortator.local.apiserver.storage import Item
from hortator.local.apiserver.versions import shown
from hortator.local.apiserver.write_options import check_options

__all__ = ["Resources", "Subresource"]

#: Answers every verb of one subresource.
Subresource = Callable[[Call], Awaitable[Response]]

_ACTIONS = {
    "update": "update",
    "patch": "patch",
    "delete": "delete",
    "create": "create",
    "deletecollection": "delete",
}
_RETURNED = frozenset(("/pods", "/services", "/namespaces", "/serviceaccounts", "/persistentvolumeclaims",
                       "/persistentvolumes", "/resourcequotas", "/podtemplates"))  # fmt: skip
_ON_OBJECT = frozenset(("get", "update", "patch", "delete"))
#: Verbs that a path with a name in it never means; the name is one that a selector asks for.
_ON_COLLECTION = frozenset(("list", "watch", "deletecollection"))
_COLLECTION_WORKERS = 16


class Resources:
    """The handler of every path that names a resource. ``subresources`` adds those that are more than an update."""

    def __init__(self, registry: Registry, subresources: Mapping[tuple[str, str], Subresource]) -> None:
        self._registry = registry
        self._storage = registry.storage
        self._subresources = dict(subresources)

    async def answer(self, call: Call) -> Response:
        """Do what an authorized request asks for."""
        verb, served = call.info.verb, call.served
        check_options(call.request, verb)
        if call.info.subresource:
            return await self._subresource(call)
        named = bool(call.info.name)
        fits = verb in _ON_COLLECTION or (named if verb in _ON_OBJECT else not named)
        if verb not in served.kind.verbs or not fits:
            raise StatusError.method_not_allowed(served.plural, served.group, _ACTIONS.get(verb, verb))
        if verb == "get":
            return await self._get(call)
        if verb == "list":
            return await list_objects(call, self._storage)
        if verb == "watch":
            return watch_objects(call, self._storage)
        if verb == "create":
            form = self._form(call)
            return await self._written(
                call, form, await self._registry.create(call, await self._registry.body(call))
            )
        if verb == "update":
            form = self._form(call)
            return await self._written(call, form, await self._update(call))
        if verb == "patch":
            form = self._form(call)
            return await self._written(call, form, await patch_object(self._registry, call))
        if verb == "delete":
            return await self._delete(call)
        return await self._delete_collection(call)

    async def _subresource(self, call: Call) -> Response:
        served, name = call.served, call.info.subresource
        sub = served.kind.subresource(name)
        if sub is None or not call.info.name:
            raise StatusError.unknown_path()
        if call.info.verb not in sub.verbs:
            raise StatusError.method_not_allowed(
                served.plural, served.group, _ACTIONS.get(call.info.verb, call.info.verb)
            )
        special = self._subresources.get((served.storage, name)) or self._subresources.get(("", name))
        if special is not None:
            return await special(call)
        # What is left reads and writes the object itself, confined to a part of it by its strategy.
        if call.info.verb == "get":
            return await self._get(call)
        form = self._form(call)
        if call.info.verb == "update":
            return await self._written(call, form, await self._update(call, name))
        return await self._written(call, form, await patch_object(self._registry, call, subresource=name))

    async def _update(self, call: Call, subresource: str = "") -> Result:
        obj = await self._registry.body(call)
        return await self._registry.update(
            call, lambda old: obj, subresource=subresource, unconditional=not call.served.custom
        )

    async def _get(self, call: Call) -> Response:
        form = self._form(call)
        item = self._storage.get(call.served.storage, call.namespace, call.info.name)
        if item is None:
            raise call.not_found()
        return await self._shown(form, item)

    def _form(self, call: Call) -> Form:
        accept = accepted(call.request, Format.TABLE, Format.PARTIAL)
        return Form(
            call.served, accept, include=call.request.param("includeObject") or "Metadata", now=call.clock
        )

    async def _written(self, call: Call, form: Form, result: Result) -> Response:
        return await self._shown(form, result.item, 201 if result.created else 200)

    async def _shown(self, form: Form, item: Item, status: int = 200) -> Response:
        (found,) = await shown(form.served, [item], fresh=True)
        return Response(status, JSON_HEADERS, form.one(found))

    async def _delete(self, call: Call) -> Response:
        form = self._form(call)
        options = await delete_options(call, self._registry.catalog.scheme)
        if default_orphans(call.served) and not options.propagation and call.served.group == "batch":
            call.warnings.append(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to "
                "remove them or set propagationPolicy=Orphan to suppress this warning"
            )
        result = await self._registry.delete(call, options)
        if result.deleted and call.served.storage not in _RETURNED:
            return json_response(_success(call.served, result).to_dict())
        return await self._shown(form, result.item)

    async def _delete_collection(self, call: Call) -> Response:
        options = await delete_options(call, self._registry.catalog.scheme)
        chosen = selection(call)
        collection = self._storage.collection(call.served.storage)
        found = await shown(call.served, collection.ordered(call.namespace))
        names = [(item.namespace, item.name) for item in found if chosen.matches(item)]
        if call.served.kind.namespaced and not call.namespace:
            raise StatusError.method_not_allowed(call.served.plural, call.served.group, "delete")
        form = self._form(call)
        removed: list[Result] = []
        gate = asyncio.Semaphore(_COLLECTION_WORKERS)

        async def remove(name: str) -> None:
            async with gate:
                try:
                    removed.append(await self._registry.delete(call, options, name=name))
                except StatusError as error:
                    if error.code != 404:  # somebody else deleted it, which is as well
                        raise

        async with asyncio.TaskGroup() as group:
            for _, name in names:
                group.create_task(remove(name))
        metadata: dict[str, Any] = {"resourceVersion": str(self._storage.revision)}
        kind = call.served.kind
        head = encode({"kind": kind.list_kind_name, "apiVersion": kind.api_version, "metadata": metadata})
        last = await shown(call.served, [result.item for result in removed])
        items = b",".join(form.one(item) for item in last) if form.plain else b""
        return Response(200, JSON_HEADERS, head[:-1] + b',"items":[' + items + b"]}")


async def delete_options(call: Call, scheme: Scheme) -> DeleteOptions:
    """Read DeleteOptions from the body, else from the query. Raises 400."""
    request = call.request
    body: Any = {}
    if request.body:
        body = await decode(request, protobuf=scheme.decode_protobuf)
        if not isinstance(body, dict):
            raise StatusError.bad_request("DeleteOptions must be an object")
        if body.get("kind") not in (None, "", "DeleteOptions"):
            raise StatusError.bad_request(
                f"decoded object cannot be converted to DeleteOptions: {body.get('kind')}"
            )
    else:
        body = _query_options(request)
    if request.params("dryRun"):
        body = {**body, "dryRun": request.params("dryRun")}
    return DeleteOptions.read(body)


def _query_options(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if grace := request.param("gracePeriodSeconds"):
        try:
            body["gracePeriodSeconds"] = int(grace)
        except ValueError as error:
            raise StatusError.bad_request(f"invalid gracePeriodSeconds: {grace}") from error
    if policy := request.param("propagationPolicy"):
        body["propagationPolicy"] = policy
    if orphan := request.param("orphanDependents"):
        body["orphanDependents"] = orphan.lower() in ("1", "t", "true")
    return body


def _success(served: Served, result: Result) -> ApiStatus:
    return ApiStatus.success(
        name=result.item.name, group=served.group, kind=served.plural, uid=result.item.uid
    )

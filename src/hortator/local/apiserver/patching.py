"""The four kinds of patch, as functions from the object that is there to the object that shall be.

The algorithms are :mod:`hortator.apimachinery`'s; here are media types, limits, and which refusal is which status code, as
upstream (apiserver 1.36): 415 for a kind of patch that the resource does not have, 400 for a patch that cannot be read,
422 for one that does not fit the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hortator.apimachinery import patches, strategic
from hortator.apimachinery.fielderrors import Path, go_quote, invalid
from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.local.apiserver import bodies, management, objects
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.registry import Registry, Result
from hortator.local.apiserver.requests import boolean

__all__ = ["patch_object"]

Object = dict[str, Any]

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_MAX_OPERATIONS = 10_000
#: How much of a patch its refusal repeats.
_SHOWN = 1000


async def patch_object(registry: Registry, call: Call, *, subresource: str = "") -> Result:
    """Patch the call's object with the request's body."""
    kind = bodies.media_type(call.request.headers.get("content-type", ""))
    known = (JSON, MERGE, APPLY) if call.served.custom else (JSON, MERGE, STRATEGIC, APPLY)
    if kind not in known:
        raise StatusError.unsupported_media_type(known)
    if len(call.request.body) > bodies.MAX_BODY:
        raise StatusError.request_entity_too_large(f"limit is {bodies.MAX_BODY}")
    force = boolean(call.request, "force")
    if kind == APPLY:
        return await _apply(registry, call, subresource=subresource, force=force)
    body = await bodies.load_json(call.request.body)

    def produce(old: Object) -> Object:
        return read_patched(registry, call, patched(call, kind, old, body), old)

    return await registry.update(call, produce, subresource=subresource)


def patched(call: Call, kind: str, old: Object, body: Any) -> Object:
    """Return the object with a patch applied. ``old`` is not changed. Raises 400, 413 or 422."""
    if kind == JSON:
        if not isinstance(body, list):
            raise StatusError.bad_request("error decoding patch: a JSON patch is a list of operations")
        if len(body) > _MAX_OPERATIONS:
            raise StatusError.request_entity_too_large(
                f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(body)}"
            )
        result = patches.json_patch(old, body)
    elif not isinstance(body, dict):
        raise StatusError.bad_request("error decoding patch: the patch must be an object")
    elif kind == MERGE:
        result = patches.merge_patch(old, body)
    else:
        result = strategic.strategic_merge(old, body, call.served.schema())
    if not isinstance(result, dict):
        raise StatusError.bad_request("the patched object is not an object")
    return result


def read_patched(registry: Registry, call: Call, result: Object, old: Object) -> Object:
    """Check a patched object's form: its kind, unknown fields, types. Raises 422 that blames the patch."""
    try:
        for key in ("apiVersion", "kind"):
            if result.get(key) != old[key]:
                raise StatusError.bad_request(f"{key} {result.get(key)!r} is not {old[key]!r}")
        if not isinstance(result.get("metadata"), dict):
            raise StatusError.bad_request("the patched object has no metadata")
        return registry.read(call, result)
    except StatusError as error:
        text = call.request.body[:_SHOWN].decode(errors="replace")
        raise StatusError.invalid("", "", [invalid(Path("patch"), text, error.message)]) from error


async def _apply(registry: Registry, call: Call, *, subresource: str, force: bool) -> Result:
    from hortator.apimachinery import yaml

    try:
        documents = list(yaml.load_all(call.request.body))
    except yaml.YamlError as error:
        raise StatusError.bad_request(f"error decoding YAML: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise StatusError.bad_request("an apply patch is one YAML object")
    body = documents[0]
    for key in ("apiVersion", "kind"):
        if not body.get(key):
            raise StatusError.bad_request(f"Object {go_quote(key)} is missing in the applied object")
    applied, unknown = objects.read(call.served, body, registry.catalog.scheme)
    if unknown:
        raise _untyped(call, unknown)
    metadata = applied["metadata"]
    if "managedFields" in (body.get("metadata") or {}):
        raise StatusError.bad_request("metadata.managedFields must be nil")
    if metadata.get("name", call.info.name) != call.info.name:
        raise StatusError.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.info.name})"
        )
    identity = {"name": call.info.name}
    if call.namespace:
        identity["namespace"] = call.namespace
    applied = {**applied, "metadata": {**metadata, **identity}}

    def produce(old: Object | None) -> Object:
        return management.apply_patch(
            old,
            applied,
            call.served,
            manager=call.field_manager,
            force=force,
            now=call.now,
            subresource=subresource,
        )

    def create() -> Object:
        if uid := metadata.get("uid"):
            words = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise StatusError.conflict(call.served.plural, call.served.group, call.info.name, words)
        return produce(None)

    return await registry.update(
        call,
        produce,
        subresource=subresource,
        track=False,
        create=None if subresource else create,
    )


def _untyped(call: Call, unknown: Sequence[str]) -> StatusError:
    """Return the refusal of an apply with unknown fields: nobody could own them, whatever ``fieldValidation`` says.

    Upstream (1.36) answers 500 without a reason, and clients know that sentence.
    """
    kind = call.served.kind
    lines = [f".{path}: field not declared in schema" for path in unknown]
    problems = lines[0] if len(lines) == 1 else "errors:\n  " + "\n  ".join(lines)
    name = f"{call.namespace or ''}/{call.info.name}; {kind.group}/{kind.version}"
    return StatusError(
        ApiStatus(500, "", f"failed to create typed patch object ({name}, Kind={kind.kind}): {problems}")
    )

"""From what a client sent to an object of a kind: reading, and the metadata that only the server sets.

Pure. What an object may say is its strategy's to judge; which checks apply to a request is :mod:`.registry`'s.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.meta import rfc3339
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.scheme import DecodeError, Scheme

__all__ = [
    "begin_create",
    "begin_update",
    "generate_name",
    "read",
    "strict_error",
    "warn_of_unknown",
]

Object = dict[str, Any]

_MAXIMUM_PROBLEMS = 100

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MAX_GENERATED = 63


def generate_name(prefix: str) -> str:
    """Return a name made from ``generateName``: five random letters after it, as upstream."""
    tail = "".join(secrets.choice(_NAME_ALPHABET) for _ in range(5))
    return prefix[: _MAX_GENERATED - 5] + tail


def read(served: Served, body: Any, scheme: Scheme) -> tuple[Object, list[str]]:
    """Return the object that a body describes and the paths of its unknown fields.

    A body without ``apiVersion`` and ``kind`` is taken as one of the resource's. Raises 400 for a body of another kind
    or, for built-in kinds, with values of wrong types.
    """
    kind = served.kind
    if not isinstance(body, dict):
        raise StatusError.bad_request(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {_json_type(body)} into Go value "
            "of type struct"
        )
    api_version = body.get("apiVersion") or kind.api_version
    found = body.get("kind") or kind.kind
    if api_version != kind.api_version:
        raise StatusError.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({kind.api_version})"
        )
    if found != kind.kind:
        raise StatusError.bad_request(
            f"{found} in version {go_quote(kind.version)} cannot be handled as a {kind.kind}: "
            f"converting ({kind.version}.{found}) to ({kind.version}.{kind.kind}): unknown conversion"
        )
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise StatusError.bad_request(
            f"{found} in version {go_quote(kind.version)} cannot be handled as a {kind.kind}: json: cannot unmarshal "
            f"{_json_type(metadata)} into Go struct field {kind.kind}.metadata of type v1.ObjectMeta"
        )
    if served.custom:
        unknown_meta: list[str] = []
        if metadata:
            metadata, unknown_meta = _decode(
                served, scheme, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", metadata
            )
        rest = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}
        pruned, unknown = served.schema().prune(rest)
        unknown = [*(f"metadata.{path}" for path in unknown_meta), *unknown]
        return {"apiVersion": api_version, "kind": found, "metadata": metadata or {}, **pruned}, unknown
    obj, unknown = _decode(served, scheme, kind.definition, body)
    obj.pop("apiVersion", None)
    obj.pop("kind", None)
    metadata = obj.pop("metadata", {})
    return {"apiVersion": api_version, "kind": found, "metadata": metadata, **obj}, unknown


def _decode(served: Served, scheme: Scheme, definition: str, body: Any) -> tuple[Object, list[str]]:
    try:
        return scheme.decode(definition, body)
    except DecodeError as error:
        kind = served.kind
        raise StatusError.bad_request(
            f"{kind.kind} in version {go_quote(kind.version)} cannot be handled as a {kind.kind}: {error.message}"
        ) from error


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else "object"


def strict_error(served: Served, unknown: Sequence[str], duplicates: Sequence[str]) -> StatusError:
    """Return the 400 for ``fieldValidation=Strict``."""
    kind = served.kind
    prefix = (
        ""
        if served.custom
        else f"{kind.kind} in version {go_quote(kind.version)} cannot be handled as a {kind.kind}: "
    )
    return StatusError.bad_request(
        f"{prefix}strict decoding error: {', '.join(_problems(unknown, duplicates))}"
    )


def warn_of_unknown(unknown: Sequence[str], duplicates: Sequence[str]) -> list[str]:
    """Return the warnings for ``fieldValidation=Warn``."""
    return _problems(unknown, duplicates)


def _problems(unknown: Sequence[str], duplicates: Sequence[str]) -> list[str]:
    """Return each problem once, and no more of them than upstream's decoder."""
    problems = [f"unknown field {go_quote(path)}" for path in unknown]
    problems += [f"duplicate field {go_quote(name)}" for name in duplicates]
    return list(dict.fromkeys(problems))[:_MAXIMUM_PROBLEMS]


def begin_create(obj: Object, *, now: datetime, counts_generation: bool) -> Object:
    """Return the object with the metadata that only the server sets."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key
        not in (
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
            "selfLink",
        )
    }
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = rfc3339(now)
    if counts_generation:
        metadata["generation"] = 1
    return {**obj, "metadata": metadata}


_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
#: What a client may not bring in; validation refuses what differs from the stored object.
_GIVEN = ("deletionTimestamp", "deletionGracePeriodSeconds")


def begin_update(new: Object, old: Object) -> Object:
    """Return the new object with the old one's system metadata."""
    metadata = {
        key: value for key, value in new["metadata"].items() if key not in _KEPT and key != "selfLink"
    }
    for key in _KEPT:
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
        elif key in _GIVEN and new["metadata"].get(key):
            metadata[key] = new["metadata"][key]
    return {**new, "metadata": metadata}

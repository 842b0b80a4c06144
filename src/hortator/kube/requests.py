"""Paths and queries of the requests that clients send: pure, stdlib only, quick to import.

Both the asynchronous ``client`` and the ``blocking`` one build their requests here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from hortator.kube.resources import Resource

__all__ = [
    "APPLY_TYPE",
    "PATCH_TYPES",
    "Query",
    "delete_options",
    "escape",
    "exec_query",
    "log_query",
    "name_in",
    "namespace_in",
    "path_of",
    "pod_path",
    "selector_query",
    "write_query",
]

Query = list[tuple[str, str]]

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
APPLY_TYPE = "application/apply-patch+yaml"


def path_of(resource: Resource, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
    """Return the decoded path. Raises ``ValueError`` for what cannot be a name, or without a namespace."""
    _check_segment(resource.plural, name)
    _check_segment("namespaces", namespace or None)
    if resource.namespaced and name is not None and not namespace:
        raise ValueError(f"{resource.plural} {name!r}: no namespace given")
    from urllib.parse import unquote  # already there: the resource needs it

    return unquote(resource.path(namespace or None, name, subresource))


def pod_path(namespace: str, pod: str, subresource: str) -> str:
    """Return the decoded path of a pod's subresource, without the table of resources."""
    _check_segment("namespaces", namespace)
    _check_segment("pods", pod)
    return f"/api/v1/namespaces/{namespace}/pods/{pod}/{subresource}"


def _check_segment(plural: str, name: str | None) -> None:
    # What is not one segment of a path would reach another object; upstream refuses the same.
    if name is not None and (name in ("", ".", "..") or "/" in name or "%" in name):
        raise ValueError(f"{name!r} is not a name of {plural}")


_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH = _PLAIN | frozenset(b"/:@!$&'()*+,;=")


def escape(path: str, query: Sequence[tuple[str, str]] = ()) -> str:
    """Return path and query as they stand on a request line; PEP 383's bytes stay what they are."""
    target = _escape(path, _PATH)
    if query:
        target += "?" + "&".join(f"{_escape(key, _PLAIN)}={_escape(value, _PLAIN)}" for key, value in query)
    return target


def _escape(text: str, safe: frozenset[int]) -> str:
    # urllib.parse would do, and take a third of a short program's start.
    data = text.encode("utf-8", "surrogateescape")
    return "".join([chr(byte) if byte in safe else f"%{byte:02X}" for byte in data])


def namespace_in(resource: Resource, namespace: str | None, obj: Any) -> str | None:
    """Return the namespace to write to: the argument, else the object's own. Raises ``ValueError``."""
    if not resource.namespaced:
        return None
    namespace = namespace or _metadata(obj, "namespace")
    if not namespace:
        raise ValueError(f"{resource.kind}: neither an argument nor metadata.namespace names the namespace")
    return namespace


def name_in(obj: Any) -> str:
    """Return the object's name. Raises ``ValueError``."""
    name = _metadata(obj, "name")
    if not name:
        raise ValueError("the object has no metadata.name")
    return name


def _metadata(obj: Any, key: str) -> str | None:
    metadata = obj.get("metadata") if isinstance(obj, dict) else getattr(obj, "metadata", None)
    value = metadata.get(key) if isinstance(metadata, dict) else getattr(metadata, key, None)
    return value if isinstance(value, str) else None


def selector_query(labels: str, fields: str) -> Query:
    """Return the query of label and field selectors; what is empty is left out."""
    return _given(labelSelector=labels, fieldSelector=fields)


def write_query(*, dry_run: bool, field_manager: str, field_validation: str) -> Query:
    """Return the query of a write; what is not set is left out."""
    return _given(
        dryRun="All" if dry_run else "", fieldManager=field_manager, fieldValidation=field_validation
    )


def delete_options(
    *,
    propagation: str | None,
    grace_seconds: int | None,
    uid: str | None,
    resource_version: str | None,
    dry_run: bool,
) -> Mapping[str, Any] | None:
    """Return the body of a delete; None when there is nothing to say."""
    options: dict[str, Any] = {}
    if propagation is not None:
        options["propagationPolicy"] = propagation
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    conditions = {"uid": uid, "resourceVersion": resource_version}
    if any(value is not None for value in conditions.values()):
        options["preconditions"] = {key: value for key, value in conditions.items() if value is not None}
    if dry_run:
        options["dryRun"] = ["All"]
    return {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None


def log_query(
    *,
    container: str,
    follow: bool,
    previous: bool,
    tail_lines: int | None,
    since_seconds: int | None,
    limit_bytes: int | None,
    timestamps: bool,
    stream: str,
) -> Query:
    """Return the query of a pod's ``log``; what is not set is left out."""
    return _given(
        container=container,
        follow="true" if follow else "",
        previous="true" if previous else "",
        timestamps="true" if timestamps else "",
        tailLines="" if tail_lines is None else str(tail_lines),
        sinceSeconds="" if since_seconds is None else str(since_seconds),
        limitBytes="" if limit_bytes is None else str(limit_bytes),
        stream=stream,
    )


def exec_query(command: Sequence[str], *, container: str, stdin: bool, tty: bool) -> Query:
    """Return the query of a pod's ``exec`` (``attach``: no command). A terminal has no stderr of its own."""
    query = [("command", word) for word in command]
    if container:
        query.append(("container", container))
    query += [("stdin", "true" if stdin else "false"), ("stdout", "true")]
    query += [("stderr", "false" if tty else "true"), ("tty", "true" if tty else "false")]
    return query


def _given(**values: str) -> Query:
    return [(key, value) for key, value in values.items() if value]

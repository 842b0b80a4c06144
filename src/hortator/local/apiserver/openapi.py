"""OpenAPI v3 documents, one for each group version, as ``kubectl apply`` and ``kubectl explain`` read them.

Made from the kinds and their definitions when somebody asks; there is no prose in them but what a custom
resource's own schema brings. ``openapi_v2.py`` makes the older form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hortator.local.apiserver.openapi_words import METADATA, TYPE_META, explained
from hortator.local.apiserver.scheme.kinds import Kind, Subresource

__all__ = ["custom_definition_name", "document", "index", "path_of"]

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
REFERENCE = "#/components/schemas/"
PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
STRATEGIC = "application/strategic-merge-patch+json"

STRING = {"type": "string", "uniqueItems": True}
BOOLEAN = {"type": "boolean", "uniqueItems": True}
INTEGER = {"type": "integer", "uniqueItems": True}

WRITE = (("dryRun", STRING), ("fieldManager", STRING), ("fieldValidation", STRING))
DELETE = (
    ("dryRun", STRING),
    ("gracePeriodSeconds", INTEGER),
    ("orphanDependents", BOOLEAN),
    ("propagationPolicy", STRING),
)
LIST = (
    ("allowWatchBookmarks", BOOLEAN),
    ("continue", STRING),
    ("fieldSelector", STRING),
    ("labelSelector", STRING),
    ("limit", INTEGER),
    ("resourceVersion", STRING),
    ("resourceVersionMatch", STRING),
    ("sendInitialEvents", BOOLEAN),
    ("timeoutSeconds", INTEGER),
    ("watch", BOOLEAN),
)
#: The metadata of a list, which no stored object needs and the table therefore lacks.
LIST_META = {
    "type": "object",
    "properties": {
        "continue": {"type": "string"},
        "remainingItemCount": {"type": "integer", "format": "int64"},
        "resourceVersion": {"type": "string"},
        "selfLink": {"type": "string"},
    },
}

Definitions = Callable[[str], Mapping[str, Any]]


def path_of(group: str, version: str) -> str:
    """Return the key of a group version in the index: ``api/v1`` or ``apis/batch/v1``."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def index(documents: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the body of ``/openapi/v3``; ``documents`` maps a key (:func:`path_of`) to what is hashed."""
    paths = {}
    for key, content in documents.items():
        digest = hashlib.sha256(content).hexdigest()[:32].upper()
        paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
    return {"paths": paths}


def custom_definition_name(kind: Kind) -> str:
    """Return the definition name of a custom resource as upstream has it: reversed group, version, kind."""
    reversed_group = ".".join(reversed(kind.group.split(".")))
    return f"{reversed_group}.{kind.version}.{kind.kind}"


def document(
    kinds: Sequence[Kind], definition: Definitions, custom: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the document of one group version.

    ``definition`` gives the built-in definitions by name; ``custom`` maps :func:`custom_definition_name` to
    the OpenAPI v3 schema of a custom resource, whose ``apiVersion``, ``kind`` and ``metadata`` are filled
    in here.
    """
    own = {name: _custom(schema) for name, schema in (custom or {}).items()}
    schemas: dict[str, Any] = {f"{META}.ListMeta": LIST_META}
    for kind in kinds:
        name = kind.definition or custom_definition_name(kind)
        if name in own:
            own[name]["x-kubernetes-group-version-kind"] = [_gvk(kind)]
        if "list" in kind.verbs:
            schemas[f"{name}List"] = _list(kind, name)
    needed = [kind.definition or custom_definition_name(kind) for kind in kinds]
    needed += [f"{META}.DeleteOptions", f"{META}.Patch", f"{META}.Status"]
    needed += [name for name in map(_body_of, _all_subresources(kinds)) if name]

    def find(name: str) -> Mapping[str, Any]:
        return own[name] if name in own else explained(name, definition(name))

    while needed:
        name = needed.pop()
        if name not in schemas:
            schemas[name] = _document_node(find(name), needed)
    paths: dict[str, Any] = {}
    for kind in kinds:
        paths.update(_paths(kind))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _all_subresources(kinds: Iterable[Kind]) -> Iterable[Subresource]:
    return (sub for kind in kinds for sub in kind.subresources)


def _body_of(sub: Subresource) -> str:
    """Return the definition of a subresource's body where it is another kind than its parent's."""
    return {
        "Scale": "io.k8s.api.autoscaling.v1.Scale",
        "Eviction": "io.k8s.api.policy.v1.Eviction",
        "Binding": "io.k8s.api.core.v1.Binding",
        "TokenRequest": "io.k8s.api.authentication.v1.TokenRequest",
    }.get(sub.kind, "")


#: How documents say what the table says by a format.
UNIONS: dict[str, dict[str, Any]] = {
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
}


def _document_node(node: Mapping[str, Any], references: list[str]) -> dict[str, Any]:
    """Return a schema as documents have it: full references, inside ``allOf`` unless alone."""
    if node.get("format") in UNIONS and node.get("x-kubernetes-int-or-string"):
        return UNIONS[node["format"]]
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
            references.append(value)
            target = {"$ref": REFERENCE + value}
            result.update(target if len(node) == 1 else {"allOf": [target]})
        elif key == "properties" and isinstance(value, Mapping):
            result[key] = {name: _document_node(child, references) for name, child in value.items()}
        elif key in {"items", "additionalProperties", "not"} and isinstance(value, Mapping):
            result[key] = _document_node(value, references)
        else:
            result[key] = value
    return result


def _custom(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a custom resource's schema with the fields that every object has."""
    properties = {
        **TYPE_META,
        **schema.get("properties", {}),
        "metadata": {"$ref": f"{META}.ObjectMeta", "description": METADATA},
    }
    return {**schema, "properties": properties}


def _gvk(kind: Kind | Subresource) -> dict[str, str]:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


def _list(kind: Kind, name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": f"{REFERENCE}{META}.ListMeta"}]},
            "items": {"type": "array", "items": {"allOf": [{"$ref": REFERENCE + name}]}},
        },
        "x-kubernetes-group-version-kind": [{**_gvk(kind), "kind": kind.list_kind_name}],
    }


# --- paths ----------------------------------------------------------------------------------------


def _paths(kind: Kind) -> dict[str, Any]:
    base = "/" + path_of(kind.group, kind.version)
    namespaced = f"{base}/namespaces/{{namespace}}/{kind.plural}"
    collection = namespaced if kind.namespaced else f"{base}/{kind.plural}"
    name = kind.definition or custom_definition_name(kind)
    where = [_path_parameter("namespace")] if kind.namespaced else []
    item: dict[str, Any] = {"parameters": [*where, _path_parameter("name")]}
    whole: dict[str, Any] = {"parameters": where}
    patch_types = PATCH_TYPES + ((STRATEGIC,) if kind.definition else ())
    listed = _operation(kind, "list", LIST, answer=f"{name}List")
    for verb in kind.verbs:
        if verb == "list":
            whole["get"] = listed
        elif verb == "create":
            whole["post"] = _operation(kind, "post", WRITE, body=name, answer=name)
        elif verb == "deletecollection":
            whole["delete"] = _operation(
                kind, "deletecollection", LIST[:-1] + DELETE, answer=f"{META}.Status"
            )
        elif verb == "get":
            item["get"] = _operation(kind, "get", (), answer=name)
        elif verb == "update":
            item["put"] = _operation(kind, "put", WRITE, body=name, answer=name)
        elif verb == "patch":
            item["patch"] = _patch(kind, patch_types, name)
        elif verb == "delete":
            options = f"{META}.DeleteOptions"
            item["delete"] = _operation(kind, "delete", DELETE, body=options, answer=f"{META}.Status")
    paths = {collection: whole}
    if "get" in kind.verbs:
        paths[f"{collection}/{{name}}"] = item
    if kind.namespaced and "list" in kind.verbs:
        paths[f"{base}/{kind.plural}"] = {"get": listed}
    for sub in kind.subresources:
        paths[f"{collection}/{{name}}/{sub.name}"] = _subresource(
            kind, sub, name, item["parameters"], patch_types
        )
    return paths


def _subresource(
    kind: Kind, sub: Subresource, name: str, parameters: list[Any], patch_types: Sequence[str]
) -> dict[str, Any]:
    body = _body_of(sub) or name
    path: dict[str, Any] = {"parameters": parameters}
    for verb in sub.verbs:
        if verb == "get":
            path["get"] = _operation(sub, "get", (), answer=body)
        elif verb == "update":
            path["put"] = _operation(sub, "put", WRITE, body=body, answer=body)
        elif verb == "patch":
            path["patch"] = _patch(sub, patch_types, body)
        elif verb == "create":
            path["post"] = _operation(sub, "post", WRITE, body=body, answer=body)
    return path


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": STRING}


def _operation(
    kind: Kind | Subresource,
    action: str,
    parameters: Sequence[tuple[str, dict[str, Any]]],
    *,
    body: str = "",
    answer: str,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in parameters],
        "responses": {
            "200": {
                "description": "OK",
                "content": {"application/json": {"schema": {"$ref": REFERENCE + answer}}},
            }
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if body:
        operation["requestBody"] = {"content": {"*/*": {"schema": {"$ref": REFERENCE + body}}}}
    return operation


def _patch(kind: Kind | Subresource, types: Sequence[str], answer: str) -> dict[str, Any]:
    operation = _operation(kind, "patch", (*WRITE, ("force", BOOLEAN)), answer=answer)
    schema = {"schema": {"$ref": f"{REFERENCE}{META}.Patch"}}
    operation["requestBody"] = {"required": True, "content": dict.fromkeys(types, schema)}
    return operation

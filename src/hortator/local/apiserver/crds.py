"""CustomResourceDefinitions: what one says, and the kinds that are served because of it.

A definition becomes visible in storage and its kinds in the catalog in the same step, because :class:`Definitions` reads
the collection like any watcher. What a schema means is :mod:`hortator.apimachinery.schema`'s; deleting the objects
of a deleted definition is :mod:`.crd_cleanup`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.schema import Schema, compile_schema
from hortator.local.apiserver.catalog import Catalog, Served
from hortator.local.apiserver.crd_conversion import WebhookConversion
from hortator.local.apiserver.jsonpath import compile_path, simple_path
from hortator.local.apiserver.scheme import Kind
from hortator.local.apiserver.scheme.kinds import Subresource
from hortator.local.apiserver.storage import DELETED, Event, Storage
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Strategy
from hortator.local.apiserver.webhook_client import WebhookClient

__all__ = ["CLEANUP_FINALIZER", "CRDS", "CustomStrategy", "Definitions", "is_established", "served_by"]

Object = dict[str, Any]

CRDS = "apiextensions.k8s.io/customresourcedefinitions"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"

_COLUMN_TYPES = {"string", "integer", "number", "boolean", "date"}


class CustomStrategy(Strategy):
    """A custom kind: its schema defaults and validates, its definition names columns and selectable fields."""

    status_alone = True

    def __init__(self, kind: Kind, schema: Schema, version: Mapping[str, Any]) -> None:
        super().__init__(kind)
        self._schema = schema
        self._selectable = tuple(
            (entry["jsonPath"].lstrip("."), simple_path(entry["jsonPath"]))
            for entry in version.get("selectableFields") or ()
        )
        self._paths = tuple(
            (column.get("type", "string"), compile_path(column["jsonPath"]))
            for column in version.get("additionalPrinterColumns") or ()
        )
        columns = tuple(
            Column(
                column["name"],
                column.get("type", "string"),
                column.get("format", ""),
                int(column.get("priority") or 0),
                column.get("description", ""),
            )
            for column in version.get("additionalPrinterColumns") or ()
        )
        self.columns = (NAME, *columns) if columns else (NAME, AGE)

    def default(self, obj: Object) -> Object:
        """Fill in the schema's defaults."""
        return self._schema.default(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Validate against the schema and its rules."""
        return self._schema.validate(obj)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Validate against the schema; rules may compare with the old object."""
        return self._schema.validate(new, old=old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        """Validate the whole object, as upstream does for custom kinds."""
        return [*super().validate_status(new, old), *self._schema.validate(new, old=old)]

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the metadata and what the definition declares selectable."""
        fields = dict(super().fields(obj))
        for label, path in self._selectable:
            fields[label] = _text_at(obj, path)
        return fields

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of the declared columns."""
        if not self._paths:
            return [name_of(obj), age(obj, now)]
        return [name_of(obj), *(_cell(kind, find(obj), now) for kind, find in self._paths)]


def _text_at(obj: Any, path: Sequence[str]) -> str:
    for name in path:
        if not isinstance(obj, dict) or name not in obj:
            return ""
        obj = obj[name]
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return str(obj) if isinstance(obj, str | int) else ""


def _cell(kind: str, found: list[Any], now: datetime) -> Any:
    if not found:
        return None
    value = found[0]
    if kind == "date":
        return age({"metadata": {"creationTimestamp": value}}, now) if isinstance(value, str) else None
    if kind == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if len(found) > 1:
        return ",".join(_plain(each) for each in found)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        import json

        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


def is_established(crd: Mapping[str, Any]) -> bool:
    """Whether the kinds of a definition are served."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(entry.get("type") == "Established" and entry.get("status") == "True" for entry in conditions)


def served_by(
    crd: Object, resolve: Callable[[str], dict[str, Any]], client: WebhookClient
) -> tuple[Served, ...]:
    """Return every version of a definition that has been accepted; ``resolve`` gives built-in definitions."""
    spec = crd["spec"]
    group, names = spec["group"], spec["names"]
    namespaced = spec["scope"] == "Namespaced"
    stored = next(f"{group}/{version['name']}" for version in spec["versions"] if version.get("storage"))
    schemas: dict[str, Schema] = {}
    conversion = spec.get("conversion") or {}
    by_webhook = conversion.get("strategy") == "Webhook"
    converter = WebhookConversion(conversion, schemas.__getitem__, client) if by_webhook else None
    result = []
    for version in spec["versions"]:
        is_stored = bool(version.get("storage"))
        if not version.get("served") and not is_stored:
            continue
        subresources = version.get("subresources") or {}
        kind = Kind(
            group=group,
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            short_names=tuple(names.get("shortNames") or ()),
            namespaced=namespaced,
            categories=tuple(names.get("categories") or ()),
            subresources=_subresources(group, version["name"], names["kind"], subresources),
            list_kind=names.get("listKind") or f"{names['kind']}List",
        )
        raw = (version.get("schema") or {}).get("openAPIV3Schema") or {
            "x-kubernetes-preserve-unknown-fields": True
        }
        schema = schemas[kind.api_version] = compile_schema(raw)
        scale = subresources.get("scale")
        result.append(
            Served(
                kind,
                f"{group}/{names['plural']}",
                stored,
                CustomStrategy(kind, schema, version),
                _always(schema),
                _described(raw, resolve),
                custom=True,
                converter=converter,
                scale_paths=None
                if scale is None
                else (
                    scale.get("specReplicasPath", ""),
                    scale.get("statusReplicasPath", ""),
                    scale.get("labelSelectorPath") or "",
                ),
                openapi=raw,
                visible=bool(version.get("served")),
                terminating=bool(crd["metadata"].get("deletionTimestamp")),
            )
        )
    return tuple(result)


def _subresources(
    group: str, version: str, kind: str, declared: Mapping[str, Any]
) -> tuple[Subresource, ...]:
    verbs = ("get", "patch", "update")
    found = []
    if "scale" in declared:
        found.append(Subresource("scale", "autoscaling", "v1", "Scale", verbs))
    if "status" in declared:
        found.append(Subresource("status", group, version, kind, verbs))
    return tuple(found)


def _always(schema: Schema) -> Callable[[], Schema]:
    return lambda: schema


def _described(raw: Mapping[str, Any], resolve: Callable[[str], dict[str, Any]]) -> Callable[[], Schema]:
    """Return how to get the schema with metadata in it, whose lists merge as in built-in kinds."""

    @functools.cache
    def schema() -> Schema:
        metadata = {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
        return compile_schema(
            {**raw, "properties": {**(raw.get("properties") or {}), "metadata": metadata}}, resolve
        )

    return schema


def _shown(crd: Object) -> tuple[Any, bool, bool]:
    """Return what of a definition decides how its kinds are served."""
    return crd.get("spec"), is_established(crd), bool(crd["metadata"].get("deletionTimestamp"))


class Definitions:
    """Keeps the catalog what the stored definitions say. A reader of their collection."""

    def __init__(self, catalog: Catalog, storage: Storage, client: WebhookClient) -> None:
        self._catalog = catalog
        self._client = client
        self._storage = storage
        self._collection = storage.collection(CRDS)

    def begin(self) -> None:
        """Serve what is stored, and follow it from now on."""
        for item in self._collection.ordered():
            self._serve(item.name, item.decode())
        self._collection.readers.add(self)

    def offer(self, event: Event) -> None:
        """Take note of a changed definition."""
        if event.kind == DELETED:
            self._catalog.set_custom(event.item.name, ())
            return
        new = event.item.decode()
        if event.previous is not None:
            old = event.previous.decode()
            if _shown(old) == _shown(new):
                return
        self._serve(event.item.name, new)

    def _serve(self, name: str, crd: Object) -> None:
        versions = (
            served_by(crd, self._catalog.scheme.definition, self._client) if is_established(crd) else ()
        )
        self._catalog.set_custom(name, versions)
        for served in versions:
            if served.stored_as == served.kind.api_version:
                self._storage.collection(served.storage).describe(served.strategy.fields)

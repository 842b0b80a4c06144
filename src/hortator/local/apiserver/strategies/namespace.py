"""Namespaces: their label, their finalizer and their phase."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, invalid
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.names import dns1123_label, qualified_name
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy

__all__ = ["NamespaceStrategy"]

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


class NamespaceStrategy(Strategy):
    """Behaviour of namespaces. Emptying one is its controller's; ending it, the registry's."""

    columns = (NAME, Column("Status"), AGE)
    name_rule = staticmethod(dns1123_label)

    def default(self, obj: Object) -> Object:
        """Return the namespace with the label that names it."""
        metadata = obj.get("metadata") or {}
        name = metadata.get("name")
        if not name or (metadata.get("labels") or {}).get(NAME_LABEL) == name:
            return obj
        labels = {**(metadata.get("labels") or {}), NAME_LABEL: name}
        return {**obj, "metadata": {**metadata, "labels": labels}}

    def prepare_create(self, obj: Object) -> Object:
        """Return the namespace active, held by the finalizer that its controller removes."""
        spec = obj.get("spec") or {}
        finalizers = spec.get("finalizers") or []
        if FINALIZER not in finalizers:
            finalizers = [*finalizers, FINALIZER]
        return {**obj, "spec": {**spec, "finalizers": finalizers}, "status": {"phase": "Active"}}

    def prepare_update(self, new: Object, old: Object) -> Object:
        """Return the new namespace with the old finalizers and status."""
        return {**super().prepare_update(new, old), "spec": old.get("spec") or {}}

    def prepare_subresource(self, name: str, new: Object, old: Object) -> Object:
        """Return the old namespace with the new finalizers (``finalize``) or the new status."""
        if name != "finalize":
            return super().prepare_subresource(name, new, old)
        finalizers = (new.get("spec") or {}).get("finalizers")
        spec = {key: value for key, value in (old.get("spec") or {}).items() if key != "finalizers"}
        if finalizers:
            spec["finalizers"] = finalizers
        return {**old, "metadata": new.get("metadata") or {}, "spec": spec}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with the finalizers."""
        path = Path("spec").child("finalizers")
        return [
            invalid(path.index(index), name, message)
            for index, name in enumerate((obj.get("spec") or {}).get("finalizers") or ())
            for message in qualified_name(name)
        ]

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of namespaces may name."""
        phase = (obj.get("status") or {}).get("phase") or ""
        return {**super().fields(obj), "status.phase": phase, "name": name_of(obj)}

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a namespace."""
        return [name_of(obj), (obj.get("status") or {}).get("phase") or "", age(obj, now)]

"""The strategy of a kind: defaults, preparation, validation, selectable fields and columns. Pure.

The order in which a write calls it is the registry's: default, admission, prepare, validate. What every
object needs (metadata, keeping ``status`` apart from ``spec``) is here; a kind adds its own by overriding
the ``…_body`` methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError
from hortator.apimachinery.meta import name_of, namespace_of
from hortator.apimachinery.names import dns1123_subdomain
from hortator.local.apiserver.scheme.kinds import Kind
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.metadata import validate_metadata, validate_metadata_update

__all__ = ["AGE", "NAME", "Column", "Object", "Strategy", "wide"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``. Columns with priority 1 show with ``-o wide`` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


NAME = Column("Name", format="name")
AGE = Column("Age")


def wide(name: str, type: str = "string") -> Column:
    """Return a column that shows with ``-o wide`` only."""
    return Column(name, type, priority=1)


#: What no write to ``status`` changes, and what some kinds protect from it as well.
_SERVERS_OWN = ("generation", "deletionTimestamp", "deletionGracePeriodSeconds")
_CLIENTS_OWN = ("labels", "annotations", "finalizers", "ownerReferences")


class Strategy:
    """Behaviour of one kind. No method changes its arguments; results may share parts with them."""

    columns: tuple[Column, ...] = (NAME, AGE)
    #: Check of ``metadata.name``; names in the API's paths and in DNS differ by kind.
    name_rule: Callable[[str], list[str]] = staticmethod(dns1123_subdomain)

    #: A write to ``status`` leaves all of the metadata as it was.
    status_alone = False

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    # --- defaults and preparation -----------------------------------------------------------------

    def default(self, obj: Object) -> Object:
        """Return the object with upstream's defaults filled in. Idempotent."""
        return obj

    def prepare_create(self, obj: Object) -> Object:
        """Return the object as it may be created: what clients cannot set is reset, status begins."""
        if self.kind.has_status() and "status" in obj:
            obj = {key: value for key, value in obj.items() if key != "status"}
        return obj

    def prepare_update(self, new: Object, old: Object) -> Object:
        """Return the new object with what this path cannot change taken from the old one."""
        return self.keep_status(new, old) if self.kind.has_status() else new

    def prepare_status(self, new: Object, old: Object) -> Object:
        """Return what a write to ``status`` stores: the old object with the new status.

        Labels, annotations, finalizers and owners may change with it, unless the kind is one of
        :attr:`status_alone`; the registry looks after ``managedFields`` and ``resourceVersion``.
        """
        metadata = dict(new.get("metadata") or {})
        before = old.get("metadata") or {}
        for key in _SERVERS_OWN + (_CLIENTS_OWN if self.status_alone else ()):
            metadata.pop(key, None)
            if key in before:
                metadata[key] = before[key]
        result = {key: value for key, value in old.items() if key not in ("metadata", "status")}
        result["metadata"] = metadata
        if "status" in new:
            result["status"] = new["status"]
        return result

    def prepare_subresource(self, name: str, new: Object, old: Object) -> Object:
        """Return what a write to a subresource stores: the old object with the part that is the
        subresource's.

        Kinds with subresources beside ``status`` that read and write the object itself override it.
        """
        return self.prepare_status(new, old) if name == "status" else self.prepare_update(new, old)

    @staticmethod
    def keep_status(new: Object, old: Object) -> Object:
        """Return ``new`` with the status of ``old``."""
        result = {key: value for key, value in new.items() if key != "status"}
        if "status" in old:
            result["status"] = old["status"]
        return result

    # --- validation -------------------------------------------------------------------------------

    def validate(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with an object that is to be created."""
        return [
            *validate_metadata(obj, namespaced=self.kind.namespaced, name_rule=self.name_rule),
            *self.validate_body(obj),
        ]

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with an object that is to replace ``old``."""
        return [*validate_metadata_update(new, old), *self.validate_body_update(new, old)]

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a write to ``status``."""
        return validate_metadata_update(new, old)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a write to a subresource."""
        return self.validate_status(new, old) if name == "status" else self.validate_update(new, old)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong outside the metadata."""
        return []

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong outside the metadata with a change; by default, with its result."""
        return self.validate_body(new)

    # --- showing ----------------------------------------------------------------------------------

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that field selectors may name, with their values."""
        fields = {"metadata.name": name_of(obj)}
        if self.kind.namespaced:
            fields["metadata.namespace"] = namespace_of(obj)
        return fields

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of the object, one for each column."""
        return [name_of(obj), age(obj, now)]

    def row_conditions(self, obj: Object) -> Sequence[Object]:
        """Return the conditions of a table's row (whether the object has run its course)."""
        return ()

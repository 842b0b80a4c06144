"""What a plan is made of: the writes and notices that bring a job one step nearer to what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hortator.apimachinery import meta
from hortator.kube.resources import Resource

__all__ = ["Change", "Create", "Delete", "EnsureKeys", "Notice", "Patch", "Plan", "difference"]

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object that the caches do not show."""

    resource: Resource
    obj: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EnsureKeys:
    """Make sure that the Secret with the job's ssh keys exists; it is neither listed nor watched, so ask."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge-patch an object of ours; it must still be the same one (``uid``)."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    patch: dict[str, Any]
    subresource: str = ""

    @classmethod
    def of(cls, resource: Resource, obj: Object, patch: dict[str, Any], subresource: str = "") -> Patch:
        """Return the patch of an object that the caches show."""
        namespace, name = meta.namespace_of(obj), meta.name_of(obj)
        return cls(resource, namespace, name, meta.uid_of(obj), patch, subresource)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object of ours; it must still be the same one (``uid``)."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, resource: Resource, obj: Object) -> Delete:
        """Return the deletion of an object that the caches show."""
        return cls(resource, meta.namespace_of(obj), meta.name_of(obj), meta.uid_of(obj))


Change = Create | EnsureKeys | Patch | Delete


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event on the job."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order; the changes of one step depend on none of that step and may be made together."""

    steps: tuple[tuple[Change, ...], ...] = ()
    notices: tuple[Notice, ...] = ()
    #: Seconds after which to look again even if nothing changes.
    requeue_after: float | None = None

    @property
    def changes(self) -> list[Change]:
        """All changes in order."""
        return [change for step in self.steps for change in step]


def difference(old: Any, new: Any) -> dict[str, Any]:
    """Return the JSON merge patch that turns one object into the other: absent keys become null. ``{}``: they are equal."""
    patch: dict[str, Any] = {}
    old = old if isinstance(old, Mapping) else {}
    for key in old.keys() - new.keys():
        patch[key] = None
    for key, value in new.items():
        before = old.get(key)
        if before == value and key in old:
            continue
        if isinstance(value, Mapping):
            patch[key] = difference(before, value)
        else:
            patch[key] = value
    return patch

"""A kind as the API server serves it, built in or custom. Plain facts; behaviour is left to strategies."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Kind", "Subresource"]

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below one object. Group, version and kind are those of the bodies it takes and gives."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One served kind. ``group`` is empty for the core API.

    ``definition`` names its schema in the scheme's table; it is empty for a custom resource.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: tuple[Subresource, ...] = ()
    definition: str = ""
    list_kind: str = ""

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind_name(self) -> str:
        """The ``kind`` of a list of its objects."""
        return self.list_kind or f"{self.kind}List"

    @property
    def group_resource(self) -> str:
        """The name in messages: ``jobs.batch``, or ``pods`` for the core API."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, or None where there is none."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    def has_status(self) -> bool:
        """Tell whether ``status`` is written through a path of its own only."""
        return self.subresource("status") is not None

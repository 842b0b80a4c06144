"""Which kinds are served at this moment: the built-in ones of the scheme, and those of CustomResourceDefinitions.

One :class:`Served` for each version of each resource says everything the verbs need to know about it, so that they treat
built-in and custom kinds alike. How a definition becomes a :class:`Served` is :mod:`.crds`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hortator.local.apiserver import conversion
from hortator.local.apiserver.scheme import Kind, Scheme
from hortator.local.apiserver.strategies.base import Strategy

if TYPE_CHECKING:
    from hortator.apimachinery.schema import Schema

__all__ = ["Catalog", "Converter", "Served"]

# Built-in kinds with a spec whose generation upstream does not count.
_NO_GENERATION = frozenset(
    ("/namespaces", "/nodes", "/persistentvolumes", "/persistentvolumeclaims", "/services", "/resourcequotas",
     "/limitranges", "/serviceaccounts", "storage.k8s.io/csinodes", "storage.k8s.io/csidrivers",
     "coordination.k8s.io/leases")
)  # fmt: skip
# Kinds that are asked, not kept.
_REVIEWS = frozenset(("authentication.k8s.io", "authorization.k8s.io"))


class Converter(Protocol):
    """Turns objects into another version by asking somebody."""

    async def convert(self, objects: Sequence[dict[str, Any]], api_version: str) -> list[dict[str, Any]]:
        """Return each object in a version. Raises 500 when that fails."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One version of one resource as it is served now."""

    kind: Kind
    #: Name of the collection that its objects live in, shared by all its versions: ``group/plural``.
    storage: str
    #: ``apiVersion`` in which objects are written.
    stored_as: str
    strategy: Strategy
    #: Compiled on first use.
    schema: Callable[[], Schema]
    #: The same with metadata described, for apply.
    apply_schema: Callable[[], Schema]
    custom: bool = False
    counts_generation: bool = True
    #: Turns an object of this resource, in any of its versions, into the version asked for.
    convert: Callable[[dict[str, Any], str], dict[str, Any]] = conversion.convert
    #: Who has to be asked instead (custom kinds whose versions a webhook converts); see :mod:`.versions`.
    converter: Converter | None = None
    #: Paths of the scale subresource (custom kinds): spec, status, selector.
    scale_paths: tuple[str, str, str] | None = None
    #: Whether clients may use this version; one that is only stored in may not be.
    visible: bool = True
    #: Whether its definition is being deleted: nothing new may be created.
    terminating: bool = False
    #: The schema of a custom kind as its definition has it, for documents.
    openapi: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plural(self) -> str:
        """The resource's name in paths and messages."""
        return self.kind.plural

    @property
    def group(self) -> str:
        """The API group, empty for core."""
        return self.kind.group


class Catalog:
    """The served kinds, by path and by kind. Changes only when a definition does."""

    def __init__(self, scheme: Scheme, strategy_for: Callable[[Kind], Strategy]) -> None:
        self.scheme = scheme
        self._by_path: dict[tuple[str, str, str], Served] = {}
        self._by_kind: dict[tuple[str, str], Served] = {}
        self._by_storage: dict[str, Served] = {}
        self._custom: dict[str, tuple[Served, ...]] = {}
        #: Goes up with each change; discovery documents made before are out of date.
        self.generation = 0
        for kind in scheme.kinds():
            self._add(self._built_in(kind, strategy_for))

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """Return what is served at a path."""
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Served | None:
        """Return what serves a kind."""
        return self._by_kind.get((api_version, kind))

    def stored(self, storage: str) -> Served | None:
        """Return the version in which a collection's objects are written."""
        return self._by_storage.get(storage)

    def versions(self, storage: str) -> Sequence[Served]:
        """Return every served version of a collection's resource."""
        return [served for served in self._by_path.values() if served.storage == storage]

    def by_resource(self, group: str, plural: str) -> Served | None:
        """Return a resource in the version in which it is stored, whatever version is asked for."""
        return self._by_storage.get(conversion.storage_of(group, plural))

    def all(self) -> Iterable[Served]:
        """Return everything that is served."""
        return tuple(self._by_path.values())

    def has_group(self, group: str) -> bool:
        """Whether any kind of an API group is served."""
        return any(key[0] == group for key in self._by_path)

    def has_version(self, group: str, version: str) -> bool:
        """Whether any kind of a group's version is served."""
        return any(key[:2] == (group, version) for key in self._by_path)

    def set_custom(self, name: str, served: tuple[Served, ...]) -> None:
        """Serve what a definition (``name``) says now; an empty tuple stops serving it."""
        for old in self._custom.pop(name, ()):
            self._by_path.pop((old.group, old.kind.version, old.plural), None)
            self._by_kind.pop((old.kind.api_version, old.kind.kind), None)
            self._by_storage.pop(old.storage, None)
        if served:
            self._custom[name] = served
        for new in served:
            self._add(new)
        self.generation += 1

    def custom(self) -> Iterable[Served]:
        """Return every version of every custom kind."""
        return [served for versions in self._custom.values() for served in versions if served.visible]

    def _add(self, served: Served) -> None:
        if served.stored_as == served.kind.api_version:
            self._by_storage[served.storage] = served
        if not served.visible:
            return
        self._by_path[(served.group, served.kind.version, served.plural)] = served
        self._by_kind.setdefault((served.kind.api_version, served.kind.kind), served)

    def _built_in(self, kind: Kind, strategy_for: Callable[[Kind], Strategy]) -> Served:
        storage = conversion.storage_of(kind.group, kind.plural)
        scheme = self.scheme
        return Served(
            kind,
            storage,
            conversion.stored_version(kind.group, kind.plural, kind.api_version),
            strategy_for(kind),
            lambda: scheme.schema(kind),
            lambda: scheme.schema(kind),
            counts_generation=storage not in _NO_GENERATION,
        )

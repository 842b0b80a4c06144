"""What reading an API gives besides objects: pages of a list, and events of a watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Page", "WatchEvent"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A list, or one page of it."""

    items: list[T]
    resource_version: str
    continue_: str = ""
    #: How many are left after this page; None when the server does not say (always so with selectors).
    remaining: int | None = None


class WatchEvent(Generic[T]):
    """One change. A ``BOOKMARK`` says only how far the watch has come: its ``object`` must not be read."""

    __slots__ = ("_object", "resource_version", "type")

    def __init__(self, type: str, object: T | None, resource_version: str) -> None:
        self.type = type
        self._object = object
        self.resource_version = resource_version

    @property
    def object(self) -> T:
        """The object: as it is now, or for ``DELETED`` as it was last."""
        if self._object is None:
            raise AttributeError("a bookmark has no object")
        return self._object

    def __repr__(self) -> str:
        return f"WatchEvent({self.type!r}, {self._object!r}, resource_version={self.resource_version!r})"

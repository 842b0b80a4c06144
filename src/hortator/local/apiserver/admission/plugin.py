"""What an admission plugin sees and may do.

Plugins run after authorization and before storage: first each ``mutate`` in order, then each ``validate``.
They refuse a request by raising :class:`~hortator.apimachinery.status.StatusError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.context import User

__all__ = ["CONNECT", "CREATE", "DELETE", "UPDATE", "Attempt", "Chain", "Plugin"]

CREATE = "CREATE"
UPDATE = "UPDATE"
DELETE = "DELETE"
CONNECT = "CONNECT"


@dataclass(slots=True)
class Attempt:
    """One write that asks to be admitted. ``obj`` is replaced, never changed in place."""

    operation: str
    served: Served
    user: User
    namespace: str
    name: str
    obj: dict[str, Any] | None
    old: dict[str, Any] | None = None
    subresource: str = ""
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    #: Group, version and kind of ``obj`` where it is not one of the resource (CONNECT).
    subresource_kind: Mapping[str, str] | None = None
    #: Called once the write has happened or failed.
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def finish(self) -> None:
        """Tell those who wait that the write is over."""
        for done in self.afterwards:
            done()
        self.afterwards.clear()

    @property
    def resource(self) -> str:
        """``group/plural``."""
        return f"{self.served.group}/{self.served.plural}"

    def is_for(self, resource: str, subresource: str = "") -> bool:
        """Whether this is a write of that resource (``/pods``) and subresource."""
        return self.subresource == subresource and self.resource == resource


class Plugin:
    """One rule. The base class admits everything."""

    async def mutate(self, attempt: Attempt) -> None:
        """Complete the object, or refuse it."""

    async def validate(self, attempt: Attempt) -> None:
        """Refuse what must not be stored; the object is final."""


class Chain:
    """The plugins in their order."""

    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self.plugins = tuple(plugins)

    async def mutate(self, attempt: Attempt, obj: dict[str, Any]) -> dict[str, Any]:
        """Let every plugin complete the object; return it (``obj`` itself when nobody changed it)."""
        for plugin in self.plugins:
            await plugin.mutate(attempt)
        return obj if attempt.obj is None else attempt.obj

    async def validate(self, attempt: Attempt) -> None:
        """Let every plugin refuse the object."""
        for plugin in self.plugins:
            await plugin.validate(attempt)

"""One request on its way through the server: who asks, for what, and what is said beside the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hortator.apimachinery.status import StatusError
from hortator.kube.http import Request
from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.requests import RequestInfo

__all__ = ["Call", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as authentication found out."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, self.uid, self.groups))


@dataclass(slots=True)
class Call:
    """An authorized request for a resource."""

    request: Request
    info: RequestInfo
    user: User
    served: Served
    #: The server's clock; :attr:`now` is what it said when the request came.
    clock: Callable[[], datetime]
    now: datetime
    #: Sentences for the ``Warning`` headers of the answer.
    warnings: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """The namespace that the path names; empty for cluster-scoped resources, a namespace's own path included."""
        return self.info.namespace if self.served.kind.namespaced else ""

    @property
    def dry_run(self) -> bool:
        """Whether everything but the write is to be done."""
        return bool(self.request.params("dryRun"))

    @property
    def field_validation(self) -> str:
        """``Strict``, ``Warn`` (also when nothing is said) or ``Ignore``."""
        return self.request.param("fieldValidation") or "Warn"

    @property
    def field_manager(self) -> str:
        """Who manages the written fields: the parameter, else the program's name from its User-Agent."""
        named = self.request.param("fieldManager")
        return named or self.request.headers.get("user-agent", "").partition("/")[0][:128] or "unknown"

    def not_found(self, name: str = "") -> StatusError:
        """Return the 404 for an object of this resource."""
        return StatusError.not_found(self.served.plural, self.served.group, name or self.info.name)

    def stale(self, name: str) -> StatusError:
        """Return the 409 for an object that changed meanwhile."""
        return StatusError.stale(self.served.plural, self.served.group, name)

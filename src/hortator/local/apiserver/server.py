"""The API server as one function from request to response, and the parts it is made of.

:meth:`ApiServer.handle` is the whole chain: who asks, may they, what do they want, and how it went. It neither listens
nor knows sockets (:mod:`.http_server` does), so that controllers in the same process call it directly and get the same
checks as anybody.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.kube.http import Request, Response
from hortator.local.apiserver.admission.accounts import ServiceAccounts
from hortator.local.apiserver.admission.escalation import Escalation
from hortator.local.apiserver.admission.limits import LimitRanges
from hortator.local.apiserver.admission.namespaces import NamespaceLifecycle
from hortator.local.apiserver.admission.plugin import Chain
from hortator.local.apiserver.admission.pods import DefaultTolerations, Priorities
from hortator.local.apiserver.admission.quota import Quotas
from hortator.local.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks
from hortator.local.apiserver.aggregation import Aggregation
from hortator.local.apiserver.authentication import Authenticator
from hortator.local.apiserver.authorization import Attributes, Authorizer
from hortator.local.apiserver.bodies import JSON_HEADERS, accepted, encode
from hortator.local.apiserver.bootstrap import bootstrap
from hortator.local.apiserver.catalog import Catalog
from hortator.local.apiserver.context import Call, User
from hortator.local.apiserver.crd_cleanup import CrdCleanup
from hortator.local.apiserver.crd_strategy import CrdStrategy
from hortator.local.apiserver.crds import CRDS, Definitions
from hortator.local.apiserver.handlers.documents import Documents
from hortator.local.apiserver.handlers.namespaces import Namespaces
from hortator.local.apiserver.handlers.pods import Pods
from hortator.local.apiserver.handlers.resources import Resources
from hortator.local.apiserver.handlers.reviews import Reviews
from hortator.local.apiserver.handlers.scale import Scales
from hortator.local.apiserver.impersonation import impersonated
from hortator.local.apiserver.journal import Journal, JournalError
from hortator.local.apiserver.registry import Registry
from hortator.local.apiserver.requests import RequestInfo, parse
from hortator.local.apiserver.scheme import Kind, load_scheme
from hortator.local.apiserver.storage import Storage
from hortator.local.apiserver.strategies import strategy_for
from hortator.local.apiserver.strategies.base import Strategy
from hortator.local.apiserver.tokens import Tokens
from hortator.local.apiserver.webhook_client import WebhookClient
from hortator.local.streams import Connector

__all__ = ["ApiServer"]

log = logging.getLogger(__name__)

#: The Kubernetes version whose API this is.
KUBERNETES = "1.36.3"
#: Characters of all warnings of an answer, and of each where that is exceeded.
_ALL_WARNINGS = 4096
_LONG_WARNING = 256


class ApiServer:
    """One small cluster's API.

    ``journal`` is the file that keeps the objects, or None to keep them in memory only. ``connector`` returns how to reach
    a node by its name. ``signing_key`` is the secret that ServiceAccount tokens are signed with; it must stay the same over
    restarts, or tokens end with the process (the default). Opening the journal happens in :meth:`start`.
    """

    def __init__(
        self,
        *,
        journal: Path | None,
        owner_token: str,
        connector: Callable[[str], Connector | None],
        signing_key: bytes | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal_path = journal
        self._owner_token = owner_token
        self._connector = connector
        self._signing_key = signing_key or secrets.token_bytes(32)
        self._now = now
        self._started = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the journal and be ready to answer. Raises :class:`~.journal.JournalError`."""
        journal = Journal(self._journal_path) if self._journal_path is not None else None
        self.catalog = Catalog(load_scheme(), self._strategy)
        self.storage = Storage(journal)
        try:
            self.storage.load(self._describe)
        except JournalError:
            self.storage.close()
            raise
        self._webhook_client = WebhookClient()
        self._definitions = Definitions(self.catalog, self.storage, self._webhook_client)
        self._definitions.begin()
        self.tokens = Tokens(self._signing_key, self.storage, self._now)
        self.authorizer = Authorizer(self.storage)
        self._authenticator = Authenticator(self._owner_token, self.tokens)
        self.quotas = Quotas(self.storage, self._now)
        self.registry = Registry(self.storage, self.catalog, self._admission(), self.authorizer)
        self._documents = Documents(self.catalog, kubernetes=KUBERNETES)
        pods = Pods(self.registry, self._connector, self.authorizer)
        reviews = Reviews(self.registry, self._authenticator, self.authorizer, self.tokens)
        self._reviews = reviews.kinds()
        scale = Scales(self.registry).answer
        subresources = {
            **pods.subresources(),
            **reviews.subresources(),
            **Namespaces(self.registry).subresources(),
            ("", "scale"): scale,
        }
        self._resources = Resources(self.registry, subresources)
        await bootstrap(self.storage, self.catalog, self._now())
        cleanup = CrdCleanup(self.storage, self.catalog, self.registry, self._now)
        aggregation = Aggregation(self.storage, self.authorizer)
        for work in (self.quotas.run(), cleanup.run(), aggregation.run()):
            self._tasks.append(asyncio.create_task(work))
        self._started = True

    async def stop(self) -> None:
        """End every watch, commit what is on its way and close the journal. Repeated calls do nothing."""
        if not self._started:
            return
        self._started = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._webhook_client.close()
        self.storage.end_watches()
        await self.storage.settled()
        self.storage.close()

    def _admission(self) -> Chain:
        return Chain(
            (
                NamespaceLifecycle(self.storage),
                ServiceAccounts(self.storage),
                DefaultTolerations(),
                Priorities(self.storage),
                LimitRanges(self.storage),
                MutatingWebhooks(self.storage, self.catalog, self._webhook_client),
                Escalation(self.authorizer),
                ValidatingWebhooks(self.storage, self.catalog, self._webhook_client),
                self.quotas,
            )
        )

    async def handle(self, request: Request) -> Response:
        """Answer a request. Never raises for anything that a client did."""
        call: Call | None = None
        try:
            if not self._started:
                raise StatusError.service_unavailable("the API server is not running")
            info = parse(request)
            user = self._impersonated(self._authenticator.authenticate(request), request)
            self._authorize(user, info)
            if not info.is_resource:
                return self._documents.answer(request)
            call = self._call(request, info, user)
            review = self._reviews.get(call.served.storage)
            if review is not None and info.verb == "create" and not info.name:
                accepted(request)  # answers are in no other form
                response = await review(call)
            else:
                response = await self._resources.answer(call)
        except StatusError as error:
            response = status_response(error.status)
        except ExceptionGroup as group:
            response = status_response(_first(group).status)
        except JournalError as error:
            log.error("a write could not be kept: %s", error)
            message = f"the write could not be kept, so nothing was changed: {error}"
            response = status_response(ApiStatus(507, "InsufficientStorage", message))
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            text = f"{type(error).__name__}: {error}"
            response = status_response(StatusError.internal(text).status)
        if call is not None and call.warnings:
            response.headers = {
                **response.headers,
                "warning": ", ".join(_warnings(call.warnings)),
            }
        return response

    def _call(self, request: Request, info: RequestInfo, user: User) -> Call:
        served = self.catalog.find(info.group, info.version, info.resource)
        if served is None or bool(info.rest):
            raise StatusError.unknown_path()
        if info.namespace and not served.kind.namespaced and served.storage != "/namespaces":
            raise StatusError.unknown_path()
        return Call(request, info, user, served, self._now, self._now())

    def _authorize(self, user: User, info: RequestInfo) -> None:
        """Raise 403 unless the user may do this."""
        if info.is_resource:
            wanted = Attributes(
                info.verb, info.group, info.resource, info.subresource, info.namespace, info.name
            )
        else:
            wanted = Attributes(info.verb, path=info.path)
        self.authorizer.require(user, wanted)

    def _impersonated(self, user: User, request: Request) -> User:
        """Return the user that the request is made for, if the one who asks may ask for others."""
        return impersonated(user, request, self.authorizer) if "impersonate-user" in request.headers else user

    def _strategy(self, kind: Kind) -> Strategy:
        if f"{kind.group}/{kind.plural}" == CRDS:
            return CrdStrategy(kind, taken=self._taken, now=self._now)
        return strategy_for(kind)

    def _taken(self, group: str, name: str, definition: str) -> str:
        """Return which other definition has a plural or kind of a group."""
        for served in self.catalog.all():
            if served.group == group and name in (served.plural, served.kind.kind):
                owner = f"{served.plural}.{served.group}"
                if owner != definition:
                    return owner
        return ""

    def _describe(self, resource: str, obj: dict[str, Any]) -> Mapping[str, str]:
        served = self.catalog.stored(resource)
        return served.strategy.fields(obj) if served is not None else {}


def status_response(status: ApiStatus) -> Response:
    """Return an answer with a Status body."""
    headers = dict(JSON_HEADERS)
    if status.retry_after:
        headers["retry-after"] = str(status.retry_after)
    return Response(status.code, headers, encode(status.to_dict()))


def _warnings(texts: Sequence[str]) -> list[str]:
    """Return warnings as header values: each once and, where they are too long together, cut off as upstream does."""
    once = list(dict.fromkeys(texts))
    if sum(map(len, once)) <= _ALL_WARNINGS:
        return [_warning(text) for text in once]
    shown, written = [], 0
    for text in once:
        if written >= _ALL_WARNINGS:
            break
        shown.append(_warning(text[:_LONG_WARNING]))
        written += min(len(text), _LONG_WARNING)
    return shown


def _warning(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'299 - "{quoted}"'


def _first(group: ExceptionGroup[Exception]) -> StatusError:
    """Return the first refusal of several; raise what is none."""
    refused, rest = group.split(StatusError)
    if rest is not None or refused is None:
        raise group
    error = refused.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error

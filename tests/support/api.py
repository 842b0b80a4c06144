"""An API server in memory, and requests to it as short as a test wants them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hortator.kube.http import Request, Response
from hortator.local.apiserver.server import ApiServer
from hortator.local.streams import Connector

OWNER = "owner-token"
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Clock:
    """A wall clock that moves when told."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Answer:
    """A response with its body decoded."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.text = response.body.decode()
        self.body: Any = json.loads(response.body) if response.body[:1] in (b"{", b"[") else None

    def __repr__(self) -> str:
        return f"{self.status} {self.text}"

    @property
    def message(self) -> str:
        return str(self.body["message"])

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])


class Api:
    """Sends requests to a server's handler."""

    def __init__(self, server: ApiServer, clock: Clock) -> None:
        self.server = server
        self.clock = clock

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = OWNER,
        kind: str = "application/json",
        accept: str = "",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        return Answer(
            await self.raw(
                method, path, body, token=token, kind=kind, accept=accept, headers=headers, **query
            )
        )

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = OWNER,
        kind: str = "application/json",
        accept: str = "",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Response:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"content-type": kind, **({"authorization": f"Bearer {token}"} if token else {})}
        if accept:
            sent["accept"] = accept
        pairs: list[tuple[str, str]] = []
        for key, value in query.items():
            key = key.removesuffix("_")
            pairs += [(key, str(each)) for each in (value if isinstance(value, list) else [value])]
        return await self.server.handle(
            Request(method, path, tuple(pairs), {**sent, **(headers or {})}, data)
        )

    async def post(self, path: str, body: Any, **more: Any) -> Answer:
        """Create an object that must be accepted."""
        answer = await self("POST", path, body, **more)
        assert answer.status == 201, answer
        return answer

    async def get(self, path: str, **more: Any) -> Any:
        """Return an object that must be there."""
        answer = await self("GET", path, **more)
        assert answer.status == 200, answer
        return answer.body

    async def watch(self, path: str, **query: Any) -> Watching:
        response = await self.raw("GET", path, watch="true", **query)
        assert response.status == 200, response.body
        return Watching(response)

    async def account(self, name: str, namespace: str = "default", **request: Any) -> str:
        """Make a ServiceAccount and return a token of it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        if (await self("GET", f"{path}/{name}")).status == 404:
            await self.post(path, {"metadata": {"name": name}})
        answer = await self.post(f"{path}/{name}/token", {"spec": request})
        return str(answer.body["status"]["token"])

    async def grant(self, account: str, rules: list[dict[str, Any]], namespace: str = "default") -> None:
        """Give an account of a namespace rights in it."""
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        await self.post(f"{path}/roles", {"metadata": {"name": account}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        await self.post(
            f"{path}/rolebindings",
            {"metadata": {"name": account}, "roleRef": reference, "subjects": [subject]},
        )


class Watching:
    """The events of an open watch."""

    def __init__(self, response: Response) -> None:
        assert response.stream is not None
        self.stream = response.stream
        self._lines: list[bytes] = []

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the next event's type and object; StopAsyncIteration when the watch is over."""
        return await self.next_within(5)

    async def next_within(self, seconds: float) -> tuple[str, dict[str, Any]]:
        while not self._lines:
            chunk = await asyncio.wait_for(_next(self.stream), seconds)
            self._lines = chunk.splitlines()
        event = json.loads(self._lines.pop(0))
        return event["type"], event["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in events]

    async def close(self) -> None:
        await self.stream.aclose()  # type: ignore[attr-defined]


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    return await anext(stream)


@asynccontextmanager
async def running_api(
    *, journal: Path | None = None, connector: Callable[[str], Connector | None] = lambda name: None
) -> AsyncIterator[Api]:
    """A started server, with the default account of the default namespace."""
    clock = Clock()
    server = ApiServer(
        journal=journal, owner_token=OWNER, connector=connector, signing_key=b"k" * 32, now=clock
    )
    await server.start()
    api = Api(server, clock)
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    try:
        yield api
    finally:
        await server.stop()


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    """A pod with one container."""
    containers = [{"name": "main", "image": "none", "command": ["sleep", "1"]}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def widgets(**version: Any) -> dict[str, Any]:
    """A definition of a custom kind ``Widget`` (``example.com/v1``)."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "color": {"type": "string", "enum": ["red", "green"]},
                    "size": {"type": "integer", "default": 2, "minimum": 0},
                },
            },
            "status": {
                "type": "object",
                "properties": {"phase": {"type": "string"}, "size": {"type": "integer"}},
            },
        },
    }
    v1 = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
    return {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [v1],
        },
    }


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"

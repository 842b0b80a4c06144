"""A Kubernetes API server that says what the test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from hortator.kube.http import Request, Response

Answer = Response | Callable[[Request], Response | Awaitable[Response]]


def reply(body: Any, status: int = 200, **headers: str) -> Response:
    """Return an answer whose body is JSON."""
    return Response(
        status,
        {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        json.dumps(body).encode(),
    )


def failure(
    code: int, reason: str, message: str = "no", details: dict[str, Any] | None = None, **headers: str
) -> Response:
    """Return a refusal with a Status body."""
    return reply(status_body(code, reason, message, details), code, **headers)


def status_body(
    code: int, reason: str, message: str = "no", details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of a failure."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
    return {**body, "details": details} if details else body


def listing(*items: dict[str, Any], version: int | str, continue_: str = "", remaining: int = 0) -> Response:
    """Return a list answer; items lose their kind, as a real server's do."""
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    if continue_:
        meta |= {"continue": continue_, "remainingItemCount": remaining}
    bare = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
    return reply({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": bare})


def thing(
    name: str, version: int | str, *, namespace: str = "default", uid: str = "", **more: Any
) -> dict[str, Any]:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            **more.pop("metadata", {}),
        },
        **more,
    }


class Watch:
    """The server's end of one watch; an Answer."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.request: Request | None = None
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    def send(self, type: str, obj: dict[str, Any]) -> Watch:
        """Send one event."""
        self._queue.put_nowait(json.dumps({"type": type, "object": obj}).encode() + b"\n")
        return self

    def added(self, obj: dict[str, Any]) -> Watch:
        return self.send("ADDED", obj)

    def modified(self, obj: dict[str, Any]) -> Watch:
        return self.send("MODIFIED", obj)

    def deleted(self, obj: dict[str, Any]) -> Watch:
        return self.send("DELETED", obj)

    def bookmark(self, version: int | str) -> Watch:
        return self.send("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})

    def expired(self) -> Watch:
        return self.send("ERROR", status_body(410, "Expired", "too old resource version"))

    def raw(self, data: bytes) -> Watch:
        """Send bytes as they are."""
        self._queue.put_nowait(data)
        return self

    def end(self) -> Watch:
        """End the watch as a server does after timeoutSeconds."""
        self._queue.put_nowait(None)
        return self

    def fail(self, error: Exception) -> Watch:
        """Break the connection."""
        self._queue.put_nowait(error)
        return self

    def __call__(self, request: Request) -> Response:
        self.request = request
        self.opened.set()
        return Response(200, {"content-type": "application/json"}, stream=self._stream())

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed.set()


class FakeServer:
    """A Handler. Answers to one method and path are given in order; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self._changed = asyncio.Event()

    def on(self, method: str, path: str, *answers: Answer) -> FakeServer:
        """Add answers. The method ``WATCH`` is a GET with ``watch=true``."""
        self._answers[method, path].extend(answers)
        return self

    def asked(self, method: str, path: str) -> list[Request]:
        """Return the requests of this method and path so far."""
        return [r for r in self.requests if (_method(r), r.path) == (method, path)]

    async def until_asked(self, method: str, path: str, times: int = 1) -> Request:
        """Wait until the request has come that often; return the last one."""
        while len(requests := self.asked(method, path)) < times:
            self._changed.clear()
            await self._changed.wait()
        return requests[times - 1]

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self._changed.set()
        answers = self._answers.get((_method(request), request.path))
        if not answers:
            return failure(404, "NotFound", f"nothing is scripted for {_method(request)} {request.path}")
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Response):
            return answer
        response = answer(request)
        return response if isinstance(response, Response) else await response


def _method(request: Request) -> str:
    return "WATCH" if request.param("watch") in ("true", "1") else request.method

"""Access to a Kubernetes API without an event loop: for command lines and small agents.

The same verbs, names and keywords as ``client.Client``, on sockets of the standard library. It imports next to nothing
(a program that only uses :meth:`BlockingClient.exec` loads neither ``json`` nor ``ssl`` for a Unix socket).
"""

from __future__ import annotations

import time

from hortator.kube import channels, http1, websocket
from hortator.kube.blocking_exec import BlockingExec
from hortator.kube.blocking_stream import BlockingStream
from hortator.kube.requests import (
    APPLY_TYPE,
    PATCH_TYPES,
    delete_options,
    escape,
    exec_query,
    log_query,
    name_in,
    namespace_in,
    path_of,
    pod_path,
    selector_query,
    write_query,
)
from hortator.kube.wire import Wire, unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any, TypeVar

    from hortator.kube.config import Cluster
    from hortator.kube.endpoint import Endpoint
    from hortator.kube.http import Response
    from hortator.kube.resources import Resource
    from hortator.kube.results import Page, WatchEvent

    Object = dict[str, Any]
    Some = TypeVar("Some")
    Query = list[tuple[str, str]]

__all__ = ["BlockingClient"]

#: client-go gives up after as many answers that ask to come back later.
_MAX_RETRIES = 10


class BlockingClient:
    """One identity's view of one API server. Every method raises ``ApiError`` or ``Unavailable``.

    Keeps idle connections for the next request; threads may share a client. ``timeout`` bounds each wait for the
    server in seconds; streams wait as long as it takes.
    """

    def __init__(self, endpoint: Endpoint, *, user_agent: str = "hort", timeout: float = 60.0) -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._headers = {"host": endpoint.authority, "user-agent": user_agent, "accept": "application/json"}
        self._idle: list[Wire] = []

    @classmethod
    def from_config(cls, cluster: Cluster, *, user_agent: str = "hort") -> BlockingClient:
        """Return a client of what a kubeconfig's context, or a pod's service account, comes down to."""
        return cls(cluster.endpoint, user_agent=user_agent)

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    # Reading

    def get(
        self, resource: Resource, name: str, *, namespace: str | None = None, subresource: str = ""
    ) -> Object:
        """Return one object."""
        return self._object("GET", path_of(resource, namespace, name, subresource))

    def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> Page[Object]:
        """Return the objects that match, or a page of at most ``limit`` of them; see ``Client.list``."""
        from hortator.kube.results import Page

        query = selector_query(labels, fields)
        if limit:
            query.append(("limit", str(limit)))
        if continue_:
            query.append(("continue", continue_))
        if resource_version:
            query.append(("resourceVersion", resource_version))
        answer = self._object("GET", path_of(resource, namespace), query)
        items = answer.get("items") or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        meta = answer.get("metadata") or {}
        return Page(
            items,
            meta.get("resourceVersion", ""),
            meta.get("continue", ""),
            meta.get("remainingItemCount"),
        )

    def all(
        self, resource: Resource, *, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> Sequence[Object]:
        """Return every object that matches, read in pages of 500. Raises ``Expired`` as :meth:`list` does."""
        items: Any = []
        continue_ = ""
        while True:
            page = self.list(
                resource, namespace=namespace, labels=labels, fields=fields, limit=500, continue_=continue_
            )
            items += page.items
            continue_ = page.continue_
            if not continue_:
                return items  # type: ignore[no-any-return]

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        timeout_seconds: int | None = None,
        bookmarks: bool = True,
        silence: float | None = 70.0,
    ) -> Iterator[WatchEvent[Object]]:
        """Yield changes; see ``Client.watch``. Leaving the loop early needs the generator's ``close``."""
        import json

        from hortator.kube.errors import InvalidAnswer, error_from_status
        from hortator.kube.results import WatchEvent

        query = [("watch", "true"), *selector_query(labels, fields)]
        if resource_version:
            query.append(("resourceVersion", resource_version))
        if timeout_seconds is not None:
            query.append(("timeoutSeconds", str(timeout_seconds)))
        if bookmarks:
            query.append(("allowWatchBookmarks", "true"))
        path = path_of(resource, namespace)
        answer = self._stream("GET", path, query)
        pending = b""
        try:
            while not answer.finished:
                lines = (pending + answer.read(timeout=silence)).split(b"\n")
                pending = lines.pop()
                for line in lines:
                    try:
                        event = json.loads(line)
                        kind, obj = event["type"], event["object"]
                        version = (obj.get("metadata") or {}).get("resourceVersion", "")
                    except (ValueError, KeyError, AttributeError, TypeError) as error:
                        problem = f"{path}: a watch event that cannot be read: {line[:200]!r}"
                        raise InvalidAnswer(problem) from error
                    if kind == "ERROR":
                        raise error_from_status(obj)
                    yield WatchEvent(kind, None if kind == "BOOKMARK" else obj, version)
        finally:
            answer.close()

    # Writing

    def create(
        self,
        resource: Resource,
        obj: Any,
        *,
        namespace: str | None = None,
        dry_run: bool = False,
        field_manager: str = "hort",
        field_validation: str = "",
        subresource: str = "",
        name: str | None = None,
    ) -> Object:
        """Create an object; return it as stored. Raises ``AlreadyExists`` or ``Invalid``."""
        namespace = namespace_in(resource, namespace, obj)
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        return self._object("POST", path_of(resource, namespace, name, subresource), query, obj)

    def replace(
        self,
        resource: Resource,
        obj: Any,
        *,
        namespace: str | None = None,
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        field_validation: str = "",
    ) -> Object:
        """Replace an object as a whole. Raises ``Conflict`` when its resourceVersion is not the newest."""
        namespace = namespace_in(resource, namespace, obj)
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        return self._object("PUT", path_of(resource, namespace, name_in(obj), subresource), query, obj)

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        kind: str = "merge",
        subresource: str = "",
        field_manager: str = "",
        field_validation: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Change an object; ``kind`` is ``merge``, ``json`` or ``strategic``."""
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        path = path_of(resource, namespace, name, subresource)
        return self._object("PATCH", path, query, patch, content_type=PATCH_TYPES[kind])

    def apply(
        self,
        resource: Resource,
        obj: Any,
        *,
        namespace: str | None = None,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
        field_validation: str = "",
    ) -> Object:
        """Apply on the server. Raises ``Conflict`` when another manager owns a field and ``force`` is not set."""
        namespace = namespace_in(resource, namespace, obj)
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        if force:
            query.append(("force", "true"))
        path = path_of(resource, namespace, name_in(obj), subresource)
        return self._object("PATCH", path, query, obj, content_type=APPLY_TYPE)

    def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        propagation: str | None = None,
        grace_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object; return it (when it lingers) or a Status. Raises ``NotFound`` or ``Conflict``."""
        options = delete_options(
            propagation=propagation,
            grace_seconds=grace_seconds,
            uid=uid,
            resource_version=resource_version,
            dry_run=dry_run,
        )
        return self._object("DELETE", path_of(resource, namespace, name), (), options)

    # Pods

    def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        stream: str = "",
    ) -> BlockingStream:
        """Open a container's log; with ``follow`` it ends when the container does."""
        query = log_query(
            container=container,
            follow=follow,
            previous=previous,
            tail_lines=tail_lines,
            since_seconds=since_seconds,
            limit_bytes=limit_bytes,
            timestamps=timestamps,
            stream=stream,
        )
        return self._stream("GET", pod_path(namespace, pod, "log"), query, headers={"accept": "*/*"})

    def exec(
        self,
        namespace: str,
        pod: str,
        command: Sequence[str],
        *,
        container: str = "",
        stdin: bool = False,
        tty: bool = False,
    ) -> BlockingExec:
        """Start a command in a running container and talk to it."""
        query = exec_query(command, container=container, stdin=stdin, tty=tty)
        key = websocket.new_key()
        headers = websocket.upgrade_headers(key, channels.REMOTE_COMMAND)
        answer = self._open("GET", pod_path(namespace, pod, "exec"), query, headers=headers)
        if answer.status != 101:
            answer.refuse()
        try:
            protocol = websocket.agreed_protocol(answer.headers, key, channels.REMOTE_COMMAND)
        except websocket.WebSocketError as error:
            answer.close()
            raise unavailable(self.endpoint, str(error)) from error
        return BlockingExec(answer.wire, protocol, answer.leftover)

    # Requests

    def raw(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Return the answer to any request, whole. Raises ``ApiError`` for a status code of 400 or above."""
        from hortator.kube.http import Response

        answer = self._request(method, path, tuple(query), body=body, headers=headers)
        return Response(answer.status, answer.headers, answer.body)

    def _object(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        *,
        content_type: str = "application/json",
    ) -> Object:
        import json

        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"content-type": content_type} if data else None
        answer = self._request(method, path, query, body=data, headers=headers)
        try:
            document = json.loads(answer.body)
            if not isinstance(document, dict):
                raise ValueError("it is no object")
        except ValueError as error:
            from hortator.kube.errors import InvalidAnswer

            raise InvalidAnswer(f"{path}: the server's answer is not an object: {error}") from error
        return document

    def _request(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> BlockingStream:
        for attempt in range(_MAX_RETRIES + 1):
            answer = self._open(method, path, query, body=body, headers=headers)
            overloaded = answer.status == 429 or answer.status >= 500
            answer.read_all(self._timeout)
            if overloaded and attempt < _MAX_RETRIES and answer.headers.get("retry-after", "").isdecimal():
                time.sleep(int(answer.headers["retry-after"]))
                continue
            if answer.status >= 400:
                answer.refuse()
            return answer
        raise AssertionError("unreachable")

    def _stream(
        self, method: str, path: str, query: Query, *, headers: Mapping[str, str] | None = None
    ) -> BlockingStream:
        answer = self._open(method, path, query, headers=headers)
        if answer.status >= 400:
            answer.refuse()
        return answer

    def _open(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> BlockingStream:
        """Send a request and return the answer's head; asks once more with new credentials after a 401."""
        answer = self._exchange(method, path, query, body=body, headers=headers)
        credentials = self.endpoint.credentials
        if answer.status == 401 and credentials is not None:
            answer.read_all(self._timeout)
            if self._ask(credentials.invalidate):
                self.close()
                return self._exchange(method, path, query, body=body, headers=headers)
        return answer

    def _exchange(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        *,
        body: bytes,
        headers: Mapping[str, str] | None,
    ) -> BlockingStream:
        merged = {**self._headers, **(headers or {})}
        if self.endpoint.credentials is not None and "authorization" not in merged:
            authorization = self._ask(self.endpoint.credentials.authorization)
            if authorization:
                merged["authorization"] = authorization
        data = http1.encode_request(method, self.endpoint.base_path + escape(path, query), merged, body)
        while True:
            wire, used = self._wire()
            try:
                wire.send(data, timeout=self._timeout)
                received = b""
                while (parsed := http1.parse_head(received)) is None or parsed[0].status in (100, 103):
                    if parsed is not None:
                        received = parsed[1]  # an interim answer; the real one follows
                        continue
                    chunk = wire.receive(timeout=self._timeout)
                    if not chunk:
                        raise unavailable(self.endpoint, "the server closed the connection")
                    received += chunk
            except http1.ProtocolError as error:
                wire.close()
                raise unavailable(self.endpoint, str(error)) from error
            except Exception:
                wire.close()
                # The server may close an idle connection while a request is on its way; reading may be repeated.
                if used and method in ("GET", "HEAD") and not received:
                    continue
                raise
            return BlockingStream(wire, *parsed, method=method, keep=self._idle.append)

    def _ask(self, source: Callable[[], Some]) -> Some:
        from hortator.kube.credentials import CredentialError

        try:
            return source()
        except CredentialError as error:
            raise unavailable(self.endpoint, str(error)) from error

    def _wire(self) -> tuple[Wire, bool]:
        while self._idle:
            wire = self._idle.pop()
            if wire.alive():
                return wire, True
            wire.close()
        return Wire(self.endpoint), False

"""Typed access to a Kubernetes API: the verbs on objects, watches, and the streams of pods.

Objects are plain dicts, or whatever msgspec can decode when ``type`` is given (a Struct that names only the
fields a program reads costs a fifth). How bytes travel is the transport's; keeping a cache is the informer's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeVar, overload

import msgspec

from hortator.kube.channels import PORT_FORWARD_V4, REMOTE_COMMAND
from hortator.kube.decoding import decode_body, decode_event, decode_page, lines
from hortator.kube.errors import InvalidAnswer, Unavailable, error_from_answer
from hortator.kube.http import Request, Response
from hortator.kube.requests import (
    APPLY_TYPE,
    PATCH_TYPES,
    Query,
    delete_options,
    exec_query,
    log_query,
    name_in,
    namespace_in,
    path_of,
    pod_path,
    selector_query,
    write_query,
)
from hortator.kube.resources import Resource
from hortator.kube.results import Page, WatchEvent
from hortator.kube.streams import ExecStream, PortStream
from hortator.kube.transport import Transport

__all__ = ["Client", "Object", "Page", "PatchKind", "WatchEvent"]

T = TypeVar("T")
#: ``Client.list`` hides the built-in name inside the class.
Many = list
Object = dict[str, Any]
PatchKind = Literal["merge", "json", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]

#: client-go gives up after as many answers that ask to come back later.
_MAX_RETRIES = 10


class Client:
    """One identity's view of one API server. Every method raises ``ApiError`` or ``Unavailable``.

    Where ``namespace`` is not given, that of the object's metadata is taken; reading verbs then mean all
    namespaces. ``timeout`` bounds each request that has a whole answer (seconds; None: never).
    """

    def __init__(
        self, transport: Transport, *, user_agent: str = "hort", timeout: float | None = 60.0
    ) -> None:
        self.transport = transport
        self._timeout = timeout
        self._headers = {"user-agent": user_agent, "accept": "application/json"}

    async def close(self) -> None:
        """Close the transport."""
        await self.transport.close()

    # Reading

    @overload
    async def get(
        self, resource: Resource, name: str, *, namespace: str | None = None, subresource: str = ""
    ) -> Object: ...
    @overload
    async def get(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        subresource: str = "",
        type: type[T],
    ) -> T: ...
    async def get(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        subresource: str = "",
        type: Any = dict,
    ) -> Any:
        """Return one object."""
        path = path_of(resource, namespace, name, subresource)
        return await self._object("GET", path, (), form=type)

    @overload
    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> Page[Object]: ...
    @overload
    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        type: type[T],
    ) -> Page[T]: ...
    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        type: Any = dict,
    ) -> Page[Any]:
        """Return the objects that match, or a page of at most ``limit`` of them.

        Raises ``Expired`` when ``continue_`` has grown too old. Items of built-in kinds come without ``kind``
        and ``apiVersion`` from a real server; they are put back into dicts, so that an item is an object like
        any other.
        """
        query = selector_query(labels, fields)
        if limit:
            query.append(("limit", str(limit)))
        if continue_:
            query.append(("continue", continue_))
        if resource_version:
            query.append(("resourceVersion", resource_version))
        response = await self._request("GET", path_of(resource, namespace), query)
        return await decode_page(response.body, type, resource)

    @overload
    async def all(
        self, resource: Resource, *, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> Many[Object]: ...
    @overload
    async def all(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: type[T],
    ) -> Many[T]: ...
    async def all(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: Any = dict,
    ) -> Any:
        """Return every object that matches, read in pages of 500. Raises ``Expired`` as :meth:`list` does."""
        items: Any = []
        continue_ = ""
        while True:
            page: Page[Any] = await self.list(
                resource,
                namespace=namespace,
                labels=labels,
                fields=fields,
                limit=500,
                continue_=continue_,
                type=type,
            )
            items += page.items
            continue_ = page.continue_
            if not continue_:
                return items

    @overload
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
    ) -> AsyncGenerator[WatchEvent[Object], None]: ...
    @overload
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
        type: type[T],
    ) -> AsyncGenerator[WatchEvent[T], None]: ...
    async def watch(
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
        type: Any = dict,
    ) -> AsyncGenerator[WatchEvent[Any], None]:
        """Yield changes from ``resource_version`` on (from now, with what there is first, when empty).

        Ends when the server ends the watch (after ``timeout_seconds``). Raises ``Expired`` when the version
        is too old, and ``Unavailable`` when the connection breaks or is silent for ``silence`` seconds: a
        real server sends a bookmark every minute, so silence means that the connection is dead though nobody
        said so. Close it (``contextlib.aclosing``) when leaving early.
        """
        query = [("watch", "true"), *selector_query(labels, fields)]
        if resource_version:
            query.append(("resourceVersion", resource_version))
        if timeout_seconds is not None:
            query.append(("timeoutSeconds", str(timeout_seconds)))
        if bookmarks:
            query.append(("allowWatchBookmarks", "true"))
        path = path_of(resource, namespace)
        async with aclosing(self._chunks(path, query, silence=silence)) as chunks:
            async for line in lines(chunks):
                yield decode_event(line, type, path)

    # Writing

    async def create(
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
        """Create an object; return it as stored. ``name`` and ``subresource``: for bindings, evictions,
        tokens.

        Raises ``AlreadyExists`` or ``Invalid``.
        """
        namespace = namespace_in(resource, namespace, obj)
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        return await self._write("POST", path_of(resource, namespace, name, subresource), query, obj)

    async def replace(
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
        return await self._write("PUT", path_of(resource, namespace, name_in(obj), subresource), query, obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        kind: PatchKind = "merge",
        subresource: str = "",
        field_manager: str = "",
        field_validation: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Change an object by a merge patch, JSON patch (a list of operations) or strategic merge patch."""
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        path = path_of(resource, namespace, name, subresource)
        return await self._write("PATCH", path, query, patch, content_type=PATCH_TYPES[kind])

    async def apply(
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
        """Apply on the server: own the fields in ``obj``, create the object if need be.

        Raises ``Conflict`` when another manager owns one of the fields and ``force`` is not set.
        """
        namespace = namespace_in(resource, namespace, obj)
        query = write_query(dry_run=dry_run, field_manager=field_manager, field_validation=field_validation)
        if force:
            query.append(("force", "true"))
        path = path_of(resource, namespace, name_in(obj), subresource)
        return await self._write("PATCH", path, query, obj, content_type=APPLY_TYPE)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation | None = None,
        grace_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object; return it (when it lingers) or a Status. ``uid`` and ``resource_version`` are
        conditions.

        Raises ``NotFound``, and ``Conflict`` when a condition does not hold.
        """
        options = delete_options(
            propagation=propagation,
            grace_seconds=grace_seconds,
            uid=uid,
            resource_version=resource_version,
            dry_run=dry_run,
        )
        return await self._write("DELETE", path_of(resource, namespace, name), [], options)

    async def delete_collection(
        self,
        resource: Resource,
        *,
        namespace: str | None,
        labels: str = "",
        fields: str = "",
        propagation: Propagation | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Delete every object that matches. ``namespace`` is None for cluster-scoped resources only."""
        if resource.namespaced and namespace is None:
            raise ValueError(f"{resource.plural} are deleted in one namespace at a time")
        options = delete_options(
            propagation=propagation,
            grace_seconds=grace_seconds,
            uid=None,
            resource_version=None,
            dry_run=False,
        )
        await self._write("DELETE", path_of(resource, namespace), selector_query(labels, fields), options)

    # Pods

    async def logs(
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
    ) -> AsyncGenerator[bytes, None]:
        """Yield a container's log as it comes, in chunks of any size; with ``follow`` until it ends."""
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
        path = pod_path(namespace, pod, "log")
        async with aclosing(self._chunks(path, query, silence=None, accept="*/*")) as chunks:
            async for chunk in chunks:
                yield chunk

    async def exec(
        self,
        namespace: str,
        pod: str,
        command: Sequence[str],
        *,
        container: str = "",
        stdin: bool = False,
        tty: bool = False,
    ) -> ExecStream:
        """Start a command in a running container and talk to it."""
        query = exec_query(command, container=container, stdin=stdin, tty=tty)
        return await self._remote_command(pod_path(namespace, pod, "exec"), query)

    async def attach(
        self, namespace: str, pod: str, *, container: str = "", stdin: bool = False, tty: bool = False
    ) -> ExecStream:
        """Join the streams of a container's main process."""
        query = exec_query((), container=container, stdin=stdin, tty=tty)
        return await self._remote_command(pod_path(namespace, pod, "attach"), query)

    async def port_forward(self, namespace: str, pod: str, port: int) -> PortStream:
        """Open one connection to a TCP port of a pod."""
        request = self._make("GET", pod_path(namespace, pod, "portforward"), [("ports", str(port))])
        duplex, _ = await self.transport.connect(request, (PORT_FORWARD_V4,))
        return PortStream(duplex, port)

    async def _remote_command(self, path: str, query: Query) -> ExecStream:
        duplex, protocol = await self.transport.connect(self._make("GET", path, query), REMOTE_COMMAND)
        if protocol not in REMOTE_COMMAND:
            await duplex.close()
            raise InvalidAnswer(f"{path}: the server chose the protocol {protocol!r}, which was not offered")
        return ExecStream(duplex, protocol)

    # Requests

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Return the answer to any request, whole. Raises ``ApiError`` for a status code of 400 or above."""
        return await self._request(method, path, query, body=body, headers=headers)

    def _make(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        merged = {**self._headers, **headers} if headers else self._headers
        return Request(method, path, tuple(query), merged, body)

    async def _request(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        request = self._make(method, path, query, body=body, headers=headers)
        for attempt in range(_MAX_RETRIES + 1):
            try:
                async with asyncio.timeout(self._timeout):
                    response = await self.transport.request(request)
            except TimeoutError as cause:
                raise Unavailable(path, f"no answer within {self._timeout:g} s") from cause
            if response.status < 400:
                return response
            error = error_from_answer(response.status, response.headers, response.body)
            # As client-go: whoever is told when to come back does so, whatever the verb; nothing was done.
            overloaded = response.status == 429 or response.status >= 500
            if not overloaded or "retry-after" not in response.headers or attempt == _MAX_RETRIES:
                raise error
            await asyncio.sleep(error.retry_after or 0)
        raise AssertionError("unreachable")

    async def _object(self, method: str, path: str, query: Iterable[tuple[str, str]], *, form: Any) -> Any:
        response = await self._request(method, path, query)
        return await decode_body(response.body, form)

    async def _write(
        self, method: str, path: str, query: Query, body: Any, *, content_type: str = "application/json"
    ) -> Object:
        data = b"" if body is None else msgspec.json.encode(body)
        response = await self._request(
            method, path, query, body=data, headers={"content-type": content_type} if data else None
        )
        result: Object = await decode_body(response.body, dict) if response.body else {}
        return result

    async def _chunks(
        self, path: str, query: Query, *, silence: float | None, accept: str = "application/json"
    ) -> AsyncGenerator[bytes, None]:
        request = self._make("GET", path, query, headers={"accept": accept})
        try:
            async with asyncio.timeout(self._timeout):
                response = await self.transport.stream(request)
        except TimeoutError as error:
            raise Unavailable(path, f"no answer within {self._timeout:g} s") from error
        stream = response.stream
        if stream is None:
            raise InvalidAnswer(f"{path}: no stream")
        try:
            if response.status >= 400:
                body = b"".join([chunk async for chunk in stream])
                raise error_from_answer(response.status, response.headers, body)
            while True:
                try:
                    async with asyncio.timeout(silence):
                        chunk = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise Unavailable(path, f"silent for {silence:g} s") from error
                yield chunk
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

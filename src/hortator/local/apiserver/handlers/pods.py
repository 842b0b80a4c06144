"""Subresources of pods that are more than an update: binding, log, exec, attach, port-forward and eviction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.meta import rfc3339
from hortator.apimachinery.status import StatusError
from hortator.kube.http import Duplex, Request, Response
from hortator.local.apiserver.admission.plugin import CONNECT, Attempt
from hortator.local.apiserver.authorization import Attributes, Authorizer
from hortator.local.apiserver.bodies import decode, json_response
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.deletion import DeleteOptions
from hortator.local.apiserver.handlers.resources import Subresource
from hortator.local.apiserver.registry import Registry
from hortator.local.apiserver.requests import boolean
from hortator.local.apiserver.streams import channels, command, log, port_forward
from hortator.local.apiserver.streams.channels import ByteStream
from hortator.local.streams import Connector, ContainerNotFound, NotRunning, Session

__all__ = ["Pods"]

Object = dict[str, Any]


class Pods:
    """The handlers of pod subresources. ``connector`` returns how to reach a node by its name."""

    def __init__(
        self, registry: Registry, connector: Callable[[str], Connector | None], authorizer: Authorizer
    ) -> None:
        self._registry = registry
        self._connector = connector
        self._authorizer = authorizer

    def subresources(self) -> Mapping[tuple[str, str], Subresource]:
        """Return what these handlers answer."""
        return {
            ("/pods", "binding"): self.bind,
            ("/pods", "log"): self.log,
            ("/pods", "exec"): self.exec,
            ("/pods", "attach"): self.attach,
            ("/pods", "portforward"): self.forward,
            ("/pods", "eviction"): self.evict,
        }

    async def bind(self, call: Call) -> Response:
        """Give a pod to a node. Raises 409 when it has one, is gated or is being deleted."""
        body = await decode(call.request, protobuf=self._registry.catalog.scheme.decode_protobuf)
        target = body.get("target") if isinstance(body, dict) else None
        node = target.get("name") if isinstance(target, dict) else None
        if not node or not isinstance(node, str):
            raise StatusError.bad_request("target.name: Required value")
        if isinstance(target, dict) and target.get("kind") not in (None, "", "Node"):
            raise StatusError.bad_request(
                f'target.kind: Unsupported value: "{target.get("kind")}": supported values: "Node", "<empty>"'
            )
        metadata = body.get("metadata") or {}
        name = call.info.name
        if metadata.get("name") and metadata["name"] != name:
            raise StatusError.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )

        def assign(pod: Object) -> Object:
            def conflict(detail: str) -> StatusError:
                return StatusError.conflict("pods/binding", "", name, detail)

            uid = metadata.get("uid")
            if uid and uid != pod["metadata"]["uid"]:
                raise conflict(
                    f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod['metadata']['uid']}"
                )
            spec = pod.get("spec") or {}
            if pod["metadata"].get("deletionTimestamp"):
                raise conflict(f"pod {name} is being deleted, cannot be assigned to a host")
            if spec.get("nodeName"):
                raise conflict(f"pod {name} is already assigned to node {go_quote(spec['nodeName'])}")
            if spec.get("schedulingGates"):
                raise conflict(f"pod {name} has non-empty .spec.schedulingGates")
            status = pod.get("status") or {}
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(call.now)}
            conditions = [
                entry for entry in status.get("conditions") or [] if entry.get("type") != "PodScheduled"
            ] + [scheduled]
            annotations = {
                **(pod["metadata"].get("annotations") or {}),
                **(metadata.get("annotations") or {}),
            }
            bound = {**pod["metadata"], **({"annotations": annotations} if annotations else {})}
            return {
                **pod,
                "metadata": bound,
                "spec": {**spec, "nodeName": node},
                "status": {**status, "conditions": conditions},
            }

        await self._registry.change(call, assign)
        return json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    async def evict(self, call: Call) -> Response:
        """Delete a pod on behalf of somebody who empties its node."""
        body = await decode(call.request, protobuf=self._registry.catalog.scheme.decode_protobuf)
        given = body.get("deleteOptions") if isinstance(body, dict) else None
        options = DeleteOptions.read({**(given or {}), **({"dryRun": ["All"]} if call.dry_run else {})})
        await self._registry.delete(call, options)
        return json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    async def log(self, call: Call) -> Response:
        """Stream a container's log."""
        websocket = channels.wants_websocket(call.request)
        protocol = channels.agree(call.request, log.WEBSOCKET_PROTOCOLS) if websocket else ""
        if protocol is None:
            raise StatusError.bad_request("none of the subprotocols offered for logs is known")
        pod = self._pod(call)
        options = log.read_options(
            call.request, _container(pod, call.request.param("container")), now=call.now.timestamp()
        )
        if not (pod.get("spec") or {}).get("nodeName"):
            # Upstream answers with nothing: a pod that has no host has said nothing.
            return Response(200, {"content-type": "text/plain"}, b"")
        chunks = self._node(pod).logs(pod, options)
        try:
            first = await anext(chunks, None)
        except ContainerNotFound as error:
            raise StatusError.bad_request(str(error)) from error
        rejoined = _Rejoined(first or None, chunks)
        if websocket:

            async def converse(duplex: Duplex) -> None:
                await log.over_websocket(duplex, rejoined)

            return Response(101, subprotocol=protocol, converse=converse)
        return Response(200, {"content-type": "text/plain"}, stream=rejoined)

    async def exec(self, call: Call) -> Response:
        """Run a command in a container."""
        await self._may_connect(call)
        request = call.request
        arguments = request.params("command")
        if not arguments:
            raise StatusError.bad_request("you must specify at least one command for the container")
        pod, container, wanted = self._target(call)
        node = self._node(pod)

        async def start() -> Session:
            return await node.exec(pod, container, arguments, stdin=wanted.stdin, tty=wanted.tty)

        return await self._session(request, wanted, start)

    async def attach(self, call: Call) -> Response:
        """Join a container's own streams. How it ended is in the pod's status, where kubectl run reads it."""
        await self._may_connect(call)
        pod, container, wanted = self._target(call)
        wanted = replace(wanted, exit_code=False)
        node = self._node(pod)

        async def start() -> Session:
            return await node.attach(pod, container, stdin=wanted.stdin, tty=wanted.tty)

        return await self._session(call.request, wanted, start)

    async def forward(self, call: Call) -> Response:
        """Connect to a pod's ports."""
        await self._may_connect(call)
        request = call.request
        pod = self._pod(call)
        node = self._node(pod)

        async def connect(port: int) -> Session:
            return await node.port_forward(pod, port)

        if channels.wants_websocket(request):
            protocol = channels.agree(
                request, (port_forward.TUNNEL_PROTOCOL, *port_forward.CHANNEL_PROTOCOLS)
            )
            if protocol is None:
                raise StatusError.bad_request("none of the subprotocols offered for port-forward is known")
            ports = _ports(request)

            async def converse(duplex: Duplex) -> None:
                if protocol == port_forward.TUNNEL_PROTOCOL:
                    await port_forward.over_spdy(channels.MessageBytes(duplex), connect)
                else:
                    await port_forward.over_channels(duplex, ports, connect)

            return Response(101, subprotocol=protocol, converse=converse)
        stream = await _hijack(request, (port_forward.SPDY_PROTOCOL,))
        await port_forward.over_spdy(stream, connect)
        return Response(200)

    async def _session(self, request: Request, wanted: command.Wanted, start: Callable[[], Any]) -> Response:
        websocket = channels.wants_websocket(request)
        protocol = channels.agree(request, command.WEBSOCKET_PROTOCOLS) if websocket else ""
        if protocol is None:
            known = ", ".join(filter(None, command.WEBSOCKET_PROTOCOLS))
            raise StatusError.bad_request(f"none of the subprotocols offered is known; known are {known}")
        if not websocket and not channels.wants_spdy(request):
            raise StatusError.bad_request("Upgrade request required")
        try:
            session = await start()
        except (ContainerNotFound, NotRunning) as error:
            raise StatusError.bad_request(str(error)) from error
        if websocket:

            async def converse(duplex: Duplex) -> None:
                await command.over_websocket(duplex, session, wanted, protocol)

            return Response(101, subprotocol=protocol, converse=converse)
        try:
            stream = await _hijack(request, command.SPDY_PROTOCOLS)
        except BaseException:
            await session.close()
            raise
        await command.over_spdy(stream, session, wanted)
        return Response(200)

    async def _may_connect(self, call: Call) -> None:
        """Raise 403 unless the user may create this subresource (a WebSocket comes as GET, and reading is not enough),
        or when admission refuses the connection.
        """
        info, served = call.info, call.served
        if info.verb == "get":
            wanted = Attributes("create", "", "pods", info.subresource, info.namespace, info.name)
            self._authorizer.require(call.user, wanted)
        sub = served.kind.subresource(info.subresource)
        kind = sub.kind if sub is not None else ""
        options: Object = {"kind": kind, "apiVersion": "v1"}
        for key, value in call.request.query:
            if key in ("command", "ports"):
                options.setdefault(key, []).append(value)
            else:
                options[key] = value if key == "container" else value.lower() not in ("0", "f", "false")
        attempt = Attempt(
            CONNECT,
            served,
            call.user,
            info.namespace,
            info.name,
            options,
            subresource=info.subresource,
            subresource_kind={"group": "", "version": "v1", "kind": kind},
            warnings=call.warnings,
        )
        await self._registry.admission.mutate(attempt, options)
        await self._registry.admission.validate(attempt)

    def _pod(self, call: Call) -> Object:
        item = self._registry.storage.get("/pods", call.namespace, call.info.name)
        if item is None:
            raise call.not_found()
        return item.decode()

    def _node(self, pod: Object) -> Connector:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            raise StatusError.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        connector = self._connector(node)
        if connector is None:
            raise StatusError.service_unavailable(
                f"error dialing backend: node {go_quote(node)} is not connected"
            )
        return connector

    def _target(self, call: Call) -> tuple[Object, str, command.Wanted]:
        request = call.request
        wanted = command.Wanted(
            boolean(request, "stdin"),
            boolean(request, "stdout"),
            boolean(request, "stderr"),
            boolean(request, "tty"),
        )
        if not (wanted.stdin or wanted.stdout or wanted.stderr):
            raise StatusError.bad_request("you must specify at least 1 of stdin, stdout, stderr")
        pod = self._pod(call)
        phase = (pod.get("status") or {}).get("phase")
        if phase in ("Succeeded", "Failed"):
            raise StatusError.bad_request(
                f"cannot exec into a container in a completed pod; current phase is {phase}"
            )
        return pod, _container(pod, request.param("container")), wanted


class _Rejoined:
    """A stream whose first chunk was taken off to see whether it begins at all."""

    def __init__(self, first: bytes | None, rest: AsyncIterator[bytes]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> _Rejoined:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        close = getattr(self._rest, "aclose", None)
        if close is not None:
            await close()


async def _hijack(request: Request, known: tuple[str, ...]) -> ByteStream:
    """Answer a request for SPDY with 101 and the newest protocol that both sides know."""
    if not channels.wants_spdy(request) or request.hijack is None:
        raise StatusError.bad_request("Upgrade request required")
    getall = getattr(request.headers, "getall", None)
    values = (
        getall("x-stream-protocol-version", [])
        if getall
        else [request.headers.get("x-stream-protocol-version", "")]
    )
    offered = [part.strip() for value in values for part in value.split(",")]
    protocol = next((name for name in known if name in offered), "")
    if not protocol:
        raise StatusError.forbidden(
            "",
            "",
            "",
            f"unable to negotiate protocol: client supports {offered}, server supports {list(known)}",
        )
    stream = cast(ByteStream, await request.hijack())
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\n\r\n"
    )
    await stream.write(head.encode("ascii"))
    return stream


def _container(pod: Object, wanted: str) -> str:
    """Return the container that is meant. Raises 400 when it is not clear or not there."""
    spec = pod.get("spec") or {}
    containers = [entry["name"] for entry in spec.get("containers") or []]
    others = [
        entry["name"] for key in ("initContainers", "ephemeralContainers") for entry in spec.get(key) or []
    ]
    name = pod["metadata"]["name"]
    if not wanted:
        if len(containers) == 1:
            return str(containers[0])
        default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
        if default in containers:
            return str(default)
        init = f" or one of the init containers: [{' '.join(others)}]" if others else ""
        raise StatusError.bad_request(
            f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]{init}"
        )
    if wanted not in containers and wanted not in others:
        raise StatusError.bad_request(f"container {wanted} is not valid for pod {name}")
    return wanted


def _ports(request: Request) -> list[int]:
    ports = [part for value in request.params("ports") for part in value.split(",") if part]
    if any(not port.isdigit() or not 0 < int(port) < 65536 for port in ports):
        raise StatusError.bad_request(f"not a port: {ports}")
    return [int(port) for port in ports]

"""exec, attach, logs and port-forward between a client and a node that is played here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hortator.kube.http import Request, Response
from hortator.local.apiserver.streams.spdy import DICTIONARY, SpdyConnection
from hortator.local.streams import STDERR, STDOUT, ContainerNotFound, LogOptions, NotRunning
from support.api import OWNER, PODS, Api, pod, running_api

EXEC = f"{PODS}/p/exec"


class Echo:
    """A session whose program writes its arguments, then what it reads, and exits with a code."""

    def __init__(self, first: bytes = b"", code: int = 0, errors: bytes = b"") -> None:
        self.first, self.code, self.errors = first, code, errors
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sizes: list[tuple[int, int]] = []
        self.closed = False

    async def write(self, data: bytes) -> None:
        await self.inbox.put(data)

    async def close_stdin(self) -> None:
        await self.inbox.put(None)

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        if self.first:
            yield STDOUT, self.first
        if self.errors:
            yield STDERR, self.errors
        while (data := await self.inbox.get()) is not None:
            yield STDOUT, data

    async def wait(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed = True
        await self.inbox.put(None)


class Node:
    """A node whose sessions a test prepares."""

    def __init__(self) -> None:
        self.session = Echo()
        self.error: Exception | None = None
        self.asked: tuple[Any, ...] = ()
        self.chunks = [b"one\n", b"two\n"]

    async def logs(self, pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
        self.asked = (options,)
        if self.error:
            raise self.error
        for chunk in self.chunks:
            yield chunk

    async def exec(
        self, pod: dict[str, Any], container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> Echo:
        self.asked = (container, command, stdin, tty)
        if self.error:
            raise self.error
        return self.session

    async def attach(self, pod: dict[str, Any], container: str, *, stdin: bool, tty: bool) -> Echo:
        self.asked = (container, stdin, tty)
        return self.session

    async def port_forward(self, pod: dict[str, Any], port: int) -> Echo:
        self.asked = (port,)
        if self.error:
            raise self.error
        return self.session


class Wire:
    """Both ends of a WebSocket or a connection, as queues."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.to_client: asyncio.Queue[bytes | None] = asyncio.Queue()

    # the server's end, as Duplex and as ByteStream
    async def send(self, message: bytes) -> None:
        await self.to_client.put(message)

    async def receive(self) -> bytes | None:
        return await self.to_server.get()

    async def write(self, data: bytes) -> None:
        await self.to_client.put(data)

    async def read(self) -> bytes:
        return await self.to_server.get() or b""

    async def close(self) -> None:
        await self.to_client.put(None)

    async def everything(self) -> list[bytes]:
        """Return the messages that reach the client until the end."""
        found = []
        while (message := await asyncio.wait_for(self.to_client.get(), 5)) is not None:
            found.append(message)
        return found


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def api(node: Node) -> AsyncIterator[Api]:
    async with running_api(connector=lambda name: node if name == "n" else None) as found:
        await found.post(PODS, pod(nodeName="n"))
        yield found


async def open_websocket(api: Api, path: str, protocol: str, **query: Any) -> Response:
    headers = {"upgrade": "websocket", "sec-websocket-protocol": protocol}
    return await api.raw("GET", path, headers=headers, **query)


async def converse(response: Response, wire: Wire) -> asyncio.Task[None]:
    assert response.status == 101 and response.converse is not None, response.body
    return asyncio.create_task(response.converse(wire))  # type: ignore[arg-type]


def sort(messages: list[bytes]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for message in messages:
        found[message[0]] = found.get(message[0], b"") + message[1:]
    return found


async def test_exec_over_a_websocket(api: Api, node: Node) -> None:
    node.session = Echo(b"out", code=3, errors=b"err")
    query = {"command": ["echo", "a b"], "stdin": "true", "stdout": "true", "stderr": "true"}
    response = await open_websocket(api, EXEC, "v5.channel.k8s.io, v4.channel.k8s.io", **query)
    assert response.subprotocol == "v5.channel.k8s.io"
    assert node.asked == ("main", ["echo", "a b"], True, False)
    wire = Wire()
    task = await converse(response, wire)
    await wire.to_server.put(b"\x00in")
    await wire.to_server.put(b"\x04" + json.dumps({"Width": 80, "Height": 24}).encode())
    await wire.to_server.put(b"\xff\x00")
    channels = sort(await wire.everything())
    await task
    assert (channels[1], channels[2]) == (b"outin", b"err")
    status = json.loads(channels[3])
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert node.session.sizes == [(80, 24)]
    assert node.session.closed


async def test_success_is_said(api: Api, node: Node) -> None:
    response = await open_websocket(api, EXEC, "v4.channel.k8s.io", command="x", stdout="1")
    wire = Wire()
    await converse(response, wire)
    await node.session.close_stdin()
    assert json.loads(sort(await wire.everything())[3]) == {"metadata": {}, "status": "Success"}


async def test_only_wanted_streams_are_sent(api: Api, node: Node) -> None:
    node.session = Echo(b"out", errors=b"err")
    response = await open_websocket(api, EXEC, "v4.channel.k8s.io", command="x", stderr="1")
    wire = Wire()
    await converse(response, wire)
    await node.session.close_stdin()
    channels = sort(await wire.everything())
    assert channels.get(1, b"") == b"" and channels[2] == b"err"


async def test_a_client_that_goes_away_ends_the_session(api: Api, node: Node) -> None:
    response = await open_websocket(api, EXEC, "v5.channel.k8s.io", command="x", stdout="1")
    wire = Wire()
    task = await converse(response, wire)
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)
    assert node.session.closed


async def test_attach(api: Api, node: Node) -> None:
    response = await open_websocket(
        api, f"{PODS}/p/attach", "v5.channel.k8s.io", stdout="1", tty="1", container="main"
    )
    assert node.asked == ("main", False, True)
    node.session.code = 3
    wire = Wire()
    await converse(response, wire)
    await node.session.write(b"hello")
    await node.session.close_stdin()
    said = sort(await wire.everything())
    assert (said[1], json.loads(said[3])["status"]) == (
        b"hello",
        "Success",
    )  # the pod's status tells the code


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"stdout": "1"}, "you must specify at least one command"),
        ({"command": "x"}, "you must specify at least 1 of stdin, stdout, stderr"),
        ({"command": "x", "stdout": "1", "container": "none"}, "container none is not valid for pod p"),
    ],
)
async def test_bad_execs(api: Api, query: dict[str, str], message: str) -> None:
    response = await open_websocket(api, EXEC, "v5.channel.k8s.io", **query)
    assert (response.status, message in json.loads(response.body)["message"]) == (400, True)


async def test_exec_needs_a_protocol_that_is_known(api: Api) -> None:
    query = {"command": "x", "stdout": "1"}
    assert (await open_websocket(api, EXEC, "v9.channel.k8s.io", **query)).status == 400
    assert (await api("GET", EXEC, **query)).status == 400


@pytest.mark.parametrize("protocol", ["channel.k8s.io", ""])
@pytest.mark.parametrize(
    ("code", "said"), [(0, {}), (3, {3: b"command terminated with non-zero exit code: exit status 3"})]
)
async def test_the_first_version_of_the_protocol_says_in_words_what_went_wrong(
    api: Api, node: Node, protocol: str, code: int, said: dict[int, bytes]
) -> None:
    node.session = Echo(b"out", code=code)
    response = await open_websocket(api, EXEC, protocol, command="x", stdout="1", stderr="1")
    assert response.subprotocol == protocol
    wire = Wire()
    await converse(response, wire)
    await node.session.close_stdin()
    assert sort(await wire.everything()) == {1: b"out", **said}


@pytest.mark.parametrize("error", [ContainerNotFound("no container main"), NotRunning("main is not running")])
async def test_exec_into_nothing(api: Api, node: Node, error: Exception) -> None:
    node.error = error
    response = await open_websocket(api, EXEC, "v5.channel.k8s.io", command="x", stdout="1")
    assert (response.status, json.loads(response.body)["message"]) == (400, str(error))


async def test_a_node_that_is_not_there(api: Api) -> None:
    await api.post(PODS, pod("far", nodeName="elsewhere"))
    await api.post(PODS, pod("none"))
    assert (await api("GET", f"{PODS}/far/log")).status == 503
    assert (
        await open_websocket(api, f"{PODS}/far/exec", "v5.channel.k8s.io", command="x", stdout="1")
    ).status == 503
    assert (
        await open_websocket(api, f"{PODS}/none/exec", "v5.channel.k8s.io", command="x", stdout="1")
    ).status == 400
    assert (await api("GET", f"{PODS}/none/log")).text == ""


async def test_exec_over_a_websocket_needs_get_and_create(api: Api) -> None:
    token = await api.account("robot")
    rule = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}
    await api.grant("robot", [rule])
    headers = {"upgrade": "websocket", "sec-websocket-protocol": "v5.channel.k8s.io"}
    query = {"command": "x", "stdout": "1"}
    refused = await api("GET", EXEC, token=token, headers=headers, **query)
    assert refused.status == 403 and 'cannot create resource "pods/exec"' in refused.message
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/robot"
    await api(
        "PATCH", path, {"rules": [{**rule, "verbs": ["get", "create"]}]}, kind="application/merge-patch+json"
    )
    assert (await api("GET", EXEC, token=token, headers=headers, **query)).status == 101


async def test_logs_are_streamed(api: Api, node: Node) -> None:
    response = await api.raw(
        "GET",
        f"{PODS}/p/log",
        follow="true",
        tailLines="5",
        sinceSeconds="10",
        timestamps="true",
        previous="false",
    )
    assert response.stream is not None
    assert [chunk async for chunk in response.stream] == node.chunks
    (options,) = node.asked
    assert options == LogOptions(
        container="main",
        follow=True,
        since_time=api.clock().timestamp() - 10,
        tail_lines=5,
        timestamps=True,
    )


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "x"},
        {"tailLines": "-1"},
        {"limitBytes": "0"},
        {"sinceSeconds": "5", "sinceTime": "2026-01-01T00:00:00Z"},
        {"sinceTime": "yesterday"},
        {"stream": "Both"},
        {"stream": "Stdout", "tailLines": "1"},
        {"container": "none"},
    ],
)
async def test_bad_log_queries(api: Api, query: dict[str, str]) -> None:
    assert (await api("GET", f"{PODS}/p/log", **query)).status == 400


async def test_a_log_that_is_not_there(api: Api, node: Node) -> None:
    node.error = ContainerNotFound("previous terminated container main not found")
    answer = await api("GET", f"{PODS}/p/log", previous="true")
    assert (answer.status, answer.message) == (400, str(node.error))


@pytest.mark.parametrize("protocol", ["binary.k8s.io", ""])
async def test_logs_over_a_websocket(api: Api, node: Node, protocol: str) -> None:
    response = await open_websocket(api, f"{PODS}/p/log", protocol)
    assert response.subprotocol == protocol
    wire = Wire()
    await converse(response, wire)
    assert await wire.everything() == node.chunks


async def test_logs_over_an_unknown_protocol(api: Api) -> None:
    assert (await open_websocket(api, f"{PODS}/p/log", "text.k8s.io")).status == 400


async def test_a_reader_of_a_log_that_goes_away_is_not_written_to_for_ever(api: Api, node: Node) -> None:
    left = asyncio.Event()

    async def quiet(pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
        try:
            yield b""
            await asyncio.Event().wait()
        finally:
            left.set()

    node.logs = quiet  # type: ignore[method-assign]
    response = await open_websocket(api, f"{PODS}/p/log", "binary.k8s.io", follow="true")
    wire = Wire()
    task = await converse(response, wire)
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)
    assert left.is_set()


async def test_several_containers_must_be_told_apart(api: Api) -> None:
    containers = [{"name": name, "image": "x"} for name in ("a", "b")]
    await api.post(PODS, pod("two", nodeName="n", containers=containers))
    answer = await api("GET", f"{PODS}/two/log")
    assert answer.message == "a container name must be specified for pod two, choose one of: [a b]"


class SpdyClient:
    """As much of a SPDY/3.1 client as kubectl is."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._buffer = b""

    async def open(self, number: int, **headers: str) -> None:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            block += (
                struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
            )
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        payload = struct.pack(">IIH", number, 0, 0) + packed
        await self.wire.to_server.put(struct.pack(">HHI", 0x8003, 1, len(payload)) + payload)

    async def send(self, number: int, data: bytes, *, fin: bool = False) -> None:
        frame = struct.pack(">II", number, int(fin) << 24 | len(data)) + data
        # Frames need not arrive in one piece.
        await self.wire.to_server.put(frame[:5])
        await self.wire.to_server.put(frame[5:] or b"")

    async def frame(self) -> tuple[int, int, bytes] | None:
        while len(self._buffer) < 8 or len(self._buffer) < 8 + (
            struct.unpack(">I", self._buffer[4:8])[0] & 0xFFFFFF
        ):
            data = await asyncio.wait_for(self.wire.to_client.get(), 5)
            if data is None:
                return None
            self._buffer += data
        word, rest = struct.unpack(">II", self._buffer[:8])
        size = rest & 0xFFFFFF
        payload, self._buffer = self._buffer[8 : 8 + size], self._buffer[8 + size :]
        return word, rest >> 24, payload

    async def collect(self, until: int) -> dict[int, bytes]:
        """Return the data of each stream until one of them is closed by the server."""
        found: dict[int, bytes] = {}
        while (frame := await self.frame()) is not None:
            word, flags, payload = frame
            if not word & 0x80000000:
                found[word] = found.get(word, b"") + payload
                if word == until and flags & 1:
                    break
        return found


async def test_exec_over_spdy(api: Api, node: Node) -> None:
    node.session = Echo(b"out", code=2)
    wire = Wire()

    async def hijack() -> Wire:
        return wire

    headers = {
        "authorization": f"Bearer {OWNER}",
        "upgrade": "SPDY/3.1",
        "x-stream-protocol-version": "v5.channel.k8s.io, v4.channel.k8s.io",
    }
    query = (("command", "x"), ("stdin", "true"), ("stdout", "true"))
    task = asyncio.create_task(api.server.handle(Request("POST", EXEC, query, headers, hijack=hijack)))
    head = await wire.to_client.get()
    assert head is not None and head.startswith(b"HTTP/1.1 101")
    assert b"X-Stream-Protocol-Version: v5.channel.k8s.io\r\n" in head
    client = SpdyClient(wire)
    for number, kind in ((1, "error"), (3, "stdin"), (5, "stdout")):
        await client.open(number, streamtype=kind)
    await client.send(3, b"in", fin=True)
    found = await client.collect(until=1)
    assert found[5] == b"outin"
    assert json.loads(found[1])["details"]["causes"][0]["message"] == "2"
    await wire.to_server.put(None)
    assert (await asyncio.wait_for(task, 5)).status == 200


class Deaf(Echo):
    """A program, or a server in a pod, that reads nothing, says nothing and takes no notice of an end."""

    async def write(self, data: bytes) -> None:
        await asyncio.Event().wait()

    async def close_stdin(self) -> None:
        """It does not look."""


async def test_what_a_client_says_is_heard_while_the_program_does_not_read(api: Api, node: Node) -> None:
    node.session = Deaf()
    response = await open_websocket(
        api, EXEC, "v5.channel.k8s.io", command="x", stdin="1", stdout="1", tty="1"
    )
    wire = Wire()
    task = await converse(response, wire)
    for _ in range(10):
        await wire.to_server.put(b"\x00" + b"unread" * 1000)
    await wire.to_server.put(b'\x04{"Width":100,"Height":30}')
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)
    assert (node.session.sizes, node.session.closed) == ([(100, 30)], True)


async def test_a_client_that_sends_what_nobody_reads_is_held_back(api: Api, node: Node) -> None:
    node.session = Deaf()
    response = await open_websocket(api, EXEC, "v5.channel.k8s.io", command="x", stdin="1", stdout="1")
    wire = Wire()
    task = await converse(response, wire)
    for _ in range(20):
        await wire.to_server.put(b"\x00" + bytes(1 << 20))
    assert await wire.to_client.get() == b"\x01"
    for _ in range(100):
        await asyncio.sleep(0)
    assert wire.to_server.qsize() >= 15
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert node.session.closed


async def test_a_client_of_spdy_that_goes_away_ends_what_does_not_read(api: Api, node: Node) -> None:
    node.session = Deaf()
    wire = Wire()

    async def hijack() -> Wire:
        return wire

    headers = {
        "authorization": f"Bearer {OWNER}",
        "upgrade": "SPDY/3.1",
        "x-stream-protocol-version": "v4.channel.k8s.io",
    }
    query = (("command", "x"), ("stdin", "true"), ("stdout", "true"))
    task = asyncio.create_task(api.server.handle(Request("POST", EXEC, query, headers, hijack=hijack)))
    assert await wire.to_client.get()
    client = SpdyClient(wire)
    for number, kind in ((1, "error"), (3, "stdin"), (5, "stdout")):
        await client.open(number, streamtype=kind)
    await client.send(3, b"unread")
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)
    assert node.session.closed


async def test_a_forwarder_that_goes_away_closes_its_connections(api: Api, node: Node) -> None:
    node.session = Deaf()
    response = await open_websocket(api, f"{PODS}/p/portforward", "SPDY/3.1+portforward.k8s.io")
    wire = Wire()
    task = await converse(response, wire)
    client = SpdyClient(wire)
    await client.open(1, streamtype="error", port="8080", requestid="0")
    await client.open(3, streamtype="data", port="8080", requestid="0")
    await client.collect(until=1)
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)
    assert node.session.closed


async def test_connections_of_one_forwarder_end_by_themselves(api: Api, node: Node) -> None:
    response = await open_websocket(api, f"{PODS}/p/portforward", "SPDY/3.1+portforward.k8s.io")
    wire = Wire()
    task = await converse(response, wire)
    client = SpdyClient(wire)
    for first, data in ((1, b"ping"), (5, b"pong")):
        node.session = Echo()
        await client.open(first, streamtype="error", port="8080", requestid=str(first))
        await client.open(first + 2, streamtype="data", port="8080", requestid=str(first))
        await client.send(first + 2, data, fin=True)
        assert (await client.collect(until=first + 2))[first + 2] == data
        assert node.session.closed
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)


async def test_streams_that_both_sides_have_closed_are_forgotten() -> None:
    wire = Wire()
    connection = SpdyConnection(wire)
    running = asyncio.create_task(connection.run())
    client = SpdyClient(wire)
    for number in (1, 3):
        await client.open(number, streamtype="data")
    first, second = await connection.accept(), await connection.accept()
    assert first is not None and second is not None
    await client.send(1, b"", fin=True)
    assert await first.receive() is None
    await first.close()
    await second.close()
    assert connection.open_streams == 1
    await client.send(3, b"", fin=True)
    assert await second.receive() is None
    assert connection.open_streams == 0
    await wire.to_server.put(None)
    await running


async def test_port_forward_tunnels_spdy_through_a_websocket(api: Api, node: Node) -> None:
    response = await open_websocket(api, f"{PODS}/p/portforward", "SPDY/3.1+portforward.k8s.io")
    assert response.subprotocol == "SPDY/3.1+portforward.k8s.io"
    wire = Wire()
    task = await converse(response, wire)
    client = SpdyClient(wire)
    await client.open(1, streamtype="error", port="8080", requestid="0")
    await client.open(3, streamtype="data", port="8080", requestid="0")
    await client.send(3, b"ping", fin=True)
    found = await client.collect(until=3)
    assert (found[3], node.asked) == (b"ping", (8080,))
    await wire.to_server.put(None)
    await asyncio.wait_for(task, 5)


async def test_a_port_that_is_closed_is_told(api: Api, node: Node) -> None:
    node.error = ConnectionRefusedError(111, "Connection refused")
    response = await open_websocket(api, f"{PODS}/p/portforward", "SPDY/3.1+portforward.k8s.io")
    wire = Wire()
    task = await converse(response, wire)
    client = SpdyClient(wire)
    await client.open(1, streamtype="error", port="81", requestid="0")
    await client.open(3, streamtype="data", port="81", requestid="0")
    assert (
        b"error forwarding port 81 to pod: [Errno 111] Connection refused"
        in (await client.collect(until=1))[1]
    )
    await wire.to_server.put(None)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_port_forward_over_channels(api: Api, node: Node) -> None:
    response = await open_websocket(api, f"{PODS}/p/portforward", "v4.channel.k8s.io", ports="8080")
    wire = Wire()
    await converse(response, wire)
    await wire.to_server.put(b"\x00ping")
    for expected in (b"\x00\x90\x1f", b"\x01\x90\x1f", b"\x00ping"):
        assert await asyncio.wait_for(wire.to_client.get(), 5) == expected
    await node.session.close_stdin()
    assert await wire.everything() == []


async def test_garbage_instead_of_spdy_ends_the_connection(api: Api) -> None:
    response = await open_websocket(api, f"{PODS}/p/portforward", "SPDY/3.1+portforward.k8s.io")
    wire = Wire()
    task = await converse(response, wire)
    await wire.to_server.put(b"\x80\x02\x00\x01\x00\x00\x00\x00")
    await asyncio.wait_for(task, 5)

"""The blocking client against a real server in the same process; its calls run in threads."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hortator.kube import errors
from hortator.kube.blocking import BlockingClient
from hortator.kube.credentials import StaticToken
from hortator.kube.endpoint import Endpoint
from hortator.kube.http import Duplex, Response
from hortator.kube.resources import CONFIG_MAPS, NODES
from support.certificates import Authority
from support.fake_server import FakeServer, Watch, failure, listing, reply, thing
from support.http_front import serve

REAL_TIME = True
PATH = "/api/v1/configmaps"
MAPS = "/api/v1/namespaces/default/configmaps"
EXEC = "/api/v1/namespaces/default/pods/p/exec"
LOG = "/api/v1/namespaces/default/pods/p/log"
call = asyncio.to_thread


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(params=["unix", "tls"])
async def client(
    request: pytest.FixtureRequest, server: FakeServer, tmp_path: Path, authority: Authority
) -> AsyncIterator[BlockingClient]:
    credentials = StaticToken("secret")
    if request.param == "unix":
        async with serve(server, socket_path=tmp_path / "api"):
            with BlockingClient(
                Endpoint(socket_path=str(tmp_path / "api"), credentials=credentials)
            ) as client:
                yield client
    else:
        async with serve(server, context=authority.server_context(tmp_path)) as port:
            url = f"https://127.0.0.1:{port}/"
            with BlockingClient(Endpoint(url, ca=authority.pem, credentials=credentials)) as client:
                yield client


async def test_verbs(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", f"{MAPS}/a", reply(thing("a", 1)))
    server.on(
        "GET", PATH, listing(thing("a", 1), version=3, continue_="t"), listing(thing("b", 2), version=3)
    )
    server.on("POST", MAPS, reply(thing("c", 4), 201))
    server.on("PUT", f"{MAPS}/c", reply(thing("c", 5)))
    server.on("PATCH", f"{MAPS}/c", reply(thing("c", 6)))
    server.on("DELETE", f"{MAPS}/c", reply({"kind": "Status", "status": "Success"}))

    def use() -> None:
        assert client.get(CONFIG_MAPS, "a", namespace="default") == thing("a", 1)
        assert [obj["metadata"]["name"] for obj in client.all(CONFIG_MAPS)] == ["a", "b"]
        assert client.create(CONFIG_MAPS, thing("c", 0)) == thing("c", 4)
        assert client.replace(CONFIG_MAPS, thing("c", 4)) == thing("c", 5)
        assert client.patch(CONFIG_MAPS, "c", {"x": 1}, namespace="default") == thing("c", 6)
        assert client.apply(CONFIG_MAPS, thing("c", 6), field_manager="me", force=True) == thing("c", 6)
        assert client.delete(CONFIG_MAPS, "c", namespace="default", uid="u")["status"] == "Success"

    await call(use)
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}
    assert [request.headers.get("content-type") for request in server.requests[3:]] == [
        "application/json",
        "application/json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
        "application/json",
    ]
    assert json.loads(server.requests[-1].body)["preconditions"] == {"uid": "u"}
    assert server.requests[2].param("continue") == "t"


async def test_a_connection_serves_many_requests(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", PATH, listing(version=1), failure(404, "NotFound"), listing(version=1))

    def use() -> None:
        client.list(CONFIG_MAPS)
        first = client._idle[0]
        with pytest.raises(errors.NotFound):
            client.list(CONFIG_MAPS)
        client.list(CONFIG_MAPS)
        assert client._idle == [first]

    await call(use)


async def test_an_idle_connection_that_the_server_closed_is_replaced(
    server: FakeServer, tmp_path: Path
) -> None:
    server.on("POST", MAPS, reply(thing("a", 1), 201))
    with BlockingClient(Endpoint(socket_path=str(tmp_path / "api"))) as client:
        for _ in range(2):
            async with serve(server, socket_path=tmp_path / "api"):
                await call(client.create, CONFIG_MAPS, thing("a", 0))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [(404, "NotFound", errors.NotFound), (409, "AlreadyExists", errors.AlreadyExists)],
)
async def test_refusals(
    client: BlockingClient, server: FakeServer, code: int, reason: str, kind: type[Exception]
) -> None:
    server.on("GET", f"{MAPS}/a", failure(code, reason, "because"))
    with pytest.raises(kind, match="because"):
        await call(client.get, CONFIG_MAPS, "a", namespace="default")


async def test_nobody_there(tmp_path: Path) -> None:
    client = BlockingClient(Endpoint(socket_path=str(tmp_path / "nothing")))
    with pytest.raises(errors.Unavailable, match="No such file"):
        client.get(NODES, "n")


async def test_a_server_that_hangs_up_is_unavailable(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    listener = await asyncio.start_unix_server(hang_up, tmp_path / "api")
    with pytest.raises(errors.Unavailable):
        await call(BlockingClient(Endpoint(socket_path=str(tmp_path / "api"))).get, NODES, "n")
    listener.close()


async def test_an_untrusted_server_is_named_so(
    server: FakeServer, tmp_path: Path, authority: Authority
) -> None:
    async with serve(server, context=authority.server_context(tmp_path)) as port:
        with pytest.raises(errors.Unavailable, match="not trusted"):
            await call(BlockingClient(Endpoint(f"https://127.0.0.1:{port}")).get, NODES, "n")


async def test_a_client_certificate_is_shown(
    server: FakeServer, tmp_path: Path, authority: Authority
) -> None:
    server.on("GET", PATH, listing(version=1))
    async with serve(server, context=authority.server_context(tmp_path, clients=True)) as port:
        url = f"https://127.0.0.1:{port}"
        with BlockingClient(Endpoint(url, ca=authority.pem, certificate=authority.pair("bob"))) as client:
            await call(client.list, CONFIG_MAPS)
        with pytest.raises(errors.Unavailable):
            await call(BlockingClient(Endpoint(url, ca=authority.pem)).list, CONFIG_MAPS)


async def test_a_watch(client: BlockingClient, server: FakeServer) -> None:
    watch = Watch().added(thing("a", 2)).bookmark(5).modified(thing("a", 6)).end()
    server.on("WATCH", PATH, watch)
    events = await call(lambda: list(client.watch(CONFIG_MAPS, resource_version="1")))
    assert [(event.type, event.resource_version) for event in events] == [
        ("ADDED", "2"),
        ("BOOKMARK", "5"),
        ("MODIFIED", "6"),
    ]


async def test_a_watch_that_expired(client: BlockingClient, server: FakeServer) -> None:
    server.on("WATCH", PATH, Watch().expired())
    with pytest.raises(errors.Expired):
        await call(lambda: list(client.watch(CONFIG_MAPS, resource_version="1")))


async def test_a_watch_that_is_silent(client: BlockingClient, server: FakeServer) -> None:
    watch = Watch()
    server.on("WATCH", PATH, watch)
    with pytest.raises(errors.Unavailable):
        await call(lambda: list(client.watch(CONFIG_MAPS, silence=0.01)))
    await watch.closed.wait()


async def test_a_log_comes_while_it_grows(client: BlockingClient, server: FakeServer) -> None:
    log = Watch()
    server.on("GET", LOG, log)
    stream = await call(client.logs, "default", "p", follow=True, tail_lines=3)

    def read() -> bytes:
        if not stream.pending:
            assert select.select([stream], [], [], 10)[0]
        return stream.read()

    log.raw(b"one\n")
    assert await call(read) == b"one\n"
    log.raw(b"x" * 500_000 + b"\n").end()
    assert sum(len(chunk) for chunk in await call(list, stream)) == 500_001
    stream.close()
    assert dict(server.requests[0].query) == {"follow": "true", "tailLines": "3"}


async def test_leaving_a_log_lets_the_server_go(client: BlockingClient, server: FakeServer) -> None:
    log = Watch().raw(b"one\n")
    server.on("GET", LOG, log)
    with await call(client.logs, "default", "p", follow=True) as stream:
        assert await call(stream.read) == b"one\n"
    await log.closed.wait()


def conversation(
    script: Callable[[Duplex], Awaitable[None]], protocol: str = "v5.channel.k8s.io"
) -> Response:
    return Response(101, subprotocol=protocol, converse=script)


async def upper(peer: Duplex) -> None:
    """As `tr a-z A-Z; echo done >&2; exit 3`."""
    while (message := await peer.receive()) != b"\xff\x00":
        assert message is not None and message[0] == 0
        await peer.send(b"\x01" + message[1:].upper())
    await peer.send(b"\x02done\n")
    cause = {"reason": "ExitCode", "message": "3"}
    status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    await peer.send(b"\x03" + json.dumps(status).encode())


async def test_exec_step_by_step(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", EXEC, conversation(upper))

    def use() -> None:
        with client.exec("default", "p", ["tr", "a b"], stdin=True) as command:
            command.send(b"hello")
            assert next(command.output()) == (1, b"HELLO")
            command.close_stdin()
            assert list(command.output()) == [(2, b"done\n")]
            assert command.wait() == 3

    await call(use)
    assert server.requests[0].params("command") == ["tr", "a b"]


@asynccontextmanager
async def pipes(count: int) -> AsyncIterator[list[tuple[Any, Any]]]:
    ends = [os.pipe() for _ in range(count)]
    files = [(open(r, "rb"), open(w, "wb")) for r, w in ends]  # noqa: ASYNC230, SIM115
    try:
        yield files
    finally:
        for reader, writer in files:
            reader.close()
            writer.close()


async def test_pump_moves_megabytes_both_ways_at_once(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", EXEC, conversation(upper))
    data = b"abcdefgh" * 250_000
    async with pipes(3) as ((stdin, feed), (result, stdout), (errors_, stderr)):

        def run() -> int:
            with client.exec("default", "p", ["x"], stdin=True) as command:
                code = command.pump(stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=stderr.fileno())
            stdout.close()
            stderr.close()
            return code

        def fill() -> None:
            feed.write(data)
            feed.close()

        code, _, out, err = await asyncio.gather(call(run), call(fill), call(result.read), call(errors_.read))
    assert (code, out == data.upper(), err) == (3, True, b"done\n")


async def test_pump_ends_when_nobody_reads(client: BlockingClient, server: FakeServer) -> None:
    gone = asyncio.Event()

    async def chatter(peer: Duplex) -> None:
        await peer.send(b"\x01x")
        assert await peer.receive() is None
        gone.set()

    server.on("GET", EXEC, conversation(chatter))
    async with pipes(1) as ((reader, writer),):
        reader.close()

        def run() -> None:
            with client.exec("default", "p", ["yes"]) as command, pytest.raises(BrokenPipeError):
                command.pump(stdin=None, stdout=writer.fileno(), stderr=writer.fileno())

        await call(run)
        await gone.wait()


async def test_an_exec_that_is_cut_off_has_no_exit_code(client: BlockingClient, server: FakeServer) -> None:
    async def vanish(peer: Duplex) -> None:
        await peer.send(b"\x01half")

    server.on("GET", EXEC, conversation(vanish))
    with await call(client.exec, "default", "p", ["x"]) as command, pytest.raises(errors.StreamClosed):
        await call(command.wait)


async def test_an_exec_that_could_not_start(client: BlockingClient, server: FakeServer) -> None:
    async def refuse(peer: Duplex) -> None:
        await peer.send(b'\x03{"status":"Failure","reason":"InternalError","message":"no such program"}')

    server.on("GET", EXEC, conversation(refuse))
    with (
        await call(client.exec, "default", "p", ["x"]) as command,
        pytest.raises(errors.InternalError, match="no such"),
    ):
        await call(command.wait)


async def test_half_close_needs_v5(client: BlockingClient, server: FakeServer) -> None:
    async def wait(peer: Duplex) -> None:
        await peer.receive()

    server.on("GET", EXEC, conversation(wait, "v4.channel.k8s.io"))
    with (
        await call(client.exec, "default", "p", ["x"]) as command,
        pytest.raises(errors.StreamClosed, match="v4"),
    ):
        command.close_stdin()


async def test_a_refused_exec_keeps_the_server_s_words(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", EXEC, failure(403, "Forbidden", "no exec for you"))
    with pytest.raises(errors.Forbidden, match="no exec for you"):
        await call(client.exec, "default", "p", ["x"])


async def test_bytes_that_are_no_text_reach_the_command(server: FakeServer, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.close()

    listener = await asyncio.start_unix_server(raw, tmp_path / "api")
    with pytest.raises(errors.Unavailable):
        await call(
            BlockingClient(Endpoint(socket_path=str(tmp_path / "api"))).exec,
            "n",
            "p",
            [os.fsdecode(b"\xff&")],
        )
    listener.close()
    assert b"command=%FF%26&" in seen[0]


async def test_an_invitation_to_come_back_is_followed(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", PATH, failure(429, "TooManyRequests", retry_after="0"), listing(version=1))
    await call(client.list, CONFIG_MAPS)
    assert len(server.requests) == 2


async def test_raw(client: BlockingClient, server: FakeServer) -> None:
    server.on("GET", "/version", Response(200, {"x": "y"}, b"text"))
    answer = await call(lambda: client.raw("GET", "/version", query=[("timeout", "5s")]))
    assert (answer.status, answer.headers["x"], answer.body) == (200, "y", b"text")


def test_it_imports_next_to_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "from hortator.kube.blocking import BlockingClient\nfrom hortator.kube.endpoint import Endpoint\n"
        "from hortator.kube.credentials import TokenFile\n"
        "BlockingClient(Endpoint(socket_path='/x', credentials=TokenFile('/y')))\n"
        "heavy = 'asyncio aiohttp msgspec dataclasses typing json ssl http.client urllib.parse re hashlib logging'\n"
        "print(sorted((set(sys.modules) - before) & set(heavy.split())))"
    )
    source = Path(__file__).parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


async def test_interim_answers_are_skipped(tmp_path: Path) -> None:
    async def hints(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        )
        await writer.drain()
        writer.close()

    listener = await asyncio.start_unix_server(hints, tmp_path / "api")
    with BlockingClient(Endpoint(socket_path=str(tmp_path / "api"))) as client:
        assert await call(client.get, NODES, "n") == {}
    listener.close()

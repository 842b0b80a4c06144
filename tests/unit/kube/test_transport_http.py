"""The transport over real sockets, in one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hortator.kube.client import Client
from hortator.kube.credentials import TokenFile
from hortator.kube.endpoint import Endpoint
from hortator.kube.errors import Forbidden, StreamClosed, Unauthorized, Unavailable
from hortator.kube.http import Duplex, Request, Response
from hortator.kube.resources import CONFIG_MAPS, NODES
from hortator.kube.transport_http import HttpTransport
from support.certificates import Authority
from support.fake_server import FakeServer, Watch, failure, listing, reply, thing
from support.http_front import serve

REAL_TIME = True
PATH = "/api/v1/configmaps"
EXEC = "/api/v1/namespaces/default/pods/p/exec"


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def client(server: FakeServer, tmp_path: Path) -> AsyncIterator[Client]:
    """A client over a Unix socket."""
    async with serve(server, socket_path=tmp_path / "api"):
        client = Client(HttpTransport(socket_path=str(tmp_path / "api"), token="secret"))
        yield client
        await client.close()


async def test_a_request_arrives_as_it_was_made(client: Client, server: FakeServer) -> None:
    path = "/api/v1/namespaces/default/configmaps/a b:ü"
    server.on("PATCH", path, reply(thing("a", 2)))
    assert await client.patch(CONFIG_MAPS, "a b:ü", {"x": "ü"}, namespace="default", field_manager="a&b=c d")
    request = server.requests[0]
    assert (request.method, request.path, request.query) == ("PATCH", path, (("fieldManager", "a&b=c d"),))
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-type"] == "application/merge-patch+json"
    assert json.loads(request.body) == {"x": "ü"}


async def test_refusals_come_as_such(client: Client, server: FakeServer) -> None:
    server.on("GET", PATH, failure(403, "Forbidden", "not you"))
    with pytest.raises(Forbidden, match="not you"):
        await client.list(CONFIG_MAPS)


async def test_a_watch_streams(client: Client, server: FakeServer) -> None:
    watch = Watch()
    server.on("WATCH", PATH, watch)
    events = client.watch(CONFIG_MAPS, resource_version="1")
    watch.added(thing("a", 2))
    assert (await anext(events)).object == thing("a", 2)
    watch.modified(thing("a", 3))
    assert (await anext(events)).resource_version == "3"
    await events.aclose()
    await asyncio.wait_for(watch.closed.wait(), 10)


async def test_a_stream_that_breaks_is_unavailable(client: Client, server: FakeServer) -> None:
    watch = Watch().added(thing("a", 2)).fail(ConnectionResetError())
    server.on("WATCH", PATH, watch)
    with pytest.raises(Unavailable):
        async for _ in client.watch(CONFIG_MAPS):
            pass


async def test_nobody_there(tmp_path: Path) -> None:
    client = Client(HttpTransport(socket_path=str(tmp_path / "nothing")))
    with pytest.raises(Unavailable, match=r"unix:.*nothing: No such file"):
        await client.get(NODES, "n")
    await client.close()


async def test_after_close_everything_is_unavailable(client: Client) -> None:
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await client.get(NODES, "n")


async def test_exec_both_ways(client: Client, server: FakeServer) -> None:
    async def cat(peer: Duplex) -> None:
        while (message := await peer.receive()) is not None and message[0] == 0:
            await peer.send(b"\x01" + message[1:])
        await peer.send(b'\x03{"status":"Success"}')

    server.on("GET", EXEC, Response(101, subprotocol="v5.channel.k8s.io", converse=cat))
    async with await client.exec("default", "p", ["cat"], stdin=True) as stream:
        data = bytes(range(256)) * 4000

        async def feed() -> None:
            await stream.send(data)
            await stream.close_stdin()

        feeding = asyncio.create_task(feed())
        received = b"".join([piece async for _, piece in stream.output()])
        await feeding
        assert received == data
        assert await stream.wait() == 0


async def test_a_refused_upgrade_keeps_the_server_s_words(client: Client, server: FakeServer) -> None:
    server.on("GET", EXEC, failure(403, "Forbidden", "no exec for you"))
    with pytest.raises(Forbidden, match="no exec for you"):
        await client.exec("default", "p", ["x"])


async def test_an_exec_that_is_cut_off(client: Client, server: FakeServer) -> None:
    async def vanish(peer: Duplex) -> None:
        await peer.send(b"\x01half")

    server.on("GET", EXEC, Response(101, subprotocol="v5.channel.k8s.io", converse=vanish))
    async with await client.exec("default", "p", ["x"]) as stream:
        with pytest.raises(StreamClosed):
            await stream.wait()


class Rotating:
    """Credentials that change when the server refuses them."""

    def __init__(self) -> None:
        self.number = 1

    def ready(self) -> bool:
        return True

    def authorization(self) -> str:
        return f"Bearer {self.number}"

    def certificate(self) -> None:
        return None

    def invalidate(self) -> bool:
        self.number += 1
        return True


async def test_new_credentials_are_tried_once_after_a_401(server: FakeServer, tmp_path: Path) -> None:
    server.on("GET", PATH, failure(401, "Unauthorized"), listing(version=1), failure(401, "Unauthorized"))
    async with serve(server, socket_path=tmp_path / "api"):
        client = Client(HttpTransport(socket_path=str(tmp_path / "api"), token=Rotating()))
        await client.list(CONFIG_MAPS)
        with pytest.raises(Unauthorized):
            await client.list(CONFIG_MAPS)
        await client.close()
    assert [r.headers["authorization"][-1] for r in server.requests] == ["1", "2", "2", "3"]


async def test_an_exec_is_tried_once_more_after_a_401(server: FakeServer, tmp_path: Path) -> None:
    async def done(peer: Duplex) -> None:
        await peer.send(b'\x03{"status":"Success"}')

    accepted = Response(101, subprotocol="v5.channel.k8s.io", converse=done)
    server.on("GET", EXEC, failure(401, "Unauthorized"), accepted)
    async with serve(server, socket_path=tmp_path / "api"):
        client = Client(HttpTransport(socket_path=str(tmp_path / "api"), token=Rotating()))
        async with await client.exec("default", "p", ["x"]) as stream:
            assert await stream.wait() == 0
        await client.close()


async def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    client = Client(HttpTransport(socket_path="/nowhere", token=TokenFile(str(tmp_path / "token"))))
    with pytest.raises(Unavailable, match="token"):
        await client.list(CONFIG_MAPS)
    await client.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def test_tls_with_a_client_certificate(
    server: FakeServer, tmp_path: Path, authority: Authority
) -> None:
    server.on("GET", f"/prefix{PATH}", listing(thing("a", 1), version=1))
    context = authority.server_context(tmp_path, clients=True)
    async with serve(server, context=context) as port:
        url = f"https://127.0.0.1:{port}/prefix/"
        endpoint = Endpoint(url, ca=authority.pem, certificate=authority.pair("alice"))
        client = Client(HttpTransport.to(endpoint))
        assert len((await client.list(CONFIG_MAPS)).items) == 1
        await client.close()
        stranger = Client(HttpTransport.to(Endpoint(url, ca=authority.pem)))
        with pytest.raises(Unavailable):
            await stranger.list(CONFIG_MAPS)
        await stranger.close()


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({}, False),
        ({"ca": True}, False),
        ({"ca": True, "server_name": "api.test"}, True),
        ({"insecure": True}, True),
    ],
)
async def test_whom_tls_trusts(
    server: FakeServer, tmp_path: Path, authority: Authority, options: dict[str, Any], good: bool
) -> None:
    server.on("GET", PATH, listing(version=1))
    options = {**options, **({"ca": authority.pem} if "ca" in options else {})}
    context = authority.server_context(tmp_path, names=("api.test",))
    async with serve(server, context=context) as port:
        client = Client(HttpTransport.to(Endpoint(f"https://127.0.0.1:{port}", **options)))
        if good:
            await client.list(CONFIG_MAPS)
        else:
            with pytest.raises(Unavailable, match="not trusted"):
                await client.list(CONFIG_MAPS)
        await client.close()


async def test_many_requests_share_a_transport(client: Client, server: FakeServer) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.01)
        return reply(thing(request.path.rpartition("/")[2], 1))

    names = [f"m{number}" for number in range(50)]
    for name in names:
        server.on("GET", f"/api/v1/namespaces/default/configmaps/{name}", slow)
    got = await asyncio.gather(*(client.get(CONFIG_MAPS, name, namespace="default") for name in names))
    assert [obj["metadata"]["name"] for obj in got] == names

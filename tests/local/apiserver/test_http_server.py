"""The sockets: Unix and TLS, streams, WebSockets, raw upgrades, limits."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hortator.kube.http import Duplex, Request, Response
from hortator.local.apiserver import certificates
from hortator.local.apiserver.http_server import AddressInUse, HttpServer
from support.api import MAPS, OWNER, Api, running_api


@dataclass
class Front:
    """A listening server and how to reach it."""

    api: Api
    server: HttpServer
    session: aiohttp.ClientSession
    socket_path: Path
    certificates: certificates.Certificates


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    made = certificates.ensure(tmp_path / "pki")
    path = tmp_path / "run" / "api.sock"
    async with running_api() as api:
        server = HttpServer(
            api.server.handle, socket_path=path, port=0, tls=certificates.server_context(made)
        )
        await server.start()
        headers = {"authorization": f"Bearer {OWNER}"}
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(path)), headers=headers
        ) as session:
            yield Front(api, server, session, path, made)
        await server.stop()


async def test_the_socket_is_the_owners(front: Front) -> None:
    assert stat.S_IMODE(front.socket_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(front.socket_path.parent.stat().st_mode) == 0o700


async def test_requests_and_answers(front: Front) -> None:
    url = f"http://local{MAPS}"
    async with front.session.post(url, json={"metadata": {"name": "m"}, "data": {"a": "ä"}}) as response:
        assert response.status == 201
    async with front.session.get(f"{url}?labelSelector=a%3Db") as response:
        assert (await response.json())["items"] == []
    async with front.session.get(f"http://local{MAPS}/m%2Fn") as response:
        assert response.status == 404


async def test_a_watch_is_streamed_and_forgotten_when_the_client_goes(front: Front) -> None:
    collection = front.api.server.storage.collection("/configmaps")
    before = len(collection.readers)
    async with front.session.get(f"http://local{MAPS}?watch=1") as response:
        await front.api.post(MAPS, {"metadata": {"name": "m"}})
        event = json.loads(await response.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "m")
        assert len(collection.readers) == before + 1
        response.close()
    async with asyncio.timeout(5):
        while len(collection.readers) > before:  # noqa: ASYNC110 - nothing tells when a socket was noticed
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_large_a_body_is_refused(front: Front, chunked: bool) -> None:
    body = b"x" * (4 * 1024 * 1024)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    async with front.session.post(
        f"http://local{MAPS}", data=pieces() if chunked else io.BytesIO(body)
    ) as response:
        assert response.status == 413
        assert (await response.json())["reason"] == "RequestEntityTooLarge"


async def test_tls_for_others(front: Front) -> None:
    context = ssl.create_default_context(cafile=str(front.certificates.ca))
    url = f"https://127.0.0.1:{front.server.port}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json={}, ssl=context) as response:
            assert response.status == 401
        async with session.post(
            url, json={}, ssl=context, headers={"authorization": f"Bearer {OWNER}"}
        ) as response:
            assert response.status == 201


async def test_client_certificates(front: Front, tmp_path: Path) -> None:
    certificate, key = certificates.issue_client(front.certificates, "alice", ("devs", "system:masters"))
    (tmp_path / "alice.pem").write_bytes(certificate + key)
    context = ssl.create_default_context(cafile=str(front.certificates.ca))
    context.load_cert_chain(tmp_path / "alice.pem")
    url = f"https://localhost:{front.server.port}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with aiohttp.ClientSession() as session, session.post(url, json={}, ssl=context) as response:
        user = (await response.json())["status"]["userInfo"]
    assert (user["username"], sorted(user["groups"])) == (
        "alice",
        ["devs", "system:authenticated", "system:masters"],
    )


async def test_certificates_of_another_authority_are_refused(front: Front, tmp_path: Path) -> None:
    other = certificates.ensure(tmp_path / "other")
    certificate, key = certificates.issue_client(other, "mallory", ("system:masters",))
    (tmp_path / "mallory.pem").write_bytes(certificate + key)
    context = ssl.create_default_context(cafile=str(front.certificates.ca))
    context.load_cert_chain(tmp_path / "mallory.pem")
    async with aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await session.get(f"https://localhost:{front.server.port}/version", ssl=context)


def test_certificates_are_made_once_and_private(tmp_path: Path) -> None:
    first = certificates.ensure(tmp_path / "pki")
    content = {path: path.read_bytes() for path in (first.ca, first.ca_key, first.server)}
    certificates.ensure(tmp_path / "pki")
    assert {path: path.read_bytes() for path in content} == content
    assert {stat.S_IMODE(path.stat().st_mode) for path in content} == {0o600}
    certificates.ensure(tmp_path / "pki", names=("machine.example.com",))
    assert first.ca.read_bytes() == content[first.ca]
    assert first.server.read_bytes() != content[first.server]


async def test_a_port_in_use_is_named(front: Front, tmp_path: Path) -> None:
    context = certificates.server_context(front.certificates)
    second = HttpServer(front.api.server.handle, port=front.server.port, tls=context)
    with pytest.raises(AddressInUse, match=f"port {front.server.port} is in use"):
        await second.start()
    third = HttpServer(front.api.server.handle, socket_path=front.socket_path)
    with pytest.raises(AddressInUse, match="Stop that cluster first"):
        await third.start()


async def test_a_socket_left_behind_is_replaced(front: Front, tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    server = HttpServer(front.api.server.handle, socket_path=path)
    await server.start()
    await server.stop()
    assert not path.exists()


async def listening(tmp_path: Path, handler: Any) -> tuple[HttpServer, Path]:
    path = tmp_path / "own.sock"
    server = HttpServer(handler, socket_path=path)
    await server.start()
    return server, path


async def test_conversations_are_websockets(tmp_path: Path) -> None:
    async def converse(duplex: Duplex) -> None:
        while (message := await duplex.receive()) is not None:
            await duplex.send(message.upper())

    async def handler(request: Request) -> Response:
        assert request.headers["sec-websocket-protocol"].replace(" ", "") == "p1,p2"
        return Response(101, subprotocol="p2", converse=converse)

    server, path = await listening(tmp_path, handler)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.ws_connect("http://local/x", protocols=("p1", "p2")) as ws,
    ):
        assert ws.protocol == "p2"
        await ws.send_bytes(b"a" * 100_000)
        assert await ws.receive_bytes() == b"A" * 100_000
        await ws.send_str("text")
        assert await ws.receive_bytes() == b"TEXT"
    await server.stop()


async def test_a_raw_upgrade_hands_the_connection_over(tmp_path: Path) -> None:
    async def handler(request: Request) -> Response:
        assert request.hijack is not None
        stream: Any = await request.hijack()
        await stream.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        total = 0
        while data := await stream.read():
            total += len(data)
            if total >= 1_000_000:
                break
        await stream.write(b"got %d" % total)
        return Response(200)

    server, path = await listening(tmp_path, handler)
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"POST /x HTTP/1.1\r\nhost: local\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    writer.write(b"x" * 1_000_000)
    assert await reader.read() == b"got 1000000"
    writer.close()
    await server.stop()


async def test_the_servers_failure_is_an_answer(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(front.api.server.storage, "get", fail)
    async with front.session.get(f"http://local{MAPS}/m") as response:
        assert response.status == 500
        assert (await response.json())["message"] == "Internal error occurred: RuntimeError: broken"

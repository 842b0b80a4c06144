"""Clients that break HTTP, dawdle, never read or come in crowds: the others are served as if they were not there."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hortator.local.apiserver import http_server
from hortator.local.apiserver.http_server import HttpServer
from support.api import MAPS, MERGE, OWNER, Api, running_api

URL = f"http://local{MAPS}"
HEAD = f"POST {MAPS} HTTP/1.1\r\nhost: local\r\nauthorization: Bearer {OWNER}\r\ncontent-type: application/json\r\n"
BODY = b'{"metadata":{"name":"smuggled"}}'


@dataclass
class Front:
    """A server that listens on a Unix socket, and an ordinary client of it."""

    api: Api
    path: Path
    session: aiohttp.ClientSession

    async def served(self) -> None:
        """Check that an ordinary client is answered."""
        async with asyncio.timeout(5), self.session.get(f"{URL}?limit=1") as response:
            assert response.status == 200

    async def send(self, data: bytes) -> bytes:
        """Send bytes as they are; return what the server says until it closes or has answered once."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.readline()
        finally:
            writer.close()


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    path = tmp_path / "api.sock"
    async with running_api() as api:
        server = HttpServer(api.server.handle, socket_path=path)
        await server.start()
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(path), limit=0),
            headers={"authorization": f"Bearer {OWNER}"},
            timeout=aiohttp.ClientTimeout(60),
        ) as session:
            yield Front(api, path, session)
        await server.stop()


def head(*lines: str) -> bytes:
    return (HEAD + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


CHUNKED = b"20\r\n" + BODY + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        head("content-length: 32", "transfer-encoding: chunked") + CHUNKED,
        head("transfer-encoding: chunked", "content-length: 0") + CHUNKED,
        head("content-length: 32", "content-length: 33") + BODY,
        head("content-length: -1") + BODY,
        head("content-length: +32") + BODY,
        head("content-length: 0x20") + BODY,
        head("transfer-encoding: chunked, identity") + CHUNKED,
        head("transfer-encoding: chunked", "x: a\rb") + CHUNKED,
        head("transfer-encoding : chunked") + CHUNKED,
        head("transfer-encoding: chunked") + b"zz\r\n" + BODY,
        head("content-length: 32", " folded: yes") + BODY,
        head("x: \0") + BODY,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        head(*(f"x{number}: y" for number in range(5000))),
        head("x: " + "y" * 1_000_000),
        b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(front: Front, data: bytes) -> None:
    line = await front.send(data)
    assert line.split()[1:2] == [b"400"], line
    assert (await front.api("GET", f"{MAPS}/smuggled")).status == 404
    await front.served()


async def test_long_urls_are_read(front: Front) -> None:
    selector = ",".join(f"label-{number}=value" for number in range(20_000))
    async with front.session.get(f"{URL}?labelSelector={selector}") as response:
        assert response.status == 200 and (await response.json())["items"] == []


async def test_a_body_that_is_too_large_ends_the_connection(front: Front) -> None:
    async with front.session.post(URL, data=io.BytesIO(b"x" * (4 << 20))) as response:
        assert response.status == 413
        assert response.headers["connection"] == "close"
    await front.served()


async def test_a_body_that_never_arrives_is_given_up(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_BODY_SECONDS", 0.2)
    slow = asyncio.gather(*(front.send(head("content-length: 32") + BODY[:-1]) for _ in range(50)))
    await front.served()
    assert set(await slow) == {b"HTTP/1.1 408 Request Timeout\r\n"}
    assert (await front.api("GET", f"{MAPS}/smuggled")).status == 404


async def test_hundreds_of_connections_that_never_finish_a_request(front: Front) -> None:
    connections = [await asyncio.open_unix_connection(str(front.path)) for _ in range(400)]
    for _, writer in connections:
        writer.write(b"GET /api HTTP/1.1\r\nx: ")
    await front.served()
    for _, writer in connections:
        writer.close()


async def test_a_watcher_that_does_not_read_is_ended_and_may_go_on(front: Front) -> None:
    """What waits for it is bounded; others see everything; where it was, it can begin again."""
    await front.api.post(MAPS, {"metadata": {"name": "m"}, "data": {"n": "-1"}})
    listed = await front.api.get(MAPS)
    since = listed["metadata"]["resourceVersion"]
    collection = front.api.server.storage.collection("/configmaps")
    before = len(collection.readers)
    async with front.session.get(f"{URL}?watch=1&resourceVersion={since}") as stuck:
        assert len(collection.readers) == before + 1
        quick = await front.api.watch(MAPS, resourceVersion=since)
        written = 0
        while len(collection.readers) > before + 1:  # until the one that does not read is cut off
            body = {"data": {"n": str(written), "fill": "x" * 20_000}}
            assert (await front.api("PATCH", f"{MAPS}/m", body, kind=MERGE)).status == 200
            assert (await quick.next())[1]["data"]["n"] == str(written)
            written += 1
            assert written * 20_000 < 64 << 20, "it is kept, and what waits for it grows"
        events = [json.loads(line) async for line in stuck.content]
    seen = [int(event["object"]["data"]["n"]) for event in events]
    assert seen == list(range(len(seen))) and 0 < len(seen) < written
    await quick.close()
    # What it missed is no longer kept, and it is told so; then it lists and goes on, as every client does.
    missed = await front.api.watch(MAPS, resourceVersion=events[-1]["object"]["metadata"]["resourceVersion"])
    kind, status = await missed.next()
    assert (kind, status["code"]) == ("ERROR", 410)
    newest = (await front.api.get(MAPS))["metadata"]["resourceVersion"]
    again = await front.api.watch(MAPS, resourceVersion=newest)
    await front.api("PATCH", f"{MAPS}/m", {"data": {"n": "last"}}, kind=MERGE)
    assert (await again.next())[1]["data"]["n"] == "last"


async def test_a_thousand_watchers(front: Front) -> None:
    """Each sees every event, in order."""
    readers = front.api.server.storage.collection("/configmaps").readers
    before = len(readers)
    begun = asyncio.Event()
    waiting = 1000

    async def watch() -> list[str]:
        nonlocal waiting
        response = await front.api.raw("GET", MAPS, watch="true")
        assert response.stream is not None
        waiting -= 1
        if not waiting:
            begun.set()
        names: list[str] = []
        async for chunk in response.stream:
            names += [json.loads(line)["object"]["metadata"]["name"] for line in chunk.splitlines()]
            if names[-1] == "m19":
                break
        await response.stream.aclose()  # type: ignore[attr-defined]
        return names

    watching = [asyncio.create_task(watch()) for _ in range(1000)]
    await begun.wait()
    for number in range(20):
        await front.api.post(MAPS, {"metadata": {"name": f"m{number}"}})
    seen = await asyncio.gather(*watching)
    assert all(names == [f"m{number}" for number in range(20)] for names in seen)
    assert len(readers) == before


async def test_a_hundred_clients_at_once(front: Front) -> None:
    """Every answer is one that the verb may have, and the object that all change has every change."""
    await front.api.post(MAPS, {"metadata": {"name": "shared"}, "data": {}})
    answers: Counter[tuple[str, int]] = Counter()

    async def ask(method: str, path: str, body: Any = None, kind: str = "application/json") -> None:
        data = None if body is None else json.dumps(body)
        async with front.session.request(
            method, f"{URL}{path}", data=data, headers={"content-type": kind}
        ) as response:
            await response.read()
            answers[method, response.status] += 1

    async def client(number: int) -> None:
        name = f"m{number % 20}"
        for step in range(3):
            await ask("POST", "", {"metadata": {"name": name}})
            await ask("PATCH", f"/{name}", {"data": {f"k{number}": str(step)}}, MERGE)
            await ask("PATCH", "/shared", {"data": {f"k{number}-{step}": "x"}}, MERGE)
            await ask("PUT", f"/{name}", {"metadata": {"name": name}, "data": {"a": "b"}})
            await ask("GET", "?limit=5")
            await ask("DELETE", f"/{name}")

    await asyncio.gather(*(client(number) for number in range(100)))
    allowed = {
        "POST": {201, 409},
        "PATCH": {200, 404},
        "PUT": {200, 404, 409},
        "GET": {200},
        "DELETE": {200, 404},
    }
    assert all(status in allowed[method] for method, status in answers), answers
    assert len((await front.api.get(f"{MAPS}/shared"))["data"]) == 300

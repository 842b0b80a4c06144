"""The requests of probes and hooks, against a real server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from hortator.local.node.httpget import HttpFailed, http_get

REAL_TIME = True


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """A server on 127.0.0.1 whose paths do what they are called."""

    async def echo(request: web.Request) -> web.Response:
        names = ("User-Agent", "Accept", "X-Mine", "Host", "Accept-Encoding")
        return web.Response(
            text="\n".join(f"{name}: {','.join(request.headers.getall(name, ['-']))}" for name in names)
            + f"\n{request.path_qs}"
        )

    async def status(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["code"]))

    async def home(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": "/echo?from=redirect"})

    async def away(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"location": "http://example.invalid/"}, text="go away")

    async def loop(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"location": "/loop"})

    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/status/{code}", status)
    for handler in (echo, home, away, loop, never):
        app.router.add_get(f"/{handler.__name__}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def get(port: int, path: str, seconds: float = 30.0, **spec: object) -> tuple[int, str]:
    answer = await http_get({"path": path, **spec}, port, ip="127.0.0.1", purpose="probe", seconds=seconds)
    return answer.status, answer.body


async def test_what_is_sent() -> None:
    async with serving() as port:
        code, body = await get(
            port,
            "/echo?a=b",
            httpHeaders=[{"name": "X-Mine", "value": "1"}, {"name": "X-Mine", "value": "2"}],
        )
        assert (code, body.splitlines()) == (
            200,
            [
                "User-Agent: kube-probe/1.36",
                "Accept: */*",
                "X-Mine: 1,2",
                f"Host: 127.0.0.1:{port}",
                "Accept-Encoding: -",
                "/echo?a=b",
            ],
        )


async def test_headers_can_be_replaced_and_accept_taken_away() -> None:
    own = [
        {"name": "Host", "value": "me"},
        {"name": "user-agent", "value": "ua"},
        {"name": "Accept", "value": ""},
    ]
    async with serving() as port:
        _, body = await get(port, "/echo", httpHeaders=own)
        assert body.splitlines()[:4] == ["User-Agent: ua", "Accept: -", "X-Mine: -", "Host: me"]


async def test_a_redirect_is_followed_on_the_same_host_only() -> None:
    async with serving() as port:
        code, body = await get(port, "/home")
        assert (code, body.splitlines()[-1]) == (200, "/echo?from=redirect")
        assert await get(port, "/away") == (301, "go away")
        with pytest.raises(HttpFailed, match="stopped after 10 redirects"):
            await get(port, "/loop")


async def test_any_status_is_an_answer() -> None:
    async with serving() as port:
        assert [(await get(port, f"/status/{code}"))[0] for code in (200, 404, 500)] == [200, 404, 500]


async def test_no_answer_in_time() -> None:
    async with serving() as port:
        with pytest.raises(HttpFailed, match=r'Get "http://127.0.0.1:\d+/never": context deadline exceeded'):
            await get(port, "/never", seconds=0.05)


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HttpFailed, match=rf"dial tcp 127.0.0.1:{port}: connect: connection refused"):
        await get(port, "/")


async def test_what_answers_is_not_http() -> None:
    done = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        done.set()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        with pytest.raises(HttpFailed, match='Get "http'):
            await get(server.sockets[0].getsockname()[1], "/")
        await done.wait()

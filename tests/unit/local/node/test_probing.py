"""One attempt of each kind of probe over the network: what its answer counts as."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hortator.local.apiserver import certificates
from hortator.local.node.probes import Outcome, probe_once, run_hook

REAL_TIME = True

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def http(status: str, body: str = "", **headers: str) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n{body}".encode())

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def probed(answer: Answer, tls: ssl.SSLContext | None = None, **probe: Any) -> Outcome:
    """Ask a server that answers so."""
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await answer(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        filled = {
            kind: {**action, "port": port} if isinstance(action, dict) else action
            for kind, action in probe.items()
        }
        outcome = await probe_once(filled, {}, None, "127.0.0.1")  # type: ignore[arg-type]
        await asyncio.gather(*serving)
        return outcome


@pytest.mark.parametrize(
    ("answer", "result", "text"),
    [
        (http("200 OK"), "success", ""),
        (http("204 No Content"), "success", ""),
        (http("404 Not Found", "secret"), "failure", "HTTP probe failed with statuscode: 404"),
        (
            http("302 Found", "elsewhere", Location="http://example.invalid/"),
            "warning",
            "Probe terminated redirects, Response body: elsewhere",
        ),
    ],
)
async def test_http(answer: Answer, result: str, text: str) -> None:
    outcome = await probed(answer, httpGet={"path": "/"})
    assert (outcome.result, outcome.text) == (result, text)


async def test_https_asks_for_no_trust(tmp_path: Path) -> None:
    tls = certificates.server_context(certificates.ensure(tmp_path))
    assert (await probed(http("200 OK"), tls, httpGet={"path": "/", "scheme": "HTTPS"})).result == "success"
    assert (await probed(http("200 OK"), httpGet={"path": "/", "scheme": "HTTPS"})).result == "failure"


async def test_a_server_that_does_not_answer_has_failed() -> None:
    outcome = await probed(silent, httpGet={"path": "/"}, timeoutSeconds=1)
    assert outcome.result == "failure" and "context deadline exceeded" in outcome.text
    outcome = await probed(silent, grpc={}, timeoutSeconds=1)
    assert outcome == Outcome("failure", "timeout: health rpc did not complete within 1s")


async def test_tcp_asks_only_for_a_connection() -> None:
    assert (await probed(silent, tcpSocket={})).result == "success"


async def test_a_port_that_has_no_number_is_a_question_that_went_wrong() -> None:
    probe = {"httpGet": {"port": "web"}}
    assert await probe_once(probe, {}, None, "") == Outcome("unknown", "port web not found")  # type: ignore[arg-type]
    assert await run_hook(probe, {}, None, "") is False  # type: ignore[arg-type]

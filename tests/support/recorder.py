"""What a client and a server say to each other: a TLS server in front of another, which passes bytes on and keeps them."""

from __future__ import annotations

import asyncio
import email.parser
import http.client
import io
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.certificates import Authority

__all__ = ["Exchange", "Recorder"]


@dataclass(frozen=True)
class Exchange:
    """A request and as much of its answer as has come. Names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes

    @cached_property
    def sent_kind(self) -> str:
        """The media type of the request's body; empty without a body."""
        return self.headers.get("content-type", "")

    @cached_property
    def answer_kind(self) -> str:
        return self.answer_headers.get("content-type", "")

    def __str__(self) -> str:
        return f"{self.method} {self.path} {dict(self.query)} {self.sent_kind} -> {self.status} {self.answer_kind}"


@dataclass
class _Connection:
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Recorder:
    """Listens on ``port`` of 127.0.0.1 with a certificate of ``authority`` while the ``with`` block lasts."""

    def __init__(self, host: str, port: int, trusted: bytes, folder: Path) -> None:
        self.authority = Authority()
        self.port = 0
        self._server = (host, port)
        self._front = self.authority.server_context(folder)
        self._back = ssl.create_default_context(cadata=trusted.decode())
        self._connections: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        assert self._listening.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(20)

    def exchanges(self) -> list[Exchange]:
        """Return what was said so far: connection by connection, each in its order."""
        return [
            exchange
            for connection in list(self._connections)
            for exchange in _parse(bytes(connection.sent), bytes(connection.received))
        ]

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._front)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._done.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        connection = _Connection()
        self._connections.append(connection)
        try:
            try:
                behind_reader, behind_writer = await asyncio.open_connection(*self._server, ssl=self._back)
            except OSError:
                return  # The server is gone; to the client its front is, too.
            pumps = [
                asyncio.create_task(_pump(reader, behind_writer, connection.sent)),
                asyncio.create_task(_pump(behind_reader, writer, connection.received)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                behind_writer.transport.abort()
        finally:
            writer.transport.abort()
            self._open.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, into: bytearray) -> None:
    """Pass on what comes until either side is gone."""
    try:
        while data := await reader.read(65536):
            into += data
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


def _parse(sent: bytes, received: bytes) -> Iterator[Exchange]:
    """Take the two streams of an HTTP/1.1 connection apart; a request that has no answer yet is left out."""
    requests, answers = io.BytesIO(sent), _Answers(received)
    while line := requests.readline():
        method, target, _ = line.decode().split()
        headers = _headers(requests)
        _skip_body(requests, headers)
        answer = http.client.HTTPResponse(answers, method=method)  # type: ignore[arg-type]
        try:
            answer.begin()
            body = answer.read()
        except http.client.IncompleteRead as error:
            body = error.partial
        except http.client.HTTPException:
            return
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        fields = {name.lower(): value for name, value in answer.getheaders()}
        yield Exchange(method, parts.path, query, headers, answer.status, fields, body)


class _Answers(io.BytesIO):
    """A stream that ``http.client`` may read answers from, one after the other."""

    def makefile(self, mode: str) -> _Answers:
        return self

    def close(self) -> None:
        """Stay open: each answer closes its stream, and the next one begins where it ended."""


def _headers(stream: io.BytesIO) -> dict[str, str]:
    lines = []
    while (line := stream.readline()).strip():
        lines.append(line.decode())
    return {name.lower(): value for name, value in email.parser.Parser().parsestr("".join(lines)).items()}


def _skip_body(stream: io.BytesIO, headers: Mapping[str, str]) -> None:
    if headers.get("transfer-encoding") == "chunked":
        while size := int(stream.readline() or b"0", 16):
            stream.seek(size + 2, io.SEEK_CUR)
        stream.readline()
    else:
        stream.seek(int(headers.get("content-length", 0)), io.SEEK_CUR)

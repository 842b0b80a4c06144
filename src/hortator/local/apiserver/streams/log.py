"""What is asked of a log, and a log over a WebSocket: its bytes as messages, the end of the WebSocket as its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.meta import parse_time
from hortator.apimachinery.status import StatusError
from hortator.kube.http import Duplex, Request
from hortator.local.apiserver.requests import boolean
from hortator.local.streams import LogOptions

__all__ = ["WEBSOCKET_PROTOCOLS", "over_websocket", "read_options"]

#: The second is what a client gets that asks for no protocol.
WEBSOCKET_PROTOCOLS = ("binary.k8s.io", "")


async def over_websocket(duplex: Duplex, chunks: AsyncIterator[bytes]) -> None:
    """Send a log until it ends or the client goes; what the client sends is not looked at."""

    async def write() -> None:
        async for chunk in chunks:
            if chunk:
                await duplex.send(chunk)

    async def read() -> None:
        while await duplex.receive() is not None:
            pass

    tasks = [asyncio.ensure_future(write()), asyncio.ensure_future(read())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            with contextlib.suppress(ConnectionError):
                tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
        await duplex.close()


def read_options(request: Request, container: str, *, now: float) -> LogOptions:
    """Read the query of a log request. Raises 400 or 422."""

    def number(name: str, minimum: int) -> int | None:
        text = request.param(name)
        if not text:
            return None
        try:
            value = int(text)
        except ValueError as error:
            raise StatusError.bad_request(f"{name}: {go_quote(text)} is not a whole number") from error
        if value < minimum:
            detail = "must be greater than or equal to 0" if minimum == 0 else "must be greater than 0"
            raise StatusError.bad_request(f"{name}: Invalid value: {value}: {detail}")
        return value

    stream = request.param("stream") or "All"
    if stream not in ("All", "Stdout", "Stderr"):
        raise StatusError.bad_request(
            f'stream: Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"'
        )
    tail = number("tailLines", 0)
    if stream != "All" and tail is not None:
        raise StatusError.bad_request("`tailLines` and specific `stream` are mutually exclusive for now")
    seconds = number("sinceSeconds", 1)
    since_text = request.param("sinceTime")
    if seconds is not None and since_text:
        raise StatusError.bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
    since = None if seconds is None else now - seconds
    if since_text:
        try:
            since = parse_time(since_text).timestamp()
        except ValueError as error:
            raise StatusError.bad_request(f"sinceTime: {go_quote(since_text)} is not a time") from error
    return LogOptions(
        container=container,
        follow=boolean(request, "follow"),
        previous=boolean(request, "previous"),
        since_time=since,
        tail_lines=tail,
        limit_bytes=number("limitBytes", 1),
        timestamps=boolean(request, "timestamps"),
        stream=stream,
    )

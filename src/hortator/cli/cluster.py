"""The local cluster, put together: zygote, API server, controllers, scheduler, nodes and our operator in one process.

Nothing of what they do is here; only in which order they start, what each is given, and how they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from hortator.cli.errors import CommandError, Conflict
from hortator.cli.places import LocalPlaces, private_dir, write_private

if TYPE_CHECKING:
    from hortator.cli.up import Options
    from hortator.local.node.zygote import Zygote

__all__ = ["serve"]

Ready = Callable[[dict[str, Any]], None]


def serve(places: LocalPlaces, options: Options, ready: Ready, *, debug: bool = False) -> int:
    """Run the cluster until SIGINT or SIGTERM; ``ready`` is called once with its state.

    Raises :class:`CommandError` when it cannot start. Everything that was started is ended before this returns.
    """
    private_dir(places.data)
    private_dir(places.run.parent)
    private_dir(places.run)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    from hortator.local.node.zygote import Zygote

    # Before the lock, the event loop and every thread: what it forks must inherit none of them.
    zygote = Zygote.start()
    with _lock(places):
        return asyncio.run(_serve(places, options, ready, zygote))


@contextlib.contextmanager
def _lock(places: LocalPlaces) -> Iterator[None]:
    """Hold the data folder; the lock goes with the process, however it ends."""
    try:
        descriptor = os.open(places.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(
            f"cannot write to the data folder {places.data}",
            cause=error.strerror or str(error),
            hint="name another with --data-dir",
        ) from error
    with open(descriptor, "rb+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"the data folder {places.data} is in use",
                cause="another cluster runs there",
                hint="hort status",
            ) from error
        yield


def _token(places: LocalPlaces) -> str:
    """Return the owner's token, made once."""
    try:
        token = places.token_file.read_text().strip()
        if token:
            return token
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(32)
    write_private(places.token_file, token.encode())
    return token


async def _serve(places: LocalPlaces, options: Options, ready: Ready, zygote: Zygote) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with _running(places, options, zygote) as state:
        write_private(places.state_file, json.dumps(state).encode())
        try:
            ready(state)
            await stopping.wait()
        finally:
            places.state_file.unlink(missing_ok=True)
    return 0


@contextlib.asynccontextmanager
async def _running(places: LocalPlaces, options: Options, zygote: Zygote) -> AsyncIterator[dict[str, Any]]:
    """Start everything in its order, yield the cluster's state, end everything in the opposite order."""
    from hortator.local.apiserver.server import ApiServer
    from hortator.local.node.agent import NodeAgent

    token = _token(places)
    agents: dict[str, NodeAgent] = {}
    server = ApiServer(journal=places.data / "journal.db", owner_token=token, connector=agents.get)
    await server.start()
    async with contextlib.AsyncExitStack() as ending:
        ending.push_async_callback(server.stop)
        yield {}

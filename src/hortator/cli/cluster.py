"""The local cluster, put together: zygote, API server, controllers, scheduler, nodes and our operator in one process.

Nothing of what they do is here; only in which order they start, what each is given, and how they end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hortator
from hortator.cli import machine
from hortator.cli.errors import CommandError, Conflict, InUse
from hortator.cli.places import LocalPlaces, hold, private_dir, unwritable, write_private

if TYPE_CHECKING:
    from hortator.cli.background import Options
    from hortator.kube.client import Client
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
    _import_aiohttp()
    with _lock(places):
        return asyncio.run(_serve(places, options, ready, zygote))


def _import_aiohttp() -> None:
    """Import aiohttp without the two TLS contexts that it makes then: reading the system's authorities takes 80 ms.

    Nothing here uses them: what speaks TLS in this process makes a context of its own.
    """
    kept = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ |= dict.fromkeys(kept, os.devnull)
    try:
        import aiohttp  # noqa: F401
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _lock(places: LocalPlaces) -> Iterator[None]:
    """Hold the data folder; the lock goes with the process, however it ends."""
    try:
        descriptor = os.open(places.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(places.data, error) from error
    with open(descriptor, "rb+") as lock:
        try:
            hold(lock.fileno())
        except BlockingIOError as error:
            raise InUse(
                f"the data folder {places.data} is in use",
                cause="another cluster runs there",
                hint="hort status",
            ) from error
        # Of a cluster that was killed: nobody may take it for ours while we start.
        places.state_file.unlink(missing_ok=True)
        yield


def _secret(path: Path) -> bytes:
    """Return what an owner-only file keeps, made once: 32 random bytes as text."""
    try:
        kept = path.read_bytes().strip()
        if kept:
            return kept
    except FileNotFoundError:
        pass
    fresh = secrets.token_urlsafe(32).encode()
    write_private(path, fresh)
    return fresh


async def _serve(places: LocalPlaces, options: Options, ready: Ready, zygote: Zygote) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    stopped = asyncio.create_task(stopping.wait())
    async with _running(places, options, zygote) as (state, work):
        write_private(places.state_file, json.dumps(state).encode())
        try:
            ready(state)
            await asyncio.wait((stopped, work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            places.state_file.unlink(missing_ok=True)
    return 0


@contextlib.asynccontextmanager
async def _running(
    places: LocalPlaces, options: Options, zygote: Zygote
) -> AsyncIterator[tuple[dict[str, Any], asyncio.Task[None]]]:
    """Start everything in its order; yield the cluster's state and the task that does its work; end everything."""
    from hortator.api.mpijob_crd import crd
    from hortator.kube.client import Client
    from hortator.kube.events import Recorder
    from hortator.kube.manager import Manager
    from hortator.kube.resources import CRDS, SERVICES
    from hortator.kube.transport import InProcess
    from hortator.local.apiserver import certificates
    from hortator.local.apiserver.bootstrap import kubernetes_service
    from hortator.local.apiserver.http_server import AddressInUse, HttpServer
    from hortator.local.apiserver.journal import JournalError
    from hortator.local.apiserver.server import ApiServer
    from hortator.local.controllers.run import build_controllers
    from hortator.local.node.agent import NodeAgent
    from hortator.local.node.host import Host
    from hortator.local.scheduler.run import build_scheduler
    from hortator.operator.mpijob.launch import agent_command, local_machine_env
    from hortator.operator.mpijob.run import COMPONENT, build_mpijob
    from hortator.operator.mpijob.settings import Settings

    try:
        token = _secret(places.token_file).decode()
        signing_key = _secret(places.data / "signing-key")
        certs = await asyncio.to_thread(certificates.ensure, places.data / "tls")
    except OSError as error:
        raise unwritable(places.data, error) from error
    authority = certs.ca.read_text()
    hosts: list[Host] = []
    server = ApiServer(
        journal=places.data / "journal.db",
        owner_token=token,
        signing_key=signing_key,
        connector=lambda node: hosts[0].connector(node) if hosts else None,
    )
    async with contextlib.AsyncExitStack() as ending:
        ending.push_async_callback(zygote.close)
        try:
            await server.start()
        except JournalError as error:
            raise CommandError("the data folder cannot be used", cause=str(error)) from error
        ending.push_async_callback(server.stop)
        http = HttpServer(
            server.handle,
            socket_path=places.socket,
            port=options.port or _last_port(places),
            tls=certificates.server_context(certs),
        )
        try:
            await http.start()
        except AddressInUse as error:
            if options.port is not None:
                raise Conflict(
                    f"port {options.port} is in use", cause=str(error), hint="another --port"
                ) from error
            http = HttpServer(
                server.handle, socket_path=places.socket, port=0, tls=certificates.server_context(certs)
            )
            await http.start()
        ending.push_async_callback(http.stop)
        write_private(places.data / "port", str(http.port).encode())

        client = Client(InProcess(server.handle, token=token), user_agent="hort-up")
        ending.push_async_callback(client.close)
        await client.apply(CRDS, crd(), field_manager="hort", force=True)
        where = kubernetes_service("127.0.0.1", http.port)
        await client.apply(SERVICES, where, field_manager="hort", force=True)
        recorders = {
            name: Recorder(client, name)
            for name in ("hort-controllers", "default-scheduler", COMPONENT, "hort-node")
        }
        manager = Manager(client)
        build_controllers(
            manager, recorder=recorders["hort-controllers"], data_dir=places.data, root_ca=authority
        )
        build_scheduler(manager, recorder=recorders["default-scheduler"])
        settings = Settings(
            launch_mode="exec",
            exec_agent=agent_command(),
            launcher_env=local_machine_env(root=os.getuid() == 0),
        )
        build_mpijob(manager, recorder=recorders[COMPONENT], settings=settings)
        cpus, gpus = machine.cpus(), machine.gpus()
        host = Host(
            manager,
            zygote=zygote,
            recorder=recorders["hort-node"],
            data_dir=places.data,
            run_dir=places.run,
            api_socket=places.socket,
            api_address=("127.0.0.1", http.port),
            gpus=[str(number) for number in range(options.gpus if options.gpus is not None else gpus)],
        )
        hosts.append(host)
        capacity = {
            "cpu": str(options.cpus or len(cpus)),
            "memory": options.memory or f"{machine.memory_bytes() >> 10}Ki",
        }
        if options.gpus or (options.gpus is None and gpus):
            capacity["nvidia.com/gpu"] = str(options.gpus if options.gpus is not None else gpus)
        names = [f"node-{number + 1}" for number in range(options.nodes)] if options.nodes > 1 else ["local"]
        for name in names:
            NodeAgent(host, name=name, capacity=capacity)
        await _forget_nodes(client, names)

        for recorder in recorders.values():
            ending.push_async_callback(recorder.close)
        work = asyncio.create_task(manager.run(), name="cluster")
        ending.push_async_callback(_ended, work)
        ready = asyncio.create_task(host.ready.wait(), name="nodes")
        await asyncio.wait((ready, work), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            ready.cancel()
            work.result()
        yield (
            {
                "pid": os.getpid(),
                "socket": str(places.socket),
                "port": http.port,
                "certificateAuthority": base64.b64encode(authority.encode()).decode(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "nodes": options.nodes,
                "cpus": options.cpus or len(cpus),
                "version": hortator.__version__,
            },
            work,
        )


async def _forget_nodes(client: Client, names: list[str]) -> None:
    """Delete the nodes of an earlier start that this one does not declare, before anything is scheduled there."""
    from hortator.kube.resources import NODES

    for node in await client.all(NODES):
        if node["metadata"]["name"] not in names:
            await client.delete(NODES, node["metadata"]["name"])


async def _ended(work: asyncio.Task[None]) -> None:
    """Cancel the cluster's work and wait for its end; raise what it ended with, if it ended by itself."""
    if work.done():
        work.result()
        return
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _last_port(places: LocalPlaces) -> int:
    """Return the port of the last time, so that kubeconfigs stay right; 0 (any) the first time."""
    try:
        return int((places.data / "port").read_text())
    except (OSError, ValueError):
        return 0

"""A whole local cluster without the command line: API server, controllers, scheduler and nodes in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from hortator.kube.client import Client
from hortator.kube.manager import Manager
from hortator.kube.resources import PODS
from hortator.kube.transport import InProcess
from hortator.local.apiserver.server import ApiServer
from hortator.local.controllers.run import build_controllers
from hortator.local.node.agent import NodeAgent
from hortator.local.node.host import Host, LogLimits
from hortator.local.node.zygote import Zygote
from hortator.local.scheduler.run import build_scheduler


class Events:
    """A recorder that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str]] = []
        self._more = asyncio.Event()

    def event(self, obj: Mapping[str, Any], type: str, reason: str, message: str) -> None:
        self.seen.append((obj["metadata"]["name"], type, reason, message))
        self._more.set()

    async def until(self, name: str, reason: str, count: int = 1) -> list[str]:
        """Wait for so many Events of a reason about an object; return the messages."""
        while len(found := self.messages(name, reason)) < count:
            self._more.clear()
            await self._more.wait()
        return found

    def reasons(self, name: str) -> list[str]:
        return [reason for pod, _, reason, _ in self.seen if pod == name]

    def messages(self, name: str, reason: str) -> list[str]:
        return [text for pod, _, kind, text in self.seen if pod == name and kind == reason]


class LocalCluster:
    """What a test does with it."""

    def __init__(self, server: ApiServer, client: Client, host: Host, events: Events) -> None:
        self.server = server
        self.client = client
        self.host = host
        self.events = events

    async def run(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Create a pod and wait for its end; return it."""
        created = await self.client.create(PODS, pod, namespace="default")
        return await self.until(created["metadata"]["name"], ended)

    async def until(self, name: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until a pod satisfies a condition; return it then."""
        async with contextlib.aclosing(
            self.client.watch(PODS, namespace="default", fields=f"metadata.name={name}")
        ) as events:
            async for event in events:
                if event.type != "BOOKMARK" and reached(event.object):
                    return event.object
        raise AssertionError("the watch ended")

    async def gone(self, name: str) -> None:
        """Wait until a pod has been removed."""
        removed = asyncio.Event()

        def changed(kind: str, obj: Mapping[str, Any], _: object) -> None:
            if kind == "deleted" and obj["metadata"]["name"] == name:
                removed.set()

        self.host.pods.on_change(changed)
        if self.host.pods.get("default", name) is not None:
            await removed.wait()

    async def says(self, name: str, text: bytes, **options: Any) -> None:
        """Wait until a container has written something."""
        heard = b""
        async with contextlib.aclosing(self.client.logs("default", name, follow=True, **options)) as chunks:
            async for chunk in chunks:
                heard += chunk
                if text in heard:
                    return
        raise AssertionError(f"it ended and has only said {heard!r}")

    async def log(self, name: str, **options: Any) -> bytes:
        return b"".join([chunk async for chunk in self.client.logs("default", name, **options)])


def ended(pod: dict[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def running(pod: dict[str, Any]) -> bool:
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and all(each["ready"] for each in status["containerStatuses"])


def pod(name: str, script: str | None = None, **spec: Any) -> dict[str, Any]:
    """Return a pod with one container ``main`` that runs a shell script. ``container`` is merged into it."""
    container = {"name": "main", "image": "none", **spec.pop("container", {})}
    if script is not None:
        # A doubled dollar is one dollar (and no reference to a variable) in a command.
        container["command"] = ["sh", "-c", script.replace("$", "$$")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **spec.pop("metadata", {})},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


@contextlib.asynccontextmanager
async def local_cluster(
    folder: Path,
    *,
    sandbox: bool = True,
    nodes: Mapping[str, Mapping[str, str]] | None = None,
    log_limits: LogLimits | None = None,
    journal: bool = False,
) -> AsyncIterator[LocalCluster]:
    zygote = Zygote.launch(sandbox=sandbox)
    hosts: list[Host] = []
    server = ApiServer(
        journal=folder / "journal.db" if journal else None,
        owner_token="owner",
        connector=lambda name: hosts[0].connector(name),
        signing_key=b"k" * 32,
    )
    await server.start()
    client = Client(InProcess(server.handle, token="owner"), user_agent="test")
    events = Events()
    manager = Manager(client)
    build_controllers(manager, recorder=events, data_dir=folder / "data", root_ca="ca")  # type: ignore[arg-type]
    build_scheduler(manager, recorder=events)  # type: ignore[arg-type]
    host = Host(
        manager,
        zygote=zygote,
        recorder=events,
        data_dir=folder / "data",
        run_dir=folder / "run",
        api_socket=folder / "api.sock",
        api_address=("127.0.0.1", 6443),
        log_limits=log_limits,
    )
    hosts.append(host)
    for name, capacity in (nodes or {"local": {"cpu": "2", "memory": "4Gi"}}).items():
        NodeAgent(host, name=name, capacity=capacity, shutdown_grace=1.0)
    work = asyncio.create_task(manager.run())
    try:
        await manager.started.wait()
        yield LocalCluster(server, client, host, events)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await client.close()
        await server.stop()
        await zygote.close()


def marked(mark: str) -> list[int]:
    """Return the processes of this machine whose environment has the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


def existing_paths(*paths: str) -> list[str]:
    """Return those of the paths that exist on the machine."""
    return [path for path in paths if Path(path).exists()]

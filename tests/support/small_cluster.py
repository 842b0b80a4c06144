"""The API server with the built-in controllers and the scheduler in one loop. Nobody runs pods; they end when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hortator.kube.client import Client
from hortator.kube.errors import ApiError, NotFound
from hortator.kube.http import Request, Response
from hortator.kube.manager import Manager
from hortator.kube.resources import JOBS, NAMESPACES, NODES, PODS, Resource
from hortator.kube.transport import InProcess
from hortator.local.apiserver.server import ApiServer
from hortator.local.controllers.run import build_controllers
from hortator.local.scheduler.run import build_scheduler
from support.virtual_time import now

TOKEN = "owner"


class Notes:
    """Stands for the Event recorder: keeps what was said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def event(self, obj: dict[str, Any], type: str, reason: str, message: str) -> None:
        assert obj["kind"] and type in ("Normal", "Warning")
        self.said.append((obj["metadata"]["name"], reason, message))

    def reasons(self, name: str) -> list[str]:
        return [reason for subject, reason, _ in self.said if subject == name]

    def message(self, reason: str) -> str:
        return next(message for _, found, message in reversed(self.said) if found == reason)


class SmallCluster:
    """What a test does to the cluster, and how it waits for what comes of it."""

    def __init__(self, client: Client, notes: Notes, data_dir: Path) -> None:
        self.client = client
        self.notes = notes
        self.data_dir = data_dir
        #: Whether pods that are being deleted end at once, as if a node had ended them.
        self.pods_obey = True
        #: Returns an answer to give instead of the server's.
        self.intercept: Callable[[Request], Response | None] = lambda request: None

    async def add_node(self, name: str = "a", *, cpu: str = "4", **status: Any) -> None:
        await self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        capacity = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        patch = {"status": {"capacity": capacity, "allocatable": capacity, **status}}
        await self.client.patch(NODES, name, patch, subresource="status")

    async def add_pod(
        self, name: str, *, cpu: str = "1", namespace: str = "default", metadata: Any = None, **spec: Any
    ) -> dict[str, Any]:
        container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": cpu}}}
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, **(metadata or {})},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
        }
        return await self.client.create(PODS, made)

    async def add_job(self, name: str, **spec: Any) -> dict[str, Any]:
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}
        made = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"template": template, **spec},
        }
        return await self.client.create(JOBS, made)

    async def end_pod(self, pod: dict[str, Any], phase: str = "Succeeded") -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        await self.client.patch(
            PODS, name, {"status": {"phase": phase}}, namespace=namespace, subresource="status"
        )

    async def obey(self) -> None:
        """Stand for the nodes: end pods that are bound and being deleted."""
        while True:
            await asyncio.sleep(0.1)
            for pod in await self.client.all(PODS) if self.pods_obey else ():
                metadata = pod["metadata"]
                if "deletionTimestamp" not in metadata or not pod["spec"].get("nodeName"):
                    continue
                with suppress(NotFound):
                    if pod["status"].get("phase") not in ("Succeeded", "Failed"):
                        await self.end_pod(pod, "Failed")
                    if metadata.get("deletionGracePeriodSeconds"):
                        await self.client.delete(
                            PODS, metadata["name"], namespace=metadata["namespace"], grace_seconds=0
                        )

    async def get(self, resource: Resource, name: str, namespace: str | None = "default") -> Any:
        """Return an object, or None."""
        try:
            return await self.client.get(resource, name, namespace=namespace if resource.namespaced else None)
        except NotFound:
            return None

    async def pods(self, namespace: str = "default") -> list[dict[str, Any]]:
        return await self.client.all(PODS, namespace=namespace)

    async def until(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait (on the loop's clock) until an awaitable question has a true answer; return it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await what()
            if found:
                return found
            assert loop.time() < end, "this did not come to pass"
            await asyncio.sleep(0.02)

    async def until_gone(self, resource: Resource, name: str, namespace: str | None = "default") -> None:
        async def gone() -> bool:
            return await self.get(resource, name, namespace) is None

        await self.until(gone)

    async def until_pod(self, name: str, test: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        async def fits() -> Any:
            pod = await self.get(PODS, name)
            return pod if pod is not None and test(pod) else None

        found: dict[str, Any] = await self.until(fits)
        return found


@asynccontextmanager
async def small_cluster(data_dir: Path) -> AsyncIterator[SmallCluster]:
    """Run one on the current loop, whose clock is also the wall clock of everything in it."""
    server = ApiServer(journal=None, owner_token=TOKEN, connector=lambda name: None, now=now)
    await server.start()
    notes = Notes()

    async def handle(request: Request) -> Response:
        return cluster.intercept(request) or await server.handle(request)

    client = Client(InProcess(handle, token=TOKEN))
    cluster = SmallCluster(client, notes, data_dir)
    for name in ("default", "kube-node-lease"):
        try:
            await client.create(
                NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
        except ApiError as error:
            assert error.reason == "AlreadyExists"
    manager = Manager(client)
    build_controllers(
        manager,
        recorder=notes,  # type: ignore[arg-type]
        data_dir=data_dir,
        root_ca="CERTIFICATE",
        now=now,
        asleep=lambda: 0.0,
    )
    build_scheduler(manager, recorder=notes, now=now)  # type: ignore[arg-type]
    running = asyncio.create_task(manager.run())
    obeying = asyncio.create_task(cluster.obey())
    try:
        await manager.started.wait()
        yield cluster
        assert not running.done()
        assert not obeying.done()
    finally:
        running.cancel()
        obeying.cancel()
        await asyncio.wait((running, obeying))
        await server.stop()

"""One node of the cluster: its Node object and Lease, the pods bound to it, and the way into them.

Several nodes may share one machine (:mod:`.host`); a pod's life is :mod:`.worker`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hortator import __version__
from hortator.apimachinery.conditions import find
from hortator.apimachinery.meta import micro_time, rfc3339
from hortator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from hortator.kube.resources import LEASES, NODES, PODS
from hortator.local.streams import ContainerNotFound, LogOptions, NotRunning

from .container import ContainerProcess, LaunchFailed, log_end, read_log
from .host import Host
from .logs import segments
from .resources import pod_containers
from .sessions import AttachSession, FailedSession, PortSession, ProcessSession
from .worker import HOST_IP, PodWorker

__all__ = ["LEASE_NAMESPACE", "NodeAgent"]

LEASE_NAMESPACE = "kube-node-lease"
_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
_STATUS_SECONDS = 300.0
#: What nodes say they are, so that clients know which API of a node to expect.
KUBELET_VERSION = "v1.36.0"
_log = logging.getLogger(__name__)


class NodeAgent:
    """A node. Implements ``local.streams.Connector``. It runs with its host, which the manager runs."""

    def __init__(
        self,
        host: Host,
        *,
        name: str,
        capacity: Mapping[str, str],
        labels: Mapping[str, str] | None = None,
        shutdown_grace: float = 5.0,
    ) -> None:
        """``capacity`` names every resource that the node offers (``cpu``, ``memory``, ``pods``, ``nvidia.com/gpu``);
        ``shutdown_grace`` is what pods get, in seconds, when the cluster stops.
        """
        self.name = name
        self._host = host
        self._capacity = {"pods": "1000", **capacity}
        self._labels = dict(labels or {})
        self._grace = shutdown_grace
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._removals: set[asyncio.Task[None]] = set()
        self._closing = False
        self._readers: Counter[str] = Counter()
        self._doomed: set[str] = set()
        host.agents[name] = self

    # -- pods ----------------------------------------------------------------------------------------------------

    def pod_changed(self, kind: str, pod: dict[str, Any]) -> None:
        """Hear of a pod (its newest object, or the last one when ``kind`` is ``deleted``)."""
        uid = pod["metadata"]["uid"]
        known = self._workers.get(uid)
        if kind == "deleted":
            if known is not None:
                known[0].vanish()
            else:
                self._forget(uid)
            return
        if known is not None:
            known[0].update(pod)
            return
        if pod["spec"].get("nodeName") != self.name or self._closing:
            return
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            if pod["metadata"].get("deletionTimestamp"):
                self._later(self._remove(pod))
            return
        worker = PodWorker(self._host, {"name": self.name, "allocatable": self._capacity}, pod)
        task = asyncio.create_task(worker.run(), name=f"pod {pod['metadata']['name']}")
        self._workers[uid] = (worker, task)
        task.add_done_callback(lambda done: self._worker_done(uid, done))

    def _worker_done(self, uid: str, task: asyncio.Task[None]) -> None:
        worker, _ = self._workers.pop(uid)
        if not task.cancelled() and (error := task.exception()) is not None:
            metadata = worker.pod["metadata"]
            _log.error("pod %s/%s: %r", metadata.get("namespace"), metadata["name"], error, exc_info=error)
        # It may have begun to be deleted while the worker was finishing.
        current = self._host.pods.get(worker.pod["metadata"].get("namespace"), worker.pod["metadata"]["name"])
        if self._closing:
            return
        if current is not None and current["metadata"]["uid"] == uid:
            self.pod_changed("modified", current)
        else:
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        """Remove the folders of a pod that is no more, once nobody reads its logs."""
        if self._readers[uid] == 0 and not self._closing:
            self._readers.pop(uid, None)
            self._doomed.discard(uid)
            self._later(asyncio.to_thread(self._host.remove_folders, uid))
        else:
            self._doomed.add(uid)

    async def settled(self) -> None:
        """Wait until what is left of removed pods has gone too."""
        await asyncio.gather(*(task for worker, task in self._workers.values() if worker.gone))
        await asyncio.gather(*self._removals)

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _remove(self, pod: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        with contextlib.suppress(NotFound, Conflict):
            await self._host.client.delete(
                PODS,
                metadata["name"],
                namespace=metadata.get("namespace"),
                grace_seconds=0,
                uid=metadata["uid"],
            )

    # -- the node itself -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Register the node and keep it alive until cancelled; then end its pods and say so."""
        try:
            registered = float("-inf")
            loop = asyncio.get_running_loop()
            while True:
                try:
                    if loop.time() >= registered + _STATUS_SECONDS:
                        await self._register(ready=True)
                        registered = loop.time()
                        self._host.registered(self.name)
                    await self._renew()
                except NotFound:
                    registered = float(
                        "-inf"
                    )  # somebody removed the Node, or its namespace: say again who we are
                except KubeError as error:
                    _log.warning("node %s: %s", self.name, error)
                await asyncio.sleep(_RENEW_SECONDS)
        finally:
            await self._shut_down()

    async def _shut_down(self) -> None:
        self._closing = True
        for worker, _ in self._workers.values():
            worker.shut_down(self._grace)
        tasks = [task for _, task in self._workers.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._grace + 5.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*self._removals, return_exceptions=True)
        with contextlib.suppress(KubeError):
            await self._register(ready=False)

    async def _register(self, *, ready: bool) -> None:
        client = self._host.client
        labels = {
            "beta.kubernetes.io/arch": _architecture(),
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            **self._labels,
        }
        try:
            node = await client.get(NODES, self.name)
            if any((node["metadata"].get("labels") or {}).get(key) != value for key, value in labels.items()):
                await client.patch(NODES, self.name, {"metadata": {"labels": labels}})
        except NotFound:
            with contextlib.suppress(AlreadyExists):
                await client.create(
                    NODES,
                    {
                        "apiVersion": "v1",
                        "kind": "Node",
                        "metadata": {"name": self.name, "labels": labels},
                        "spec": {"providerID": f"hortator://{self.name}"},
                    },
                )
            node = await client.get(NODES, self.name)
        await client.patch(
            NODES,
            self.name,
            {"status": self._status(node.get("status") or {}, ready, datetime.now(UTC))},
            kind="strategic",
            subresource="status",
        )

    def _status(self, before: Mapping[str, Any], ready: bool, now: datetime) -> dict[str, Any]:
        conditions = []
        for kind, good, reason, message in (
            ("MemoryPressure", True, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", True, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", True, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            (
                "Ready",
                not ready,
                "KubeletReady" if ready else "KubeletNotReady",
                "the local node is ready" if ready else "the cluster has been stopped",
            ),
        ):
            status = "False" if good else "True"
            old = find(before.get("conditions"), kind)
            same = old is not None and old.get("status") == status
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": rfc3339(now),
                    "lastTransitionTime": old["lastTransitionTime"]
                    if same and old is not None
                    else rfc3339(now),
                }
            )
        return {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": HOST_IP},
                {"type": "Hostname", "address": self.name},
            ],
            "nodeInfo": _node_info(),
        }

    async def _renew(self) -> None:
        client = self._host.client
        now = micro_time(datetime.now(UTC))
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": now}
        try:
            await client.patch(LEASES, self.name, {"spec": spec}, namespace=LEASE_NAMESPACE)
        except NotFound:
            node = await client.get(NODES, self.name)
            owner = {"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": node["metadata"]["uid"]}
            await client.create(
                LEASES,
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self.name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
                    "spec": spec,
                },
            )

    # -- the way into pods (local.streams.Connector) ------------------------------------------------------------

    async def logs(self, pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
        """Yield a container's log, with an empty chunk first while it says nothing. Raises :class:`ContainerNotFound`."""
        metadata = pod["metadata"]
        self._check_container(pod, options.container)
        data, _ = self._host.places.of(metadata["uid"])
        top = data / "logs" / options.container
        runs = sorted(int(each.name) for each in top.iterdir()) if top.is_dir() else []
        status = _container_status(pod, options.container)
        waiting = (status.get("state") or {}).get("waiting")
        if options.previous:
            # While it waits to be restarted, the run that has ended is both the newest and the previous one.
            runs = runs if waiting and not self._process(pod, options.container) else runs[:-1]
        if not runs or not segments(top / str(runs[-1])):
            if options.previous:
                raise ContainerNotFound(
                    f'previous terminated container "{options.container}" in pod "{metadata["name"]}" not found'
                )
            reason = (waiting or {}).get("reason", "ContainerCreating")
            raise ContainerNotFound(
                f'container "{options.container}" in pod "{metadata["name"]}" is waiting to start: {reason}'
            )
        process = None if options.previous else self._process(pod, options.container)
        folder = top / str(runs[-1])
        if process is not None and process.directory != folder:
            process = None
        uid = metadata["uid"]
        self._readers[uid] += 1
        try:
            async with contextlib.aclosing(read_log(folder, options, process, announce=True)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._readers[uid] -= 1
            if uid in self._doomed:
                self._forget(uid)

    async def exec(
        self, pod: dict[str, Any], container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> ProcessSession | FailedSession:
        """Start a command in a running container. Raises :class:`ContainerNotFound` or :class:`NotRunning`.

        A command that cannot be started ends with 127 (126 when it may not be run), as in a shell.
        """
        process = self._running(pod, container)
        try:
            return await process.exec(command, stdin=stdin, tty=tty, env={"TERM": "xterm"} if tty else None)
        except LaunchFailed as error:
            return FailedSession(str(error), 126 if "permission denied" in str(error) else 127)

    async def attach(self, pod: dict[str, Any], container: str, *, stdin: bool, tty: bool) -> AttachSession:
        """Join a running container's streams. Raises :class:`ContainerNotFound` or :class:`NotRunning`."""
        process = self._running(pod, container)
        spec = _container_spec(pod, container)

        begin = log_end(process.directory)

        def log(stream: str) -> AsyncGenerator[bytes, None]:
            options = LogOptions(container=container, follow=True, stream=stream)
            return read_log(process.directory, options, process, begin=begin)

        return AttachSession(
            process,
            log,
            stdin=stdin and bool(spec.get("stdin")),
            tty=bool(spec.get("tty")),
            stdin_once=bool(spec.get("stdinOnce")),
        )

    async def port_forward(self, pod: dict[str, Any], port: int) -> PortSession:
        """Connect to a port of the pod: at its own address, else at the machine's loopback. Raises ``OSError``."""
        addresses = [(pod.get("status") or {}).get("podIP"), "127.0.0.1", "::1"]
        refused: OSError = ConnectionRefusedError(f"nothing listens on port {port} of the pod")
        for address in filter(None, addresses):
            try:
                return PortSession(*await asyncio.open_connection(address, port))
            except OSError as error:
                refused = error
        raise refused

    def _process(self, pod: Mapping[str, Any], container: str) -> ContainerProcess | None:
        known = self._workers.get(pod["metadata"]["uid"])
        return known[0].process(container) if known is not None else None

    def _running(self, pod: Mapping[str, Any], container: str) -> ContainerProcess:
        self._check_container(pod, container)
        process = self._process(pod, container)
        if process is None:
            raise NotRunning(f'container "{container}" of pod "{pod["metadata"]["name"]}" is not running')
        return process

    def _check_container(self, pod: Mapping[str, Any], container: str) -> None:
        if not _container_spec(pod, container):
            raise ContainerNotFound(
                f'container "{container}" is not valid for pod "{pod["metadata"]["name"]}"'
            )


def _container_spec(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    spec = pod["spec"]
    everyone = [*pod_containers(spec), *(spec.get("ephemeralContainers") or ())]
    return next((each for each in everyone if each["name"] == name), {})


def _container_status(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for each in status.get(field) or ():
            if each["name"] == name:
                found: Mapping[str, Any] = each
                return found
    return {}


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _node_info() -> dict[str, str]:
    uname = os.uname()
    return {
        "machineID": _first_line("/etc/machine-id"),
        "systemUUID": "",
        "bootID": _first_line("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": uname.release,
        "osImage": _os_name(),
        "containerRuntimeVersion": f"hortator://{__version__}",
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _architecture(),
    }


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""

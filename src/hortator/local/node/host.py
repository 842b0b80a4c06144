"""The machine as all local nodes of one cluster share it: CPUs, addresses, names, folders, the zygote.

A node (:mod:`.agent`) is an object of the API; the machine under it is one, whatever number of nodes is declared on it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hortator.kube.manager import Manager
from hortator.kube.resources import PODS, SERVICES

from .addresses import AddressPool
from .cgroups import MemoryGroups, find_memory_groups
from .cpus import CpuPool, neighbours
from .hosts import HostEntry, ServiceEntry, hosts_text, selects, write_in_place
from .objects import ObjectWatcher
from .sandbox import Sandbox
from .zygote import Zygote

if TYPE_CHECKING:
    from .agent import NodeAgent

__all__ = ["Host", "LogLimits", "Owner", "Recorder"]


class Recorder(Protocol):
    """What Events are told to (``kube.events.Recorder``)."""

    def event(self, obj: Mapping[str, Any], type: str, reason: str, message: str) -> None:
        """Record an Event about an object, without waiting."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much of each run of a container is kept."""

    segment_bytes: int = 64 << 20
    segments: int = 2


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose machine it is: pods run as this person."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str

    @classmethod
    def current(cls) -> Owner:
        """Return who runs this process."""
        uid, gid = os.geteuid(), os.getegid()
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:  # a uid without a name, as in many containers
            return cls(uid, gid, str(uid), os.environ.get("HOME", "/"), "/bin/sh")
        return cls(
            uid, gid, entry.pw_name, os.environ.get("HOME") or entry.pw_dir, entry.pw_shell or "/bin/sh"
        )

    def environment(self) -> dict[str, str]:
        """Return what every container's environment begins with."""
        env = {
            "PATH": os.environ.get("PATH") or os.defpath,
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
        }
        for name in ("LANG", "LC_ALL", "TZ"):
            if name in os.environ:
                env[name] = os.environ[name]
        return env


@dataclass(frozen=True, slots=True)
class _Places:
    data: Path
    run: Path

    def of(self, uid: str) -> tuple[Path, Path]:
        return self.data / "pods" / uid, self.run / "pods" / uid


@dataclass(slots=True)
class _Known:
    """A pod of this machine that has an address."""

    entry: HostEntry
    labels: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[Mapping[str, Any]] = ()


class Host:
    """Made once per cluster process; its nodes are added with :class:`~.agent.NodeAgent`."""

    def __init__(
        self,
        manager: Manager,
        *,
        zygote: Zygote,
        recorder: Recorder,
        data_dir: Path,
        run_dir: Path,
        api_socket: Path | None = None,
        api_address: tuple[str, int] | None = None,
        gpus: Sequence[str] = (),
        cpus: Sequence[Sequence[int]] | None = None,
        log_limits: LogLimits | None = None,
    ) -> None:
        """``data_dir`` keeps logs and emptyDirs, ``run_dir`` (in memory, if possible) what is secret; both are for
        this cluster alone. ``gpus`` are the machine's GPUs as CUDA_VISIBLE_DEVICES names them.
        """
        self.client = manager.client
        self.zygote = zygote
        self.recorder = recorder
        self.places = _Places(data_dir, run_dir)
        self.api_socket = api_socket
        self.api_address = api_address
        self.owner = Owner.current()
        self.cpus = CpuPool(neighbours() if cpus is None else cpus)
        self.gpus = tuple(gpus)
        self._gpus_taken: dict[str, tuple[str, ...]] = {}
        self.addresses = AddressPool()
        self.objects = ObjectWatcher(self.client)
        self.log_limits = log_limits or LogLimits()
        self.agents: dict[str, NodeAgent] = {}
        self.sandbox = Sandbox(mounts=False, user=False, proc=False, why="not known yet")
        self.memory: MemoryGroups | None = None
        self.pods = manager.informer(PODS)
        self.services = manager.informer(SERVICES)
        self._known: dict[str, _Known] = {}
        self._written: dict[str, str] = {}
        self._rewriting: asyncio.Handle | None = None
        self._machine_hosts = ""
        #: Set once every node is registered.
        self.ready = asyncio.Event()
        self._registered: set[str] = set()
        manager.add_service("local nodes", self.run)

    def connector(self, node: str) -> NodeAgent | None:
        """Return the node of this name as the API server reaches it."""
        return self.agents.get(node)

    async def run(self) -> None:
        """Run every node until cancelled; then end their pods, and say so in their status."""
        for folder in (
            self.places.data / "pods",
            self.places.run / "pods",
            self.stage,
            self.places.run / "hosts",
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sandbox = await self.zygote.open()
        self.memory = await asyncio.to_thread(find_memory_groups)
        self._machine_hosts = await asyncio.to_thread(_read, Path("/etc/hosts"))
        self.pods.on_change(self._pod_changed)
        self.services.on_change(lambda *_: self._rewrite_soon())
        await asyncio.to_thread(self._sweep)
        try:
            async with asyncio.TaskGroup() as tasks:
                for agent in self.agents.values():
                    tasks.create_task(agent.run(), name=f"node {agent.name}")
        finally:
            await self.objects.close()

    def registered(self, node: str) -> None:
        """Hear that a node is in the API."""
        self._registered.add(node)
        if len(self._registered) == len(self.agents):
            self.ready.set()

    @property
    def stage(self) -> Path:
        """An empty folder over which sandboxes are built, each in its own namespace."""
        return self.places.run / "stage"

    def _sweep(self) -> None:
        """Remove the folders of pods that are no more."""
        live = {pod["metadata"]["uid"] for pod in self.pods.values()}
        for top in (self.places.data / "pods", self.places.run / "pods"):
            for folder in top.iterdir():
                if folder.name not in live:
                    shutil.rmtree(folder, ignore_errors=True)

    def remove_folders(self, uid: str) -> None:
        """Remove everything that was kept for a pod. Blocks: to be called in a thread."""
        for folder in self.places.of(uid):
            shutil.rmtree(folder, ignore_errors=True)

    def _pod_changed(self, kind: str, pod: dict[str, Any], old: dict[str, Any] | None) -> None:
        names = {(each["spec"].get("nodeName") or "") for each in (pod, old) if each is not None}
        for name in names:
            agent = self.agents.get(name)
            if agent is not None:
                agent.pod_changed(kind, pod)
        known = self._known.get(pod["metadata"]["uid"])
        if known is not None:
            labels = pod["metadata"].get("labels") or {}
            if known.labels != labels:
                known.labels = labels
                self._rewrite_soon()

    # -- GPUs ----------------------------------------------------------------------------------------------------

    def take_gpus(self, owner: str, count: int) -> tuple[str, ...]:
        """Give GPUs to a pod: as many as are free of those that it asks for."""
        if owner not in self._gpus_taken:
            busy = {gpu for taken in self._gpus_taken.values() for gpu in taken}
            self._gpus_taken[owner] = tuple([gpu for gpu in self.gpus if gpu not in busy][:count])
        return self._gpus_taken[owner]

    def release(self, uid: str) -> None:
        """Take back everything that a pod had."""
        self.cpus.release(uid)
        self.addresses.release(uid)
        self._gpus_taken.pop(uid, None)
        known = self._known.pop(uid, None)
        if known is not None:
            self._rewrite_soon()
            if known.aliases:
                self._written.pop(self._hosts_path(uid, known).name, None)
                self._hosts_path(uid, known).unlink(missing_ok=True)

    # -- names ---------------------------------------------------------------------------------------------------

    def add_name(self, pod: Mapping[str, Any], ip: str) -> Path:
        """Let the pod be found by name, and return the hosts file of its namespace, up to date for it."""
        metadata, spec = pod["metadata"], pod["spec"]
        entry = HostEntry(
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            ip=ip,
            hostname=spec.get("hostname") or metadata["name"],
            subdomain=spec.get("subdomain", ""),
        )
        uid = metadata["uid"]
        known = _Known(entry, metadata.get("labels") or {}, tuple(spec.get("hostAliases") or ()))
        self._known[uid] = known
        self._write(uid, known, self._service_entries())
        self._rewrite_soon()
        return self._hosts_path(uid, known)

    def _hosts_path(self, uid: str, known: _Known) -> Path:
        # No namespace has a dot in its name.
        name = f"{known.entry.namespace}.{uid}" if known.aliases else known.entry.namespace
        return self.places.run / "hosts" / name

    def _rewrite_soon(self) -> None:
        if self._rewriting is None:
            self._rewriting = asyncio.get_running_loop().call_soon(self._rewrite)

    def _rewrite(self) -> None:
        self._rewriting = None
        services = self._service_entries()
        files = {self._hosts_path(uid, known): (uid, known) for uid, known in self._known.items()}
        for uid, known in files.values():
            self._write(uid, known, services)

    def _write(self, uid: str, known: _Known, services: Sequence[ServiceEntry]) -> None:
        path = self._hosts_path(uid, known)
        entries = (each.entry for each in self._known.values())
        text = hosts_text(self._machine_hosts, known.entry.namespace, entries, services, known.aliases)
        if self._written.get(path.name) != text:
            write_in_place(path, text)
            self._written[path.name] = text

    def _service_entries(self) -> list[ServiceEntry]:
        found: list[ServiceEntry] = []
        for service in self.services.values():
            metadata = service["metadata"]
            namespace = metadata.get("namespace", "")
            selector = service["spec"].get("selector")
            ips = tuple(
                sorted(
                    known.entry.ip
                    for known in self._known.values()
                    if known.entry.namespace == namespace and selects(selector, known.labels)
                )
            )
            if ips:
                found.append(ServiceEntry(namespace, metadata["name"], ips))
        return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

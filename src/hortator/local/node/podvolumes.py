"""All volumes of one pod: which folder each is, made, filled, refreshed and removed.

The files' form is :mod:`.volumes`'s; here objects are fetched, tokens requested and places chosen. What holds secrets
lies in the run folder (memory, where the system has one), the rest in the data folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hortator.apimachinery.meta import parse_time
from hortator.kube.client import Client
from hortator.kube.errors import KubeError, NotFound
from hortator.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SERVICE_ACCOUNTS

from .environment import FieldContext, Object
from .objects import ObjectWatcher
from .sandbox import Mount
from .volumes import (
    MountFailed,
    Payload,
    Source,
    files_of,
    host_path,
    payload_sources,
    sub_path,
    write_payload,
)

__all__ = ["PodVolumes"]

_TOKEN_SECONDS = 3600
#: Seconds until a token that is still good is asked for again, when there was none to be had.
_TOKEN_RETRY = 10.0
_SHM = Path("/dev/shm")  # noqa: S108 -- the machine's memory file system; the folder made in it is the owner's alone


@dataclass(frozen=True, slots=True)
class _Token:
    token: str
    renew: float  # seconds of the monotonic clock
    expires: float


@contextlib.contextmanager
def _failing(volume: str) -> Iterator[None]:
    """Turn what goes wrong with a volume into the kubelet's sentence."""
    try:
        yield
    except (MountFailed, KubeError, OSError) as error:
        raise MountFailed(f'MountVolume.SetUp failed for volume "{volume}" : {error}') from error


class PodVolumes:
    """The volumes of one pod. ``changed`` is called when :meth:`refresh` or :meth:`prepare` should be run again."""

    def __init__(
        self,
        pod: Object,
        *,
        client: Client,
        objects: ObjectWatcher,
        data: Path,
        run: Path,
        changed: Callable[[], None],
    ) -> None:
        self._pod = pod
        self._client = client
        self._objects = objects
        self._data = data
        self._run = run
        self._changed = changed
        self._paths: dict[str, Path] = {}
        self._read_only: set[str] = set()
        self._files: dict[str, list[Source]] = {}
        self._memory: list[Path] = []
        self._tokens: dict[str, _Token] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._versions = 0

    @property
    def _namespace(self) -> str:
        return str(self._pod["metadata"].get("namespace", ""))

    async def prepare(self, context: FieldContext) -> None:
        """Make every volume. Raises :class:`MountFailed`; then nothing may start, and it is to be called again."""
        for volume in self._pod["spec"].get("volumes") or ():
            with _failing(volume["name"]):
                await self._prepare(volume, context)
        self._schedule()

    async def refresh(self, pod: Object, context: FieldContext) -> None:
        """Bring the files of ConfigMaps, Secrets, fields and tokens up to date.

        Raises :class:`MountFailed` for the first volume that cannot be; the others are all the same.
        """
        self._pod = pod
        failure: MountFailed | None = None
        for name, sources in self._files.items():
            try:
                with _failing(name):
                    await self._fill(name, sources, context)
            except MountFailed as error:
                failure = failure or error
        self._schedule()
        if failure is not None:
            raise failure

    async def _prepare(self, volume: Object, context: FieldContext) -> None:
        name = volume["name"]
        sources = payload_sources(volume)
        if sources is not None:
            self._files[name] = sources
            self._paths[name] = self._run / "volumes" / name
            self._read_only.add(name)
            await self._fill(name, sources, context)
        elif "emptyDir" in volume:
            self._paths[name] = self._empty_dir(name, volume["emptyDir"] or {})
        elif "hostPath" in volume:
            self._paths[name] = host_path(volume["hostPath"])
        elif "persistentVolumeClaim" in volume:
            self._paths[name] = await self._claimed(volume["persistentVolumeClaim"])
            if volume["persistentVolumeClaim"].get("readOnly"):
                self._read_only.add(name)
        else:
            kinds = ", ".join(key for key in volume if key != "name") or "without a source"
            raise MountFailed(f"volumes of this kind are not supported on a local node: {kinds}")

    def _empty_dir(self, name: str, spec: Object) -> Path:
        path = self._data / "volumes" / name
        if spec.get("medium") == "Memory" and os.access(_SHM, os.W_OK):
            top = _SHM / f"hortator-{os.geteuid()}"
            top.mkdir(mode=0o700, exist_ok=True)
            if top.is_symlink() or top.stat().st_uid != os.geteuid():
                raise MountFailed(f"{top} belongs to somebody else")
            self._memory.append(top / self._pod["metadata"]["uid"])
            path = self._memory[-1] / name
        path.mkdir(mode=0o777, parents=True, exist_ok=True)
        path.chmod(0o777)
        group = (self._pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None and os.geteuid() == 0:
            os.chown(path, -1, group)
            path.chmod(0o2777)
        return path

    async def _claimed(self, reference: Object) -> Path:
        name = reference["claimName"]
        try:
            claim = await self._client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=self._namespace)
            bound = claim["spec"].get("volumeName")
            if not bound or (claim.get("status") or {}).get("phase") != "Bound":
                raise MountFailed(f'persistentvolumeclaim "{name}" is not bound')
            spec = (await self._client.get(PERSISTENT_VOLUMES, bound))["spec"]
        except NotFound as error:
            raise MountFailed(str(error)) from error
        if "hostPath" in spec:
            return host_path(spec["hostPath"])
        if "local" in spec:
            return host_path({"path": spec["local"]["path"], "type": "Directory"})
        raise MountFailed(f'persistentvolume "{bound}" is neither hostPath nor local')

    async def _fill(self, name: str, sources: list[Source], context: FieldContext) -> None:
        files: dict[str, Payload] = {}
        for index, source in enumerate(sources):
            obj: Mapping[str, Any] | None = None
            if source.kind in ("ConfigMap", "Secret"):
                # Watched first: a change between the two calls is not missed.
                self._objects.watch(source.kind, self._namespace, source.name, self._changed)
                obj = await self._objects.get(source.kind, self._namespace, source.name)
            elif source.kind == "Token":
                obj = {"token": await self._token(f"{name}/{index}", source.spec)}
            files.update(files_of(source, obj, context, self._container_for(source)))
        self._versions += 1
        stamp = f"{datetime.now(UTC):%Y_%m_%d_%H_%M_%S}.{time.time_ns() % 10**9:09d}{self._versions}"
        write_payload(self._paths[name], files, stamp)

    def _container_for(self, source: Source) -> Object:
        # resourceFieldRef in volumes always names its container; the lookup is by that name.
        containers: list[Object] = self._pod["spec"]["containers"]
        return containers[0]

    async def _token(self, key: str, spec: Object) -> str:
        known = self._tokens.get(key)
        clock = asyncio.get_running_loop().time()
        if known is None or clock >= known.renew:
            try:
                known = await self._request_token(spec, clock)
            except KubeError:
                if known is None or clock >= known.expires:
                    raise
                # It is good for a while yet.
                known = replace(known, renew=clock + _TOKEN_RETRY)
            self._tokens[key] = known
        return known.token

    async def _request_token(self, spec: Object, clock: float) -> _Token:
        metadata = self._pod["metadata"]
        wanted = spec.get("expirationSeconds") or _TOKEN_SECONDS
        answer = await self._client.create(
            SERVICE_ACCOUNTS,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "metadata": {},
                "spec": {
                    "audiences": [spec["audience"]] if spec.get("audience") else [],
                    "expirationSeconds": wanted,
                    "boundObjectRef": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                    },
                },
            },
            namespace=self._namespace,
            name=self._pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        status = answer["status"]
        lasts = wanted
        if status.get("expirationTimestamp"):
            lasts = (parse_time(status["expirationTimestamp"]) - datetime.now(UTC)).total_seconds()
        # As upstream: after four fifths of its life, and once a day at least.
        return _Token(status["token"], renew=clock + min(lasts * 0.8, 86400.0), expires=clock + lasts)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tokens:
            due = min(token.renew for token in self._tokens.values())
            self._timer = asyncio.get_running_loop().call_at(due, self._changed)

    def mounts(self, container: Object, expand: Callable[[str], str]) -> list[Mount]:
        """Return a container's mounts. ``expand`` resolves ``subPathExpr``. Raises :class:`MountFailed`."""
        found: list[Mount] = []
        for each in container.get("volumeMounts") or ():
            name = each["name"]
            if name not in self._paths:
                raise MountFailed(f'volume "{name}" of container "{container["name"]}" does not exist')
            source = self._paths[name]
            part = each.get("subPath") or expand(each.get("subPathExpr") or "")
            if part:
                source = sub_path(source, part)
            target = each["mountPath"]
            found.append(
                Mount(
                    source=str(source),
                    target=target if target.startswith("/") else f"/{target}",
                    read_only=bool(each.get("readOnly")) or name in self._read_only,
                    file=not source.is_dir(),
                )
            )
        return found

    def release(self) -> None:
        """Stop keeping files up to date."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._objects.unwatch(self._changed)

    def remove(self) -> None:
        """Remove what was made for this pod; logs stay. Blocks: large folders are removed in a thread."""
        for folder in (self._data / "volumes", self._run, *self._memory):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)

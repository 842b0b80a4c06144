"""From a container's spec to what the zygote is asked for: program, environment, mounts, identity. No I/O but folders."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .channel import Message
from .cpus import format_cpus
from .environment import ConfigError, FieldContext, Object, command_line, expand, make_environment
from .host import Host
from .podvolumes import PodVolumes
from .rewrite import PathRewriter
from .sandbox import Mount

__all__ = [
    "NICE",
    "Belongings",
    "NoCommand",
    "container_message",
    "identity_of",
    "log_directory",
    "termination_path",
]

#: Pods run at a lower priority than the cluster that looks after them.
NICE = 5


class NoCommand(Exception):
    """Raised for a container that relies on the entrypoint of its image."""

    def __str__(self) -> str:
        return (
            "no command specified: images are not used on a local node, so the image's own entrypoint is not known; "
            "give the container a command"
        )


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a pod was given by the machine."""

    ip: str
    cpus: frozenset[int] = frozenset()
    gpus: tuple[str, ...] | None = None
    hosts: Path | None = None


def log_directory(data: Path, container: str, run: int) -> Path:
    """Return the folder of one run's log."""
    return data / "logs" / container / str(run)


def termination_path(data: Path, container: str, run: int) -> Path:
    """Return the file behind a container's termination message."""
    return data / "termination" / f"{container}-{run}"


def identity_of(pod: Object, container: Object, owner_uid: int) -> dict[str, Any]:
    """Return uid, gid and groups to change to (empty: stay). Raises :class:`ConfigError` when that is not possible."""
    context = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    uid = context.get("runAsUser")
    gid = context.get("runAsGroup")
    effective = owner_uid if uid is None else uid
    if context.get("runAsNonRoot") and effective == 0:
        raise ConfigError("container has runAsNonRoot and would run as root")
    if owner_uid != 0:
        if uid is not None and uid != owner_uid:
            raise ConfigError(
                f"runAsUser {uid} is not possible: pods of this cluster run as its owner (uid {owner_uid}), "
                "who is not root"
            )
        return {}
    if uid is None and gid is None:
        return {}
    if gid is None:
        try:
            gid = pwd.getpwuid(effective).pw_gid
        except KeyError:
            gid = 0
    groups = {gid, *(context.get("supplementalGroups") or ())}
    if context.get("fsGroup") is not None:
        groups.add(context["fsGroup"])
    if context.get("supplementalGroupsPolicy") != "Strict":
        try:
            name = pwd.getpwuid(effective).pw_name
            groups.update(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)
        except KeyError:
            pass  # a uid without a name is in no group
    return {"uid": effective, "gid": gid, "groups": sorted(groups)}


def container_message(
    host: Host,
    pod: Object,
    container: Object,
    *,
    run: int,
    belongings: Belongings,
    volumes: PodVolumes,
    context: FieldContext,
    lookup: Callable[[str, str], Mapping[str, Any] | None],
) -> Message:
    """Return what the zygote needs to start this container.

    Raises :class:`ConfigError`, :class:`NoCommand` and :class:`MountFailed`.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    data, _ = host.places.of(metadata["uid"])
    if not container.get("command"):
        raise NoCommand
    identity = identity_of(pod, container, host.owner.uid)
    hostname = (spec.get("hostname") or metadata["name"])[:63].rstrip("-.")
    base = {**host.owner.environment(), **_given(host, belongings, hostname)}
    if identity:
        base.update(_personal(identity["uid"]))
    # Only what is declared can be referred to, as upstream: $(HOME) stays as it was typed.
    declared = make_environment(container, _service_variables(host), context, lookup)
    argv = command_line(container, declared)
    env = {**base, **declared}
    cwd = container.get("workingDir") or (base["HOME"] if os.path.isdir(base["HOME"]) else "/")  # noqa: PTH112
    log = log_directory(data, container["name"], run)
    log.mkdir(mode=0o700, parents=True, exist_ok=True)
    message_file = termination_path(data, container["name"], run)
    message_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    message_file.touch(mode=0o666)
    if identity:
        message_file.chmod(0o666)
    mounts = volumes.mounts(container, lambda text: expand(text, declared))
    mounts.append(
        Mount(str(message_file), container.get("terminationMessagePath") or "/dev/termination-log", file=True)
    )
    if not host.sandbox.mounts:
        rewrite = PathRewriter({mount.target: mount.source for mount in mounts})
        env = rewrite.values(env)
        argv = [rewrite(word) for word in argv]
        cwd = rewrite(cwd)
    elif belongings.hosts is not None and not any(mount.target == "/etc/hosts" for mount in mounts):
        mounts.append(Mount(str(belongings.hosts), "/etc/hosts", file=True))
    return {
        "id": f"{metadata.get('namespace', '')}/{metadata['name']}/{container['name']}",
        "argv": argv,
        "env": env,
        "cwd": cwd,
        "hostname": hostname,
        "mounts": [asdict(mount) for mount in mounts],
        "stage": str(host.stage),
        "cpus": sorted(belongings.cpus),
        "nice": NICE,
        "identity": identity,
        "log": {
            "directory": str(log),
            "segment_bytes": host.log_limits.segment_bytes,
            "segments": host.log_limits.segments,
        },
    }


def _service_variables(host: Host) -> dict[str, str]:
    if host.api_address is None:
        return {}
    address, port = host.api_address
    return {
        "KUBERNETES_SERVICE_HOST": address,
        "KUBERNETES_SERVICE_PORT": str(port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
        "KUBERNETES_PORT": f"tcp://{address}:{port}",
    }


def _given(host: Host, belongings: Belongings, hostname: str) -> dict[str, str]:
    env = {"HOSTNAME": hostname}
    if host.api_socket is not None:
        env["HORT_API_SOCKET"] = str(host.api_socket)
    if belongings.cpus:
        env["HORT_CPUS"] = format_cpus(belongings.cpus)
    if belongings.gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(belongings.gpus)
    return env


def _personal(uid: int) -> dict[str, str]:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return {"HOME": "/", "USER": str(uid), "LOGNAME": str(uid)}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}

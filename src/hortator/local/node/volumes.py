"""The folders behind a pod's volumes: made before it starts, kept up to date while it runs, removed after it.

Files of ConfigMaps, Secrets, downward API and tokens are written as the kubelet writes them: a folder ``..TIME`` that
``..data`` points to, switched in one step, so that a reader sees all of the old or all of the new. Files are written here,
objects come from the caller.
"""

from __future__ import annotations

import base64
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import ConfigError, FieldContext, Object, field_value, resource_value

__all__ = [
    "MountFailed",
    "Payload",
    "Source",
    "files_of",
    "host_path",
    "payload_sources",
    "sub_path",
    "write_payload",
]

_MODE = 0o644
_MISSING_KEY = {
    "ConfigMap": "configmap references non-existent config key: {}",
    "Secret": "references non-existent secret key: {}",
}


class MountFailed(Exception):
    """Raised when a volume cannot be set up (yet); ``str`` is the kubelet's sentence."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One file of a volume."""

    data: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Source:
    """A part of a volume that is made of files: ``kind`` ConfigMap, Secret, DownwardAPI or Token."""

    kind: str
    spec: Object
    default_mode: int

    @property
    def name(self) -> str:
        """The object's name, for ConfigMaps and Secrets."""
        return str(self.spec.get("name") or self.spec.get("secretName") or "")


def payload_sources(volume: Object) -> list[Source] | None:
    """Return the parts of a volume that is made of files; None for any other kind of volume.

    Raises :class:`MountFailed` for a projected source that is not supported.
    """
    for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret"), ("DownwardAPI", "downwardAPI")):
        if field in volume:
            spec = volume[field]
            return [Source(kind, spec, spec.get("defaultMode") or _MODE)]
    if "projected" not in volume:
        return None
    projected = volume["projected"] or {}
    mode = projected.get("defaultMode") or _MODE
    found: list[Source] = []
    for source in projected.get("sources") or ():
        for kind, field in (
            ("ConfigMap", "configMap"),
            ("Secret", "secret"),
            ("DownwardAPI", "downwardAPI"),
            ("Token", "serviceAccountToken"),
        ):
            if field in source:
                found.append(Source(kind, source[field], mode))
                break
        else:
            raise MountFailed(
                f"projected source {', '.join(source) or 'without content'} is not supported here"
            )
    return found


def files_of(
    source: Source, obj: Object | None, context: FieldContext, container: Object
) -> dict[str, Payload]:
    """Return the files of one source. ``obj`` is the ConfigMap or Secret, or ``{"token": ...}`` for a token.

    Raises :class:`MountFailed` in the kubelet's words.
    """
    if source.kind == "Token":
        token = (obj or {}).get("token", "")
        # A token is for its owner's eyes, whatever the volume's mode says (upstream: 0600 with runAsUser).
        return {source.spec.get("path", "token"): Payload(token.encode(), min(source.default_mode, 0o600))}
    if source.kind == "DownwardAPI":
        files = {}
        for item in source.spec.get("items") or ():
            try:
                if "fieldRef" in item:
                    text = field_value(item["fieldRef"].get("fieldPath", ""), context)
                else:
                    text = resource_value(item["resourceFieldRef"], container, context)
            except ConfigError as error:
                raise MountFailed(str(error)) from error
            files[item["path"]] = Payload(text.encode(), item.get("mode") or source.default_mode)
        return files
    data = _data(source.kind, obj)
    if obj is None and not source.spec.get("optional"):
        raise MountFailed(f'{source.kind.lower()} "{source.name}" not found')
    items = source.spec.get("items")
    if not items:
        return {key: Payload(value, source.default_mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item["key"] not in data:
            if source.spec.get("optional"):
                continue
            raise MountFailed(_MISSING_KEY[source.kind].format(item["key"]))
        files[item["path"]] = Payload(data[item["key"]], item.get("mode") or source.default_mode)
    return files


def _data(kind: str, obj: Object | None) -> dict[str, bytes]:
    if obj is None:
        return {}
    plain = obj.get("data") or {}
    if kind == "Secret":
        return {key: base64.b64decode(value or "") for key, value in plain.items()}
    binary = obj.get("binaryData") or {}
    data = {key: value.encode("utf-8", "surrogateescape") for key, value in plain.items()}
    return {**data, **{key: base64.b64decode(value) for key, value in binary.items()}}


def write_payload(folder: Path, files: Mapping[str, Payload], stamp: str) -> bool:
    """Bring a volume's folder to these files in one step; return whether anything changed.

    ``stamp`` names the new version and must not have been used before.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if _same(folder / "..data", files):
        return False
    version = folder / f"..{stamp}"
    version.mkdir(mode=0o755)
    for path, payload in files.items():
        if path.startswith("/") or ".." in path.split("/"):
            raise MountFailed(f"invalid path {path!r}: it must stay inside the volume")
        target = version / path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(payload.data)
            os.fchmod(file.fileno(), payload.mode)
    data = folder / "..data"
    old = data.readlink() if data.is_symlink() else None
    fresh = folder / "..data_tmp"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(version.name)
    fresh.replace(data)
    heads = {path.split("/")[0] for path in files}
    for head in heads:
        link = folder / head
        if not link.is_symlink():
            link.symlink_to(f"..data/{head}")
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name not in heads and not entry.name.startswith(".."):
            entry.unlink()
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _same(current: Path, files: Mapping[str, Payload]) -> bool:
    if not current.is_dir():
        return False
    found = {
        str(path.relative_to(current)): path
        for path in current.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return found.keys() == files.keys() and all(
        path.read_bytes() == files[name].data and stat.S_IMODE(path.stat().st_mode) == files[name].mode
        for name, path in found.items()
    )


def host_path(spec: Object) -> Path:
    """Check a ``hostPath`` volume, make what its type asks for, and return the path. Raises :class:`MountFailed`."""
    path = Path(spec.get("path", ""))
    kind = spec.get("type") or ""
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    elif kind == "FileOrCreate" and not path.exists():
        if not path.parent.is_dir():
            raise MountFailed(f"hostPath type check failed: {path.parent} is not a directory")
        path.touch(mode=0o644)
    checks: dict[str, tuple[str, Any]] = {
        "Directory": ("directory", path.is_dir),
        "DirectoryOrCreate": ("directory", path.is_dir),
        "File": ("file", path.is_file),
        "FileOrCreate": ("file", path.is_file),
        "Socket": ("socket", path.is_socket),
        "CharDevice": ("character device", path.is_char_device),
        "BlockDevice": ("block device", path.is_block_device),
    }
    if kind in checks and not checks[kind][1]():
        raise MountFailed(f"hostPath type check failed: {path} is not a {checks[kind][0]}")
    if not kind and not path.exists():
        # Without a type the container runtime makes a missing path a directory.
        path.mkdir(mode=0o755, parents=True)
    return path


def sub_path(volume: Path, sub: str) -> Path:
    """Return the part of a volume that is mounted, made if it is missing. Raises :class:`MountFailed`."""
    if sub.startswith("/") or ".." in sub.split("/"):
        raise MountFailed(f'subPath "{sub}" must be relative and stay inside the volume')
    target = volume / sub
    if not target.exists():
        target.mkdir(mode=0o755, parents=True)
    if not target.resolve().is_relative_to(volume.resolve()):
        raise MountFailed(f'subPath "{sub}" leads out of the volume')
    return target

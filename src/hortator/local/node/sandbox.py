"""The view of the machine that a container gets: its own host name, its volumes where it wants them, all else as it is.

Built in the first process of a container, before its program starts. Standard library only. The new root is a small
tmpfs into which the machine's directories are bound, so that any mount path can appear without touching the machine:
a directory in which something new must appear is *spread* (made anew, its entries bound one by one). Nothing here is
a boundary against the person whose programs these are.
"""

# Strings and calls of os: this is on the way of every start, where pathlib costs.
# ruff: noqa: PTH101, PTH102, PTH103, PTH115, PTH120, PTH211

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from . import syscalls as sys_

__all__ = [
    "Mount",
    "Sandbox",
    "SandboxFailed",
    "build",
    "enter_namespaces",
    "keep_identity",
    "probe",
    "spread_directories",
]

#: Below these a missing mount path is never created on the machine itself.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/media", "/mnt", "/nix", "/opt",
           "/proc", "/run", "/sbin", "/snap", "/srv", "/sys", "/usr", "/var")  # fmt: skip
_PERSONAL = ("/var/tmp", "/run/user")  # noqa: S108 -- what people may write to below the above


class SandboxFailed(Exception):
    """Raised when a mount could not be made; ``str`` names the path and the reason."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the kernel lets us do, found by trying once. ``why`` says what stopped us where ``mounts`` is False."""

    mounts: bool
    user: bool  # a user namespace is needed (not root)
    proc: bool  # a fresh /proc can be mounted
    why: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """One bind mount. ``file`` says that the source is not a directory."""

    source: str
    target: str
    read_only: bool = False
    file: bool = False


def personal(directory: str, writable: Callable[[str], bool]) -> bool:
    """Whether a missing mount path below this directory may be created on the machine itself, as docker does."""
    if any(_below(directory, place) for place in _PERSONAL):
        return writable(directory)
    system = directory == "/" or any(_below(directory, place) for place in _SYSTEM)
    return not system and writable(directory)


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def spread_directories(
    targets: Iterable[str], exists: Callable[[str], bool], writable: Callable[[str], bool]
) -> set[str]:
    """Return the directories that must be made anew so that every target (no symlinks left in it) can appear.

    With each directory come all its parents. A target that exists, or that may be created for real, needs none.
    """
    spread = {"/"}
    known: list[str] = []
    for target in sorted(targets, key=lambda path: path.count("/")):
        inside_other = any(_below(target, other) for other in known)
        known.append(target)
        if inside_other or exists(target):
            continue
        parent = os.path.dirname(target)
        while not exists(parent):
            parent = os.path.dirname(parent)
        if personal(parent, writable):
            continue
        while parent != "/":
            spread.add(parent)
            parent = os.path.dirname(parent)
    return spread


def enter_namespaces(*, user: bool, pid: bool = True) -> None:
    """Leave the machine's namespaces; the next child is the first process of the new PID namespace.

    With ``user`` the caller is root inside (mapped to who it is outside), which the mounts need.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = sys_.CLONE_NEWNS | sys_.CLONE_NEWUTS | (sys_.CLONE_NEWPID if pid else 0)
    sys_.unshare(flags | (sys_.CLONE_NEWUSER if user else 0))
    if user:
        _map_identity(0, uid, 0, gid)


def keep_identity(uid: int, gid: int) -> None:
    """Become who one was outside, in a second user namespace; mounts can no longer be made after this."""
    sys_.unshare(sys_.CLONE_NEWUSER)
    _map_identity(uid, 0, gid, 0)


def _map_identity(uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    # An unprivileged process may map its own group only after giving up setgroups.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def build(mounts: Sequence[Mount], *, stage: str, hostname: str, proc: bool) -> None:
    """Build the new root and move into it. ``stage`` is any directory; it is covered in this namespace only.

    Raises :class:`SandboxFailed`.
    """
    try:
        socket.sethostname(hostname)
        sys_.mount("", "/", "", sys_.MS_REC | sys_.MS_SLAVE)
        _build(mounts, stage, proc)
    except OSError as error:
        raise SandboxFailed(f"the container's file system could not be made: {error}") from error


def _build(mounts: Sequence[Mount], stage: str, proc: bool) -> None:
    resolved = sorted(
        (Mount(m.source, os.path.realpath(m.target), m.read_only, m.file) for m in mounts),
        key=lambda m: m.target.count("/"),
    )
    spread = spread_directories(
        (m.target for m in resolved), os.path.lexists, lambda path: os.access(path, os.W_OK | os.X_OK)
    )
    sys_.mount("hortator", stage, "tmpfs", sys_.MS_NOSUID, "mode=755")
    _spread("/", stage, spread, proc)
    for mount in resolved:
        target = stage + mount.target
        _make_target(target, mount.file)
        try:
            sys_.mount(mount.source, target, "", sys_.MS_BIND | sys_.MS_REC)
            if mount.read_only:
                sys_.mount(
                    "", target, "", sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY | _locked_flags(target)
                )
        except OSError as error:
            raise SandboxFailed(f'mounting "{mount.source}" at "{mount.target}": {error.strerror}') from error
    os.chdir(stage)
    try:
        sys_.pivot_root(".", ".")
        sys_.umount(".", sys_.MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        # The machine's root is an initramfs, which cannot be pivoted away from.
        sys_.mount(".", "/", "", sys_.MS_MOVE)
        os.chroot(".")
    os.chdir("/")


def _make_target(target: str, file: bool) -> None:
    if os.path.lexists(target):
        return
    parent = os.path.dirname(target) if file else target
    try:
        os.makedirs(parent, exist_ok=True)
        if file:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise SandboxFailed(f"making the mount point {error.filename}: {error.strerror}") from error


def _spread(directory: str, stage: str, spread: set[str], proc: bool) -> None:
    prefix = directory if directory.endswith("/") else directory + "/"
    with os.scandir(directory) as entries:
        for entry in entries:
            path = prefix + entry.name
            target = stage + path
            if entry.is_symlink():
                os.symlink(os.readlink(path), target)
            elif entry.is_dir(follow_symlinks=False):
                os.mkdir(target)
                if path in spread:
                    os.chmod(target, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode))
                    _spread(path, stage, spread, proc)
                elif path != "/proc" or not _fresh_proc(target, proc):
                    _bind(path, target)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
                _bind(path, target)


def _bind(path: str, target: str) -> None:
    # What the caller may not even look at (another user's FUSE mount) stays an empty place.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        sys_.mount(path, target, "", sys_.MS_BIND | sys_.MS_REC)


def _fresh_proc(target: str, proc: bool) -> bool:
    if proc:
        sys_.mount("proc", target, "proc", sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC)
    return proc


def _locked_flags(path: str) -> int:
    """Return the flags of a mount that a user namespace may not take away when it remounts."""
    held = os.statvfs(path).f_flag
    flags = 0
    for seen, flag in (
        (os.ST_NOSUID, sys_.MS_NOSUID),
        (os.ST_NODEV, sys_.MS_NODEV),
        (os.ST_NOEXEC, sys_.MS_NOEXEC),
        (os.ST_NOATIME, sys_.MS_NOATIME),
        (os.ST_NODIRATIME, sys_.MS_NODIRATIME),
        (os.ST_RELATIME, sys_.MS_RELATIME),
    ):
        if held & seen:
            flags |= flag
    return flags


def probe() -> Sandbox:
    """Find out by trying, in a child, what the kernel allows here."""
    why = ""
    attempts = [False, True] if os.geteuid() == 0 else [True]
    for user in attempts:
        answer = _try(user)
        if answer in ("proc", "mounts"):
            return Sandbox(mounts=True, user=user, proc=answer == "proc")
        why = answer
    return Sandbox(mounts=False, user=False, proc=False, why=why)


def _try(user: bool) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            os.write(writing, _attempt(user, writing).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(pid, 0)
    return answer or "a child of this process could not be started"


def _attempt(user: bool, writing: int) -> str:
    uid, gid = os.geteuid(), os.getegid()
    try:
        enter_namespaces(user=user)
    except OSError as error:
        return f"the kernel refuses namespaces: {error}"
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return ""
    try:
        answer = "mounts"
        try:
            sys_.mount("", "/", "", sys_.MS_REC | sys_.MS_SLAVE)
            with contextlib.suppress(OSError):
                sys_.mount("proc", "/proc", "proc", sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC)
                answer = "proc"
            sys_.mount("hortator", "/tmp", "tmpfs", 0, "mode=755")  # noqa: S108 -- covered in this namespace only
            if user:
                keep_identity(uid, gid)
        except OSError as error:
            answer = f"the kernel refuses mounts: {error}"
        os.write(writing, answer.encode())
    finally:
        os._exit(0)

"""The Linux calls that Python 3.11 does not have: unshare, mount, pivot_root, prctl.

Standard library only. Each raises ``OSError`` as Python's own calls do.
"""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = [
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MNT_DETACH",
    "MS_BIND",
    "MS_MOVE",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "MS_SLAVE",
    "become_subreaper",
    "die_with_parent",
    "mount",
    "name_process",
    "pivot_root",
    "umount",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_RELATIME = 0x200000
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, *paths: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *paths[:1])


def unshare(flags: int) -> None:
    """Leave the named namespaces for new ones; a new PID namespace begins with the next child."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount; the error names the target."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    """Unmount."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), target)


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root of this mount namespace. ``ENOSYS`` on a machine type whose call number is not known."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(38, f"pivot_root is not known for {platform.machine()}")
    _check(_libc.syscall(ctypes.c_long(number), os.fsencode(new), os.fsencode(old)), new)


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def become_subreaper() -> None:
    """Adopt every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal: int) -> None:
    """Be sent ``signal`` when the parent (thread) ends; cleared by setuid."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def name_process(name: str) -> None:
    """Set what ``ps`` and ``top`` show as the command (15 bytes)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(_PR_SET_NAME, buffer, 0, 0, 0))

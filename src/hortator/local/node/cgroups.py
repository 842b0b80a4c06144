"""Memory limits by control groups, where one can be written (version 1 or 2); elsewhere there are none.

A limit that cannot be enforced is not claimed: then nothing is limited, and nothing is ever called OOMKilled.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MemoryGroup", "MemoryGroups", "find_memory_groups"]

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """One container's group."""

    path: Path
    oom_file: Path

    def remove(self) -> None:
        """Remove the group, which must have no process any more."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


@dataclass(frozen=True, slots=True)
class MemoryGroups:
    """A group in which groups can be made. ``limit_file`` and ``oom_name`` depend on the version."""

    parent: Path
    limit_file: str
    oom_name: str

    def create(self, name: str, limit: int) -> MemoryGroup:
        """Make a group with a limit in bytes. Raises ``OSError``."""
        path = self.parent / f"hortator-{os.getpid()}-{name}"
        path.mkdir(exist_ok=True)
        try:
            (path / self.limit_file).write_text(str(limit))
            for extra, value in (("memory.memsw.limit_in_bytes", limit), ("memory.swap.max", 0)):
                # Without swap accounting these are not there; then swap is not limited.
                if (path / extra).exists():
                    with contextlib.suppress(OSError):
                        (path / extra).write_text(str(value))
        except OSError:
            path.rmdir()
            raise
        return MemoryGroup(path, path / self.oom_name)


def find_memory_groups(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> MemoryGroups | None:
    """Find by trying where this process may limit memory; None where it may not."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        places: list[tuple[Path, str, str]] = []
        if "memory" in controllers.split(","):
            places = [(root / "memory", "memory.limit_in_bytes", "memory.oom_control")]
        elif controllers == "":
            places = [
                (root, "memory.max", "memory.events"),
                (root / "unified", "memory.max", "memory.events"),
            ]
        for top, limit_file, oom_name in places:
            # In a container the own path may name a group that is not visible; the top then is the own group.
            for parent in (top / path.lstrip("/"), top):
                groups = MemoryGroups(parent, limit_file, oom_name)
                try:
                    groups.create("probe", 1 << 30).remove()
                except OSError:
                    with contextlib.suppress(OSError):
                        (parent / f"hortator-{os.getpid()}-probe").rmdir()
                    continue
                return groups
    return None

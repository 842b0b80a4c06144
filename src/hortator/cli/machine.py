"""What this machine has: CPUs, memory, GPUs. Limits of the container or session that we run in are respected."""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path

__all__ = ["cpus", "gpus", "memory_bytes"]

_CGROUP = Path("/sys/fs/cgroup")


def cpus() -> list[int]:
    """Return the CPUs that this process may use, no more of them than a CPU quota grants."""
    usable = sorted(os.sched_getaffinity(0))
    quota = _cpu_quota()
    return usable[: max(1, math.ceil(quota))] if quota is not None else usable


def _cpu_quota() -> float | None:
    """Return the cgroup's quota in CPUs (v2 ``cpu.max``, v1 ``cfs_quota``), or None."""
    words = _read(_CGROUP / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota, period = (_read(_CGROUP / "cpu" / f"cpu.cfs_{what}_us") for what in ("quota", "period"))
    if quota and period and int(quota) > 0:
        return int(quota) / int(period)
    return None


def memory_bytes() -> int:
    """Return the machine's memory, or the cgroup's limit where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(_CGROUP / name)
        if text.isdigit():
            total = min(total, int(text))
    return total


def gpus() -> int:
    """Return how many NVIDIA GPUs the management library counts; 0 without library, driver or GPU."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    count = ctypes.c_uint()
    if library.nvmlInit_v2() != 0:
        return 0
    try:
        return count.value if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 else 0
    finally:
        library.nvmlShutdown()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

"""Containers without an API: what the zygote is asked for, as a test builder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hortator.local.node.sandbox import Mount


def container(folder: Path, script: str, *, mounts: tuple[Mount, ...] = (), **more: Any) -> dict[str, Any]:
    """Return the request for a container that runs a shell script; its log is in ``folder/log``."""
    for name in ("log", "stage"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0o777)  # the zygote may be another user
    return {
        "argv": ["sh", "-c", script],
        "env": {"PATH": os.environ["PATH"]},
        "cwd": "/",
        "hostname": "pod-0",
        "mounts": [
            {"source": each.source, "target": each.target, "read_only": each.read_only, "file": each.file}
            for each in mounts
        ],
        "stage": str(folder / "stage"),
        "cpus": [],
        "nice": 0,
        "identity": {},
        "log": {"directory": str(folder / "log"), "segment_bytes": 1 << 20, "segments": 2},
        **more,
    }

"""A file system that is soon full, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.needs import missing, program


@dataclass(frozen=True)
class SmallDisk:
    """A small file system, mounted on ``folder`` for those whose command begins with ``inside``."""

    folder: Path
    inside: tuple[str, ...]

    def fill(self) -> None:
        """Take all the room that is left."""
        command = ["dd", "if=/dev/zero", f"of={self.folder}/fill", "bs=1k"]
        subprocess.run([*self.inside, *command], capture_output=True)

    def free(self) -> None:
        """Give the room back."""
        subprocess.run([*self.inside, "rm", "-f", f"{self.folder}/fill"], check=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a file system of that size until left."""
    if os.getuid() != 0:
        missing("root is needed to mount a small file system")
    folder.mkdir()
    script = f'mount -t tmpfs -o size={size},mode=700 tmpfs "$1" && echo mounted && exec sleep infinity'
    holder = subprocess.Popen(
        [program("unshare"), "-m", "sh", "-c", script, "sh", str(folder)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"mounted\n"
        yield SmallDisk(folder, (str(program("nsenter")), "-t", str(holder.pid), "-m"))
    finally:
        holder.kill()
        holder.communicate()

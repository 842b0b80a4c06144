"""Other users of the machine, and a Python with hortator in it that they may run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hortator
from support.needs import missing, program

__all__ = ["as_user", "folder_of", "others_python"]

#: What is only needed for developing; the rest of the environment is copied.
_LEFT_OUT = ("*mypy*", "*ruff*", "*hypothesis*", "*pytest*", "pip", "grimp*", "__pycache__")


def as_user(uid: int) -> Sequence[str]:
    """Return what stands before a command that is to run as ``uid``, without any of root's rights."""
    if os.getuid() != 0:
        missing("root is needed to be somebody else")
    setpriv = str(program("setpriv"))
    return (
        setpriv,
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
    )


@contextmanager
def folder_of(uid: int) -> Iterator[Path]:
    """Yield a new folder that belongs to ``uid``, which pytest's, being root's, cannot hold."""
    folder = Path(tempfile.mkdtemp(prefix=f"hort-test-{uid}-"))
    os.chown(folder, uid, uid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def others_python() -> Iterator[str]:
    """Yield a Python that everybody may run, of a copy of this environment; root's own is often out of their reach."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    system = Path("/usr/bin") / name
    if not system.exists():
        missing(f"{system} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="hort-test-venv-"))
    try:
        subprocess.run([system, "-m", "venv", "--without-pip", folder], check=True)
        libraries = folder / "lib"
        shutil.copytree(
            Path(sys.prefix) / "lib",
            libraries,
            dirs_exist_ok=True,
            symlinks=True,
            ignore=shutil.ignore_patterns(*_LEFT_OUT),
        )
        packages = libraries / name / "site-packages"
        for installed in packages.glob("*hortator*"):  # an editable install points to where others may not go
            shutil.rmtree(installed) if installed.is_dir() else installed.unlink()
        shutil.copytree(Path(hortator.__file__).parent, packages / "hortator")
        for tool in (Path(sys.prefix) / "bin").iterdir():
            if tool.name.startswith(("mpi", "prte", "prun", "prterun", "ompi", "opal", "orte")):
                shutil.copy2(tool, folder / "bin", follow_symlinks=False)
        if (share := Path(sys.prefix) / "share").is_dir():
            shutil.copytree(share, folder / "share", dirs_exist_ok=True)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield str(folder / "bin" / "python")
    finally:
        shutil.rmtree(folder)

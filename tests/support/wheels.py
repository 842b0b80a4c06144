"""Pythons with another MPI than this one's, and sources of packages, from the package index; kept between runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from support.needs import missing

#: Packages of each, beside mpi4py. Intel's wheel is taken without the fabrics that it asks for: one machine needs none.
MPI_WHEELS = {"mpich": "mpich==5.0.2", "intel": "impi-rt==2021.19.0"}


def mpi_python(name: str) -> Path:
    """Return a Python whose mpi4py loads the MPI ``mpich`` or ``intel`` of a wheel beside it."""
    package = MPI_WHEELS[name]

    def make(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        mpi4py = f"mpi4py=={version('mpi4py')}"
        _run(*PIP, "--python", str(folder), "install", "-q", "--no-deps", package, mpi4py)

    return _kept(f"{package}-python{sys.version_info[0]}.{sys.version_info[1]}", make) / "bin" / "python"


def source_of(package: str) -> Path:
    """Return the unpacked source of the installed version of ``package``."""
    wanted = f"{package}=={version(package)}"

    def make(folder: Path) -> None:
        _run(*PIP, "download", "-q", "--no-binary", package, "--no-deps", "-d", str(folder), wanted)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        archive.unlink()

    (unpacked,) = (path for path in _kept(f"{wanted}-source", make).iterdir() if path.is_dir())
    return unpacked


PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` of the cache, made if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hortator" / "tests"
    folder, done = cache / name, cache / f"{name}.done"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                make(folder)
            except subprocess.CalledProcessError as error:
                said = error.stderr.decode(errors="replace").strip().splitlines()
                missing(f"{name} cannot be installed: {said[-1] if said else error}")
            done.touch()
    return folder


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=300)

"""Parts that a test needs and a machine may lack.

A missing part skips the test by name with the reason; where everything must be there (``CI`` is set), it fails it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def missing(what: str) -> None:
    """Skip the test for a missing part, or fail it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def program(name: str) -> Path:
    """Return the path of a program on PATH."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed")
    return Path(path or "")


def cpus(count: int) -> None:
    """Make sure that there are that many CPUs."""
    have = len(os.sched_getaffinity(0))
    if have < count:
        missing(f"{count} CPUs are needed, here are {have}")

"""mpi4py's own tests as a job: they pass as they do under a bare mpirun with the same settings.

Left out are its tests of spawning, dynamic processes, pools and ULFM, which start or lose processes by themselves.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hortator.operator.mpijob.launch import local_machine_env
from support.hort import Hort
from support.mpis import find_mpi
from support.wheels import mpi_python, source_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ARGUMENTS = ["main.py", "-e", "spawn", "-e", "dynproc", "-e", "pool", "-e", "ulfm"]
#: The MPICH wheel is built without Fortran, which the test of Fortran's types takes for a failure, bare too.
MORE = {"openmpi5": [], "mpich5": ["-x", "testGetFortranInfo"]}
SETTINGS = {**local_machine_env(root=os.geteuid() == 0), "OMPI_MCA_mpi_yield_when_idle": "1"}
#: mpi4py's Python and mpirun for each MPI.
PYTHONS = {"openmpi5": lambda: Path(sys.executable), "mpich5": lambda: mpi_python("mpich")}


def outcome(said: bytes) -> dict[str, str]:
    """Return how many tests ran, and how they ended."""
    text = said.decode(errors="replace")
    ran = re.findall(r"^Ran (\d+) tests in ([\d.]+)s", text, re.MULTILINE)
    ended = re.findall(r"^(?:OK|FAILED)\b.*", text, re.MULTILINE)
    assert ran and ended, text[-3000:]
    print(f"{ran[0][0]} tests in {ran[0][1]} s: {ended[0]}")
    return {"ran": ran[0][0], "ended": ended[0]}


@pytest.fixture(scope="module", params=PYTHONS)
def mpi(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bare(mpi: str) -> dict[str, str]:
    """What a bare mpirun says."""
    oversubscribe = ["--oversubscribe"] if mpi == "openmpi5" else []
    words = [
        str(find_mpi(mpi).mpirun),
        *oversubscribe,
        "-n",
        "2",
        str(PYTHONS[mpi]()),
        *ARGUMENTS,
        *MORE[mpi],
    ]
    done = subprocess.run(
        words,
        cwd=source_of("mpi4py") / "test",
        env={**os.environ, **SETTINGS},
        capture_output=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return outcome(done.stderr)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_mpi4pys_own_tests_pass_as_they_do_bare(
    hort: Hort, mpi: str, bare: dict[str, str], workers: str
) -> None:
    command = [str(PYTHONS[mpi]()), *ARGUMENTS, *MORE[mpi]]
    folder = source_of("mpi4py") / "test"
    done = hort("run", "-n", "2", "--workers", workers, "--", *command, cwd=folder, timeout=900)
    assert bare["ended"].startswith("OK")
    assert outcome(done.stderr) == bare

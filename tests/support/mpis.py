"""The MPIs of this machine for tests: a folder on PATH with each one's `mpirun`, and C programs built with each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.needs import missing
from support.wheels import mpi_python

#: A program that needs MPI to be right: each rank prints rank, size and the sum of all ranks.
SUM = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  int rank, size, sum;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("%d %d %d\n", rank, size, sum);
  return MPI_Finalize();
}
"""


@dataclass(frozen=True)
class Mpi:
    """One MPI: its mpirun and its C compiler."""

    name: str
    mpirun: Path
    cc: Path

    def build(self, folder: Path, source: str) -> Path:
        """Compile ``source``."""
        file = folder / f"{self.name}.c"
        file.write_text(source)
        return self.compile(file, folder / self.name)

    def compile(self, file: Path, program: Path) -> Path:
        """Compile a file into ``program``."""
        subprocess.run([self.cc, "-O2", "-o", program, file, "-lm"], check=True, capture_output=True)
        return program


def find_mpi(name: str) -> Mpi:
    """Return an MPI, or skip the test without it.

    ``openmpi5`` is the wheel's beside this Python, ``openmpi4`` and ``mpich`` are the system's, ``mpich5`` is a wheel's.
    """
    wheel = (mpi_python("mpich") if name == "mpich5" else Path(sys.executable)).parent
    where = {
        "openmpi5": (str(wheel / "mpirun"), str(wheel / "mpicc")),
        "mpich5": (str(wheel / "mpiexec"), str(wheel / "mpicc")),
        "openmpi4": ("mpirun.openmpi", "mpicc.openmpi"),
        "mpich": ("mpirun.mpich", "mpicc.mpich"),
    }
    mpirun, cc = (shutil.which(program) for program in where[name])
    if not mpirun or not cc:
        missing(f"{name} is not installed")
    return Mpi(name, Path(mpirun), Path(cc))

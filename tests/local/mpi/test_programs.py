"""Real MPI programs through ``hort run``, built with each MPI that a machine may have, on one worker and on two."""

from __future__ import annotations

import ctypes.util
import math
import subprocess
from pathlib import Path

import pytest

from support.hort import Hort
from support.mpis import find_mpi
from support.needs import missing, program
from support.wheels import mpi_python

EXAMPLES = Path(__file__).parents[3] / "examples"

workers = pytest.mark.parametrize("workers", [1, 2])
#: MPICH 4.0 as Debian 12 has it knows no network but UCX 1.13, over whose TCP it now and then hangs in MPI_Finalize, under
#: its own mpirun alone too (``UCX_TLS=tcp,self mpirun.mpich -n 4``): it is tried on one worker, where it uses shared memory.
MPIS = ["openmpi5", "openmpi4", "mpich", "mpich5"]
any_mpi = pytest.mark.parametrize(
    ("mpi", "workers"), [(mpi, count) for mpi in MPIS for count in (1, 2) if (mpi, count) != ("mpich", 2)]
)


def check_pi(hort: Hort, workers: int, *command: str) -> None:
    """Run a program that says where its ranks are and adds up what all have computed."""
    done = hort("run", "-n", "4", "--workers", str(workers), "--", *command)
    job = done.stderr.decode().removeprefix("hort: job ").partition(":")[0]
    lines = done.stdout.decode().splitlines()
    places = [f"rank {rank} of 4 on {job}-worker-{rank * workers // 4}" for rank in range(4)]
    assert sorted(line for line in lines if line.startswith("rank")) == places
    (pi,) = (line.split()[3] for line in lines if not line.startswith("rank"))
    assert abs(float(pi) - math.pi) < 1e-9


def check_stencil(hort: Hort, workers: int, *command: str, stdin: bytes | None = None) -> None:
    """Run a program that exchanges halos, and fails by itself when its answer is not right."""
    done = hort("run", "-n", "4", "--workers", str(workers), "--", *command, stdin=stdin)
    assert done.stdout.startswith(b"stencil: 4 ranks, 300 steps")


@any_mpi
def test_a_c_program_has_its_ranks_where_they_should_be(
    hort: Hort, tmp_path: Path, mpi: str, workers: int
) -> None:
    built = find_mpi(mpi).compile(EXAMPLES / "pi.c", tmp_path / "pi")
    check_pi(hort, workers, str(built))


@any_mpi
def test_a_stencil_in_c_exchanges_halos(hort: Hort, tmp_path: Path, mpi: str, workers: int) -> None:
    built = find_mpi(mpi).compile(EXAMPLES / "stencil.c", tmp_path / "stencil")
    check_stencil(hort, workers, str(built), "64", "300")


@pytest.mark.parametrize(
    ("compiler", "workers"), [("mpifort.openmpi", 1), ("mpifort.openmpi", 2), ("mpifort.mpich", 1)]
)
def test_a_stencil_in_fortran_reads_its_input_from_stdin(
    hort: Hort, tmp_path: Path, compiler: str, workers: int
) -> None:
    program("gfortran")
    built = tmp_path / "stencil"
    source = EXAMPLES / "stencil.f90"
    subprocess.run(
        [program(compiler), "-O2", "-o", built, source], check=True, capture_output=True, cwd=tmp_path
    )
    check_stencil(hort, workers, str(built), stdin=b"64 300\n")


@workers
def test_a_python_whose_mpi4py_loads_mpich(hort: Hort, workers: int) -> None:
    check_pi(hort, workers, str(mpi_python("mpich")), str(EXAMPLES / "pi.py"))


def test_collective_graphs_of_mpich_over_two_workers(hort: Hort) -> None:
    # MPICH 5 waits for ever here when it speaks UCX between hosts, as it does by itself where it has UCX.
    script = """if True:
        from mpi4py import MPI
        world = MPI.COMM_WORLD
        graph = world.Create_dist_graph([world.rank], [1], [(world.rank + 1) % world.size])
        print(graph.Get_dist_neighbors_count()[:2])
    """
    done = hort("run", "-n", "2", "--workers", "2", "--", str(mpi_python("mpich")), "-c", script)
    assert done.stdout == b"(1, 1)\n" * 2


@pytest.mark.slow  # the wheel has 129 MB
@workers
@pytest.mark.parametrize("language", ["c", "python"])
def test_a_program_that_loads_intels_mpi(hort: Hort, tmp_path: Path, language: str, workers: int) -> None:
    if ctypes.util.find_library("fabric") is None:
        missing("libfabric1 is not installed")
    python = mpi_python("intel")
    shell = Hort(hort.home, env={"LD_LIBRARY_PATH": str(python.parent.parent / "lib")})
    if language == "python":
        check_pi(shell, workers, str(python), str(EXAMPLES / "pi.py"))
    else:
        # Built with the MPICH that has the same binary interface under the same name of its library.
        check_pi(shell, workers, str(find_mpi("mpich5").compile(EXAMPLES / "pi.c", tmp_path / "pi")))

"""Whose mpirun starts a program, and whose settings hold: the program's MPI decides, and the user's own settings win."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.hort import Hort
from support.mpis import SUM, find_mpi
from support.wheels import mpi_python

PI = str(Path(__file__).parents[3] / "examples" / "pi.py")


@pytest.mark.parametrize(
    ("mpi", "first"),
    [("openmpi5", "mpich"), ("openmpi4", "mpich5"), ("mpich", "openmpi5"), ("mpich5", "openmpi4")],
)
def test_mpirun_follows_the_program_whatever_is_first_on_path(
    hort: Hort, tmp_path: Path, mpi: str, first: str
) -> None:
    program = find_mpi(mpi).build(tmp_path, SUM)
    for name in ("mpirun", "mpiexec"):
        (tmp_path / name).symlink_to(find_mpi(first).mpirun)
    shell = Hort(hort.home, env={"PATH": f"{tmp_path}:{hort.environ['PATH']}"})
    done = shell("run", "-n", "2", "--workers", "2", "--", str(program))
    assert sorted(done.stdout.decode().splitlines()) == ["0 2 1", "1 2 1"]


def test_mpirun_follows_the_mpi_that_a_pythons_mpi4py_loads(hort: Hort, tmp_path: Path) -> None:
    # The wheel's own mpirun is not on PATH, where Open MPI's is.
    done = hort("run", "-n", "2", "--", str(mpi_python("mpich")), "-c", VENDOR)
    assert set(done.stdout.splitlines()) == {b"MPICH 0 of 2", b"MPICH 1 of 2"}
    done = hort("run", "-n", "2", "--", sys.executable, "-c", VENDOR)
    assert set(done.stdout.splitlines()) == {b"Open MPI 0 of 2", b"Open MPI 1 of 2"}


VENDOR = """if True:
    from mpi4py import MPI
    print(MPI.get_vendor()[0], MPI.COMM_WORLD.rank, "of", MPI.COMM_WORLD.size)
"""


@pytest.mark.parametrize(
    ("mpi", "asked"), [("openmpi5", "mpich"), ("openmpi4", "mpich5"), ("mpich5", "openmpi4")]
)
def test_asking_for_an_mpirun_of_another_family_ends_with_125_and_both_are_named(
    hort: Hort, tmp_path: Path, mpi: str, asked: str
) -> None:
    program = find_mpi(mpi).build(tmp_path, SUM)
    done = hort("run", "-n", "2", "--mpi", str(find_mpi(asked).mpirun), "--", str(program), code=125)
    said = done.stderr.decode()
    assert "the program loads" in said
    assert "MPICH" in said
    assert "Open MPI" in said
    assert done.stdout == b""


def test_the_same_for_a_python_whose_mpi4py_loads_mpich(hort: Hort) -> None:
    asked = find_mpi("openmpi5").mpirun
    done = hort("run", "-n", "2", "--mpi", str(asked), "--", str(mpi_python("mpich")), PI, code=125)
    assert b"the program loads MPICH" in done.stderr
    assert f"Open MPI 5 ({asked})".encode() in done.stderr


@pytest.mark.parametrize("mpi", ["mpich", "mpich5"])
@pytest.mark.parametrize("asked", ["openmpi5", "openmpi4"])
def test_a_program_that_nobody_could_know_is_found_out_when_it_runs(
    hort: Hort, tmp_path: Path, mpi: str, asked: str
) -> None:
    find_mpi(mpi).build(tmp_path, SUM)
    hidden = f"cd {tmp_path}; name={mpi}; ./$name; exit 0"
    mpirun = find_mpi(asked).mpirun
    done = hort("run", "-n", "2", "--mpi", str(mpirun), "--", "sh", "-c", hidden, code=125)
    said = f"hort: the program loads MPICH, but the mpirun here is Open MPI {asked[-1]} ({mpirun})"
    assert said in done.stderr.decode()
    assert b"0 1 0" not in done.stdout


def test_a_script_is_seen_through(hort: Hort, tmp_path: Path) -> None:
    program = find_mpi("mpich").build(tmp_path, SUM)
    done = hort("run", "-n", "2", "--", "sh", "-c", f"cd /; {program}")
    assert sorted(done.stdout.decode().splitlines()) == ["0 2 1", "1 2 1"]


def test_another_mpirun_of_the_same_family_may_be_asked_for(hort: Hort, tmp_path: Path) -> None:
    program = find_mpi("mpich").build(tmp_path, SUM)
    prefix = mpi_python("mpich").parent.parent
    done = hort("run", "-n", "2", "--mpi", str(prefix), "--", str(program))
    assert sorted(done.stdout.decode().splitlines()) == ["0 2 1", "1 2 1"]


def settings_of(hort: Hort, env: dict[str, str]) -> dict[str, str]:
    """Return what the last rank of two workers finds in its environment."""
    shell = Hort(hort.home, env=env)
    done = shell("run", "-n", "2", "--workers", "2", "--", "sh", "-c", '[ "$HORT_RANK" = 0 ] || exec env')
    return dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)


def test_settings_of_the_user_win_over_ours_and_leave_the_others(hort: Hort) -> None:
    ours = {"OMPI_MCA_btl": "^ofi", "OMPI_MCA_coll": "^han"}
    user = {"OMPI_MCA_btl": "self,tcp", "OMPI_MCA_mine": "1"}
    assert ours.items() <= settings_of(hort, {}).items()
    assert (ours | user).items() <= settings_of(hort, user).items()


@pytest.mark.parametrize("mpi", ["openmpi5", "openmpi4"])
def test_open_mpi_obeys_the_users_settings(hort: Hort, tmp_path: Path, mpi: str) -> None:
    program = find_mpi(mpi).build(tmp_path, SUM)
    shell = Hort(hort.home, env={"OMPI_MCA_pml": "nonsense"})
    done = shell("run", "-n", "2", "--", str(program), code=None)
    assert done.returncode not in (0, 125)
    assert b"MPI_INIT" in done.stderr.upper()


def test_each_workers_session_folder_is_its_own_whatever_the_user_says(hort: Hort, tmp_path: Path) -> None:
    # PRRTE names the folder by the daemon's process id, which is the same in all workers: they would share one and crash.
    ranks = settings_of(hort, {"PRTE_MCA_prte_tmpdir_base": str(tmp_path)})
    assert not ranks["PMIX_SERVER_TMPDIR"].startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []

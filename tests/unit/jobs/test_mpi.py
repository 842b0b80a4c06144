from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from hortator.jobs.libmpi import MPICH, OPENMPI, LibMpi
from hortator.jobs.mpi import (
    INTEL,
    Mpirun,
    NoMpirun,
    WrongMpirun,
    choose,
    explicit,
    hostfile,
    identify,
    mpirun_line,
    nearby,
    settings,
)

OPENMPI4 = Mpirun("/usr/bin/mpirun", family=OPENMPI, major=4)
OPENMPI5 = Mpirun("/venv/bin/mpirun", family=OPENMPI, major=5)
HYDRA = Mpirun("/usr/bin/mpiexec.hydra", family=MPICH)
IMPI = Mpirun("/opt/intel/bin/mpiexec.hydra", family=INTEL)


def library(family: str, major: int | None = None, *, certain: bool = True) -> LibMpi:
    made = LibMpi(family, path="/usr/lib/libmpi.so", major=major, user="/bin/x")
    made.certain = certain
    return made


@pytest.mark.parametrize(
    ("loads", "mpiruns", "chosen"),
    [
        (None, [HYDRA, OPENMPI5], HYDRA),
        (library(OPENMPI, 5), [HYDRA, OPENMPI4, OPENMPI5], OPENMPI5),
        (library(OPENMPI, 4), [OPENMPI5, OPENMPI4], OPENMPI4),
        (library(OPENMPI, 5), [HYDRA, OPENMPI4], OPENMPI4),
        (library(OPENMPI), [HYDRA, OPENMPI4, OPENMPI5], OPENMPI4),
        (library(MPICH), [OPENMPI5, IMPI, HYDRA], IMPI),
        (library(MPICH, certain=False), [OPENMPI5, HYDRA], HYDRA),
    ],
)
def test_the_mpirun_fits_the_programs_library(
    loads: LibMpi | None, mpiruns: list[Mpirun], chosen: Mpirun
) -> None:
    assert choose(loads, mpiruns) is chosen


def test_what_was_asked_for_is_taken_where_nothing_speaks_against_it() -> None:
    for loads in (None, library(MPICH), library(OPENMPI, 5, certain=False)):
        assert choose(loads, [OPENMPI5], asked=HYDRA) is HYDRA


@pytest.mark.parametrize("asked", [None, OPENMPI5])
def test_a_mismatch_names_both_and_what_to_do(asked: Mpirun | None) -> None:
    with pytest.raises(WrongMpirun) as caught:
        choose(library(MPICH), [OPENMPI5], asked=asked)
    text = str(caught.value)
    assert "MPICH (/usr/lib/libmpi.so)" in text
    assert "Open MPI 5 (/venv/bin/mpirun)" in text
    assert "--mpi" in text


def test_no_mpirun_says_how_to_get_one() -> None:
    with pytest.raises(NoMpirun, match="pip install"):
        choose(None, [])


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path


def put(prefix: Path, *names: str) -> None:
    for name in names:
        path = prefix / "bin" / name
        path.write_bytes(b"")
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("files", "name", "family", "major"),
    [
        (["orterun"], "orterun", OPENMPI, 4),
        (["mpirun", "prterun"], "mpirun", OPENMPI, 5),
        (["mpiexec", "prte"], "mpiexec", OPENMPI, 5),
        (["mpiexec.hydra", "hydra_pmi_proxy"], "mpiexec.hydra", MPICH, None),
        (["mpirun", "hydra_pmi_proxy"], "mpirun", MPICH, None),
        (["mpirun", "mpiexec.hydra", "hydra_bstrap_proxy"], "mpirun", INTEL, None),
    ],
)
def test_an_mpirun_is_known_by_its_real_name_and_neighbours(
    prefix: Path, files: list[str], name: str, family: str, major: int | None
) -> None:
    put(prefix, *files)
    (prefix / "link").symlink_to(prefix / "bin" / name)
    found = identify(str(prefix / "link"))
    assert found is not None
    assert (found.family, found.major) == (family, major)


def test_an_unknown_program_is_no_mpirun(prefix: Path) -> None:
    put(prefix, "mpirun")
    assert identify(str(prefix / "bin" / "mpirun")) is None
    assert identify(str(prefix / "bin" / "absent")) is None


@pytest.mark.parametrize("what", ["", "bin", "bin/mpirun"])
def test_mpi_can_be_given_as_prefix_folder_or_program(prefix: Path, what: str) -> None:
    put(prefix, "mpirun", "prterun")
    assert explicit(str(prefix / what), {}).path == str(prefix / "bin" / "mpirun")


def test_what_is_given_and_is_none_is_refused(prefix: Path) -> None:
    with pytest.raises(NoMpirun, match="--mpi"):
        explicit(str(prefix), {})


def test_the_librarys_own_prefix_comes_first_then_path_then_ours(prefix: Path) -> None:
    for name in ("own", "path", "mine"):
        (prefix / name / "bin").mkdir(parents=True)
        put(prefix / name, "mpirun", "prterun")
    (prefix / "own" / "lib").mkdir()
    (prefix / "own" / "lib" / "libmpi.so.40").write_bytes(b"")
    loads = LibMpi(OPENMPI, path=str(prefix / "own" / "lib" / "libmpi.so.40"), major=5, user="x")
    found = nearby(loads, {"PATH": str(prefix / "path" / "bin")}, own=str(prefix / "mine" / "bin"))
    places = [Path(mpirun.path).parent.parent.name for mpirun in found if prefix in Path(mpirun.path).parents]
    assert places == ["own", "path", "mine"]
    shutil.rmtree(prefix / "own")


@pytest.mark.parametrize(
    ("mpirun", "words"),
    [
        (OPENMPI5, ["--bind-to", "none", "--stdin", "none", "--hostfile", "/f", "-n", "4"]),
        (OPENMPI4, ["--bind-to", "none", "--stdin", "none"]),
        (HYDRA, ["-f", "/f", "-genvnone", "-n", "4"]),
    ],
)
def test_lines_bind_nothing_and_forward_no_stdin(mpirun: Mpirun, words: list[str]) -> None:
    line = mpirun_line(mpirun, ranks=4, hostfile="/f", forward={})
    assert line[0] == mpirun.path
    assert set(words) <= set(line)


def test_hydra_forwards_only_what_is_named() -> None:
    line = mpirun_line(IMPI, ranks=4, hostfile="/f", forward={"FI_PROVIDER": "tcp", "I_MPI_PIN": "off"})
    assert line[3:-2] == ["-genvnone", "-genv", "FI_PROVIDER", "tcp", "-genv", "I_MPI_PIN", "off"]


@pytest.mark.parametrize(("mpirun", "text"), [(OPENMPI5, "a slots=2\nc slots=1\n"), (HYDRA, "a:2\nc:1\n")])
def test_hosts_without_ranks_are_left_out(mpirun: Mpirun, text: str) -> None:
    assert hostfile(mpirun, [("a", 2), ("b", 0), ("c", 1)]) == text


def test_ranks_that_share_cpus_yield_them() -> None:
    assert settings(OPENMPI5, oversubscribed=True) == {"OMPI_MCA_mpi_yield_when_idle": "1"}
    assert settings(OPENMPI5, oversubscribed=False) == {}


@pytest.mark.parametrize(
    ("networks", "chosen"),
    [({"libucp", "libfabric"}, "ofi"), ({"libucp"}, None), ({"libfabric"}, None), ((), None)],
)
def test_an_mpich_that_has_both_networks_takes_the_one_that_works_between_workers(
    networks: Iterable[str], chosen: str | None
) -> None:
    loads = LibMpi(MPICH, path="/x/libmpi.so.12", major=None, user="p", networks=frozenset(networks))
    assert settings(HYDRA, loads, oversubscribed=False).get("MPIR_CVAR_CH4_NETMOD") == chosen

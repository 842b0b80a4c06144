"""Whose mpirun starts a program's ranks, and how each family's mpirun is told to.

The mpirun must fit the libmpi that the program loads: an MPICH program under Open MPI's mpirun becomes so many jobs of
one rank each and exits with 0. ``libmpi.py`` finds what the program loads; here the choice is made (pure functions over
what was seen), and the command line is written. No binding and no standard input: the wrapper sees to both.
"""

# ruff: noqa: PTH
# pathlib alone would double the start-up time.
from __future__ import annotations

import os

from hortator.jobs.libmpi import MPICH, OPENMPI, LibMpi, which

__all__ = [
    "INTEL",
    "Mpirun",
    "NoMpirun",
    "WrongMpirun",
    "choose",
    "identify",
    "mpirun_line",
    "nearby",
    "settings",
]

INTEL = "intel"  # hydra of Intel MPI: starts MPICH's programs, but has names of its own
LIBRARY_OF = {OPENMPI: OPENMPI, MPICH: MPICH, INTEL: MPICH}
NAMES = {OPENMPI: "Open MPI", MPICH: "MPICH", INTEL: "Intel MPI"}


class Mpirun:
    """An mpirun on this machine: ``family``, ``major`` for Open MPI (4 or 5), ``origin`` in words."""

    __slots__ = ("family", "major", "origin", "path")

    def __init__(self, path: str, *, family: str, major: int | None = None, origin: str = "") -> None:
        self.path = path
        self.family = family
        self.major = major
        self.origin = origin

    def __str__(self) -> str:
        version = f" {self.major}" if self.major is not None else ""
        return f"{NAMES[self.family]}{version} ({self.path})"


class WrongMpirun(Exception):
    """Raised when the mpirun that was asked for, or every one there is, does not fit the program's MPI."""

    def __init__(self, library: LibMpi, mpiruns: list[Mpirun]) -> None:
        seen = ", ".join(str(mpirun) for mpirun in mpiruns)
        super().__init__(
            f"the program loads {library}, but the mpirun here is {seen}: each rank would think it is alone. "
            f"Install or load the mpirun of {NAMES[library.family]}, or name it with --mpi PATH"
        )
        self.library = library
        self.mpiruns = mpiruns


class NoMpirun(Exception):
    """Raised when there is no mpirun at all, or the one asked for is not one (``path``)."""

    def __init__(self, path: str = "") -> None:
        if path:
            text = f"--mpi {path}: not an mpirun of Open MPI, MPICH or Intel MPI, nor a folder that has one"
        else:
            text = (
                "no mpirun found. Install one: pip install 'hortator[mpi]', or your system's openmpi or mpich"
            )
        super().__init__(text)
        self.path = path


def identify(path: str, *, origin: str = "") -> Mpirun | None:
    """Tell what the mpirun at ``path`` is from its real name and what lies beside it; None when it is none."""
    if not os.access(path, os.X_OK):
        return None
    real = os.path.realpath(path)
    folder, name = os.path.split(real)

    def beside(*names: str) -> bool:
        return any(os.path.exists(f"{folder}/{each}") for each in names)

    if name == "orterun":
        return Mpirun(path, family=OPENMPI, major=4, origin=origin)
    if name in ("prterun", "prterun-wrapper"):
        return Mpirun(path, family=OPENMPI, major=5, origin=origin)
    if beside("hydra_bstrap_proxy") and name.startswith("mp"):
        # Intel's mpirun is a shell script that looks for batch systems; what it ends in is this.
        hydra = f"{folder}/mpiexec.hydra"
        return Mpirun(hydra if os.access(hydra, os.X_OK) else path, family=INTEL, origin=origin)
    if "hydra" in name or (
        beside("hydra_pmi_proxy") and name in ("mpirun", "mpiexec") and not beside("prterun")
    ):
        return Mpirun(path, family=MPICH, origin=origin)
    if name in ("mpirun", "mpiexec", "ompirun_wrapper") and beside("prterun", "prte"):
        return Mpirun(path, family=OPENMPI, major=5, origin=origin)
    return None


def nearby(library: LibMpi | None, environ: dict[str, str], *, own: str) -> list[Mpirun]:
    """List the mpiruns worth considering, best first: the program's own prefix, the caller's PATH, ours.

    ``own`` is the folder of the Python that runs us, where the ``[mpi]`` wheels put theirs.
    """
    paths: list[tuple[str, str]] = []
    if library is not None and library.path is not None:
        names = ["mpirun", "mpiexec"]
        suffixed = ["mpirun.openmpi"] if library.family == OPENMPI else ["mpiexec.hydra", "mpirun.mpich"]
        for base in {library.path: None, os.path.realpath(library.path): None}:
            prefix = os.path.dirname(os.path.dirname(base))
            for _ in range(3):  # lib/, lib/x86_64-linux-gnu/, lib/release/
                paths += [
                    (f"{prefix}/bin/{name}", "beside the program's libmpi") for name in suffixed + names
                ]
                prefix = os.path.dirname(prefix)
    for folder in environ.get("PATH", "").split(":"):
        for name in ("mpirun", "mpiexec", "mpiexec.hydra", "mpirun.openmpi", "mpirun.mpich"):
            paths.append((f"{folder or '.'}/{name}", "on your PATH"))
    paths.append((f"{own}/mpirun", "of hortator's own environment"))
    paths.append((f"{own}/mpiexec.hydra", "of hortator's own environment"))
    found: list[Mpirun] = []
    seen: set[str] = set()
    for path, origin in paths:
        if os.path.exists(path):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                mpirun = identify(path, origin=origin)
                if mpirun is not None:
                    found.append(mpirun)
    return found


def explicit(path: str, environ: dict[str, str]) -> Mpirun:
    """Return what ``--mpi PATH`` names: an mpirun, a name on PATH, or a folder (a prefix or its bin). Raises NoMpirun."""
    for candidate in (path, f"{path}/bin/mpirun", f"{path}/bin/mpiexec", f"{path}/mpirun", f"{path}/mpiexec"):
        real = which(candidate, environ)
        if real:
            mpirun = identify(real, origin="given with --mpi")
            if mpirun:
                return mpirun
    raise NoMpirun(path)


def choose(library: LibMpi | None, mpiruns: list[Mpirun], *, asked: Mpirun | None = None) -> Mpirun:
    """Choose the mpirun for a program that loads ``library`` (None: unknown), from ``mpiruns``, best first.

    Raises :class:`WrongMpirun` when none fits, :class:`NoMpirun` when there is none.
    """
    candidates = [asked] if asked is not None else mpiruns
    if not candidates:
        raise NoMpirun
    if library is None:
        return candidates[0]
    fitting = [mpirun for mpirun in candidates if LIBRARY_OF[mpirun.family] == library.family]
    if not fitting:
        raise WrongMpirun(library, candidates)
    # Open MPI 4 and 5 can start each other's programs, but like goes with like first.
    return next((m for m in fitting if m.major is None or m.major == library.major), fitting[0])


def mpirun_line(mpirun: Mpirun, *, ranks: int, hostfile: str) -> list[str]:
    """Return the command line up to the program."""
    if mpirun.family == OPENMPI:
        line = [
            mpirun.path,
            "-n",
            str(ranks),
            "--hostfile",
            hostfile,
            "--map-by",
            "slot",
            "--bind-to",
            "none",
        ]
        return [*line, "--stdin", "none"]
    # The daemons have the caller's environment from their worker; ours, with the launcher's own values, stays here.
    return [mpirun.path, "-f", hostfile, "-genvnone", "-n", str(ranks)]


def hostfile(mpirun: Mpirun, slots: list[tuple[str, int]]) -> str:
    """Return the text of a hostfile in the family's form; hosts without slots are left out."""
    form = "{} slots={}\n" if mpirun.family == OPENMPI else "{}:{}\n"
    return "".join(form.format(host, count) for host, count in slots if count)


def settings(
    mpirun: Mpirun, *, run_dir: str, root: bool, oversubscribed: bool, one_machine: bool
) -> dict[str, str]:
    """Return variables for mpirun and its daemons; each is only set where the caller did not."""
    result: dict[str, str] = {}
    if mpirun.family == OPENMPI:
        if root:
            for family in ("PRTE", "OMPI"):
                result[f"{family}_ALLOW_RUN_AS_ROOT"] = result[f"{family}_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        if mpirun.major == 5:
            result["PRTE_MCA_prte_tmpdir_base"] = run_dir
            result["PRTE_MCA_hwloc_default_binding_policy"] = "none"
        else:
            result["OMPI_MCA_orte_tmpdir_base"] = run_dir
            result["OMPI_MCA_hwloc_base_binding_policy"] = "none"
        if oversubscribed:
            result["OMPI_MCA_mpi_yield_when_idle"] = "1"
        if one_machine:
            # Looking for fabrics takes a second; han hangs when two workers of one rank share a machine.
            result["OMPI_MCA_btl"] = "^ofi"
            result["OMPI_MCA_coll"] = "^han"
    elif mpirun.family == INTEL:
        result["I_MPI_PIN"] = "off"
        if oversubscribed:
            result["I_MPI_THREAD_YIELD"] = "2"
        if one_machine:
            result["FI_PROVIDER"] = "tcp"
    else:
        result["HYDRA_BINDING"] = "none"
    return result

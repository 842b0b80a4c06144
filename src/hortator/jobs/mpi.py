"""Whose mpirun starts a program's ranks, and how each family's mpirun is told to.

The mpirun must fit the libmpi that the program loads: an MPICH program under Open MPI's mpirun becomes so many jobs of
one rank each and exits with 0. ``libmpi.py`` finds what the program loads; here the choice is made (pure functions over
what was seen), and the command line is written. No binding and no standard input: the wrapper sees to both.
"""

# ruff: noqa: PTH110, PTH120
# pathlib alone would double the start-up time.
from __future__ import annotations

import os
import sys

from hortator.jobs.libmpi import MPICH, OPENMPI, LibMpi, which

__all__ = [
    "INTEL",
    "Installation",
    "Mpirun",
    "NoMpirun",
    "WrongMpirun",
    "choose",
    "identify",
    "installations",
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
        for base in (os.path.realpath(library.path), library.path):
            # The real path, because /lib may be /usr/lib: Open MPI 4 takes its prefix from how it is called.
            prefix = os.path.dirname(os.path.dirname(base))
            for _ in range(3):  # lib/, lib/x86_64-linux-gnu/, lib/release/
                paths += [
                    (f"{prefix}/bin/{name}", "beside the program's libmpi") for name in suffixed + names
                ]
                prefix = os.path.dirname(prefix)
                if len(prefix) < 2:
                    break
    for folder in environ.get("PATH", "").split(":"):
        for name in ("mpirun", "mpiexec", "mpiexec.hydra", "mpirun.openmpi", "mpirun.mpich"):
            paths.append((f"{os.path.realpath(folder or '.')}/{name}", "on your PATH"))
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
    if library is None or (asked is not None and not library.certain):
        return candidates[0]
    fitting = [mpirun for mpirun in candidates if LIBRARY_OF[mpirun.family] == library.family]
    if not fitting:
        raise WrongMpirun(library, candidates)
    # Open MPI 4 and 5 can start each other's programs, but like goes with like first.
    return next((m for m in fitting if m.major is None or m.major == library.major), fitting[0])


def mpirun_line(mpirun: Mpirun, *, ranks: int, hostfile: str, forward: dict[str, str]) -> list[str]:
    """Return the command line up to the program. ``forward`` has settings of ours that the ranks need, too."""
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
    # hydra would hand the launcher's whole environment to the ranks; theirs comes from their worker. Open MPI forwards
    # what begins with OMPI_ by itself. One by one: of a list (-genvlist), MPICH 5's proxies may lose the last.
    own = [word for name, value in forward.items() for word in ("-genv", name, value)]
    return [mpirun.path, "-f", hostfile, "-genvnone", *own, "-n", str(ranks)]


def hostfile(mpirun: Mpirun, slots: list[tuple[str, int]]) -> str:
    """Return the text of a hostfile in the family's form; hosts without slots are left out."""
    form = "{} slots={}\n" if mpirun.family == OPENMPI else "{}:{}\n"
    return "".join(form.format(host, count) for host, count in slots if count)


def settings(mpirun: Mpirun, library: LibMpi | None = None, *, oversubscribed: bool) -> dict[str, str]:
    """Return variables for mpirun and the ranks of one machine; each is only set where nobody else has."""
    result: dict[str, str] = {}
    if mpirun.family == OPENMPI:
        if oversubscribed:  # mpirun does not know: its slots are as many as the ranks
            result["OMPI_MCA_mpi_yield_when_idle"] = "1"
    elif mpirun.family == INTEL:
        result["I_MPI_PIN"] = "off"
        if oversubscribed:
            result["I_MPI_THREAD_YIELD"] = "2"
    else:
        result["HYDRA_BINDING"] = "none"
        if library is not None and len(library.networks) > 1:
            # Over UCX and TCP, MPICH 4.0 hangs in MPI_Finalize and 5.0 in MPI_Dist_graph_create, without us too.
            result["MPIR_CVAR_CH4_NETMOD"] = "ofi"
    return result


class Installation:
    """An MPI on this machine, for people: ``family`` in words, ``version`` (empty when unknown), path of its mpirun."""

    __slots__ = ("family", "mpirun", "origin", "version")

    def __init__(self, family: str, version: str, mpirun: str, origin: str) -> None:
        self.family = family
        self.version = version
        self.mpirun = mpirun
        self.origin = origin


def installations(*, override: str | None, environ: dict[str, str]) -> list[Installation]:
    """List the MPIs that a job would find, best first; with ``override`` (as ``--mpi``) only that one.

    Raises :class:`NoMpirun` when ``override`` names none.
    """
    own = os.path.dirname(sys.executable)
    found = [explicit(override, environ)] if override else nearby(None, environ, own=own)
    return [
        Installation(NAMES[mpirun.family], _version(mpirun), mpirun.path, mpirun.origin) for mpirun in found
    ]


def _version(mpirun: Mpirun) -> str:
    """Ask an mpirun for its version: the first number in what ``--version`` says."""
    import re
    import subprocess

    try:
        said = subprocess.run(
            [mpirun.path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = re.search(r"\d+\.\d+(\.\d+)*", said) or re.search(r"20\d\d Update \d+", said)
    return number[0] if number else ""

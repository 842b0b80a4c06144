"""Which MPI library a command would load, found by looking at files only: nothing of the user's is run.

Follows what people put in front of their programs: ``#!`` lines, ``env``, tools such as ``nice`` or ``numactl`` (the first
word that leads to an MPI counts), shell scripts as far as they name their programs plainly, and Python with mpi4py, which
from 4.1 on chooses its MPI when it is imported (its rules are ``mpi4py/_mpiabi.py``). What stays hidden is caught when it
runs, see ``wrapper.sh``. The choice of the mpirun that fits is ``mpi.py``'s.
"""

# ruff: noqa: PTH112, PTH119, PTH120, PTH208
# pathlib alone would double the start-up time.
from __future__ import annotations

import os
from itertools import pairwise

from hortator.jobs.elf import Elf, Libraries, read_elf

__all__ = ["LibMpi", "find_libmpi", "which"]

#: Families of libmpi. All MPICH descendants (MPICH, Intel, MVAPICH, Cray) share one ABI and one launch protocol.
OPENMPI, MPICH = "openmpi", "mpich"

#: Libraries that never lead to an MPI, not worth opening.
SYSTEM = (
    *(
        "libc.",
        "libm.",
        "libdl.",
        "librt.",
        "libpthread.",
        "libutil.",
        "libgcc_s.",
        "libstdc++.",
        "libgfortran.",
    ),
    *("libquadmath.", "libgomp.", "ld-linux", "libz.", "libcrypt.", "libresolv.", "libnsl.", "libtinfo."),
)
MAX_FILES = 400
SHELLS = ("sh", "bash", "dash", "ksh", "mksh", "zsh", "ash")
MAX_SCRIPT = 1 << 18
MAX_WORDS = 1000
#: What ends a word for a shell, quotes too: a word with such characters inside is not found.
_BETWEEN_WORDS = str.maketrans(dict.fromkeys(";|&()<>\"'`\\", " "))


class LibMpi:
    """An MPI library: its family, its path (None when it was not found), its version's first part if known, who loads it.

    ``certain`` is false where a program could load it but need not, as a Python that has mpi4py. ``networks`` are the
    libraries of fabrics that it needs: ``libfabric``, ``libucp``.
    """

    __slots__ = ("certain", "family", "major", "networks", "path", "user")

    def __init__(
        self,
        family: str,
        *,
        path: str | None,
        major: int | None,
        user: str,
        networks: frozenset[str] = frozenset(),
    ) -> None:
        self.certain = True
        self.networks = networks
        self.family = family
        self.path = path
        self.major = major
        self.user = user

    def __str__(self) -> str:
        name = {OPENMPI: "Open MPI", MPICH: "MPICH"}[self.family]
        if self.family == OPENMPI and self.major is not None:
            name += f" {self.major}"
        return f"{name} ({self.path})" if self.path else name


def which(name: str, environ: dict[str, str]) -> str | None:
    """Return the path that a shell would run for ``name`` with the PATH of ``environ``; None when there is none."""
    if "/" in name:
        return name if os.access(name, os.X_OK) and not os.path.isdir(name) else None
    for folder in environ.get("PATH", "/bin:/usr/bin").split(":"):
        path = f"{folder or '.'}/{name}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def find_libmpi(command: list[str], environ: dict[str, str]) -> LibMpi | None:
    """Return the MPI that ``command`` would load, or None when nothing tells."""
    libraries = Libraries(environ.get("LD_LIBRARY_PATH", ""))
    for index, word in enumerate(command):
        if index and (word.startswith("-") or "=" in word):
            continue
        path = which(word, environ)
        found = path and _of_program(path, command[index + 1 :], environ, libraries, depth=0)
        if found:
            return found
    return None


def _of_program(
    path: str, arguments: list[str], environ: dict[str, str], libraries: Libraries, *, depth: int
) -> LibMpi | None:
    name = os.path.basename(path)
    if name.rstrip("0123456789.") in ("python", "pypy"):
        found = _of_python(path, arguments, environ, libraries)
        if found is not None:
            found.certain = _mentions_mpi4py(arguments)
        return found
    if depth < 3 and name in SHELLS:
        return _of_shell(arguments, environ, libraries, depth=depth + 1)
    elf = read_elf(path)
    if elf is not None:
        return of_elf(elf, libraries, user=path)
    if depth < 3:
        try:
            with open(path, "rb") as stream:
                line = stream.readline(512)
        except OSError:
            return None
        if line.startswith(b"#!"):
            words = os.fsdecode(line[2:]).split()
            if words and os.path.basename(words[0]) == "env":
                words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            interpreter = which(words[0], environ) if words else None
            if interpreter:
                return _of_program(
                    interpreter, [*words[1:], path, *arguments], environ, libraries, depth=depth + 1
                )
    return None


def _of_shell(
    arguments: list[str], environ: dict[str, str], libraries: Libraries, *, depth: int
) -> LibMpi | None:
    """Look at each word of a shell's script, or of the argument of ``-c``, as if it were a program."""
    text = ""
    for index, word in enumerate(arguments):
        if word.startswith("-") and word.endswith("c"):
            text = " ".join(arguments[index + 1 : index + 2])
            break
        if not word.startswith(("-", "+")):
            try:
                with open(word, encoding="utf-8", errors="surrogateescape") as stream:
                    text = stream.read(MAX_SCRIPT)
            except OSError:
                return None
            break
    seen: set[str] = set()
    possible: LibMpi | None = None
    for line in text.splitlines():
        words = line.translate(_BETWEEN_WORDS).split()
        for index, word in enumerate(words):
            if word.startswith("#"):
                break
            if word in seen or len(seen) >= MAX_WORDS or "\0" in word:
                continue
            seen.add(word)
            path = which(word, environ)
            found = path and _of_program(path, words[index + 1 :], environ, libraries, depth=depth)
            if found and found.certain:
                found.certain = False  # a script may do one thing or another
                return found
            possible = possible or found or None
    return possible


def of_elf(root: Elf, libraries: Libraries, *, user: str) -> LibMpi | None:
    """Follow what ``root`` needs, nearest first, to an MPI library."""
    queue = [root]
    seen: set[str] = set()
    while queue and len(seen) < MAX_FILES:
        elf = queue.pop(0)
        for name in elf.needed:
            if name in seen or name.startswith(SYSTEM):
                continue
            seen.add(name)
            path = libraries.find(name, by=elf, root=root)
            if is_libmpi(name):
                return describe(name, path, libraries, user=user)
            needed = path and read_elf(path)
            if needed:
                queue.append(needed)
    return None


def is_libmpi(name: str) -> bool:
    """Tell whether a library of this name is MPI's C library (Fortran's and C++'s need it in turn)."""
    stem = name.partition(".so")[0]
    return stem in (
        "libmpi",
        "libmpich",
        "libmpi_cray",
        "libmpi_gnu",
        "libmpi_intel",
        "libmpi_ilp64",
        "libmpi_abi",
    )


def describe(name: str, path: str | None, libraries: Libraries, *, user: str) -> LibMpi:
    """Tell the family of an MPI library from what it needs itself, or from its name where the file is not there."""
    elf = read_elf(path) if path else None
    if elf is None:
        return LibMpi(
            OPENMPI if name.endswith((".so.40", ".so.20")) else MPICH, path=None, major=None, user=user
        )
    for needed in elf.needed:
        if needed.startswith("libopen-rte"):
            return LibMpi(OPENMPI, path=path, major=4, user=user)
        if needed.startswith("libopen-pal"):
            return LibMpi(OPENMPI, path=path, major=5, user=user)
    names = {needed.partition(".so")[0] for needed in elf.needed}
    return LibMpi(
        MPICH, path=path, major=None, user=user, networks=frozenset(names & {"libfabric", "libucp"})
    )


def _of_python(
    python: str, arguments: list[str], environ: dict[str, str], libraries: Libraries
) -> LibMpi | None:
    """Find the mpi4py that ``python`` would import, and the MPI that this would load."""
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    config = _venv_config(prefix)
    folders = [folder for folder in environ.get("PYTHONPATH", "").split(":") if folder]
    script = next((word for word in arguments if not word.startswith("-")), None)
    folders += [os.path.dirname(script) or "."] if script else []
    base = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    if config is not None:
        folders += _site_folders(prefix)
    if config is None or config.get("include-system-site-packages") == "true":
        user_base = environ.get("PYTHONUSERBASE") or f"{environ.get('HOME', '')}/.local"
        folders += [*_site_folders(user_base), *_site_folders(prefix), *_site_folders(base)]
    package = next((f"{f}/mpi4py" for f in folders if os.path.isdir(f"{f}/mpi4py")), None)
    if package is None:
        return None
    modules = [
        name for name in sorted(os.listdir(package)) if name.startswith("MPI.") and name.endswith(".so")
    ]
    variants = [name for name in modules if name.split(".")[1] in ("openmpi", "mpich", "impi", "mpiabi")]
    if variants:
        prefixes = [prefix] if config is not None else []
        prefixes += [p for p in (base,) if p != "/usr"]
        return _chosen_at_import(package, prefixes, environ, libraries)
    root = read_elf(f"{package}/{modules[0]}") if modules else None
    return of_elf(root, libraries, user=root.path) if root else None


def _mentions_mpi4py(arguments: list[str]) -> bool:
    """Tell whether Python's arguments, or the script that they name, speak of mpi4py."""
    script = next((word for word in arguments if not word.startswith("-")), None)
    for flag, word in pairwise(arguments):
        if flag == script:
            break
        if flag in ("-m", "-c"):
            return "mpi4py" in word
    try:
        with open(script or os.devnull, "rb") as stream:
            return b"mpi4py" in stream.read(1 << 20)
    except OSError:
        return False


def _chosen_at_import(
    package: str, prefixes: list[str], environ: dict[str, str], libraries: Libraries
) -> LibMpi | None:
    """Do as mpi4py 4.1: the first libmpi that loads, of those in the prefixes' lib folders, then the loader's."""
    places = environ.get("MPI4PY_LIBMPI", "").split(":") if environ.get("MPI4PY_LIBMPI") else []
    if not places:
        places = [f"{prefix}/lib" for prefix in prefixes] + [""]
    wanted = environ.get("MPI4PY_MPIABI", "").lower()
    for place in places:
        if place and not os.path.isdir(place):
            candidates = [place]
        else:
            names = ("libmpi.so", "libmpi.so.12", "libmpi.so.40")
            candidates = [f"{place}/{name}" if place else name for name in names]
        for candidate in candidates:
            path = libraries.find(candidate)
            if path and read_elf(path):  # wheels have a libmpi.so that is a linker's script
                found = describe(os.path.basename(path), path, libraries, user=package)
                if wanted in ("", found.family) or (wanted == "impi" and found.family == MPICH):
                    return found
    return None


def _venv_config(prefix: str) -> dict[str, str] | None:
    try:
        with open(f"{prefix}/pyvenv.cfg", encoding="utf-8", errors="replace") as stream:
            pairs = [line.partition("=") for line in stream]
    except OSError:
        return None
    return {key.strip(): value.strip().lower() for key, _, value in pairs}


def _site_folders(prefix: str) -> list[str]:
    folders = []
    for lib in ("local/lib", "lib", "lib64"):
        try:
            names = sorted(os.listdir(f"{prefix}/{lib}"))
        except OSError:
            continue
        for name in names:
            if name.startswith(("python3", "pypy3")):
                folders += [f"{prefix}/{lib}/{name}/site-packages", f"{prefix}/{lib}/{name}/dist-packages"]
    return folders

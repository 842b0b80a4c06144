"""What commands would load, on a made-up file system: small ELF files written here, no MPI needed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hortator.jobs.elf import Libraries, read_elf
from hortator.jobs.libmpi import MPICH, OPENMPI, LibMpi, find_libmpi


def write_elf(path: Path, *needed: str, runpath: str = "", rpath: str = "", soname: str = "") -> Path:
    """Write a 64-bit ELF file that has nothing but a dynamic section."""
    strings = b"\0"
    entries = []

    def add(tag: int, text: str) -> None:
        nonlocal strings
        entries.append((tag, len(strings)))
        strings += text.encode() + b"\0"

    for name in needed:
        add(1, name)
    for tag, text in ((14, soname), (15, rpath), (29, runpath)):
        if text:
            add(tag, text)
    base, headers = 0x400000, 64 + 2 * 56
    size = 16 * (len(entries) + 3)
    entries += [(5, base + headers + size), (10, len(strings)), (0, 0)]
    total = headers + size + len(strings)
    head = (
        b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, total, total, 4096)
    dynamic = struct.pack("<IIQQQQQQ", 2, 4, headers, base + headers, base + headers, size, size, 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        head + load + dynamic + b"".join(struct.pack("<QQ", *entry) for entry in entries) + strings
    )
    path.chmod(0o755)
    return path


def script(path: Path, first: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first}\nimport mpi4py\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def openmpi5(tmp_path: Path) -> Path:
    return write_elf(tmp_path / "ompi/lib/libmpi.so.40", "libopen-pal.so.80", "libc.so.6").parent


@pytest.fixture
def mpich(tmp_path: Path) -> Path:
    return write_elf(tmp_path / "mpich/lib/libmpi.so.12", "libc.so.6").parent


def find(*command: object, **environ: str) -> LibMpi | None:
    return find_libmpi([str(word) for word in command], {"PATH": "/nowhere", **environ})


def test_elf_is_read(tmp_path: Path) -> None:
    elf = read_elf(
        str(write_elf(tmp_path / "x", "liba.so", "libb.so.1", runpath="$ORIGIN/../lib:/opt", soname="s"))
    )
    assert elf is not None
    assert (elf.needed, elf.soname) == (["liba.so", "libb.so.1"], "s")
    assert elf.runpath == [f"{tmp_path.resolve()}/../lib", "/opt"]


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\2\1" + b"\xff" * 80])
def test_what_is_no_elf_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert read_elf(str(tmp_path / "x")) is None


def test_rpath_comes_before_the_environment_and_runpath_after(tmp_path: Path) -> None:
    for folder in ("rpath", "environment", "runpath"):
        write_elf(tmp_path / folder / "liba.so")
    libraries = Libraries(str(tmp_path / "environment"), cache=str(tmp_path / "none"))
    by_rpath = read_elf(str(write_elf(tmp_path / "a", rpath=str(tmp_path / "rpath"))))
    by_runpath = read_elf(str(write_elf(tmp_path / "b", runpath=str(tmp_path / "runpath"))))
    assert libraries.find("liba.so", by=by_rpath) == str(tmp_path / "rpath/liba.so")
    assert libraries.find("liba.so", by=by_runpath) == str(tmp_path / "environment/liba.so")


def test_a_program_is_followed_through_its_libraries(tmp_path: Path, openmpi5: Path) -> None:
    write_elf(tmp_path / "lib/libsolver.so", "libmpi_mpifh.so.40", runpath=str(openmpi5))
    write_elf(openmpi5 / "libmpi_mpifh.so.40", "libmpi.so.40", runpath=str(openmpi5))
    program = write_elf(tmp_path / "heat", "libm.so.6", "libsolver.so", runpath=str(tmp_path / "lib"))
    found = find(program)
    assert found is not None
    assert (found.family, found.major, found.path) == (OPENMPI, 5, str(openmpi5 / "libmpi.so.40"))


def test_the_family_is_read_from_the_library_not_its_name(tmp_path: Path, mpich: Path) -> None:
    write_elf(tmp_path / "old/libmpi.so.12", "libopen-rte.so.12", "libopen-pal.so.13")
    found = [
        find(write_elf(tmp_path / f"p{index}", "libmpi.so.12"), LD_LIBRARY_PATH=str(folder))
        for index, folder in enumerate((mpich, tmp_path / "old"))
    ]
    assert [each and (each.family, each.major) for each in found] == [(MPICH, None), (OPENMPI, 4)]


def test_tools_in_front_are_looked_past(tmp_path: Path, mpich: Path) -> None:
    program = write_elf(tmp_path / "heat", "libmpi.so.12", runpath=str(mpich))
    tool = write_elf(tmp_path / "numactl", "libnuma.so.1")
    found = find(tool, "-N", "0", "A=b", program)
    assert found is not None
    assert found.family == MPICH


@pytest.mark.parametrize(
    "text",
    [
        "{program} 100",
        "cd /tmp\nexec nice '{program}' <input >output",
        '# {other}\n[ -n "$X" ] && {{ X=1 {program}; }}',
        'out=$({program} "$@")',
    ],
)
def test_shell_scripts_are_seen_through_where_they_name_the_program(
    tmp_path: Path, openmpi5: Path, mpich: Path, text: str
) -> None:
    program = write_elf(tmp_path / "heat", "libmpi.so.12", runpath=str(mpich))
    other = write_elf(tmp_path / "other", "libmpi.so.40", runpath=str(openmpi5))
    shell = write_elf(tmp_path / "bin/bash", "libc.so.6")
    text = text.format(program=program, other=other)
    file = script(tmp_path / "run.sh", f"#!{shell} -e\n{text}")
    for command in ([file], [shell, file, "1"], [shell, "-ec", text], ["env", "A=1", shell, file]):
        found = find(*command)
        assert found is not None, command
        assert (found.family, found.user, found.certain) == (MPICH, str(program), False)


def test_scripts_that_start_themselves_come_to_an_end(tmp_path: Path) -> None:
    shell = write_elf(tmp_path / "bin/sh", "libc.so.6")
    file = tmp_path / "run.sh"
    assert find(script(file, f"#!{shell}\n{file} {shell} {file}")) is None


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment with a Python and an mpi4py built against Open MPI."""
    root = tmp_path / "venv"
    write_elf(root / "bin/python3")
    (root / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (root / "lib/python3.12/site-packages/mpi4py").mkdir(parents=True)
    return root


def test_pythons_mpi4py_tells(tmp_path: Path, venv: Path, openmpi5: Path) -> None:
    package = venv / "lib/python3.12/site-packages/mpi4py"
    write_elf(package / "MPI.cpython-312-x86_64-linux-gnu.so", "libmpi.so.40", runpath=str(openmpi5))
    (tmp_path / "plain.py").write_text("print()")
    program = script(tmp_path / "run.py", f"#!{venv}/bin/python3")
    by_env = script(tmp_path / "env.py", "#!/usr/bin/env -S FOO=1 python3")
    for command, certain in [
        ([venv / "bin/python3", program], True),
        ([venv / "bin/python3", "-m", "mpi4py.bench"], True),
        ([venv / "bin/python3", "-c", "import mpi4py.MPI"], True),
        ([venv / "bin/python3", tmp_path / "plain.py"], False),
        ([venv / "bin/python3"], False),
        ([program], True),
        ([by_env], True),
    ]:
        found = find(*command, PATH=f"{venv}/bin")
        assert found is not None, command
        assert (found.family, found.path, found.certain) == (
            OPENMPI,
            str(openmpi5 / "libmpi.so.40"),
            certain,
        ), command


@pytest.mark.parametrize(
    ("environ", "family"),
    [({}, OPENMPI), ({"MPI4PY_LIBMPI": "{mpich}"}, MPICH), ({"MPI4PY_MPIABI": "mpich"}, MPICH)],
)
def test_mpi4py_that_chooses_at_import_is_followed(
    tmp_path: Path, venv: Path, mpich: Path, environ: dict[str, str], family: str
) -> None:
    """Its order: the environment's lib (where wheels put a linker script for libmpi.so), then the loader's."""
    package = venv / "lib/python3.12/site-packages/mpi4py"
    for variant in ("mpich", "openmpi"):
        write_elf(package / f"MPI.{variant}.cpython-312-x86_64-linux-gnu.so")
    (venv / "lib/libmpi.so").write_text("INPUT(libmpi.so.40)")
    write_elf(venv / "lib/libmpi.so.40", "libopen-pal.so.80")
    given = {name: value.format(mpich=mpich) for name, value in environ.items()}
    found = find(venv / "bin/python3", "x.py", LD_LIBRARY_PATH=str(mpich), **given)
    assert found is not None
    assert found.family == family


def test_without_any_mpi_nothing_is_known(tmp_path: Path, venv: Path) -> None:
    (venv / "lib/python3.12/site-packages/mpi4py").rmdir()
    assert find(write_elf(tmp_path / "a", "libc.so.6")) is None
    assert find(script(tmp_path / "b", "#!/bin/sh")) is None
    assert find("absent") is None
    assert find(venv / "bin/python3", "x.py", PYTHONUSERBASE="/nowhere") is None

"""What a program in a job finds around it: the caller's surroundings, byte for byte, and what is documented."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hort import Hort

#: Variables that a job adds to the caller's: hort's own, and those of the MPI that starts the ranks.
ADDED = (
    b"HORT_",
    b"OMPI_",
    b"PMIX_",
    b"PRTE_",
    b"PMI_",
    b"MPI_",
    b"I_MPI_",
    b"HYDRA_",
    b"FI_",
    b"OMP_NUM_THREADS",
)
#: What the wheel's Open MPI adds for its programs by itself, under hort as bare; and the wrapper, for MPICH's.
MPIRUN = {b"LD_LIBRARY_PATH", b"MPIR_CVAR_PMI_VERSION", b"OPAL_PREFIX", b"OPAL_USER_PARAMS_GIVEN"}
shapes = pytest.mark.parametrize("flags", [[], ["-n", "1"]], ids=["plain", "ranks"])

MANY = {
    b"MANY_%d" % number: b"value %d\nline two\n\ttab '\"`$HOME` $(HOME) \\ end" % number
    for number in range(1000)
}
ODD = {
    b"BASH_FUNC_greet%%": b'() {  echo "hello $1"\n}',
    b"BASH_FUNC_which%%": b'() { ( alias; eval ${which_declare} ) | /usr/bin/which "$@"\n}',
    b"NOT_UTF8": b"\xff\xfe\x80 latin \xe9",
    b"EMPTY": b"",
    b"ESCAPED": b"$$(HOME) $$ $(HOME) $(NO_SUCH) ${HOME} %s",
    b"with.dots-and-dashes": b"kept",
    b"1BEGINS_WITH_A_DIGIT": b"kept",
    b"EQUALS": b"a=b=c",
    b"PS1": b"\\u@\\h:\\w\\$ ",
    b"IFS": b" \t\n",
    b"OLDPWD": b"/somewhere/else",
    b"SHLVL": b"7",
    b"_": b"/usr/bin/caller",
    b"LC_ALL": b"C",
    b"TMPDIR": b"/var/tmp",
}


def run(
    hort: Hort, flags: list[str], command: list[bytes], environ: dict[bytes, bytes], **options: object
) -> bytes:
    """Run a command as a job from a process with exactly this environment; return what it wrote to stdout."""
    base = {os.fsencode(key): os.fsencode(value) for key, value in hort.environ.items()}
    done = subprocess.run(
        [*(os.fsencode(word) for word in hort.command("run", *flags, "--")), *command],
        env=base | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
        **{"cwd": hort.home, **options},  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@shapes
def test_the_environment_arrives_byte_for_byte(hort: Hort, flags: list[str]) -> None:
    told = run(hort, flags, [b"cat", b"/proc/self/environ"], MANY | ODD)
    found = dict(entry.split(b"=", 1) for entry in told.split(b"\0") if entry)
    expected = {os.fsencode(key): os.fsencode(value) for key, value in hort.environ.items()} | MANY | ODD
    kept = {name: value for name, value in expected.items() if not name.startswith(b"HORT_")}
    assert {name: found.get(name) for name in kept} == kept
    extra = {name for name in found if name not in kept and not name.startswith(ADDED)}
    assert extra <= (MPIRUN if flags else set())


@shapes
def test_what_a_c_locale_makes_python_set_for_itself_stays_with_hort(hort: Hort, flags: list[str]) -> None:
    # With LC_ALL empty and no LANG, Python puts LC_CTYPE into its own environment (PEP 538).
    environ = {name: value for name, value in hort.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        hort.command("run", *flags, "--", "cat", "/proc/self/environ"),
        env=environ,
        cwd=hort.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
    )
    assert b"\0LC_CTYPE=" not in b"\0" + done.stdout


@shapes
def test_arguments_arrive_as_typed(hort: Hort, flags: list[str]) -> None:
    words = [
        b"$(HOME)",
        b"$$(HOME)",
        b"$$",
        b"",
        b"a b",
        b"'\"\\",
        b"line\nline",
        b"\xff\xfe",
        b"--",
        b"-n",
        "ü€".encode(),
    ]
    told = run(hort, flags, [b"sh", b"-c", b'exec cat "/proc/$$/cmdline"', b"sh", *words], {})
    # The shell becomes `cat /proc/PID/cmdline`: the words are told by another one that stays.
    assert told.startswith(b"cat\0/proc/")
    told = run(hort, flags, [b"printf", b"%s\\0", *words], {})
    assert told == b"".join(word + b"\0" for word in words)


@shapes
def test_exported_functions_of_bash_work(hort: Hort, flags: list[str]) -> None:
    assert run(hort, flags, [b"bash", b"-c", b"greet you"], ODD) == b"hello you\n"


@shapes
def test_directory_umask_and_limits_are_the_callers(hort: Hort, tmp_path: Path, flags: list[str]) -> None:
    folder = tmp_path / "a folder with\nodd \xfc name"
    folder.mkdir()

    def surroundings() -> None:
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (777, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    script = b"pwd -P; umask; ulimit -Sn; ulimit -Sc; echo made > file"
    told = run(hort, flags, [b"sh", b"-c", script], {}, cwd=folder, preexec_fn=surroundings)
    assert told == os.fsencode(folder) + b"\n0027\n777\n0\n"
    assert (folder / "file").stat().st_mode & 0o777 == 0o640


@shapes
def test_files_are_the_machines_tmp_included(hort: Hort, tmp_path: Path, flags: list[str]) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho from $0 > result\n")
    program.chmod(0o755)
    run(hort, flags, [b"./program"], {}, cwd=tmp_path)
    assert (tmp_path / "result").read_text() == "from ./program\n"


def test_nobody_else_can_read_the_callers_environment(hort: Hort) -> None:
    told = run(hort, [], [b"sh", b"-c", b'stat -L -c "%a %u" "$HORT_CONTEXT_FILE"'], {})
    assert told.split() == [b"400", b"%d" % os.getuid()]
    assert (hort.home / "data").stat().st_mode & 0o77 == 0


def test_a_job_started_from_inside_a_job_is_a_job_of_its_own(hort: Hort) -> None:
    inner = [
        *hort.command("run", "-n", "2", "--name", "inner", "--"),
        "sh",
        "-c",
        "echo $HORT_RANK of $HORT_RANKS $HORT_JOB_ID",
    ]
    done = hort("run", "-n", "1", "--name", "outer", "--", *inner)
    assert sorted(done.stdout.splitlines()) == [b"0 of 2 inner-1", b"1 of 2 inner-1"]


def test_ranks_have_cpus_of_their_own(new_hort: Callable[..., Hort]) -> None:
    count = len(os.sched_getaffinity(0))
    if count < 2:
        pytest.skip("one CPU only")
    hort = new_hort()
    script = "import os; print(sorted(os.sched_getaffinity(0)))"
    for workers in ("1", "2"):
        done = hort("run", "-n", "2", "--workers", workers, "--", sys.executable, "-c", script)
        first, second = (
            {int(cpu) for cpu in line.strip("[]").split(", ")} for line in done.stdout.decode().splitlines()
        )
        assert not first & second, workers

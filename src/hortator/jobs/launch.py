"""The main process of the launcher in an MPI job started by ``hort run``: runs mpirun as the caller would have.

``start.py launch -- COMMAND...`` enters the caller's surroundings, finds the mpirun that fits the program, divides the
ranks over the workers of the operator's hostfile, and runs ``mpirun ... sh wrapper.sh COMMAND...``. It passes TERM on,
turns mpirun's words about a failed rank into one line, and ends with the job's exit code (128 + signal; 125 for a failure
of its own). How workers are reached is the operator's (hostfile and agent in the environment). Standard library only,
with few imports: its start counts in every job.
"""

# ruff: noqa: PTH110, PTH118, PTH120
# pathlib alone would double the start-up time.
from __future__ import annotations

import os
import select
import signal
import sys

from hortator.jobs import enter
from hortator.jobs.complaints import Complaints
from hortator.jobs.libmpi import MPICH, OPENMPI, LibMpi, find_libmpi, which
from hortator.jobs.mpi import (
    INTEL,
    Mpirun,
    NoMpirun,
    WrongMpirun,
    choose,
    explicit,
    hostfile,
    mpirun_line,
    nearby,
    settings,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

__all__ = ["divide", "main", "read_hostfile"]

HOSTFILES = (
    "PRTE_MCA_prte_default_hostfile",
    "OMPI_MCA_orte_default_hostfile",
    "HYDRA_HOST_FILE",
    "I_MPI_HYDRA_HOST_FILE",
)
#: A batch system around `hort up` must not choose the hosts or start the daemons.
OUTSIDE = {
    OPENMPI: {
        "PRTE_MCA_plm": "ssh",
        "PRTE_MCA_ras": "^slurm,pbs,lsf,gridengine",
        "OMPI_MCA_plm": "rsh",
        "OMPI_MCA_ras": "^slurm,tm,lsf,gridengine",
    },
    INTEL: {"I_MPI_HYDRA_RMK": "user"},
}
#: Settings of the MPI library itself that the launch environment adds, for families whose mpirun does not forward them.
FORWARDED = (b"I_MPI_", b"FI_", b"UCX_", b"MPICH_", b"MPIR_")
#: Programs that start a command on a worker, by host name, as ssh does.
AGENTS = ("PRTE_MCA_plm_ssh_agent", "OMPI_MCA_plm_rsh_agent", "HYDRA_LAUNCHER_EXEC")
KILL_SECONDS = 10
#: The collector may not have come as far as its FIFO yet.
NO_MORE = 'p=$HORT_RUN_DIR/collector; mkfifo -m 600 "$p" 2>/dev/null; echo none >"$p"'


class NoHosts(Exception):
    """Raised when the launch environment names no hostfile, or the file has no hosts."""


def read_hostfile(text: str) -> list[tuple[str, int]]:
    """Read either form of hostfile (``host slots=2``, ``host:2``); a host without a number has one slot."""
    hosts = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        host, _, count = words[0].partition(":")
        for word in words[1:]:
            if word.startswith("slots="):
                count = word[6:]
        hosts.append((host, int(count or 1)))
    return hosts


def divide(ranks: int, hosts: list[str]) -> list[tuple[str, int]]:
    """Give each host its number of ranks: blocks that differ by one at most.

    Shorter ones first: where several workers share a host name, Open MPI 5 fails the other way round ("num local peers").
    """
    each, more = divmod(ranks, len(hosts))
    return [(host, each + (index >= len(hosts) - more)) for index, host in enumerate(hosts)]


def main(arguments: list[str]) -> None:
    """Entry point; see the module's docstring."""
    try:
        pod_name = os.environ.get("HOSTNAME", "")
        context, environ = enter.enter(os.environ["HORT_CONTEXT_FILE"])
        split = arguments.index("--")
        command = [os.fsencode(word) for word in arguments[split + 1 :]] or context.argv
        if not command:
            raise ValueError("no command")
        program = os.fsdecode(command[0])
        if which(program, {"PATH": os.fsdecode(environ.get(b"PATH", b"/bin:/usr/bin"))}) is None:
            there = os.path.exists(program)
            reason = "not executable" if "/" in program and there else "no such program"
            _refuse(f"cannot run {program}: {reason}", 126 if there else 127)
        mpirun, line, slots, environ = prepare(command, environ, caller=context.environ, pod_name=pod_name)
    except (enter.BadContext, NoHosts, NoMpirun, WrongMpirun) as error:
        _refuse(str(error), 125)
    except (OSError, ValueError, KeyError) as error:
        _refuse(f"cannot start the ranks: {error}", 125)
    os._exit(run(mpirun, line, slots, environ))


def _refuse(message: str, code: int) -> NoReturn:
    _release()
    enter.die(message, code)


def _release() -> None:
    """Tell every worker that no more ranks will come: one that had none need not wait for any.

    A worker that cannot be told ends when the operator cleans up, a few seconds later.
    """
    agent = next((os.environ[name] for name in AGENTS if name in os.environ), None)
    file = next((os.environ[name] for name in HOSTFILES if name in os.environ), None)
    if agent is None or file is None:
        return
    try:
        with open(file, encoding="utf-8") as stream:
            hosts = [host for host, _ in read_hostfile(stream.read())]
    except (OSError, ValueError):
        return
    silent = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    told = []
    for host in hosts:
        line = [agent, host, NO_MORE]
        try:
            told.append(os.posix_spawn(agent, line, os.environ, file_actions=silent))
        except OSError:
            break
    for pid in told:
        os.waitpid(pid, 0)


def prepare(
    command: list[bytes], environ: dict[bytes, bytes], *, caller: Mapping[bytes, bytes], pod_name: str
) -> tuple[Mpirun, list[bytes], list[tuple[str, int]], dict[bytes, bytes]]:
    """Return the mpirun, its whole command line, the ranks of each host, and mpirun's environment.

    ``caller`` is the environment that the workers' daemons start from, ``pod_name`` the host name that the launcher has
    where it has one of its own.
    """
    text = {os.fsdecode(name): os.fsdecode(value) for name, value in environ.items()}
    ranks = int(text["HORT_EXPECT_RANKS"])
    hosts: list[str] = []
    for name in HOSTFILES:
        if name in text:
            with open(text[name], encoding="utf-8") as stream:
                hosts = [host for host, _ in read_hostfile(stream.read())]
            break
    if not hosts:
        raise NoHosts("the launch environment names no workers (no hostfile of any MPI)")
    slots = divide(ranks, hosts)
    library = find_libmpi([os.fsdecode(word) for word in command], text)
    mpirun = find_mpirun(library, text)
    result = dict(environ)
    crowded = (
        "HORT_OVERSUBSCRIBED" in text or ranks * int(text.get("HORT_CPUS_PER_RANK", "1")) > _usable_cpus()
    )
    for name, value in settings(mpirun, library, oversubscribed=crowded).items():
        result.setdefault(os.fsencode(name), os.fsencode(value))
    if len(hosts) > 1 and mpirun.family == OPENMPI and pod_name != os.uname().nodename:
        for key, setting in _without_sandbox(caller).items():
            if setting is None:
                result.pop(key, None)
            else:
                result[key] = setting
    for name, value in OUTSIDE.get(mpirun.family, {}).items():
        result[os.fsencode(name)] = os.fsencode(value)
    for name in (*HOSTFILES, "I_MPI_PERHOST"):
        result.pop(os.fsencode(name), None)  # our hostfile has the ranks of each host
    forward = {
        os.fsdecode(name): os.fsdecode(value)
        for name, value in result.items()
        if name not in caller and name.startswith(FORWARDED)
    }
    file = f"{text['HORT_RUN_DIR']}/hostfile"
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(hostfile(mpirun, slots))
    wrapper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrapper.sh")
    line = mpirun_line(mpirun, ranks=ranks, hostfile=file, forward=forward)
    return mpirun, [os.fsencode(word) for word in [*line, "/bin/sh", wrapper]] + command, slots, result


def _usable_cpus() -> int:
    """Return how many CPUs this machine gives us: its nodes may have been declared with more."""
    count = getattr(os, "sched_getaffinity", None)
    return len(count(0)) if count else os.cpu_count() or 1


def _without_sandbox(caller: Mapping[bytes, bytes]) -> dict[bytes, bytes | None]:
    """Return what Open MPI needs where all workers have the machine's host name; None: must not be set.

    Its shared memory tells hosts apart by their names and crashes (4 and 5). And mpirun would tell its own session folder
    to all daemons, which then write the same files; each has one in its own environment.
    """
    wanted: dict[bytes, bytes | None] = {
        b"OMPI_MCA_btl": b"self,tcp",
        b"OMPI_MCA_orte_tmpdir_base": None,
        b"PRTE_MCA_prte_tmpdir_base": None,
    }
    return {name: value for name, value in wanted.items() if value is None or name not in caller}


def find_mpirun(library: LibMpi | None, environ: dict[str, str]) -> Mpirun:
    """Find the mpirun for a program that loads ``library``; ``HORT_MPI`` names one that the user asked for."""
    if environ.get("HORT_MPI"):
        return choose(library, [], asked=explicit(environ["HORT_MPI"], environ))
    own = os.path.dirname(sys.executable)
    return choose(library, nearby(library, environ, own=own))


def run(mpirun: Mpirun, line: list[bytes], slots: list[tuple[str, int]], environ: dict[bytes, bytes]) -> int:
    """Run mpirun to its end and return the job's exit code."""
    reader, writer = os.pipe()
    wake, woken = os.pipe()
    for fd in (reader, wake, woken):
        os.set_blocking(fd, False)
    nothing = os.open("/dev/null", os.O_RDONLY)
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopped.append(number)
        os.kill(pid, signal.SIGTERM)
        if len(stopped) == 1:
            signal.alarm(KILL_SECONDS)

    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Open MPI 4 called by its path puts its folders before the ranks' PATH; where PATH finds it anyway, there is no need.
    folder, name = os.path.split(line[0])
    pid = os.posix_spawn(
        line[0],
        [name if folder in environ.get(b"PATH", b"").split(b":") else line[0], *line[1:]],
        environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, writer, 2)],
        setsigdef=[signal.SIGPIPE],
    )
    os.close(writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))

    complaints = Complaints()
    status: int | None = None
    watched = [reader, wake]
    while status is None:
        ready, _, _ = select.select(watched, [], [])
        if wake in ready:
            os.read(wake, 4096)
        # Its helpers may hold the pipe for longer than mpirun lives: its end is what counts, not the pipe's.
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
        while True:
            try:
                data = os.read(reader, 65536)
            except BlockingIOError:
                break
            if not data:
                if reader in watched:
                    watched.remove(reader)
                break
            os.write(2, complaints.feed(data))
    os.write(2, complaints.close())
    code = 128 - status if status < 0 else status
    if complaints.stranger and not stopped:
        stranger = LibMpi(MPICH, path=None, major=None, user="")
        os.write(2, f"hort: {WrongMpirun(stranger, [mpirun])}\n".encode())
        code = 125
    elif complaints.failed is not None and not stopped:
        rank, ended = complaints.failed
        os.write(2, f"hort: {told(rank, ended, slots)}\n".encode())
        code = ended or code
    elif code and not stopped:
        _release()
    return code


def told(rank: int, code: int, slots: list[tuple[str, int]]) -> str:
    """Say in words how ``rank`` ended."""
    first = 0
    where = ""
    for host, count in slots:
        if first <= rank < first + count:
            where = f" on {host.partition('.')[0]}"
        first += count
    if 128 < code < 128 + 65:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            name = f"signal {code - 128}"
        return f"rank {rank}{where} was killed by {name} (exit code {code})"
    return f"rank {rank}{where} exited with code {code}"

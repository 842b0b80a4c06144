"""``hort doctor``: checks this machine and says what to mend. It changes nothing.

Each check gives a mark (``ok``, ``note``, ``bad``), a finding and, unless it is ok, the next step. Only ``bad`` makes the
exit code 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hortator.cli.background import read_state
from hortator.cli.output import add_output, emit
from hortator.cli.places import LocalPlaces, local_places

__all__ = ["configure", "run"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    mark: str
    finding: str
    hint: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--data-dir", metavar="DIR", help="data folder of the local cluster")
    parser.add_argument("--mpi", metavar="PATH", help="an mpirun (or the prefix of an MPI) to look at")
    add_output(parser, formats=("json", "yaml"))


def run(args: argparse.Namespace) -> int:
    """Run every check and print what was found."""
    places = local_places(args.data_dir)
    findings = [finding for check in _CHECKS for finding in check(places)] + _mpi(args.mpi)
    items = [
        {"name": f.check, "mark": f.mark, "finding": f.finding} | ({"hint": f.hint} if f.hint else {})
        for f in findings
    ]
    if args.output:
        emit(args.output, items, rows=lambda wide: ([], []))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            print(f"{finding.mark:<5} {finding.check:<{width}}  {finding.finding}")
            if finding.hint:
                print(f"{'':<5} {'':<{width}}  → {finding.hint}")
    return 1 if any(finding.mark == "bad" for finding in findings) else 0


def _python(_: LocalPlaces) -> list[Finding]:
    return [Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")]


def _platform(_: LocalPlaces) -> list[Finding]:
    if platform.system() == "Linux":
        return [Finding("system", "ok", f"Linux {platform.release()}")]
    return [
        Finding("system", "bad", f"{platform.system()} is not supported by the local cluster", "use Linux")
    ]


def _sandbox(_: LocalPlaces) -> list[Finding]:
    from hortator.local.node.sandbox import probe

    sandbox = probe()
    if sandbox.mounts:
        return [Finding("sandbox", "ok", "pods get namespaces of their own (mounts, host name, processes)")]
    return [Finding("sandbox", "note", f"pods are plain processes: {sandbox.why}", _sandbox_hint())]


def _sandbox_hint() -> str:
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if restricted.exists() and restricted.read_text().strip() == "1":
        return "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    clone = Path("/proc/sys/kernel/unprivileged_userns_clone")
    if clone.exists() and clone.read_text().strip() == "0":
        return "as root: sysctl kernel.unprivileged_userns_clone=1"
    return "as root: sysctl user.max_user_namespaces=15000 (jobs run without it too)"


def _folders(places: LocalPlaces) -> list[Finding]:
    existing = next(parent for parent in (places.data, *places.data.parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return [Finding("data folder", "bad", f"{existing} is not writable", "name another with --data-dir")]
    free = shutil.disk_usage(existing).free
    if free < 1 << 30:
        return [Finding("data folder", "note", f"{places.data}: only {free >> 20} MiB free", "make room")]
    return [Finding("data folder", "ok", f"{places.data} ({free >> 30} GiB free)")]


def _machine(_: LocalPlaces) -> list[Finding]:
    from hortator.cli import machine

    cpus, memory, gpus = len(machine.cpus()), machine.memory_bytes() >> 30, machine.gpus()
    found = f"{cpus} CPUs, {memory} GiB of memory, {gpus} NVIDIA GPU{'s' if gpus != 1 else ''}"
    findings = [Finding("machine", "ok", found)]
    shared = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    if shared.is_dir() and (size := shutil.disk_usage(shared).total) < 256 << 20:
        hint = "enlarge it: MPI passes messages between ranks of one worker through it"
        findings.append(Finding("shared memory", "note", f"{shared} has only {size >> 20} MiB", hint))
    return findings


def _cluster(places: LocalPlaces) -> list[Finding]:
    state = read_state(places)
    if state is None:
        return [Finding("local cluster", "ok", "not running; hort run starts it by itself")]
    return [Finding("local cluster", "ok", f"running (pid {state['pid']}, {state['nodes']} nodes)")]


def _kubectl(_: LocalPlaces) -> list[Finding]:
    path = shutil.which("kubectl")
    if path is None:
        return [Finding("kubectl", "ok", "not found; hort does not need it")]
    return [Finding("kubectl", "ok", f"{path} (1.27 or newer works; see: hort kubeconfig)")]


def _mpi(override: str | None) -> list[Finding]:
    from hortator.jobs import mpi

    findings = []
    installed = mpi.installations(override=override, environ=dict(os.environ))
    for found in installed:
        findings.append(Finding("mpi", "ok", f"{found.family} {found.version} at {found.mpirun}"))
    if not installed:
        findings.append(
            Finding("mpi", "bad", "no mpirun was found", "pip install 'hortator[mpi]', or install an MPI")
        )
    fortran = shutil.which("mpifort") or shutil.which("mpif90")
    if fortran:
        findings.append(Finding("fortran", "ok", fortran))
    else:
        hint = "the wheels have no mpifort; install your system's, such as: apt-get install libopenmpi-dev gfortran"
        findings.append(Finding("fortran", "note", "no mpifort was found", hint))
    return findings


_CHECKS: tuple[Callable[[LocalPlaces], list[Finding]], ...] = (
    _platform,
    _python,
    _machine,
    _sandbox,
    _folders,
    _cluster,
    _kubectl,
)

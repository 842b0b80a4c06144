"""How mpirun learns where its hosts are and how to start something there: tables of variables.

One table for each launch mode and MPI family. Open MPI reads other names since version 5 (PRRTE) than before (ORTE) and
ignores those it does not know, so both are always set; with the old ones alone, Open MPI 5 silently runs every rank beside
the launcher. Nothing here looks at a cluster.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hortator.api.mpijob import INTEL, MPICH, OPEN_MPI, MPIJob
from hortator.operator.mpijob.settings import Settings

__all__ = [
    "CONFIG_DIR",
    "HOSTFILE",
    "HYDRA_HOSTFILE",
    "IDLE_COMMAND",
    "REMOTE_SHELL",
    "RUN_DIR",
    "agent_command",
    "launcher_env",
    "local_machine_env",
    "merge_env",
    "remote_shell_script",
    "worker_env",
]

#: Where the job's ConfigMap is mounted in the launcher.
CONFIG_DIR = "/etc/mpi"
#: Keys of the ConfigMap, which become files of :data:`CONFIG_DIR`. The last two exist in exec mode only.
HOSTFILE = "hostfile"
DISCOVER_HOSTS = "discover_hosts.sh"
HYDRA_HOSTFILE = "hostfile.hydra"
REMOTE_SHELL = "remote_shell.sh"
#: Where pods find the token of their account.
ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
#: Where exec mode mounts a directory that is private to the pod.
RUN_DIR = "/run/hortator"

#: What a worker does in exec mode while it waits for mpirun's daemon. `wait` returns at once on a trapped signal.
IDLE_COMMAND = ("/bin/sh", "-c", "trap 'kill $!; exit 0' TERM INT; sleep 2147483647 & wait")

Pairs = tuple[tuple[str, str], ...]

#: ssh gives up at the first refused connection otherwise, and sshd may be a moment late.
_SSH_ARGS = "-o ConnectionAttempts=10"


def launcher_env(job: MPIJob, settings: Settings) -> Pairs:
    """Return the variables that the launcher's first container gets unless it sets them itself, in upstream's order."""
    mode = _exec_mode(job) if settings.launch_mode == "exec" else _ssh_mode(job)
    # A launcher without ranks needs no GPU; empty values keep NVIDIA's runtime from handing it all of them.
    blank = (
        () if job.launcher_as_worker else (("NVIDIA_VISIBLE_DEVICES", ""), ("NVIDIA_DRIVER_CAPABILITIES", ""))
    )
    return (("K_MPI_JOB_ROLE", "launcher"), *mode, *blank, *settings.launcher_env.items())


def worker_env(settings: Settings) -> Pairs:
    """Return the variables that a worker's first container gets unless it sets them itself."""
    role = (("K_MPI_JOB_ROLE", "worker"),)
    if settings.launch_mode == "ssh":
        return role
    # Not in the launcher: Open MPI 4 hands its own on to the daemons, and two that share one on one host disturb each other
    # (without sandboxes all pods are one host). Its mpirun keeps to /tmp, under the launcher's name.
    return (*role, *_session_directory(), ("OMPI_MCA_orte_tmpdir_base", RUN_DIR))


def merge_env(user: Sequence[Mapping[str, Any]], ours: Iterable[tuple[str, str]]) -> list[Mapping[str, Any]]:
    """Return a container's ``env``: the user's own, then ours. A name that the user has set is left to the user."""
    taken = {each.get("name") for each in user}
    added: dict[str, str] = {name: value for name, value in ours if name not in taken}
    return [*user, *({"name": name, "value": value} for name, value in added.items())]


def _ssh_mode(job: MPIJob) -> Pairs:
    hostfile, slots = f"{CONFIG_DIR}/{HOSTFILE}", str(job.slots)
    tables: dict[str, Pairs] = {
        OPEN_MPI: (
            ("OMPI_MCA_orte_keep_fqdn_hostnames", "true"),
            ("OMPI_MCA_orte_default_hostfile", hostfile),
            ("OMPI_MCA_plm_rsh_args", _SSH_ARGS),
            ("OMPI_MCA_orte_set_default_slots", slots),
            # Its keep_fqdn_hostnames stays unset: with it mpirun reaches for itself by ssh when it is in the hostfile.
            ("PRTE_MCA_prte_default_hostfile", hostfile),
            ("PRTE_MCA_plm_ssh_args", _SSH_ARGS),
            ("PRTE_MCA_prte_set_default_slots", slots),
        ),
        INTEL: (
            ("I_MPI_HYDRA_HOST_FILE", hostfile),
            ("I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS", _SSH_ARGS),
            ("I_MPI_PERHOST", slots),
        ),
        MPICH: (
            ("HYDRA_HOST_FILE", hostfile),
            # The first name is upstream's, from a slip in MPICH's manual; MPICH reads the second.
            ("HYDRA_LAUNCH_EXTRA_ARGS", _SSH_ARGS),
            ("HYDRA_LAUNCHER_EXTRA_ARGS", _SSH_ARGS),
        ),
    }
    return tables[job.implementation]


def _exec_mode(job: MPIJob) -> Pairs:
    """Every family's variables, so that the MPI of the program decides and not the field of the job.

    Only the job that names MPICH or Intel gets no Open MPI variables: its hostfile is not in Open MPI's form.
    """
    agent = f"{CONFIG_DIR}/{REMOTE_SHELL}"
    # In the environment because nodes without sandboxes move mounts, and replace their paths there.
    account = (("HORT_SERVICE_ACCOUNT_DIR", ACCOUNT_DIR),)
    ours = (*account, *_session_directory())
    if job.implementation != OPEN_MPI:
        return (*_hydra_by_agent(job, agent, HOSTFILE), *ours)
    return (*_open_mpi_by_agent(job, agent), *_hydra_by_agent(job, agent, HYDRA_HOSTFILE), *ours)


def _open_mpi_by_agent(job: MPIJob, agent: str) -> Pairs:
    hostfile, slots = f"{CONFIG_DIR}/{HOSTFILE}", str(job.slots)
    return (
        ("OMPI_MCA_orte_keep_fqdn_hostnames", "true"),
        ("OMPI_MCA_orte_default_hostfile", hostfile),
        ("OMPI_MCA_plm_rsh_agent", agent),
        # Workers have neither the agent nor a right to use it, so the launcher starts every daemon itself.
        ("OMPI_MCA_plm_rsh_no_tree_spawn", "1"),
        ("OMPI_MCA_orte_set_default_slots", slots),
        ("PRTE_MCA_prte_default_hostfile", hostfile),
        ("PRTE_MCA_plm_ssh_agent", agent),
        ("PRTE_MCA_plm_ssh_no_tree_spawn", "1"),
        ("PRTE_MCA_prte_set_default_slots", slots),
        # Daemons of PRRTE 3.0 fork ranks in threads, and lose the end of one that ends before it is registered: mpirun
        # then waits for ever (half of the runs of `mpirun hostname`). Without threads there is no such moment.
        ("PRTE_MCA_odls_base_max_threads", "0"),
    )


def _hydra_by_agent(job: MPIJob, agent: str, hostfile: str) -> Pairs:
    path = f"{CONFIG_DIR}/{hostfile}"
    return (
        ("HYDRA_HOST_FILE", path),
        ("HYDRA_LAUNCHER", "rsh"),
        ("HYDRA_LAUNCHER_EXEC", agent),
        ("I_MPI_HYDRA_HOST_FILE", path),
        ("I_MPI_HYDRA_BOOTSTRAP", "rsh"),
        ("I_MPI_HYDRA_BOOTSTRAP_EXEC", agent),
        ("I_MPI_HYDRA_BRANCH_COUNT", "0"),
        ("I_MPI_PERHOST", str(job.slots)),
    )


def _session_directory() -> Pairs:
    # In PID namespaces pids coincide, and session directories are named after pids: each pod needs its own.
    return (
        ("HORT_RUN_DIR", RUN_DIR),
        ("PRTE_MCA_prte_tmpdir_base", RUN_DIR),
    )


def local_machine_env(*, root: bool, loopback: str = "lo") -> dict[str, str]:
    """Return settings that are right where all "hosts" are one machine without a fabric, and wrong anywhere else.

    ``root``: the launcher runs as root, which Open MPI refuses by default. ``loopback``: the interface's name.
    """
    env = {
        # Looking for fabrics takes Open MPI 5 a second.
        "OMPI_MCA_btl": "^ofi",
        # Two one-rank hosts on one real machine choose different collectives otherwise, and hang.
        "OMPI_MCA_coll": "^han",
        "OMPI_MCA_btl_tcp_if_include": loopback,
        # Each host would bind its first rank to core 0; whoever knows the CPUs of the pod binds.
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "HYDRA_BINDING": "none",
        "I_MPI_PIN": "0",
        "I_MPI_OFI_PROVIDER": "tcp",
        # MPICH's UCX takes all hosts of one machine for one, and each pod has its own System V memory.
        "UCX_TLS": "^sysv",
    }
    if root:
        for prefix in ("PRTE", "OMPI"):
            env[f"{prefix}_ALLOW_RUN_AS_ROOT"] = "1"
            env[f"{prefix}_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return env


def agent_command(python: str = "", *, library_path: str = "") -> str:
    """Return the shell command line of our remote shell (``Settings.exec_agent``), run by this or another Python.

    Isolated and without site-packages, so that it starts in some 30 ms whatever is installed. ``library_path`` is the
    ``LD_LIBRARY_PATH`` that this Python itself needs; the job's own might name libraries that break it.
    """
    program = Path(__file__).with_name("remote_shell.py")
    environment = ["-u", "LD_PRELOAD", "-u", "PYTHONHOME"]
    environment += [f"LD_LIBRARY_PATH={library_path}"] if library_path else ["-u", "LD_LIBRARY_PATH"]
    return shlex.join(["env", *environment, python or sys.executable, "-I", "-S", str(program)])


def remote_shell_script(settings: Settings) -> str:
    """Return the file that every MPI takes as its remote shell: one path without arguments or blanks."""
    return f'#!/bin/sh\nexec {settings.exec_agent} "$@"\n'

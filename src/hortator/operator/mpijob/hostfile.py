"""Who takes ranks: host names, the hostfile of each MPI family, and the script that elastic programs poll."""

from __future__ import annotations

from collections.abc import Iterable

from hortator.api.mpijob import OPEN_MPI, MPIJob

__all__ = ["discover_hosts", "host_name", "hostfile", "hosts", "launcher_name", "worker_name"]


def launcher_name(job: MPIJob) -> str:
    """Return the name of the launcher's Job, which is also the launcher pod's host name."""
    return f"{job.name}-launcher"


def worker_name(job: MPIJob, index: int) -> str:
    """Return the name of a worker pod, which is also its host name."""
    return f"{job.name}-worker-{index}"


def host_name(job: MPIJob, pod: str, cluster_domain: str = "") -> str:
    """Return the name under which a pod of the job is known to the others."""
    name = f"{pod}.{job.name}.{job.namespace}.svc"
    return f"{name}.{cluster_domain}" if cluster_domain else name


def hosts(job: MPIJob, cluster_domain: str = "") -> list[str]:
    """Return every host that takes ranks, in rank order, whether its pod runs or not."""
    pods = [launcher_name(job)] if job.launcher_as_worker else []
    pods += [worker_name(job, index) for index in range(job.workers)]
    return [host_name(job, pod, cluster_domain) for pod in pods]


def hostfile(job: MPIJob, family: str, cluster_domain: str = "") -> str:
    """Return the hostfile in the form of an MPI family: ``host slots=n`` for Open MPI, ``host:n`` for the others."""
    mark = " slots=" if family == OPEN_MPI else ":"
    return "".join(f"{host}{mark}{job.slots}\n" for host in hosts(job, cluster_domain))


def discover_hosts(job: MPIJob, running: Iterable[int], cluster_domain: str = "") -> str:
    """Return the script that prints the hosts that run now, given the indices of running workers.

    Workers come in the order of their numbers; upstream sorts by name, which puts worker 10 before worker 2.
    """
    pods = [launcher_name(job)] if job.launcher_as_worker else []
    pods += [worker_name(job, index) for index in sorted(running)]
    lines = "".join(f"echo {host_name(job, pod, cluster_domain)}\n" for pod in pods)
    return "#!/bin/sh\n" + lines

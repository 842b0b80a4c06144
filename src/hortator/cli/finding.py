"""Finding jobs and their pods on a cluster, for every command that names one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hortator.cli.errors import NotFound, UsageError
from hortator.cli.kinds import MPI_JOBS, items_of, pods_label
from hortator.cli.target import Target
from hortator.jobs.state import JobView, pods_of, view
from hortator.kube.errors import NotFound as ApiNotFound
from hortator.kube.resources import JOBS, PODS

__all__ = ["Found", "all_jobs", "find"]


class Found:
    """A job as the cluster has it, with its pods."""

    def __init__(self, job: dict[str, Any], pods: Sequence[Any]) -> None:
        self.job = job
        self.pods = pods
        self.view: JobView = view(job, pods)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.job["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.job["metadata"]["namespace"])


def all_jobs(target: Target, *, namespace: str | None = None) -> list[Found]:
    """Return every job of the cluster (or of one namespace), oldest first, whatever created it.

    Jobs that another job made (a launcher's batch Job) are not jobs of their own. A cluster may lack
    the MPIJob kind.
    """
    jobs = items_of(target, MPI_JOBS, namespace) + items_of(target, JOBS, namespace)
    jobs = [job for job in jobs if not _made_by_mpijob(job)]
    pods = items_of(target, PODS, namespace) if jobs else []
    jobs.sort(key=lambda job: (job["metadata"].get("creationTimestamp", ""), job["metadata"]["name"]))
    return [Found(job, pods_of(job, pods)) for job in jobs]


def find(target: Target, name: str) -> Found:
    """Return the job called ``name`` (``NAMESPACE/NAME`` for another namespace). Raises :class:`NotFound`."""
    namespace, _, plain = name.rpartition("/")
    namespace = namespace or target.namespace
    if not plain:
        raise UsageError(f"{name!r} is not a job's name", hint="hort jobs")
    for resource in (MPI_JOBS, JOBS):
        try:
            job = target.client.get(resource, plain, namespace=namespace)
        except ApiNotFound:
            continue
        job |= {"kind": resource.kind}
        pods = target.client.list(PODS, namespace=namespace, labels=pods_label(job)).items
        return Found(job, pods_of(job, pods))
    raise NotFound(f"there is no job {plain} in namespace {namespace}", hint="hort jobs")


def _made_by_mpijob(job: dict[str, Any]) -> bool:
    owners = job["metadata"].get("ownerReferences") or []
    return job["kind"] == "Job" and any(owner.get("kind") == "MPIJob" for owner in owners)

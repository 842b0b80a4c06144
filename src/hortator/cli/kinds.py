"""The kinds that are jobs, and their plain lists. What a job is doing is read in ``finding``, which imports more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hortator.kube.errors import NotFound
from hortator.kube.resources import JOBS, Resource

if TYPE_CHECKING:
    from hortator.cli.target import Target

__all__ = ["MPI_JOBS", "items_of", "job_names", "pods_label", "resource_of"]

MPI_JOBS = Resource("kubeflow.org", "v2beta1", "mpijobs", "MPIJob")


def resource_of(job: dict[str, Any]) -> Resource:
    """Return where a job's kind is served."""
    return MPI_JOBS if job["kind"] == "MPIJob" else JOBS


def job_names(target: Target) -> set[str]:
    """Return the names of all jobs of the target's namespace."""
    return {
        job["metadata"]["name"]
        for resource in (MPI_JOBS, JOBS)
        for job in items_of(target, resource, target.namespace)
    }


def items_of(target: Target, resource: Resource, namespace: str | None) -> list[dict[str, Any]]:
    """Return the objects of a kind, of one namespace or all; none where the cluster does not serve the kind."""
    try:
        items = target.client.list(resource, namespace=namespace).items
    except NotFound:
        return []
    return [item | {"kind": resource.kind} for item in items]


def pods_label(job: dict[str, Any]) -> str:
    """Return the label selector of a job's pods."""
    group = "training.kubeflow.org" if job["kind"] == "MPIJob" else "batch.kubernetes.io"
    return f"{group}/job-name={job['metadata']['name']}"

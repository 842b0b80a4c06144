"""The pods of a Job, made from its template."""

from __future__ import annotations

from typing import Any

from hortator.apimachinery import meta
from hortator.local.controllers.job.observe import FAILURES, FINALIZER, IGNORED_FAILURES, INDEX, JobView
from hortator.local.controllers.job.plan import Creation

__all__ = ["make_pod"]

ENV_NAME = "JOB_COMPLETION_INDEX"
#: Generated names are cut so that five random characters fit into 63.
LONGEST_PREFIX = 58


def _prefix(name: str, index: int | None) -> str:
    if index is None:
        return f"{name}-"
    suffix = f"-{index}-"
    return name[: LONGEST_PREFIX - len(suffix)] + suffix


def _with_index(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the variable with the index, unless the container has one of that name."""
    variable = {"name": ENV_NAME, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}}
    return [
        one
        if any(env.get("name") == ENV_NAME for env in one.get("env") or ())
        else {**one, "env": [*(one.get("env") or ()), variable]}
        for one in containers
    ]


def make_pod(job: JobView, creation: Creation) -> dict[str, Any]:
    """Return the pod to create; the server completes its name. The template is shared, not copied."""
    owner = job.object
    template = job.spec["template"]
    given = template.get("metadata") or {}
    labels = dict(given.get("labels") or {})
    annotations = dict(given.get("annotations") or {})
    spec = template["spec"]
    if job.indexed and creation.index is not None:
        labels[INDEX] = annotations[INDEX] = str(creation.index)
        if job.backoff_limit_per_index is not None:
            annotations[FAILURES] = str(creation.failures)
            if creation.ignored:
                annotations[IGNORED_FAILURES] = str(creation.ignored)
        spec = {**spec, "hostname": f"{job.name}-{creation.index}"}
        for key in ("initContainers", "containers"):
            if spec.get(key):
                spec[key] = _with_index(spec[key])
    finalizers = list(given.get("finalizers") or ())
    metadata: dict[str, Any] = {
        "generateName": _prefix(job.name, creation.index),
        "namespace": owner["metadata"]["namespace"],
        "labels": labels,
        "finalizers": finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER],
        "ownerReferences": [meta.controller_ref(owner, "Job", "batch/v1")],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

"""``hort submit``: submit a manifest, or a command as ``run`` takes it, print the job's name, and return."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hortator.cli.errors import CommandError, UsageError
from hortator.cli.kinds import MPI_JOBS
from hortator.cli.options import add_job_flags, create_job, prepare, said
from hortator.cli.target import Target, add_target, choose
from hortator.kube.resources import (
    CONFIG_MAPS,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)

__all__ = ["configure", "run"]

#: What a file may hold: jobs, and what jobs need.
_JOBS = {("kubeflow.org/v2beta1", "MPIJob"): MPI_JOBS, ("batch/v1", "Job"): JOBS}
_NEEDS = {
    ("v1", "ConfigMap"): CONFIG_MAPS,
    ("v1", "Secret"): SECRETS,
    ("v1", "ServiceAccount"): SERVICE_ACCOUNTS,
    ("v1", "PersistentVolumeClaim"): PERSISTENT_VOLUME_CLAIMS,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.usage = "hort submit FILE | - | [-n RANKS] [options] -- COMMAND [ARGUMENT ...]"
    add_job_flags(parser)
    parser.add_argument("--parsable", action="store_true", help="print nothing but the job's name")
    parser.add_argument("--wait", action="store_true", help="wait for the end, exit with the job's code")
    add_target(parser)
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="FILE", help="a manifest, - for standard input"
    )


def run(args: argparse.Namespace) -> int:
    """Submit it."""
    if not args.words or args.words == ["--"]:
        raise UsageError("nothing to submit", hint="hort submit job.yaml, or hort submit -n 4 -- ./program")
    if args.words[0] == "--":
        wanted = prepare(args, args.words[1:], stdin=False)
        target = choose(args, start=True)
        job, note = create_job(target, wanted)
        if note:
            print(f"hort: {note}", file=sys.stderr)
        created = [job]
    else:
        if len(args.words) > 1:
            raise UsageError(f"one file at a time, not {len(args.words)}", hint="a command follows --")
        objects = _read(args.words[0])
        target = choose(args, start=True)
        created = _submit(target, objects)
    for job in created:
        if args.parsable:
            print(job["metadata"]["name"])
        else:
            words = (
                said(job)
                if "hortator.dev/ranks" in (job["metadata"].get("annotations") or {})
                else _plain(job)
            )
            print(f"{words}, on {target.describe()}")
    if args.wait:
        from hortator.cli import wait

        names = [f"{job['metadata']['namespace']}/{job['metadata']['name']}" for job in created]
        return wait.until_end(target, names)
    return 0


def _plain(job: dict[str, Any]) -> str:
    return f"job {job['metadata']['name']}"


def _read(name: str) -> list[tuple[Resource, dict[str, Any]]]:
    """Return the objects of a file, all checked before anything is created."""
    from hortator.apimachinery import yaml

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {name}", cause=error.strerror or str(error)) from error
    try:
        documents = [item for item in yaml.load_all(data, source=name) if item is not None]
    except yaml.YamlError as error:
        raise UsageError(f"{name} is not valid YAML", cause=str(error)) from error
    if not documents:
        raise UsageError(f"{name} holds no objects")
    objects = []
    for number, item in enumerate(documents, 1):
        where = f"{name}: object {number}"
        if not isinstance(item, dict):
            raise UsageError(f"{where} is not a Kubernetes object", cause=f"found {type(item).__name__}")
        key = (str(item.get("apiVersion")), str(item.get("kind")))
        resource = _JOBS.get(key) or _NEEDS.get(key)
        if resource is None:
            kinds = ", ".join(kind for _, kind in (*_JOBS, *_NEEDS))
            raise UsageError(
                f"{where}: {key[0]} {key[1]} cannot be submitted",
                cause=f"allowed: {kinds}",
                hint="kubectl apply -f",
            )
        objects.append((resource, item))
    if not any(resource in _JOBS.values() for resource, _ in objects):
        raise UsageError(f"{name} holds no job", cause="an MPIJob or a Job is needed")
    return objects


def _submit(target: Target, objects: list[tuple[Resource, dict[str, Any]]]) -> list[dict[str, Any]]:
    created = []
    # What jobs need comes first, wherever it stands in the file.
    for resource, item in sorted(objects, key=lambda pair: pair[0] in _JOBS.values()):
        namespace = (item.get("metadata") or {}).get("namespace") or target.namespace
        made = target.client.create(resource, item, namespace=namespace, field_validation="Strict")
        if resource in _JOBS.values():
            created.append(made | {"kind": resource.kind})
    return created

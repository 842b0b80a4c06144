"""The flags that describe a job, for ``run`` and ``submit``, and the job that they make."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hortator.cli.errors import CommandError, NeverFits, UsageError
from hortator.cli.kinds import job_names, resource_of
from hortator.cli.target import Target
from hortator.kube.errors import AlreadyExists
from hortator.kube.resources import NODES, SECRETS

if TYPE_CHECKING:
    from hortator.jobs.compile_local import Compiled
    from hortator.jobs.job import Job

__all__ = ["add_job_flags", "create_job", "prepare", "said"]


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of a job and its command."""
    parser.add_argument(
        "-n", "--ranks", "--ntasks", type=int, metavar="RANKS", help="MPI ranks; without it a plain job"
    )
    parser.add_argument(
        "--workers", type=int, metavar="W", help="workers that the ranks spread over (default: few)"
    )
    parser.add_argument(
        "-c", "--cpus-per-rank", type=int, default=1, metavar="CPUS", help="CPUs of each rank (default 1)"
    )
    parser.add_argument("--mem", metavar="SIZE", help="memory of each worker, such as 16G")
    parser.add_argument("--gpus-per-rank", type=int, default=0, metavar="GPUS", help="GPUs of each rank")
    parser.add_argument("-t", "--time", metavar="TIME", help="time limit: 90s, 2h30m, HH:MM:SS, D-HH:MM:SS")
    parser.add_argument(
        "--name", metavar="NAME", help="the job's base name (default: the program's); a number follows"
    )
    parser.add_argument(
        "--no-oversubscribe", action="store_true", help="refuse rather than share CPUs (exit code 7)"
    )
    parser.add_argument("--mpi", metavar="PATH", help="the mpirun to use, or the prefix of its MPI")
    parser.add_argument("--image", metavar="IMAGE", help=argparse.SUPPRESS)


def prepare(args: argparse.Namespace, command: list[str], *, stdin: bool) -> Job:
    """Return the job, checked, under its base name. Raises :class:`UsageError` that names the flag."""
    from hortator.jobs.amounts import InvalidAmount, parse_duration, parse_memory
    from hortator.jobs.context import capture
    from hortator.jobs.job import InvalidJob, Job
    from hortator.jobs.naming import name_for

    try:
        memory = parse_memory(args.mem) if args.mem is not None else None
    except InvalidAmount as error:
        raise UsageError(f"--mem {args.mem}", cause=str(error)) from error
    try:
        limit = parse_duration(args.time) if args.time is not None else None
    except InvalidAmount as error:
        raise UsageError(f"-t {args.time}", cause=str(error)) from error
    try:
        context = capture()
    except OSError as error:
        raise CommandError(
            "the working directory cannot be entered", cause=error.strerror or str(error)
        ) from error
    try:
        return Job(
            name=args.name or name_for(command),
            command=tuple(command),
            context=context,
            ranks=args.ranks,
            workers=args.workers,
            cpus_per_rank=args.cpus_per_rank,
            memory=memory,
            gpus_per_rank=args.gpus_per_rank,
            time_limit=limit,
            oversubscribe=not args.no_oversubscribe,
            stdin=stdin,
            mpi=args.mpi,
        )
    except InvalidJob as error:
        raise UsageError(str(error)) from error


def create_job(target: Target, wanted: Job) -> tuple[dict[str, Any], str]:
    """Create the job under the next free name; return its object and what there is to say about its layout.

    Raises :class:`UsageError` where it cannot be submitted and :class:`NeverFits` when no idle cluster could run it.
    """
    from hortator.jobs import layout as layouts
    from hortator.jobs.compile_local import compile_local
    from hortator.jobs.context import ContextTooLarge
    from hortator.jobs.job import InvalidJob
    from hortator.jobs.naming import next_name

    if target.local is None:
        raise UsageError(
            f"{target.name} is not the local cluster: a job there needs an image",
            hint="hort submit with a manifest, or --context local",
        )
    taken = job_names(target)
    while True:
        name = next_name(wanted.name, taken)
        try:
            job = replace(wanted, name=name)
        except InvalidJob as error:
            raise UsageError(str(error)) from error
        try:
            layout = layouts.plan_layout(job, _capacities(target))
        except layouts.NeverFits as error:
            raise NeverFits("the job can never run here", cause=str(error), hint="hort status") from error
        try:
            return _create(target, compile_local(job, layout, namespace=target.namespace)), layout.note
        except ContextTooLarge as error:
            raise UsageError("the job cannot be submitted", cause=str(error)) from error
        except AlreadyExists:
            taken.add(name)  # somebody was quicker


def _create(target: Target, compiled: Compiled) -> dict[str, Any]:
    """Create the caller's context, then the job, then let the job own the context, which goes with it."""
    from hortator.jobs.compile_local import owner_patch

    client, secret = target.client, compiled.secret["metadata"]["name"]
    client.create(SECRETS, compiled.secret)
    try:
        created = client.create(resource_of(compiled.job), compiled.job)
    except BaseException:
        client.delete(SECRETS, secret, namespace=target.namespace)
        raise
    client.patch(SECRETS, secret, owner_patch(created), namespace=target.namespace)
    return created


def _capacities(target: Target) -> list[Any]:
    from hortator.apimachinery.quantity import parse
    from hortator.jobs.layout import NodeCapacity

    capacities = []
    for node in target.client.list(NODES).items:
        has = (node.get("status") or {}).get("allocatable") or {}
        capacities.append(
            NodeCapacity(
                name=node["metadata"]["name"],
                milli_cpus=parse(has.get("cpu", "0")).milli(),
                memory=int(parse(has.get("memory", "0"))),
                gpus=int(parse(has.get("nvidia.com/gpu", "0"))),
            )
        )
    return capacities


def said(job: dict[str, Any]) -> str:
    """Return the job in the words of a command's first line."""
    if job["kind"] != "MPIJob":
        return f"job {job['metadata']['name']}"
    spec = job["spec"]
    workers = spec["mpiReplicaSpecs"]["Worker"]["replicas"]
    ranks = job["metadata"]["annotations"]["hortator.dev/ranks"]
    plural = "s" if workers != 1 else ""
    return f"job {job['metadata']['name']}: {ranks} rank{'s' if ranks != '1' else ''} on {workers} worker{plural}"

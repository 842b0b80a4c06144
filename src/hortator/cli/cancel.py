"""``hort cancel``: end jobs. What they were stays listed, as cancelled."""

from __future__ import annotations

import argparse
import getpass
from datetime import UTC, datetime

from hortator.cli.finding import Found, find
from hortator.cli.kinds import resource_of
from hortator.cli.target import Target, add_target, choose
from hortator.jobs.state import ANNOTATION_CANCELLED
from hortator.kube.errors import NotFound as ApiNotFound
from hortator.kube.resources import PODS

__all__ = ["cancel", "configure", "kill", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("jobs", metavar="JOB", nargs="+", help="the jobs' names (hort jobs)")
    parser.add_argument(
        "--now", action="store_true", help="KILL at once instead of TERM and, after 10 s, KILL"
    )
    add_target(parser)


def run(args: argparse.Namespace) -> int:
    """Cancel each; a job that has ended already is left alone and said to be."""
    target = choose(args)
    jobs = [find(target, name) for name in args.jobs]
    for job in jobs:
        if job.view.finished:
            print(f"{job.name} has already ended ({job.view.state_name})")
            continue
        cancel(target, job)
        if args.now:
            kill(target, job)
        print(f"{job.name} is cancelled")
    return 0


def cancel(target: Target, job: Found) -> None:
    """Mark the job as cancelled and suspend it, which ends its pods on any cluster with any operator."""
    said = f"cancelled by {getpass.getuser()} at {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    suspend = {"runPolicy": {"suspend": True}} if job.job["kind"] == "MPIJob" else {"suspend": True}
    patch = {"metadata": {"annotations": {ANNOTATION_CANCELLED: said}}, "spec": suspend}
    target.client.patch(resource_of(job.job), job.name, patch, namespace=job.namespace)


def kill(target: Target, job: Found) -> None:
    """End the pods of a cancelled job without waiting for their grace period."""
    for pod in job.pods:
        try:
            target.client.delete(PODS, pod["metadata"]["name"], namespace=job.namespace, grace_seconds=0)
        except ApiNotFound:
            continue

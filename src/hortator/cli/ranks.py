"""``hort ranks``: where each rank of a job runs or ran: worker, node, CPUs, process, state."""

from __future__ import annotations

import argparse
from typing import Any

from hortator.cli.errors import NotFound
from hortator.cli.finding import find
from hortator.cli.output import add_output, emit
from hortator.cli.printer import carries_ranks
from hortator.cli.target import add_target, choose
from hortator.jobs.tagged import Decoder, Exit, Start

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("job", metavar="JOB", help="the job's name (hort jobs)")
    add_target(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Read the rank map out of the workers' logs, where the rank wrapper recorded it."""
    target = choose(args)
    found = find(target, args.job)
    workers = [pod for pod in found.pods if carries_ranks(found.job, pod)]
    if not workers:
        raise NotFound(
            f"{found.name} has no rank map",
            cause="only jobs started by hort run or hort submit record one"
            if found.pods
            else "its pods are gone, and their records with them",
        )
    ranks: dict[int, dict[str, Any]] = {}
    for pod in workers:
        for rank, facts in _read(target.client.logs(found.namespace, pod["metadata"]["name"])).items():
            worker = pod["metadata"]["name"]
            ranks[rank] = {
                "name": str(rank),
                "rank": rank,
                "worker": worker,
                "node": pod["spec"]["nodeName"],
                **facts,
            }
    items = [ranks[rank] for rank in sorted(ranks)]
    emit(args.output, items, rows=lambda wide: (_HEADER, [_row(item) for item in items]))
    return 0


_HEADER = ["RANK", "WORKER", "NODE", "PID", "CPUS", "GPUS", "STATE"]


def _read(log: Any) -> dict[int, dict[str, Any]]:
    decoder, ranks = Decoder(), {}
    for data in log:
        for item in decoder.feed(data):
            if isinstance(item, Start):
                ranks[item.rank] = dict(item.facts) | {"exitCode": None}
            elif isinstance(item, Exit) and item.rank in ranks:
                ranks[item.rank]["exitCode"] = item.code
    return ranks


def _row(item: dict[str, Any]) -> list[str]:
    code = item["exitCode"]
    state = "running" if code is None else "ended" if code == 0 else f"exit {code}"
    return [
        str(item["rank"]),
        item["worker"],
        item["node"],
        str(item.get("pid", "-")),
        item.get("cpus") or "shared",
        item.get("gpus") or "-",
        state,
    ]

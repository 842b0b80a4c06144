"""``hort jobs``: every job of the cluster, whatever created it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hortator.cli.errors import UsageError
from hortator.cli.finding import all_jobs
from hortator.cli.output import add_output, age, emit
from hortator.cli.target import add_target, choose
from hortator.jobs.state import STATES, JobView

__all__ = ["as_data", "configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_target(parser)
    add_output(parser)
    parser.add_argument("-t", "--states", metavar="STATES", help="only these states, such as PD,R")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    wanted = set((args.states or "").upper().split(",")) - {""}
    if unknown := wanted - STATES.keys():
        raise UsageError(
            f"--states {args.states}: no state {min(unknown)}", hint=f"one of {', '.join(STATES)}"
        )
    target = choose(args)
    views = [found.view for found in all_jobs(target, namespace=args.namespace)]
    views = [view for view in views if not wanted or view.state in wanted]
    emit(
        args.output,
        [as_data(view) for view in views],
        rows=lambda wide: _rows(views, wide=wide, cut=sys.stdout.isatty()),
    )
    return 0


def as_data(view: JobView) -> dict[str, Any]:
    """Return a job as JSON and YAML show it."""
    return {
        "name": view.name,
        "namespace": view.namespace,
        "kind": view.kind,
        "state": view.state,
        "stateName": view.state_name,
        "reason": view.reason,
        "message": view.message,
        "ranks": view.ranks,
        "workers": view.workers,
        "workersReady": view.workers_ready,
        "created": view.created,
        "started": view.started,
        "ended": view.ended,
        "exitCode": view.exit_code,
        "nodes": list(view.nodes),
        "command": view.command,
    }


def _rows(views: list[JobView], *, wide: bool, cut: bool) -> tuple[list[str], list[list[str]]]:
    several = len({view.namespace for view in views}) > 1
    header = ["NAME", "STATE", "RANKS", "WORKERS", "AGE", "EXIT", "WHY"] + (
        ["NODES", "COMMAND"] if wide else []
    )
    rows = []
    for view in views:
        name = f"{view.namespace}/{view.name}" if several else view.name
        why = (
            f"{view.reason}: {view.message}" if view.reason and view.message else view.reason or view.message
        )
        row = [
            name,
            view.state,
            str(view.ranks or "-"),
            f"{view.workers_ready}/{view.workers}",
            age(view.created),
        ]
        row += ["-" if view.exit_code is None else str(view.exit_code)]
        row += [(why if wide or not cut or len(why) <= 60 else why[:59] + "…") or "-"]
        rows.append(row + ([",".join(view.nodes) or "-", view.command] if wide else []))
    return header, rows

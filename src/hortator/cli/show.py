"""``hort show``: all that is known of one job."""

from __future__ import annotations

import argparse

from hortator.cli.finding import Found, find
from hortator.cli.jobs import as_data
from hortator.cli.output import add_output, age, emit, printable, table
from hortator.cli.target import Target, add_target, choose
from hortator.jobs.state import REASONS, is_launcher
from hortator.kube.resources import EVENTS

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("job", metavar="JOB", help="the job's name (hort jobs)")
    add_target(parser)
    add_output(parser, formats=("json", "yaml"))


def run(args: argparse.Namespace) -> int:
    """Print the job: its state and why, its pods, what happened."""
    target = choose(args)
    found = find(target, args.job)
    if args.output:
        emit(args.output, [as_data(found.view)], rows=lambda wide: ([], []), single=True)
        return 0
    print(table([], [[f"{key}:" if key else "", value] for key, value in _facts(found)]))
    if found.pods:
        print(
            "\n"
            + table(
                ["POD", "ROLE", "STATE", "NODE", "RESTARTS", "AGE"], [_pod_row(pod) for pod in found.pods]
            )
        )
    events = _events(target, found)
    if events:
        print("\n" + table(["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"], events))
    return 0


def _facts(found: Found) -> list[tuple[str, str]]:
    view = found.view
    facts = [
        ("Job", f"{view.namespace}/{view.name} ({view.kind})"),
        ("State", f"{view.state} ({view.state_name})"),
    ]
    if view.reason:
        kind = {"wait": "it will pass", "act": "change the job", "ask": "ask an admin"}[REASONS[view.reason]]
        facts.append(("Why", f"{view.reason} ({kind})"))
    if view.message:
        facts.append(("", view.message))
    if view.ranks is not None:
        facts.append(("Ranks", f"{view.ranks} on {view.workers} worker{'s' if view.workers != 1 else ''}"))
    facts += [("Command", view.command), ("Created", f"{view.created} ({age(view.created)} ago)")]
    facts += [("Started", view.started)] if view.started else []
    facts += [("Ended", view.ended)] if view.ended else []
    facts += [("Exit code", str(view.exit_code))] if view.exit_code is not None else []
    facts += [("Logs", f"hort logs {view.name}")]
    return facts


def _pod_row(pod: object) -> list[str]:
    assert isinstance(pod, dict)  # noqa: S101 - the API's objects are dicts
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    waiting = next(
        (c["state"]["waiting"].get("reason", "") for c in containers if "waiting" in c.get("state", {})), ""
    )
    return [
        pod["metadata"]["name"],
        "launcher" if is_launcher(pod) else "worker",
        waiting or status.get("phase", "Pending"),
        (pod.get("spec") or {}).get("nodeName") or "-",
        str(sum(int(container.get("restartCount", 0)) for container in containers)),
        age(pod["metadata"].get("creationTimestamp", "")),
    ]


def _events(target: Target, found: Found) -> list[list[str]]:
    names = {found.name, f"{found.name}-launcher"} | {pod["metadata"]["name"] for pod in found.pods}
    rows = []
    for event in target.client.list(EVENTS, namespace=found.namespace).items:
        about = event.get("involvedObject") or {}
        if about.get("name") not in names:
            continue
        last = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
        count = event.get("count") or (event.get("series") or {}).get("count") or 1
        message = printable(event.get("message", "")) + (f" (x{count})" if count > 1 else "")
        name = f"{about.get('kind', '').lower()}/{about.get('name')}"
        rows.append((last, [age(last), event.get("type", ""), event.get("reason", ""), name, message]))
    rows.sort(key=lambda row: row[0])
    return [cells for _, cells in rows]

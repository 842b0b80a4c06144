"""``hort status``: how the local cluster is."""

from __future__ import annotations

import argparse
from typing import Any

from hortator.cli.background import read_state
from hortator.cli.output import add_output, age, emit, table
from hortator.cli.places import local_places
from hortator.cli.target import LOCAL, Target, local_client
from hortator.kube.resources import NODES, PODS

__all__ = ["configure", "run"]

#: Exit code when it does not run, as systemd and LSB scripts have it.
NOT_RUNNING = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--data-dir", metavar="DIR", help="data folder of the cluster")
    add_output(parser, formats=("json", "yaml"))


def run(args: argparse.Namespace) -> int:
    """Print where it runs and what its nodes have; exit with 3 when it does not run."""
    places = local_places(args.data_dir)
    state = read_state(places)
    if state is None:
        facts: dict[str, Any] = {"name": LOCAL, "running": False, "data": str(places.data)}
        emit(
            args.output, [facts], rows=lambda wide: ([], [["the local cluster is not running"]]), single=True
        )
        return NOT_RUNNING
    client = local_client(places, state)
    target = Target(LOCAL, client, "default", places)
    nodes = client.list(NODES).items
    pods = client.list(PODS).items
    facts = {"name": LOCAL, "running": True, **state, "data": str(places.data)}
    if args.output:
        emit(args.output, [facts], rows=lambda wide: ([], []), single=True)
        return 0
    print(f"{target.describe()} runs since {age(state['started'])} (pid {state['pid']})")
    print(table([], [["  kubectl:", f"https://127.0.0.1:{state['port']} (hort kubeconfig)"]]))
    print(table([], [["  data:", str(places.data)], ["  log:", str(places.log_file)]]))
    print(
        "\n"
        + table(["NODE", "READY", "CPUS", "MEMORY", "GPUS", "PODS"], [_row(node, pods) for node in nodes])
    )
    return 0


def _row(node: dict[str, Any], pods: list[dict[str, Any]]) -> list[str]:
    name, status = node["metadata"]["name"], node.get("status") or {}
    has = status.get("allocatable") or {}
    ready = next((c["status"] for c in status.get("conditions") or [] if c["type"] == "Ready"), "Unknown")
    busy = [
        pod
        for pod in pods
        if (pod.get("spec") or {}).get("nodeName") == name
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]
    gpus = has.get("nvidia.com/gpu", "0")
    return [name, ready, str(has.get("cpu", "?")), str(has.get("memory", "?")), str(gpus), str(len(busy))]

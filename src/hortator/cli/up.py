"""``hort up``: the local cluster, in the foreground or (``-d``) in the background.

This module reads the flags and watches the start; what the cluster consists of is in ``cluster``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from hortator.cli.background import Options, read_state, start_in_background
from hortator.cli.errors import CommandError, Conflict, InUse, UsageError
from hortator.cli.places import LocalPlaces, local_places

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``hort up``."""
    parser.add_argument(
        "-d", "--detach", action="store_true", help="run in the background; return when it is ready"
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="how many nodes (default 1)")
    parser.add_argument("--cpus", type=int, metavar="N", help="CPUs of each node (default: the machine's)")
    parser.add_argument(
        "--memory", metavar="SIZE", help="memory of each node, such as 16Gi (default: the machine's)"
    )
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs of each node (default: the machine's)")
    parser.add_argument(
        "--port", type=int, metavar="PORT", help="port on 127.0.0.1 for kubectl (default: a free one)"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where journal, logs and pods are kept")
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Start the cluster; in the foreground, return when it was stopped."""
    options = _options(args)
    places = local_places(args.data_dir)
    state = read_state(places)
    if state is not None:
        if args.ready_fd is None:
            if options != Options():
                raise Conflict(
                    f"the local cluster is already running (pid {state['pid']})",
                    cause="a running cluster's nodes and port cannot be changed",
                    hint="hort down, then hort up again",
                )
            print(f"the local cluster is already running (pid {state['pid']})")
            return 0
        _tell(args.ready_fd, {"ready": state})
        return 0
    if args.detach:
        state = start_in_background(places, options)
        print(f"the local cluster is ready: {_nodes(state)}, pid {state['pid']}")
        print("  kubectl: hort kubeconfig --merge    stop: hort down")
        if warning := _logout_warning():
            print(warning, file=sys.stderr)
        return 0
    return _foreground(places, options, args.ready_fd, debug=args.debug)


def _options(args: argparse.Namespace) -> Options:
    for flag, least in (("nodes", 1), ("cpus", 1), ("gpus", 0), ("port", 1)):
        value = getattr(args, flag)
        if value is not None and value < least:
            raise UsageError(f"--{flag} {value}: must be at least {least}")
    if args.port is not None and args.port > 65535:
        raise UsageError(f"--port {args.port}: must be at most 65535")
    if args.nodes > 1000:
        raise UsageError(f"--nodes {args.nodes}: must be at most 1000")
    if args.memory is not None:
        from hortator.apimachinery.quantity import InvalidQuantity, parse

        try:
            parse(args.memory)
        except InvalidQuantity as error:
            raise UsageError(
                f"--memory {args.memory}: this is no size", hint="a size such as 16Gi"
            ) from error
    return Options(nodes=args.nodes, cpus=args.cpus, memory=args.memory, gpus=args.gpus, port=args.port)


def _foreground(places: LocalPlaces, options: Options, ready_fd: int | None, *, debug: bool) -> int:
    from hortator.cli import cluster

    def ready(state: dict[str, Any]) -> None:
        if ready_fd is not None:
            _tell(ready_fd, {"ready": state})
        else:
            print(f"the local cluster is ready: {_nodes(state)}; end it with Ctrl-C", flush=True)

    try:
        return cluster.serve(places, options, ready, debug=debug)
    except Exception as error:
        if ready_fd is None:
            raise
        from hortator.cli.failures import explain

        told = error if isinstance(error, CommandError) else explain(error)
        words = {"what": told.what, "cause": told.cause, "hint": told.hint, "code": told.code}
        _tell(ready_fd, {"error": words, "in use": isinstance(error, InUse)})
        raise


def _nodes(state: dict[str, Any]) -> str:
    count = state["nodes"]
    return f"{count} node{'s' if count != 1 else ''} of {state['cpus']} CPUs"


def _tell(descriptor: int, message: dict[str, Any]) -> None:
    try:
        with open(descriptor, "w", closefd=True) as file:
            file.write(json.dumps(message) + "\n")
    except BrokenPipeError:
        return  # who started us has gone (Ctrl-C): the cluster stays


def _logout_warning() -> str:
    """Return what to say where the system ends a person's processes at logout (systemd's KillUserProcesses)."""
    if os.getuid() == 0 or not Path("/run/systemd/system").exists():
        return ""
    killing = False
    for path in [
        Path("/etc/systemd/logind.conf"),
        *sorted(Path("/etc/systemd/logind.conf.d").glob("*.conf")),
    ]:
        try:
            for line in path.read_text().splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "KillUserProcesses":
                    killing = value.strip().lower() in ("yes", "true", "1", "on")
        except OSError:
            continue
    lingering = Path(f"/var/lib/systemd/linger/{os.environ.get('USER', '')}").exists()
    if not killing or lingering:
        return ""
    return "note: this system ends your processes when you log out; prevent it with: loginctl enable-linger"

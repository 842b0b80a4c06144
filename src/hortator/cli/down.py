"""``hort down``: stop the local cluster; its jobs end, what they were stays listed."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys

from hortator.cli.background import read_state
from hortator.cli.errors import CommandError
from hortator.cli.places import local_places

#: How long the cluster may take for ending its pods (each has its own grace period) before it is killed.
GRACE_SECONDS = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--data-dir", metavar="DIR", help="data folder of the cluster to stop")


def run(args: argparse.Namespace) -> int:
    """Stop it and wait until it has gone."""
    places = local_places(args.data_dir)
    state = read_state(places)
    if state is None:
        print("the local cluster is not running")
        return 0
    pid = int(state["pid"])
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        print("the local cluster is not running")
        return 0
    try:
        # The lock was held a moment ago by the process that wrote this pid, so the pid is still its own.
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], GRACE_SECONDS)[0]:
            print(f"hort: it did not stop within {GRACE_SECONDS} s and is killed", file=sys.stderr)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], GRACE_SECONDS)[0]:
                raise CommandError(f"process {pid} cannot be killed", cause="the kernel keeps it (D state?)")
    finally:
        os.close(descriptor)
    print("the local cluster has stopped")
    return 0

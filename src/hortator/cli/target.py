"""Which cluster a command speaks to, and how it gets there.

The order: ``--context``, ``HORT_CONTEXT``, ``hort context use``, the cluster that this process runs in, the local one.
A kubeconfig's current-context alone never chooses. ``local`` names the local cluster; any other name is a kubeconfig's
context.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hortator.cli.background import read_state, start_in_background
from hortator.cli.errors import CommandError, Unreachable
from hortator.cli.places import LocalPlaces, local_places
from hortator.cli.settings import chosen_context

if TYPE_CHECKING:
    from hortator.kube.blocking import BlockingClient

__all__ = ["LOCAL", "Target", "add_target", "choose", "local_client"]

LOCAL = "local"
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster, ready to be spoken to."""

    name: str
    client: BlockingClient
    namespace: str
    #: The folders of the local cluster; None for any other.
    local: LocalPlaces | None

    def describe(self) -> str:
        """Return the words that name it in a command's first line."""
        return "the local cluster" if self.local else f"cluster {self.name}, namespace {self.namespace}"


def add_target(parser: argparse.ArgumentParser) -> None:
    """Give a command the flags that choose a cluster."""
    parser.add_argument("--context", metavar="NAME", help="cluster: local, or a kubeconfig's context")
    parser.add_argument("--namespace", metavar="NAME", help="namespace (default: the context's)")
    parser.add_argument("--data-dir", metavar="DIR", help="data folder of the local cluster")


def choose(args: argparse.Namespace, *, start: bool = False) -> Target:
    """Return the cluster that ``args`` name. With ``start`` a local cluster that is down is started, which is said.

    Raises :class:`Unreachable` when the local cluster is down, and :class:`CommandError` when a context does not exist.
    """
    name = args.context or os.environ.get("HORT_CONTEXT", "") or chosen_context()
    if not name:
        name = "in-cluster" if _IN_CLUSTER.exists() and "KUBERNETES_SERVICE_HOST" in os.environ else LOCAL
    if name != LOCAL:
        return _remote(name, args)
    places = local_places(args.data_dir)
    state = read_state(places)
    if state is None:
        if not start:
            raise Unreachable("the local cluster is not running", hint="hort up -d")
        print("hort: starting the local cluster (stop it with: hort down)", file=sys.stderr)
        state = start_in_background(places)
    return Target(LOCAL, local_client(places, state), args.namespace or "default", places)


def _remote(name: str, args: argparse.Namespace) -> Target:
    from hortator.kube import config
    from hortator.kube.blocking import BlockingClient

    try:
        cluster = config.in_cluster() if name == "in-cluster" else config.load().cluster(name)
    except config.ConfigError as error:
        raise CommandError(
            f"cannot use context {name}", cause=str(error), hint="hort context list"
        ) from error
    return Target(
        name, BlockingClient.from_config(cluster), args.namespace or cluster.namespace or "default", None
    )


def local_client(places: LocalPlaces, state: dict[str, Any]) -> BlockingClient:
    """Return a client of the running local cluster, over its socket. Raises :class:`Unreachable` without a token."""
    from hortator.kube.blocking import BlockingClient
    from hortator.kube.credentials import StaticToken
    from hortator.kube.endpoint import Endpoint

    try:
        token = places.token_file.read_text().strip()
    except OSError as error:
        raise Unreachable(
            "cannot read the local cluster's token", cause=f"{error.filename}: {error.strerror}"
        ) from error
    return BlockingClient(Endpoint(socket_path=state["socket"], credentials=StaticToken(token)))

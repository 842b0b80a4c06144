"""``hort kubeconfig``: what kubectl needs to reach the local cluster, printed or merged, never overwriting."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hortator.cli.background import read_state
from hortator.cli.errors import Unreachable
from hortator.cli.places import LocalPlaces, config_dir, local_places, private_dir, write_private

__all__ = ["CONTEXT", "configure", "content", "run"]

#: The name of cluster, user and context in kubeconfigs: ``local`` alone would meet others' entries.
CONTEXT = "hort-local"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--data-dir", metavar="DIR", help="data folder of the local cluster")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--merge",
        action="store_true",
        help="add the cluster to $KUBECONFIG or ~/.kube/config; others' entries stay",
    )
    what.add_argument("--path", action="store_true", help="write a file of its own and print its path")


def run(args: argparse.Namespace) -> int:
    """Print the kubeconfig, write it to a file of its own, or merge it."""
    places = local_places(args.data_dir)
    state = read_state(places)
    if state is None:
        raise Unreachable("the local cluster is not running", hint="hort up -d")
    value = content(places, state)
    if args.merge:
        from hortator.kube import config

        path = config.merge(value, set_current=None)
        print(f"added context {CONTEXT} to {path}; use it with: kubectl --context {CONTEXT} get nodes")
        return 0
    from hortator.apimachinery import yaml

    text = yaml.dump(value)
    if args.path:
        path = private_dir(config_dir() / "kube") / f"{CONTEXT}.yaml"
        write_private(path, text.encode())
        print(path)
        return 0
    sys.stdout.write(text)
    return 0


def content(places: LocalPlaces, state: dict[str, Any]) -> dict[str, Any]:
    """Return the kubeconfig of the running cluster: server, authority and the owner's token (a secret)."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {
                    "server": f"https://127.0.0.1:{state['port']}",
                    "certificate-authority-data": state["certificateAuthority"],
                },
            }
        ],
        "users": [{"name": CONTEXT, "user": {"token": places.token_file.read_text().strip()}}],
        "contexts": [
            {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
        ],
        "current-context": CONTEXT,
    }

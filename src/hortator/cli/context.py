"""``hort context``: which clusters there are, and which one hort speaks to."""

from __future__ import annotations

import argparse
import os

from hortator.cli.errors import NotFound
from hortator.cli.output import add_output, emit
from hortator.cli.settings import choose_context, chosen_context, settings_file
from hortator.cli.target import LOCAL

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare ``list`` and ``use``."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="list the clusters; * marks the chosen one")
    add_output(listing, formats=("json", "yaml", "name"))
    use = verbs.add_parser("use", help="choose the cluster for later commands")
    use.add_argument("name", help="local, or a kubeconfig's context")


def run(args: argparse.Namespace) -> int:
    """List, or choose."""
    known = _known()
    if args.verb == "use":
        if args.name not in [item["name"] for item in known]:
            raise NotFound(f"there is no context {args.name}", hint="hort context list")
        choose_context(args.name)
        print(f"hort speaks to {args.name} from now on ({settings_file()})")
        return 0
    now = os.environ.get("HORT_CONTEXT") or chosen_context() or LOCAL
    items = [item | {"chosen": item["name"] == now} for item in known]
    rows = [
        ["*" if item["name"] == now else "", item["name"], item["server"], item["source"]] for item in known
    ]
    emit(args.output, items, rows=lambda wide: (["", "NAME", "SERVER", "FROM"], rows))
    return 0


def _known() -> list[dict[str, str]]:
    from hortator.kube import config

    found = [{"name": LOCAL, "server": "this machine", "source": "hort up"}]
    kubeconfig = config.load()
    for name in kubeconfig.contexts():
        if name == LOCAL:
            continue
        try:
            server = kubeconfig.cluster(name).server
        except config.ConfigError as error:
            server = f"({error})"
        found.append({"name": name, "server": server, "source": "kubeconfig"})
    return found

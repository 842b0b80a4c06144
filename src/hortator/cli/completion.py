"""``hort completion``: the script that makes a shell complete hort's commands and flags (made by shtab)."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "tcsh")


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the shell's name."""
    parser.add_argument(
        "shell", choices=SHELLS, help="whose script to print, as in: source <(hort completion bash)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from hortator.cli.main import build_parser

    print(shtab.complete(build_parser(), shell=args.shell))
    return 0

"""``hort version``."""

from __future__ import annotations

import argparse
import platform

import hortator


def configure(parser: argparse.ArgumentParser) -> None:
    """No flags."""


def run(args: argparse.Namespace) -> int:
    """Print hort's version and Python's."""
    print(f"hort {hortator.__version__} (Python {platform.python_version()})")
    return 0

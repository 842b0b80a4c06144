"""Print the packages of the ``dev`` dependency group, a line each: pip before 25.1 has no ``--group``."""

import tomllib
from pathlib import Path

print("\n".join(tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]["dev"]))  # noqa: T201

"""A local cluster of a test's own, and the ``hort`` command on it, as a user has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Hort:
    """Runs ``hort`` with folders of its own. ``prefix`` comes before the command (another user, a namespace)."""

    home: Path
    python: str = sys.executable
    prefix: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands: the machine's, with every folder of hort's in ``home``."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("HORT_", "XDG_", "KUBE"))
        }
        bin_dir = str(Path(self.python).parent)
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "HORT_DATA_DIR": str(self.home / "data"),
            "PATH": f"{bin_dir}:{kept.get('PATH', '/usr/bin:/bin')}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            **self.env,
        }

    def command(self, *words: str) -> list[str]:
        """Return the whole command line of ``hort WORDS``."""
        return [*self.prefix, self.python, "-m", "hortator.cli.main", *words]

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start ``hort WORDS`` with pipes (unless ``options`` say otherwise)."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | options
        return subprocess.Popen(
            self.command(*words), env=self.environ, cwd=options.pop("cwd", self.home), **options
        )

    def __call__(
        self,
        *words: str,
        code: int | None = 0,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        timeout: float = 90,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``hort WORDS`` to its end and check its exit code (None: any)."""
        done = subprocess.run(
            self.command(*words),
            env=self.environ,
            cwd=cwd or self.home,
            capture_output=True,
            timeout=timeout,
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),
        )
        if code is not None and done.returncode != code:
            raise AssertionError(
                f"hort {' '.join(words)} ended with {done.returncode}, not {code}\n"
                f"stdout: {done.stdout.decode(errors='replace')[-3000:]}\n"
                f"stderr: {done.stderr.decode(errors='replace')[-3000:]}\n{self.log()[-3000:]}"
            )
        return done

    def json(self, *words: str) -> Any:
        """Run ``hort WORDS -o json`` and return what it printed."""
        return json.loads(self(*words, "-o", "json").stdout)

    def log(self) -> str:
        """Return what the cluster in the background has printed."""
        path = self.home / "data" / "cluster.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kubeconfig(self) -> Path:
        """Write a kubeconfig of the running cluster and return its path."""
        path = self.home / "kubeconfig"
        text = self("kubeconfig").stdout
        assert yaml.safe_load(text)["kind"] == "Config"
        path.write_bytes(text)
        path.chmod(0o600)
        return path

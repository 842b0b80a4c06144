"""An unmodified ``kubectl``, pointed at a local cluster and at one namespace of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["OLDEST", "Kubectl", "NoKubectl", "find_kubectl", "shell_pod"]

#: The oldest minor version that the local cluster promises to work with.
OLDEST = 27

Object = dict[str, Any]


class NoKubectl(Exception):
    """Raised when no kubectl that is new enough can be found; ``str`` says what was looked at."""


def find_kubectl() -> Path:
    """Return ``$HORT_TOOLS/kubectl``, else the one on PATH, if it is new enough. Raises :class:`NoKubectl`."""
    tools = os.environ.get("HORT_TOOLS")
    found = shutil.which("kubectl", path=tools) if tools else shutil.which("kubectl")
    if found is None:
        raise NoKubectl(f"there is no kubectl in {tools or 'PATH'}: make test-kubernetes builds it")
    done = subprocess.run([found, "version", "--client", "-o", "json"], capture_output=True, check=True)
    minor = re.match(r"\d+", json.loads(done.stdout)["clientVersion"]["minor"])
    assert minor is not None, done.stdout
    if int(minor.group()) < OLDEST:
        raise NoKubectl(f"{found} is 1.{minor.group()}, older than 1.{OLDEST}")
    return Path(found)


@dataclass(frozen=True)
class Kubectl:
    """Runs ``kubectl`` with a kubeconfig, a home folder and a namespace of its own."""

    program: Path
    home: Path
    kubeconfig: Path
    namespace: str = "default"
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HORT_", "KUBE"))}
        return {**kept, "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), **self.env}

    def command(self, *words: str) -> list[str]:
        """Return the whole command line of ``kubectl WORDS``; the namespace may be overridden by the words."""
        return [str(self.program), *words[:1], "--namespace", self.namespace, *words[1:]]

    def at(self, namespace: str) -> Kubectl:
        return replace(self, namespace=namespace)

    def with_env(self, **env: str) -> Kubectl:
        return replace(self, env={**self.env, **env})

    def run(
        self,
        *words: str,
        stdin: Object | str | bytes | None = None,
        timeout: float = 60,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``kubectl WORDS`` to its end, whatever its exit code; ``stdin`` may be an object to be sent as JSON."""
        if isinstance(stdin, dict):
            stdin = json.dumps(stdin)
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return subprocess.run(
            self.command(*words),
            env=self.environ,
            cwd=cwd or self.home,
            capture_output=True,
            timeout=timeout,
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),
        )

    def __call__(self, *words: str, stdin: Object | str | bytes | None = None, timeout: float = 60) -> str:
        """Run ``kubectl WORDS``, which has to succeed, and return what it printed."""
        done = self.run(*words, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.decode()

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json"))

    def refused(self, *words: str, stdin: Object | str | bytes | None = None) -> str:
        """Run ``kubectl WORDS``, which has to fail, and return its complaint."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, (words, done.stdout[-2000:])
        return done.stderr.decode()

    def apply(self, *objects: Object) -> str:
        return self("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": list(objects)})

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start ``kubectl WORDS`` with pipes (unless ``options`` say otherwise)."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | options
        return subprocess.Popen(self.command(*words), env=self.environ, cwd=self.home, **options)

    def ready(self, kind_and_name: str, condition: str = "condition=Ready") -> None:
        """Wait until the object is as the condition says."""
        self("wait", f"--for={condition}", kind_and_name, "--timeout=50s")


def shell_pod(name: str, script: str, *, labels: Object | None = None, **spec: Any) -> Object:
    """Return a pod that runs a POSIX shell script once."""
    container = {"name": "main", "image": "none", "command": ["/bin/sh", "-c", script]}
    container |= spec.pop("container", {})
    metadata = {"name": name} | ({"labels": labels} if labels else {})
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def lines(text: str | bytes, *, header: bool = False) -> list[list[str]]:
    """Return the words of each line of a table, without its header unless asked for."""
    text = text.decode() if isinstance(text, bytes) else text
    rows: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    return [line.split() for line in (rows if header else rows[1:])]

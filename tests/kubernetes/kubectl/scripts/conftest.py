"""Scripts of kubectl commands are played to both servers at once, each in a new namespace of one name."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.control_plane import ControlPlane
from support.kubectl import Kubectl
from support.staying import until
from support.transcript import WRONG, Compare, Script, play

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def servers(
    everywhere: Kubectl, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Kubectl]:
    """Kubectl on each server."""
    home = tmp_path_factory.mktemp("home")
    return {
        "kubernetes": Kubectl(everywhere.program, home, control_plane.kubeconfig),
        "local": everywhere,
    }


@pytest.fixture
def compare(servers: dict[str, Kubectl], tmp_path: Path) -> Compare:
    """Play a script to both servers; their transcripts have to be equal, line by line. Returns the lines.

    ``only`` chooses the lines that count.
    """
    name = f"script-{next(_NUMBERS):03}"

    def on(server: str, script: Script) -> list[str]:
        kubectl = servers[server].at(name)
        kubectl("create", "namespace", name)
        try:
            until(lambda: kubectl.run("get", "serviceaccount", "default").returncode == 0, "the account")
            until(lambda: kubectl.run("get", "cm", "kube-root-ca.crt").returncode == 0, "the authority")
            folder = tmp_path / server
            folder.mkdir()
            return play(kubectl, folder, script)
        finally:
            kubectl("delete", "namespace", name, "--wait=false")

    def compare(script: Script, only: Callable[[str], object] = lambda line: True) -> list[str]:
        with ThreadPoolExecutor(len(servers)) as pool:
            played = pool.map(on, servers, itertools.repeat(script))
            said = {server: list(filter(only, lines)) for server, lines in zip(servers, played, strict=True)}
        changes = difflib.unified_diff(said["kubernetes"], said["local"], "kubernetes", "local", lineterm="")
        if different := "\n".join(changes):
            pytest.fail(f"the servers differ:\n{different}", pytrace=False)
        wrong = [line for line in said["local"] if line.startswith(WRONG)]
        assert not wrong, "\n".join(said["local"])
        return said["local"]

    return compare

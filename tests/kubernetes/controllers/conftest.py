"""JobSet beside each of the servers, installed for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
from support.control_plane import ControlPlane, NoTool, find_tool
from support.hort import Hort
from support.jobset import Installation, JobSets
from support.kubectl import Kubectl, NoKubectl, find_kubectl
from support.server import Server


@pytest.fixture(scope="package")
def _jobset_on_local(hort: Hort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with _install(Server("local", hort.kubeconfig()), tmp_path_factory.mktemp("jobset-local")) as found:
        yield found


@pytest.fixture(scope="package")
def _jobset_on_kubernetes(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    server = Server("kubernetes", control_plane.kubeconfig)
    with _install(server, tmp_path_factory.mktemp("jobset-kubernetes")) as found:
        yield found


def _install(server: Server, folder: Path) -> Installation:
    try:
        find_tool("jobset")
        return Installation(server, Kubectl(find_kubectl(), folder, server.kubeconfig), folder)
    except (NoTool, NoKubectl) as error:
        needs.missing(str(error))
        raise


@pytest.fixture
def installation(server: Server, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """JobSet with a manager that leads; the managers' logs are shown where the test fails."""
    found: Installation = request.getfixturevalue(f"_jobset_on_{server.name}")
    try:
        found.serving()
        yield found
    finally:
        for manager in found.managers[-2:]:
            print(manager.log())


@pytest.fixture
def jobsets(installation: Installation, server: Server, namespace: str) -> JobSets:
    """The JobSets of the test's own namespace."""
    return JobSets(server, namespace)

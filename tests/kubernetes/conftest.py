"""The servers that the tests of this folder hold against each other: a local cluster, and Kubernetes' own programs.

A test that asks for ``server`` (plain HTTPS) or ``kubectl`` runs once on each. Where the local cluster is known to differ,
the test says so with ``@pytest.mark.differs(WHAT, why=WHY)``: it then has to fail there, and ``--differences FILE`` writes
the list of all such places, which the documentation shows.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.control_plane import ControlPlane, NoTool, find_tool
from support.hort import Hort
from support.kubectl import Kubectl, NoKubectl, find_kubectl
from support.server import Server
from support.staying import until

_NUMBERS = itertools.count(1)
SERVERS = ("local", "kubernetes")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--differences", metavar="FILE", help="write the list of known differences to this file")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "differs(what, why): the local cluster is known to fail this test, and why"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("differs"):
            if _is_local(item):
                item.add_marker(pytest.mark.xfail(reason=mark.args[0], strict=True))
    if path := config.getoption("--differences"):
        Path(path).write_text(_differences(items))


def _is_local(item: pytest.Item) -> bool:
    """Say whether a test is held on the local cluster (tests without a choice of server are)."""
    callspec = getattr(item, "callspec", None)
    return callspec is None or callspec.params.get("_server_name", "local") == "local"


def _differences(items: list[pytest.Item]) -> str:
    """Return the page that lists what the marks say, by the first line of each module's docstring."""
    rows: dict[str, dict[str, str]] = {}
    for item in items:
        for mark in item.iter_markers("differs"):
            module: Any = item.getparent(pytest.Module)
            rows.setdefault(module.obj.__doc__.split("\n")[0].rstrip("."), {})[mark.args[0]] = mark.kwargs[
                "why"
            ]
    text = [
        "# Where the local cluster differs from Kubernetes",
        "",
        "Written by `make test-kubernetes`, which runs the same tests on both. Each line is a test that passes on",
        "Kubernetes 1.36 and fails on the local cluster; a line whose test passes fails the run.",
    ]
    left_out = yaml.safe_load((Path(__file__).parent / "e2e/left_out.yaml").read_text())
    title = (
        f"Kubernetes' own conformance specs of its API: {sum(map(len, left_out.values()))} of 99 are left out"
    )
    rows[title] = {name: why for why, names in left_out.items() for name in names}
    for title, found in sorted(rows.items()):
        text += ["", f"## {title}", "", "| what | why |", "|---|---|"]
        text += [f"| {what} | {why} |" for what, why in sorted(found.items())]
    return "\n".join(text) + "\n"


def _missing(error: Exception) -> None:
    """Skip a test whose programs are not built, but never where nobody reads: in CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def hort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hort]:
    """A local cluster with one node of four CPUs, whatever the machine has."""
    command = Hort(tmp_path_factory.mktemp("hort"))
    command("up", "-d", "--cpus", "4")
    yield command
    command("down")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Kubernetes' own control plane, without nodes."""
    plane = ControlPlane(tmp_path_factory.mktemp("kubernetes") / "plane")
    try:
        find_tool("etcd"), find_tool("kube-apiserver")
    except NoTool as error:
        _missing(error)
    try:
        plane.start("kube-controller-manager", "kube-scheduler")
        yield plane
    finally:
        plane.stop()


@pytest.fixture(params=SERVERS)
def _server_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(_server_name: str, request: pytest.FixtureRequest) -> Server:
    """One of the servers; the test runs on each."""
    if _server_name == "local":
        return Server("local", request.getfixturevalue("hort").kubeconfig())
    return Server("kubernetes", request.getfixturevalue("control_plane").kubeconfig)


@pytest.fixture(scope="session")
def both(hort: Hort, control_plane: ControlPlane) -> tuple[Server, Server]:
    """The local cluster and Kubernetes, for tests that hold one's answer against the other's."""
    return Server("local", hort.kubeconfig()), Server("kubernetes", control_plane.kubeconfig)


@pytest.fixture
def namespace(server: Server) -> Iterator[str]:
    """A new namespace with its ServiceAccount, which goes when the test ends."""
    name = f"test-{next(_NUMBERS)}"
    server.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok  # noqa: B018
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    until(lambda: server.get(account).status == 200, "the namespace's account")
    yield name
    server.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def everywhere(hort: Hort) -> Kubectl:
    """Kubectl on the local cluster, in the namespace ``default``, with all rights."""
    try:
        return Kubectl(find_kubectl(), hort.home, hort.kubeconfig())
    except NoKubectl as error:
        _missing(error)
        raise


@pytest.fixture
def kubectl(everywhere: Kubectl) -> Iterator[Kubectl]:
    """Kubectl on the local cluster, in a new namespace, which goes when the test ends."""
    name = f"test-{next(_NUMBERS)}"
    everywhere("create", "namespace", name)
    mine = everywhere.at(name)
    # As on any cluster: pods are refused until the namespace has its account.
    until(lambda: mine.run("get", "serviceaccount", "default").returncode == 0, "the namespace's account")
    yield mine
    everywhere("delete", "namespace", name, "--wait=false")

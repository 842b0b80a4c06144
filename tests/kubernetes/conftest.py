"""A local cluster and an unmodified kubectl for the tests of this folder; each test has a namespace of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from support.hort import Hort
from support.kubectl import Kubectl, NoKubectl, find_kubectl
from support.staying import until

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def hort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hort]:
    """A cluster with one node of four CPUs, whatever the machine has."""
    command = Hort(tmp_path_factory.mktemp("hort"))
    command("up", "-d", "--cpus", "4")
    yield command
    command("down")


@pytest.fixture(scope="session")
def everywhere(hort: Hort) -> Kubectl:
    """Kubectl in the namespace ``default``, with all rights."""
    try:
        program = find_kubectl()
    except NoKubectl as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return Kubectl(program, hort.home, hort.kubeconfig())


@pytest.fixture
def kubectl(everywhere: Kubectl) -> Iterator[Kubectl]:
    """Kubectl in a new namespace, which goes when the test ends."""
    name = f"test-{next(_NUMBERS)}"
    everywhere("create", "namespace", name)
    mine = everywhere.at(name)
    # As on any cluster: pods are refused until the namespace has its account.
    until(lambda: mine.run("get", "serviceaccount", "default").returncode == 0, "the namespace's account")
    yield mine
    everywhere("delete", "namespace", name, "--wait=false")

"""Clusters for the tests that need one: started once a module, stopped whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.hort import Hort


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the slow tests unless they are asked for."""
    if not os.environ.get("HORT_TEST_SLOW"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: set HORT_TEST_SLOW, or make test-slow"))


@pytest.fixture(scope="module")
def hort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hort]:
    """A cluster with one node of four CPUs, whatever the machine has, shared by the module's tests."""
    command = Hort(tmp_path_factory.mktemp("hort"))
    command("up", "-d", "--cpus", "4")
    yield command
    command("down")


@pytest.fixture
def new_hort(tmp_path: Path) -> Iterator[Callable[..., Hort]]:
    """Make ``hort`` commands with folders of their own; their clusters are stopped at the end."""
    made: list[Hort] = []

    def make(name: str = "home", **options: object) -> Hort:
        home = tmp_path / name
        home.mkdir()
        made.append(Hort(home, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for command in made:
        command("down", code=None)

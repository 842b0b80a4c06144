from __future__ import annotations

import pytest

from hortator.api import mpijob as api
from hortator.operator.mpijob import hostfile
from support.builders import MPIJobBuilder, mpijob

W0 = "pi-worker-0.pi.default.svc"
W1 = "pi-worker-1.pi.default.svc"
L = "pi-launcher.pi.default.svc"


def _view(builder: MPIJobBuilder) -> api.MPIJob:
    return api.default(api.parse(builder.build()))


@pytest.mark.parametrize(
    ("builder", "domain", "expected"),
    [
        (mpijob().workers(2).launcher_as_worker(), "", f"{L} slots=1\n{W0} slots=1\n{W1} slots=1\n"),
        (
            mpijob().workers(1).launcher_as_worker(),
            "cluster.local",
            f"{L}.cluster.local slots=1\n{W0}.cluster.local slots=1\n",
        ),
        (mpijob().launcher_as_worker(), "", f"{L} slots=1\n"),
        (mpijob(), "", ""),
        (mpijob().workers(2), "", f"{W0} slots=1\n{W1} slots=1\n"),
        (mpijob().workers(1).slots(10), "", f"{W0} slots=10\n"),
        (mpijob().workers(1).slots(10).implementation("Intel"), "", f"{W0}:10\n"),
        (mpijob().workers(1).implementation("Intel"), "x.y", f"{W0}.x.y:1\n"),
        (mpijob().workers(1).slots(10).implementation("MPICH"), "", f"{W0}:10\n"),
    ],
)
def test_hostfile(builder: MPIJobBuilder, domain: str, expected: str) -> None:
    job = _view(builder)
    assert hostfile.hostfile(job, job.implementation, domain) == expected


@pytest.mark.parametrize(
    ("builder", "running", "domain", "hosts"),
    [
        (mpijob().workers(2), [], "", []),
        (mpijob().workers(2), [1, 0], "", [W0, W1]),
        (mpijob().launcher_as_worker(), [], "", [L]),
        (mpijob().workers(2).launcher_as_worker(), [1], "", [L, W1]),
        (mpijob().workers(1), [0], "x", [f"{W0}.x"]),
        (mpijob().workers(12), [10, 2], "", ["pi-worker-2.pi.default.svc", "pi-worker-10.pi.default.svc"]),
    ],
)
def test_discover_hosts(builder: MPIJobBuilder, running: list[int], domain: str, hosts: list[str]) -> None:
    expected = "#!/bin/sh\n" + "".join(f"echo {host}\n" for host in hosts)
    assert hostfile.discover_hosts(_view(builder), running, domain) == expected

from typing import Any

import pytest

from hortator.local.scheduler.requests import Port, pod_ports, pod_requests
from support.placement import pod


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container("100m"), container("1")]}, 1100),
        ({"containers": [container("1")], "initContainers": [container("3")]}, 3000),
        ({"containers": [container("1")], "initContainers": [container("500m"), container("700m")]}, 1000),
        ({"containers": [container("1")], "initContainers": [container("1", restartPolicy="Always")]}, 2000),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("3")],
            },
            4000,
        ),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("3"), container("1", restartPolicy="Always")],
            },
            3000,
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "5"}}}, 5000),
        ({"containers": [container("0.1")]}, 100),
        ({"containers": [container("1e-3")]}, 1),
        ({"containers": [container("0.0001")]}, 1),
    ],
)
def test_cpu_requests_add_up_as_the_kubelet_needs_them(spec: dict[str, Any], cpu: int) -> None:
    assert pod_requests(spec)["cpu"] == cpu


def test_any_resource_name_counts() -> None:
    spec = pod(requests={"nvidia.com/gpu": "2", "memory": "1Gi", "example.com/foo": "1k"})["spec"]
    assert pod_requests(spec) == {"nvidia.com/gpu": 2, "memory": 2**30, "example.com/foo": 1000}


def test_ports_are_those_of_containers_and_sidecars() -> None:
    spec = {
        "containers": [
            {"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]}
        ],
        "initContainers": [
            {"name": "once", "ports": [{"containerPort": 1}]},
            {"name": "side", "restartPolicy": "Always", "ports": [{"containerPort": 53, "protocol": "UDP"}]},
        ],
    }
    assert pod_ports(spec) == (
        Port("TCP", 80, "0.0.0.0", explicit=False),
        Port("TCP", 8081, "0.0.0.0", explicit=True),
        Port("UDP", 53, "0.0.0.0", explicit=False),
    )


def test_ports_of_a_host_network_pod_are_asked_for() -> None:
    spec = {"hostNetwork": True, "containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}
    assert pod_ports(spec) == (Port("TCP", 80, "0.0.0.0", explicit=True),)

from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused, strategy, texts

NODES = "nodes"


def test_a_node_registers_with_its_status_and_all_its_capacity() -> None:
    made = created(NODES, named("n", status={"capacity": {"cpu": "4"}, "conditions": [{"type": "Ready"}]}))
    assert made["status"]["allocatable"] == {"cpu": "4"}
    assert made["status"]["conditions"] == [{"type": "Ready"}]


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        (
            {"spec": {"taints": [{"key": "a b", "effect": "NoSchedule"}]}},
            'metadata.taints[0].key: Invalid value: "a b"',
        ),
        ({"spec": {"taints": [{"key": "a"}]}}, "metadata.taints[0].effect: Required value"),
        (
            {
                "spec": {
                    "taints": [
                        {"key": "a", "effect": "NoSchedule"},
                        {"key": "a", "effect": "NoSchedule", "value": "b"},
                    ]
                }
            },
            "metadata.taints[1]: Duplicate value",
        ),
        (
            {"status": {"capacity": {"cpu": "-1"}, "allocatable": {"cpu": "1"}}},
            'status.capacity[cpu]: Invalid value: "-1"',
        ),
        (
            {"status": {"allocatable": {"gpu": "1"}}},
            'status.allocatable[gpu]: Invalid value: "gpu": must be a standard',
        ),
    ],
)
def test_one_thing_wrong_is_one_error(parts: dict[str, Any], start: str) -> None:
    (error,) = refused(NODES, named("n", **parts))
    assert error.startswith(start)


def test_the_provider_of_a_node_is_fixed() -> None:
    old = created(NODES, named("n", spec={"providerID": "a://b"}))
    assert changed(NODES, old, {**old, "spec": {}}) == [
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid'
    ]


def test_a_status_write_is_checked_too() -> None:
    old = created(NODES, named("n"))
    new = {**old, "status": {"capacity": {"pods": "1.5"}}}
    (error,) = texts(strategy(NODES).validate_status(new, old))
    assert "must be an integer" in error


@pytest.mark.parametrize(
    ("conditions", "closed", "word"),
    [
        ([], False, "Unknown"),
        ([{"type": "Ready", "status": "True"}], False, "Ready"),
        ([{"type": "Ready", "status": "Unknown"}], False, "NotReady"),
        ([{"type": "Ready", "status": "True"}], True, "Ready,SchedulingDisabled"),
    ],
)
def test_the_status_column(conditions: list[Any], closed: bool, word: str) -> None:
    node = named("n", spec={"unschedulable": closed}, status={"conditions": conditions})
    assert cells(NODES, node)["Status"] == word
    assert strategy(NODES).fields(node)["spec.unschedulable"] == str(closed).lower()


def test_roles_and_addresses() -> None:
    labels = {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "nodeInfo": {"kernelVersion": "6.1", "architecture": "amd64", "kubeletVersion": "v1"},
    }
    row = cells(NODES, named("n", metadata={"labels": labels}, status=status))
    assert (row["Roles"], row["Internal-IP"], row["External-IP"]) == ("edge,worker", "127.0.0.1", "<none>")
    assert (row["Kernel-Version"], row["OS-Image"], row["Version"]) == ("6.1 (amd64)", "<unknown>", "v1")

from __future__ import annotations

import base64
from typing import Any

import pytest

from hortator.local.node.environment import ConfigError, FieldContext, command_line, expand, make_environment

POD = {
    "metadata": {
        "name": "p",
        "namespace": "ns",
        "uid": "u",
        "labels": {"app": "x"},
        "annotations": {"note": 'two\nlines "quoted"'},
    },
    "spec": {
        "serviceAccountName": "sa",
        "containers": [{"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}],
    },
}
CONTEXT = FieldContext(
    pod=POD,
    pod_ip="127.64.0.1",
    host_ip="127.0.0.1",
    node_name="local",
    allocatable={"cpu": "4", "memory": "8Gi"},
)
OBJECTS = {
    ("ConfigMap", "c"): {"data": {"k": "v", "l": "w"}},
    ("Secret", "s"): {"data": {"k": base64.b64encode(b"\xff").decode()}},
}


def environment(container: dict[str, Any], services: dict[str, str] | None = None) -> dict[str, str]:
    container = {"name": "main", **container}
    return make_environment(container, services or {}, CONTEXT, lambda kind, name: OBJECTS.get((kind, name)))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("100$$", "100$"),
        ("$()", "$()"),
        ("", ""),
    ],
)
def test_references_are_expanded_as_upstream(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


def test_values_see_what_was_declared_before_them() -> None:
    env = [
        {"name": "B", "value": "$(A)"},
        {"name": "A", "value": "1"},
        {"name": "C", "value": "$(A)$(S)$(HOME)"},
    ]
    assert environment({"env": env}, {"S": "svc"}) == {"S": "svc", "B": "$(A)", "A": "1", "C": "1svc$(HOME)"}


def test_env_wins_over_env_from_and_prefixes_apply() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}, {"configMapRef": {"name": "c"}}],
        "env": [{"name": "k", "value": "own"}],
    }
    assert environment(container) == {"P_k": "v", "P_l": "w", "k": "own", "l": "w"}


def test_bytes_of_secrets_survive() -> None:
    value = environment({"envFrom": [{"secretRef": {"name": "s"}}]})["k"]
    assert value.encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "x"),
        ("metadata.labels", 'app="x"'),
        ("metadata.annotations", 'note="two\\nlines \\"quoted\\""'),
        ("spec.nodeName", "local"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "127.64.0.1"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert environment({"env": [{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}) == {
        "V": value
    }


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "requests.cpu"}, "0"),
        ({"resource": "limits.memory", "containerName": "main"}, str(1 << 30)),
    ],
)
def test_resources_are_counted_in_their_divisor(reference: dict[str, str], value: str) -> None:
    container = {
        "resources": POD["spec"]["containers"][0]["resources"],  # type: ignore[index]
        "env": [{"name": "V", "valueFrom": {"resourceFieldRef": reference}}],
    }
    assert environment(container) == {"V": value}


def test_without_a_limit_the_nodes_room_counts() -> None:
    env = [{"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]
    assert environment({"env": env}) == {"V": "4"}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "c", "key": "none"}}, "couldn't find key none in ConfigMap ns/c"),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.hostname"}}, "unsupported fieldPath: spec.hostname"),
    ],
)
def test_what_is_not_there_is_named(variable: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        environment({"env": [{"name": "V", "valueFrom": variable}]})
    assert str(caught.value) == message


def test_optional_references_leave_the_variable_out() -> None:
    missing = {"name": "none", "key": "k", "optional": True}
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": missing}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "none", "optional": True}}},
    ]
    assert environment({"env": env, "envFrom": [{"secretRef": {"name": "none", "optional": True}}]}) == {}


def test_a_nul_byte_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        environment({"env": [{"name": "V", "value": "a\0b"}]})


def test_command_and_arguments_are_expanded() -> None:
    container = {"command": ["run", "$(A)"], "args": ["$$(A)", "$(B)"]}
    assert command_line(container, {"A": "1"}) == ["run", "1", "$(A)", "$(B)"]

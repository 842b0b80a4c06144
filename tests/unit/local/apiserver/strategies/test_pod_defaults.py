from typing import Any

import pytest

from hortator.local.apiserver.strategies.pod_defaults import default_template, effective_requests
from support.strategies import created, pod, strategy


def spec(**parts: Any) -> dict[str, Any]:
    result: dict[str, Any] = created("pods", pod(**parts))["spec"]
    return result


def container(**parts: Any) -> dict[str, Any]:
    result: dict[str, Any] = spec(container=parts)["containers"][0]
    return result


def test_a_bare_pod_gets_what_a_node_and_kubectl_rely_on() -> None:
    assert spec() == {
        "containers": [
            {
                "name": "main",
                "image": "busybox",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


def test_given_values_stay() -> None:
    made = spec(restartPolicy="Never", terminationGracePeriodSeconds=0, enableServiceLinks=False)
    assert made["restartPolicy"] == "Never"
    assert made["terminationGracePeriodSeconds"] == 0
    assert made["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("localhost:5000/a/b", "Always"),
        ("localhost:5000/a/b:v1", "IfNotPresent"),
        ("registry.example.com:443/a", "Always"),
        ("busybox@sha256:abc", "IfNotPresent"),
        ("NotLowerCase", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert container(image=image)["imagePullPolicy"] == policy


def test_requests_are_filled_in_from_limits() -> None:
    made = container(resources={"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}})
    assert made["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}


def test_a_template_keeps_its_requests_open() -> None:
    parts = pod(container={"resources": {"limits": {"cpu": "2"}}})
    made = default_template({"spec": parts["spec"]})["spec"]
    assert "requests" not in made["containers"][0]["resources"]
    assert "enableServiceLinks" not in made


def test_amounts_below_a_thousandth_are_rounded_up() -> None:
    assert container(resources={"requests": {"cpu": "100u"}})["resources"]["requests"] == {"cpu": "1m"}


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({"exec": {"command": ["true"]}}, {"exec": {"command": ["true"]}}),
        ({"httpGet": {"port": 80}}, {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}}),
        ({"grpc": {"port": 80}}, {"grpc": {"port": 80, "service": ""}}),
    ],
)
def test_probes_get_their_times(given: dict[str, Any], filled: dict[str, Any]) -> None:
    times = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert container(livenessProbe=given)["livenessProbe"] == {**filled, **times}


def test_hooks_get_the_defaults_of_their_handlers() -> None:
    made = container(lifecycle={"preStop": {"httpGet": {"port": "web"}}})
    assert made["lifecycle"]["preStop"]["httpGet"] == {"port": "web", "path": "/", "scheme": "HTTP"}


def test_variables_from_fields_name_a_version() -> None:
    env = [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ]
    first, second = container(env=env)["env"]
    assert first["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.name"}
    assert second["valueFrom"]["resourceFieldRef"] == {"divisor": "0", "resource": "limits.cpu"}


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, {"emptyDir": {}}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 0o644}}),
        ({"configMap": {"name": "c", "defaultMode": 0}}, {"configMap": {"name": "c", "defaultMode": 0}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "defaultMode": 0o644,
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                }
            },
        ),
        (
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {
                "downwardAPI": {
                    "defaultMode": 0o644,
                    "items": [
                        {"path": "l", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}
                    ],
                }
            },
        ),
    ],
)
def test_volumes_get_the_defaults_of_their_source(given: dict[str, Any], filled: dict[str, Any]) -> None:
    (volume,) = spec(volumes=[{"name": "v", **given}])["volumes"]
    assert volume == {"name": "v", **filled}


def test_ports_are_tcp_and_on_the_host_network_the_hosts() -> None:
    made = container(ports=[{"containerPort": 80}])
    assert made["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    on_host = spec(hostNetwork=True, container={"ports": [{"containerPort": 80}]})["containers"][0]
    assert on_host["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_the_old_name_of_the_service_account_is_kept_in_step() -> None:
    made = spec(serviceAccount="robot")
    assert made["serviceAccountName"] == made["serviceAccount"] == "robot"


def test_what_a_pod_asks_for_counts_its_largest_phase() -> None:
    def asking(name: str, cpu: str, **rest: Any) -> dict[str, Any]:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **rest}

    total = effective_requests(
        {
            "containers": [asking("a", "1"), asking("b", "1")],
            "initContainers": [asking("sidecar", "500m", restartPolicy="Always"), asking("setup", "4")],
        }
    )
    assert str(total["cpu"]) == "4500m"


def test_defaults_change_nothing_the_second_time() -> None:
    made = strategy("pods")
    once = made.default(pod(volumes=[{"name": "v"}], container={"ports": [{"containerPort": 1}]}))
    assert made.default(once) == once

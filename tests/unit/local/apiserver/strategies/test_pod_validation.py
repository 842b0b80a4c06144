from typing import Any

import pytest

from support.strategies import changed, created, pod, refused


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        ({"container": {"name": ""}}, "spec.containers[0].name: Required value"),
        (
            {"container": {"name": "A"}},
            'spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label',
        ),
        ({"container": {"image": ""}}, "spec.containers[0].image: Required value"),
        (
            {"container": {"image": " a"}},
            'spec.containers[0].image: Invalid value: " a": must not have leading or',
        ),
        (
            {"container": {"ports": [{"containerPort": 0}]}},
            "spec.containers[0].ports[0].containerPort: Required value",
        ),
        (
            {"container": {"ports": [{"containerPort": 70000}]}},
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"container": {"ports": [{"containerPort": 1, "protocol": "UPD"}]}},
            'spec.containers[0].ports[0].protocol: Unsupported value: "UPD": supported values: "SCTP", "TCP", "UDP"',
        ),
        ({"container": {"env": [{"name": "A=B"}]}}, 'spec.containers[0].env[0].name: Invalid value: "A=B"'),
        (
            {"container": {"env": [{"name": "A", "valueFrom": {}}]}},
            'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`',
        ),
        (
            {"container": {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]}},
            'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": error converting',
        ),
        (
            {"container": {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]}},
            'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase"',
        ),
        (
            {"container": {"volumeMounts": [{"name": "v", "mountPath": "/x"}]}},
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            {"container": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}},
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        (
            {"container": {"resources": {"requests": {"nvidia.com/gpu": "1"}}}},
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            {"resources": {"limits": {"example.com/gpu": "500m"}}},
            'spec.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
        ),
        (
            {"resources": {"limits": {"gpu": "1"}}},
            'spec.resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully',
        ),
        (
            {"container": {"resources": {"requests": {"cpu": "-1"}}}},
            'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            {"container": {"livenessProbe": {}}},
            "spec.containers[0].livenessProbe: Required value: must specify a handler",
        ),
        (
            {"container": {"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}},
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            {"container": {"lifecycle": {"preStop": {"exec": {}}}}},
            "spec.containers[0].lifecycle.preStop.exec.command: Required value",
        ),
        ({"containers": []}, "spec.containers: Required value"),
        (
            {"initContainers": [{"name": "main", "image": "x"}]},
            'spec.initContainers[0].name: Duplicate value: "main"',
        ),
        (
            {
                "initContainers": [
                    {"name": "i", "image": "x", "lifecycle": {"preStop": {"exec": {"command": ["a"]}}}}
                ]
            },
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            {"ephemeralContainers": [{"name": "e", "image": "x"}]},
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            {"restartPolicy": "Never!"},
            'spec.restartPolicy: Unsupported value: "Never!": supported values: "Always", "On',
        ),
        (
            {"dnsPolicy": "None"},
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            {"activeDeadlineSeconds": 0},
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647",
        ),
        ({"hostname": "a.b"}, 'spec.hostname: Invalid value: "a.b": must not contain dots'),
        ({"nodeSelector": {"a b": "c"}}, 'spec.nodeSelector: Invalid value: "a b"'),
        (
            {"securityContext": {"runAsUser": -1}},
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0",
        ),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, 'spec.volumes[1].name: Duplicate value: "v"'),
        (
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        ({"volumes": [{"name": "v", "configMap": {}}]}, "spec.volumes[0].configMap.name: Required value"),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]},
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
        ),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o1000}}]},
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal)",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when service",
        ),
        (
            {"tolerations": [{"operator": "Equal"}]},
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty',
        ),
        (
            {
                "tolerations": [
                    {"key": "a", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoSchedule"}
                ]
            },
            "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when",
        ),
        (
            {"schedulingGates": [{"name": "a"}, {"name": "a"}]},
            'spec.schedulingGates[1]: Duplicate value: "a"',
        ),
        (
            {"schedulingGates": [{"name": "a"}], "nodeName": "n"},
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ),
        (
            {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}},
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value",
        ),
        (
            {
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a b"}]
                    }
                }
            },
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value",
        ),
        (
            {"topologySpreadConstraints": [{"topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]},
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            {"hostAliases": [{"ip": "here", "hostnames": ["a"]}]},
            'spec.hostAliases[0].ip: Invalid value: "here": must be a valid IP address',
        ),
    ],
)
def test_one_thing_wrong_is_one_error(parts: dict[str, Any], start: str) -> None:
    (error,) = refused("pods", pod(**parts))
    assert error.startswith(start)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"container": {"resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "500m"}}}},
        {
            "initContainers": [
                {
                    "name": "s",
                    "image": "x",
                    "restartPolicy": "Always",
                    "startupProbe": {"exec": {"command": ["a"]}},
                }
            ]
        },
        {"tolerations": [{"operator": "Exists"}]},
        {"volumes": [{"name": "v"}], "container": {"volumeMounts": [{"name": "v", "mountPath": "/x"}]}},
        {"container": {"env": [{"name": "1 two.three", "value": "x"}]}},
        {
            "container": {
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]
            }
        },
    ],
)
def test_good_pods_pass(parts: dict[str, Any]) -> None:
    assert refused("pods", pod(**parts)) == []


def change(old: dict[str, Any], **spec: Any) -> list[str]:
    return changed("pods", old, {**old, "spec": {**old["spec"], **spec}})


OLD = created("pods", pod(tolerations=[{"key": "a", "operator": "Exists"}], activeDeadlineSeconds=10))
GATED = created("pods", pod(schedulingGates=[{"name": "a"}, {"name": "b"}], nodeSelector={"x": "y"}))
IMAGE = [{**OLD["spec"]["containers"][0], "image": "other"}]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"containers": IMAGE},
        {"activeDeadlineSeconds": 5},
        {"tolerations": [*OLD["spec"]["tolerations"], {"key": "b", "operator": "Exists"}]},
    ],
)
def test_little_of_a_pod_may_change(spec: dict[str, Any]) -> None:
    assert change(OLD, **spec) == []


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        (
            {"nodeName": "n"},
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,",
        ),
        (
            {"tolerations": []},
            "spec.tolerations: Forbidden: existing toleration can not be modified except its",
        ),
        (
            {"activeDeadlineSeconds": 20},
            "spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to",
        ),
        (
            {"activeDeadlineSeconds": None},
            "spec.activeDeadlineSeconds: Invalid value: null: must not update from a",
        ),
        (
            {"containers": [*IMAGE, *IMAGE]},
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        (
            {"schedulingGates": [{"name": "c"}]},
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed",
        ),
    ],
)
def test_the_rest_of_a_pod_is_fixed(spec: dict[str, Any], start: str) -> None:
    assert any(error.startswith(start) for error in change(OLD, **spec))


def test_what_changed_is_named() -> None:
    (error,) = change(OLD, hostNetwork=True)
    assert error.endswith("\n+ hostNetwork: true")


@pytest.mark.parametrize(
    "spec",
    [
        {"schedulingGates": [{"name": "b"}]},
        {"nodeSelector": {"x": "y", "z": "1"}},
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
    ],
)
def test_a_gated_pod_may_be_narrowed_down(spec: dict[str, Any]) -> None:
    assert change(GATED, **spec) == []


def test_a_gated_pod_may_not_be_widened() -> None:
    assert change(GATED, nodeSelector={}) == [
        "spec.nodeSelector: Invalid value: {}: only additions to spec.nodeSelector are allowed "
        "(no mutations or deletions)"
    ]

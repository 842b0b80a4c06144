from typing import Any

import pytest

from hortator.local.apiserver.strategies import STRATEGIES
from support.strategies import cells, created, kind_of, named, refused, strategy


def test_required_fields_are_named_wherever_they_are() -> None:
    rule = {"http": {"paths": [{"path": "/"}]}}
    assert sorted(refused("ingresses.networking.k8s.io", named("i", spec={"rules": [rule]}))) == [
        "spec.rules[0].http.paths[0].backend: Required value",
        "spec.rules[0].http.paths[0].pathType: Required value",
    ]


def test_status_and_metadata_are_not_asked_for() -> None:
    assert refused("poddisruptionbudgets.policy", named("p", spec={"minAvailable": 1})) == []


@pytest.mark.parametrize(
    ("resource", "obj", "found"),
    [
        (
            "endpointslices.discovery.k8s.io",
            {"ports": [{"port": 80}]},
            {"ports": [{"name": "", "protocol": "TCP", "port": 80}]},
        ),
        (
            "endpoints",
            {"subsets": [{"ports": [{"port": 1}]}]},
            {"subsets": [{"ports": [{"protocol": "TCP", "port": 1}]}]},
        ),
        (
            "networkpolicies.networking.k8s.io",
            {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}},
            {
                "spec": {
                    "podSelector": {},
                    "policyTypes": ["Ingress", "Egress"],
                    "egress": [{"ports": [{"protocol": "TCP", "port": 1}]}],
                }
            },
        ),
    ],
)
def test_defaults(resource: str, obj: dict[str, Any], found: dict[str, Any]) -> None:
    made = created(resource, named("a", **obj))
    assert {key: made[key] for key in found} == found


@pytest.mark.parametrize(
    ("resource", "obj", "row"),
    [
        (
            "endpoints",
            {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 80}]}]},
            {"Endpoints": "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."},
        ),
        ("endpoints", {}, {"Endpoints": "<none>"}),
        (
            "endpointslices.discovery.k8s.io",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]},
            {"AddressType": "IPv4", "Ports": "80", "Endpoints": "10.0.0.1"},
        ),
        (
            "poddisruptionbudgets.policy",
            {"spec": {"minAvailable": "50%"}},
            {"Min Available": "50%", "Max Unavailable": "N/A"},
        ),
        (
            "ingresses.networking.k8s.io",
            {"spec": {"ingressClassName": "nginx", "rules": [{"host": "a.b"}], "tls": [{}]}},
            {"Class": "nginx", "Hosts": "a.b", "Ports": "80, 443"},
        ),
        (
            "networkpolicies.networking.k8s.io",
            {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
            {"Pod-Selector": "a=b"},
        ),
        (
            "resourceclaims.resource.k8s.io",
            {"status": {"allocation": {}, "reservedFor": [{}]}},
            {"State": "allocated,reserved"},
        ),
        (
            "controllerrevisions.apps",
            {
                "metadata": {
                    "ownerReferences": [
                        {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}
                    ]
                },
                "revision": 3,
            },
            {"Controller": "daemonset.apps/d", "Revision": "3"},
        ),
        (
            "certificatesigningrequests.certificates.k8s.io",
            {
                "spec": {"signerName": "x/y"},
                "status": {"conditions": [{"type": "Approved"}], "certificate": "YQ=="},
            },
            {"Condition": "Approved,Issued"},
        ),
    ],
)
def test_columns(resource: str, obj: dict[str, Any], row: dict[str, Any]) -> None:
    shown = cells(resource, named("a", **obj))
    assert {key: shown[key] for key in row} == row


@pytest.mark.parametrize("resource", sorted(STRATEGIES))
def test_every_named_strategy_belongs_to_a_kind(resource: str) -> None:
    made = strategy(resource)
    assert made.kind is kind_of(resource)
    assert made.columns

import ipaddress
from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused, strategy

SERVICES = "services"


def service(**spec: Any) -> dict[str, Any]:
    return named("web", spec={"ports": [{"port": 80}], **spec})


def test_a_bare_service_gets_an_address() -> None:
    spec = created(SERVICES, service())["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["type"], spec["sessionAffinity"], spec["internalTrafficPolicy"]) == (
        "ClusterIP",
        "None",
        "Cluster",
    )
    assert ipaddress.ip_address(spec["clusterIP"]) in ipaddress.ip_network("10.96.0.0/12")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


def test_a_headless_service_has_none() -> None:
    spec = created(SERVICES, named("web", spec={"clusterIP": "None"}))["spec"]
    assert spec["clusterIPs"] == ["None"]
    assert refused(SERVICES, named("web", spec={"clusterIP": "None"})) == []


def test_a_node_port_lies_in_its_range() -> None:
    (port,) = created(SERVICES, service(type="NodePort"))["spec"]["ports"]
    assert 30000 <= port["nodePort"] <= 32767


def test_an_external_name_has_no_address() -> None:
    spec = created(SERVICES, named("web", spec={"type": "ExternalName", "externalName": "a.example.com"}))[
        "spec"
    ]
    assert "clusterIP" not in spec


def test_sessions_last_three_hours() -> None:
    spec = created(SERVICES, service(sessionAffinity="ClientIP"))["spec"]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        (
            {"ports": [{"port": 0}]},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        ({"ports": [{"port": 1}, {"name": "b", "port": 2}]}, "spec.ports[0].name: Required value"),
        (
            {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        ({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]}, "spec.ports[1]: Duplicate value"),
        (
            {"ports": [{"port": 1, "nodePort": 30000}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type`",
        ),
        (
            {"type": "Other"},
            'spec.type: Unsupported value: "Other": supported values: "ClusterIP", "ExternalName"',
        ),
        (
            {"type": "NodePort", "clusterIP": "None"},
            'spec.clusterIPs[0]: Invalid value: "None": may not be set to',
        ),
        ({"clusterIP": "here"}, 'spec.clusterIPs[0]: Invalid value: "here": must be a valid IP address'),
        ({"selector": {"a b": "c"}}, 'spec.selector: Invalid value: "a b"'),
    ],
)
def test_one_thing_wrong_is_one_error(spec: dict[str, Any], start: str) -> None:
    errors = refused(SERVICES, service(**spec))
    assert errors[0].startswith(start)
    assert len(errors) == 1 or "port" in start


def test_names_of_services_are_labels() -> None:
    given = service()
    given["metadata"]["name"] = "1a"
    assert refused(SERVICES, given) == []
    given["metadata"]["name"] = "A"
    (error,) = refused(SERVICES, given)
    assert error.startswith('metadata.name: Invalid value: "A"')


def test_an_address_that_is_left_out_stays() -> None:
    old = created(SERVICES, service(type="NodePort"))
    new = strategy(SERVICES).prepare_update(strategy(SERVICES).default({**service(type="NodePort")}), old)
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert new["spec"]["ports"] == old["spec"]["ports"]


def test_an_address_is_fixed() -> None:
    old = created(SERVICES, service())
    new = {**old, "spec": service(clusterIP="10.96.0.9")["spec"]}
    assert changed(SERVICES, old, new) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set'
    ]


@pytest.mark.parametrize(
    ("spec", "status", "external"),
    [
        ({"type": "ClusterIP"}, {}, "<none>"),
        ({"type": "LoadBalancer"}, {}, "<pending>"),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "1.2.3.4"),
        ({"type": "ExternalName", "externalName": "x.y"}, {}, "x.y"),
    ],
)
def test_the_external_address_column(spec: dict[str, Any], status: dict[str, Any], external: str) -> None:
    assert cells(SERVICES, named("web", spec=spec, status=status))["External-IP"] == external


def test_the_ports_column() -> None:
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}]
    row = cells(SERVICES, named("web", spec={"ports": ports, "clusterIPs": ["None"]}))
    assert (row["Port(s)"], row["Cluster-IP"]) == ("80/TCP,53:30053/UDP", "None")

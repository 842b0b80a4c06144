"""Services: defaults, validation, addresses, columns.

Nothing here routes to a Service's address; pods reach each other by name. The address is made from the
Service's uid, so that it needs no allocator and survives a restart.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    required,
)
from hortator.apimachinery.meta import name_of, uid_of
from hortator.apimachinery.names import (
    dns1123_label,
    dns1123_subdomain,
    port_number,
    validate_labels,
)
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import check_choice, check_ip, check_name, check_port
from hortator.local.apiserver.strategies.templates import format_labels

__all__ = ["ServiceStrategy"]

SPEC = Path("spec")
NETWORK = ipaddress.ip_network("10.96.0.0/12")
NODE_PORTS = range(30000, 32768)
WITH_ADDRESS = ("ClusterIP", "NodePort", "LoadBalancer")
AFFINITY_SECONDS = 10800


class ServiceStrategy(Strategy):
    """Behaviour of Services."""

    columns = (
        NAME,
        Column("Type"),
        Column("Cluster-IP"),
        Column("External-IP"),
        Column("Port(s)"),
        AGE,
        wide("Selector"),
    )
    name_rule = staticmethod(dns1123_label)

    def default(self, obj: Object) -> Object:
        """Return the Service with upstream's defaults."""
        spec = {"sessionAffinity": "None", "type": "ClusterIP", **(obj.get("spec") or {})}
        kind = spec["type"]
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            given = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
            seconds = given.get("timeoutSeconds")
            seconds = AFFINITY_SECONDS if seconds is None else seconds
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": seconds}}
        if spec.get("ports"):
            spec["ports"] = [_port(port) for port in spec["ports"]]
        if kind in ("NodePort", "LoadBalancer"):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind in WITH_ADDRESS:
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        elif spec.get("clusterIPs") and not spec.get("clusterIP"):
            spec["clusterIP"] = spec["clusterIPs"][0]
        return {**obj, "spec": spec}

    def prepare_create(self, obj: Object) -> Object:
        """Return the Service with an address and, where its type has them, ports on the nodes."""
        return {**_with_addresses(obj), "status": {"loadBalancer": {}}}

    def prepare_update(self, new: Object, old: Object) -> Object:
        """Return the new Service with the old status; addresses that it leaves out stay as they were."""
        new = super().prepare_update(new, old)
        spec, before = dict(new["spec"]), old.get("spec") or {}
        if spec["type"] in WITH_ADDRESS and before.get("type") in WITH_ADDRESS:
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if not spec.get(key) and before.get(key):
                    spec[key] = before[key]
            if (
                spec.get("clusterIP") != before.get("clusterIP")
                and spec["clusterIPs"] == before["clusterIPs"]
            ):
                spec["clusterIPs"] = [spec["clusterIP"]]  # who changes the one means both
            ports = {(each.get("protocol"), each.get("port")): each for each in before.get("ports") or ()}
            if spec["type"] != "ClusterIP" and spec.get("ports"):
                spec["ports"] = [_kept_node_port(port, ports) for port in spec["ports"]]
        return _with_addresses({**new, "spec": spec})

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a Service."""
        spec = obj.get("spec") or {}
        kind = spec.get("type")
        headless = spec.get("clusterIP") == "None"
        errors: list[FieldError] = []
        if not spec.get("ports") and not headless and kind != "ExternalName":
            errors.append(required(SPEC.child("ports")))
        if headless and kind in ("NodePort", "LoadBalancer"):
            words = f"may not be set to 'None' for {kind} services"
            errors.append(invalid(SPEC.child("clusterIPs").index(0), "None", words))
        if kind == "ExternalName":
            errors += _external(spec)
        errors += _ports(spec, SPEC.child("ports"))
        errors += validate_labels(spec.get("selector") or {}, SPEC.child("selector"))
        affinities = ("ClientIP", "None")
        errors += check_choice(SPEC.child("sessionAffinity"), spec.get("sessionAffinity"), affinities)
        if kind != "ExternalName":
            for index, address in enumerate(spec.get("clusterIPs") or ()):
                if address != "None":
                    errors += check_ip(SPEC.child("clusterIPs").index(index), address)
        for index, address in enumerate(spec.get("externalIPs") or ()):
            errors += check_ip(SPEC.child("externalIPs").index(index), address)
        kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
        errors += check_choice(SPEC.child("type"), kind, kinds)
        policies = ("Cluster", "Local")
        for key in ("internalTrafficPolicy", "externalTrafficPolicy"):
            errors += check_choice(SPEC.child(key), spec.get(key), policies, optional=True)
        outside = kind in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))
        if spec.get("externalTrafficPolicy") and not outside:
            words = "may only be set for externally-accessible services"
            errors.append(invalid(SPEC.child("externalTrafficPolicy"), spec["externalTrafficPolicy"], words))
        return errors

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change of a Service: its first address is fixed."""
        after, before = new.get("spec") or {}, old.get("spec") or {}
        errors: list[FieldError] = []
        if after.get("type") in WITH_ADDRESS and before.get("type") in WITH_ADDRESS:
            new_ips, old_ips = after.get("clusterIPs") or [], before.get("clusterIPs") or []
            if old_ips and new_ips and new_ips[0] != old_ips[0]:
                words = "may not change once set"
                errors.append(invalid(SPEC.child("clusterIPs").index(0), new_ips, words))
        return [*errors, *self.validate_body(new)]

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of Services may name."""
        spec = obj.get("spec") or {}
        more = {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}
        return {**super().fields(obj), **more}

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a Service."""
        spec = obj.get("spec") or {}
        addresses = spec.get("clusterIPs") or ["<none>"]
        return [
            name_of(obj),
            spec.get("type") or "",
            addresses[0],
            _external_cell(spec, obj.get("status") or {}),
            ",".join(_port_cell(port) for port in spec.get("ports") or ()) or "<none>",
            age(obj, now),
            format_labels(spec.get("selector")),
        ]


def _port(port: Object) -> Object:
    target = port.get("targetPort")
    return {
        **port,
        "protocol": port.get("protocol") or "TCP",
        "targetPort": target if target not in (None, 0, "") else port.get("port"),
    }


def _kept_node_port(port: Object, before: Mapping[Any, Object]) -> Object:
    known = before.get((port.get("protocol"), port.get("port"))) or {}
    return (
        port if port.get("nodePort") or not known.get("nodePort") else {**port, "nodePort": known["nodePort"]}
    )


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % size


def _with_addresses(obj: Object) -> Object:
    spec = dict(obj["spec"])
    kind = spec.get("type")
    if kind not in WITH_ADDRESS:
        return obj
    if not spec.get("clusterIP"):
        # The first and the last address of the network are not for hosts.
        address = NETWORK[1 + _number(uid_of(obj), NETWORK.num_addresses - 2)]
        spec["clusterIP"] = str(address)
        spec["clusterIPs"] = [str(address)]
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv6" if ":" in spec["clusterIP"] else "IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    wants_ports = kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts"))
    if wants_ports and spec.get("ports"):
        spec["ports"] = [
            port
            if port.get("nodePort")
            else {**port, "nodePort": NODE_PORTS[_number(f"{uid_of(obj)}/{port['port']}", len(NODE_PORTS))]}
            for port in spec["ports"]
        ]
    return {**obj, "spec": spec}


def _external(spec: Object) -> list[FieldError]:
    errors = [
        forbidden(SPEC.child(key), "may not be set for ExternalName services")
        for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(key)
    ]
    name = (spec.get("externalName") or "").removesuffix(".")
    return errors + check_name(SPEC.child("externalName"), name, dns1123_subdomain)


def _ports(spec: Object, path: Path) -> list[FieldError]:
    ports = spec.get("ports") or ()
    errors: list[FieldError] = []
    names: set[str] = set()
    taken: dict[str, set[Any]] = {"port": set(), "nodePort": set()}
    for index, port in enumerate(ports):
        here = path.index(index)
        name = port.get("name") or ""
        errors += check_name(here.child("name"), name, dns1123_label, optional=len(ports) == 1)
        if name and name in names:
            errors.append(duplicate(here.child("name"), name))
        names.add(name)
        number = port.get("port") or 0
        errors += [invalid(here.child("port"), number, message) for message in port_number(number)]
        errors += check_choice(here.child("protocol"), port.get("protocol"), ("SCTP", "TCP", "UDP"))
        errors += check_port(here.child("targetPort"), port.get("targetPort"))
        if spec.get("type") == "ClusterIP" and port.get("nodePort"):
            words = "may not be used when `type` is 'ClusterIP'"
            errors.append(forbidden(here.child("nodePort"), words))
        for key, seen in taken.items():
            value = (port.get("protocol"), port.get(key))
            if key == "nodePort" and port.get(key) and port[key] not in NODE_PORTS:
                low, high = NODE_PORTS.start, NODE_PORTS.stop - 1
                words = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
                errors.append(invalid(here.child(key), port[key], words))
            if port.get(key) and value in seen:
                if key == "port":
                    errors.append(duplicate(here, {"port": number, "protocol": port.get("protocol")}))
                else:
                    errors.append(duplicate(here.child(key), port[key]))
            seen.add(value)
    return errors


def _port_cell(port: Object) -> str:
    number = f"{port.get('port')}:{port['nodePort']}" if port.get("nodePort") else str(port.get("port"))
    return f"{number}/{port.get('protocol')}"


def _external_cell(spec: Object, status: Object) -> str:
    kind, addresses = spec.get("type"), spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(addresses) or "<none>"
    if kind == "ExternalName":
        return str(spec.get("externalName") or "")
    if kind == "LoadBalancer":
        ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
        given = sorted({each.get("ip") or each.get("hostname") or "" for each in ingress} - {""})
        return ",".join([*given, *addresses]) or "<pending>"
    return "<unknown>"

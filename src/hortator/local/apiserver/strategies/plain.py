"""Kinds without a strategy of their own: required fields, and the columns that upstream gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError
from hortator.apimachinery.meta import annotations_of, is_deleting, name_of, owner_controller
from hortator.local.apiserver.scheme import load_scheme
from hortator.local.apiserver.scheme.kinds import Kind
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.plain_defaults import DEFAULTS
from hortator.local.apiserver.strategies.required import missing_fields
from hortator.local.apiserver.strategies.templates import container_cells, format_labels, format_selector

__all__ = ["PlainStrategy"]

NONE = "<none>"
UNSET = "<unset>"
SHOWN = 3

#: Where upstream (1.36) resets the metadata on a write to ``status``.
_STATUS_ALONE = {
    "resourceclaims.resource.k8s.io",
    "servicecidrs.networking.k8s.io",
    "volumeattachments.storage.k8s.io",
}
#: Kinds that upstream prints without their age.
_AGELESS = {"podtemplates"}

Cells = Callable[[Object], list[Any]]


class PlainStrategy(Strategy):
    """Structural validation, the name, some cells and the age."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        columns, self._cells = COLUMNS.get(kind.group_resource, ((), lambda _: []))
        self.columns = (NAME, *columns, *(() if kind.plural in _AGELESS else (AGE,)))
        self.status_alone = kind.group_resource in _STATUS_ALONE

    def default(self, obj: Object) -> Object:
        """Return the object with upstream's defaults."""
        fill = DEFAULTS.get(self.kind.group_resource)
        return fill(obj) if fill else obj

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return an error for each required field that is absent."""
        return missing_fields(load_scheme().definition, self.kind.definition, obj)

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of the object."""
        cells = [_shown_name(self.kind, obj), *self._cells(obj)]
        return cells if self.kind.plural in _AGELESS else [*cells, age(obj, now)]


def _shown_name(kind: Kind, obj: Object) -> str:
    default = annotations_of(obj).get("ingressclass.kubernetes.io/is-default-class") == "true"
    return name_of(obj) + (" (default)" if kind.plural == "ingressclasses" and default else "")


def _spec(obj: Object) -> Object:
    spec: Object = obj.get("spec") or {}
    return spec


def _status(obj: Object) -> Object:
    status: Object = obj.get("status") or {}
    return status


def _some(items: Iterable[str]) -> str:
    """Return the first three items and how many more there are."""
    found = list(items)
    text = ",".join(found[:SHOWN])
    if len(found) > SHOWN:
        return f"{text} + {len(found) - SHOWN} more..."
    return text or NONE


def _endpoints(obj: Object) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or (None,):
            for address in subset.get("addresses") or ():
                ip = address.get("ip") or ""
                host = f"[{ip}]" if ":" in ip else ip
                found.append(ip if port is None else f"{host}:{port.get('port')}")
    return [_some(found)]


def _endpoint_slice(obj: Object) -> list[Any]:
    ports = []
    for port in obj.get("ports") or ():
        number = port.get("port")
        ports.append(str(number) if number is not None else port.get("name") or "*")
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    return [
        obj.get("addressType") or "",
        _some(ports) if ports else UNSET,
        _some(addresses) if addresses else UNSET,
    ]


def _disruption_budget(obj: Object) -> list[Any]:
    spec = _spec(obj)
    limits = [str(spec[key]) if key in spec else "N/A" for key in ("minAvailable", "maxUnavailable")]
    return [*limits, _status(obj).get("disruptionsAllowed") or 0]


def _ingress(obj: Object) -> list[Any]:
    spec = _spec(obj)
    rules = spec.get("rules") or ()
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    shown = ",".join(hosts[:SHOWN]) or "*"
    if len(hosts) > SHOWN:
        shown += f" + {len(rules) - SHOWN} more..."
    ingress = (_status(obj).get("loadBalancer") or {}).get("ingress") or ()
    addresses = sorted({each.get("ip") or each.get("hostname") or "" for each in ingress} - {""})
    ports = "80, 443" if spec.get("tls") else "80"
    return [spec.get("ingressClassName") or NONE, shown, ",".join(addresses), ports]


def _ingress_class(obj: Object) -> list[Any]:
    spec = _spec(obj)
    parameters = spec.get("parameters")
    text = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        text = f"{parameters.get('kind')}{group}/{parameters.get('name')}"
    return [spec.get("controller") or "", text]


def _autoscaler(obj: Object) -> list[Any]:
    spec = _spec(obj)
    target = spec.get("scaleTargetRef") or {}
    low = spec.get("minReplicas")
    return [
        f"{target.get('kind')}/{target.get('name')}",
        _metrics(spec.get("metrics") or (), _status(obj).get("currentMetrics") or ()),
        UNSET if low is None else str(low),
        spec.get("maxReplicas") or 0,
        _status(obj).get("currentReplicas") or 0,
    ]


def _metrics(wanted: Sequence[Object], found: Sequence[Object]) -> str:
    """Return the cell of what an autoscaler looks at: the first two, ``current/target`` each."""
    shown = [_metric(each, found[n] if n < len(found) else {}) for n, each in enumerate(wanted)]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text or NONE


def _metric(wanted: Object, found: Object) -> str:
    kind = wanted.get("type") or ""
    key = kind[:1].lower() + kind[1:]
    target = (wanted.get(key) or {}).get("target") or {}
    current = (found.get(key) or {}).get("current") or {}
    average, name = target.get("averageValue"), (wanted.get(key) or {}).get("name")
    if kind in ("Resource", "ContainerResource"):
        unit, percent = ("averageValue", "") if average is not None else ("averageUtilization", "%")
        ends = [
            f"{side[unit]}{percent}" if side.get(unit) is not None else missing
            for side, missing in ((current, "<unknown>"), (target, "<auto>"))
        ]
        return f"{name}: {ends[0]}/{ends[1]}"
    unit = "value" if average is None else "averageValue"
    text = f"{current.get(unit, '<unknown>')}/{target.get(unit)}"
    return f"{text} (avg)" if unit == "averageValue" and kind != "Pods" else text


def _driver(obj: Object) -> list[Any]:
    spec = _spec(obj)
    tokens = spec.get("tokenRequests")
    return [
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount") or False,
        spec.get("storageCapacity") or False,
        UNSET if tokens is None else ",".join(each.get("audience") or "" for each in tokens),
        spec.get("requiresRepublish") or False,
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
    ]


def _signing_request(obj: Object) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    kinds = {each.get("type") for each in status.get("conditions") or ()}
    word = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        word += ",Failed"
    if status.get("certificate"):
        word += ",Issued"
    return [spec.get("signerName") or NONE, spec.get("username") or "", word]


def _revision(obj: Object) -> list[Any]:
    owner = owner_controller(obj)
    name = NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        kind = f"{owner.get('kind', '')}.{group}" if group else owner.get("kind", "")
        name = f"{kind.lower()}/{owner.get('name')}"
    return [name, str(obj.get("revision") or 0)]


def _resource_claim(obj: Object) -> list[Any]:
    status = _status(obj)
    states = ["deleted"] if is_deleting(obj) else []
    if status.get("allocation") is not None:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not states:
        states.append("pending")
    return [",".join(states)]


def _address(obj: Object) -> list[Any]:
    parent = _spec(obj).get("parentRef")
    if not parent:
        return [NONE]
    group = f".{parent['group']}" if parent.get("group") else ""
    parts = [f"{parent.get('resource', '')}{group}".lower(), parent.get("namespace"), parent.get("name")]
    return ["/".join(part for part in parts if part)]


def _attachment(obj: Object) -> list[Any]:
    spec = _spec(obj)
    volume = (spec.get("source") or {}).get("persistentVolumeName") or ""
    attached = bool(_status(obj).get("attached"))
    return [spec.get("attacher") or "", volume, spec.get("nodeName") or "", attached]


def _pod_template(obj: Object) -> list[Any]:
    template = obj.get("template") or {}
    return [*container_cells(template), format_labels((template.get("metadata") or {}).get("labels"))]


def _slice(obj: Object) -> list[Any]:
    spec = _spec(obj)
    return [spec.get("nodeName") or "", spec.get("driver") or "", (spec.get("pool") or {}).get("name") or ""]


#: ``plural.group`` -> the columns between name and age, and their cells.
COLUMNS: dict[str, tuple[tuple[Column, ...], Cells]] = {
    "endpoints": ((Column("Endpoints"),), _endpoints),
    "endpointslices.discovery.k8s.io": (
        (Column("AddressType"), Column("Ports"), Column("Endpoints")),
        _endpoint_slice,
    ),
    "podtemplates": ((Column("Containers"), Column("Images"), Column("Pod Labels")), _pod_template),
    "poddisruptionbudgets.policy": (
        (Column("Min Available"), Column("Max Unavailable"), Column("Allowed Disruptions", "integer")),
        _disruption_budget,
    ),
    "ingresses.networking.k8s.io": (
        (Column("Class"), Column("Hosts"), Column("Address"), Column("Ports")),
        _ingress,
    ),
    "ingressclasses.networking.k8s.io": ((Column("Controller"), Column("Parameters")), _ingress_class),
    "networkpolicies.networking.k8s.io": (
        (Column("Pod-Selector"),),
        lambda obj: [format_selector(_spec(obj).get("podSelector"))],
    ),
    "ipaddresses.networking.k8s.io": ((Column("ParentRef"),), _address),
    "servicecidrs.networking.k8s.io": (
        (Column("CIDRs"),),
        lambda obj: [",".join(_spec(obj).get("cidrs") or ())],
    ),
    "horizontalpodautoscalers.autoscaling": (
        (Column("Reference"), Column("Targets"), Column("MinPods"), Column("MaxPods"), Column("Replicas")),
        _autoscaler,
    ),
    "certificatesigningrequests.certificates.k8s.io": (
        (Column("SignerName"), Column("Requestor"), Column("Condition")),
        _signing_request,
    ),
    "controllerrevisions.apps": ((Column("Controller"), Column("Revision")), _revision),
    "runtimeclasses.node.k8s.io": ((Column("Handler"),), lambda obj: [obj.get("handler") or ""]),
    "resourceclaims.resource.k8s.io": ((Column("State"),), _resource_claim),
    "resourceslices.resource.k8s.io": ((Column("Node"), Column("Driver"), Column("Pool")), _slice),
    "csidrivers.storage.k8s.io": (
        (
            Column("AttachRequired", "boolean"),
            Column("PodInfoOnMount", "boolean"),
            Column("StorageCapacity", "boolean"),
            Column("TokenRequests"),
            Column("RequiresRepublish", "boolean"),
            Column("Modes"),
        ),
        _driver,
    ),
    "csinodes.storage.k8s.io": (
        (Column("Drivers", "integer"),),
        lambda obj: [len(_spec(obj).get("drivers") or ())],
    ),
    "csistoragecapacities.storage.k8s.io": (
        (Column("StorageClassName"), Column("Capacity")),
        lambda obj: [obj.get("storageClassName") or "", obj.get("capacity") or UNSET],
    ),
    "volumeattachments.storage.k8s.io": (
        (Column("Attacher"), Column("PV"), Column("Node"), Column("Attached", "boolean")),
        _attachment,
    ),
    "volumeattributesclasses.storage.k8s.io": (
        (Column("DriverName"),),
        lambda obj: [obj.get("driverName") or ""],
    ),
}

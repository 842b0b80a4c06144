"""A pod as the scheduler sees it: everything that placement depends on, compiled once from the object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from hortator.local.scheduler.requests import Port, pod_ports, pod_requests
from hortator.local.scheduler.terms import (
    NodeTerm,
    PodTerm,
    SpreadRule,
    Toleration,
    node_term,
    node_terms,
    pod_terms,
    spread_rules,
    tolerations_of,
)

__all__ = ["PodInfo", "claims_of", "is_terminal", "pod_info"]

#: What a pod without requests counts as when nodes are scored (kube-scheduler's defaults).
DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024


class PodInfo(msgspec.Struct, frozen=True, eq=False):
    """The compiled pod. ``key`` is (namespace, name); ``owner`` the UID of its controller or empty.

    ``claims`` are its volume claims by name; ``devices`` whether it asks for devices by resource claims.
    """

    key: tuple[str, str]
    uid: str
    labels: Mapping[str, str]
    owner: str
    node: str
    nominated: str
    priority: int
    preempts: bool
    deleting: bool
    created: str
    started: str
    requests: Mapping[str, int]
    scored_cpu: int
    scored_memory: int
    ports: tuple[Port, ...]
    node_selector: tuple[tuple[str, str], ...]
    node_required: tuple[NodeTerm, ...] | None
    node_preferred: tuple[tuple[int, NodeTerm], ...]
    tolerations: tuple[Toleration, ...]
    affinity: tuple[PodTerm, ...]
    anti_affinity: tuple[PodTerm, ...]
    preferred_affinity: tuple[PodTerm, ...]
    preferred_anti_affinity: tuple[PodTerm, ...]
    spread: tuple[SpreadRule, ...]
    claims: tuple[str, ...]
    devices: bool
    gates: tuple[str, ...]
    scheduler: str

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.key[0]

    @property
    def name(self) -> str:
        """Its name."""
        return self.key[1]

    @property
    def has_affinity(self) -> bool:
        """Whether its presence can attract or repel other pods."""
        return bool(
            self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity
        )


@lru_cache(maxsize=4096)
def _shared(labels: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Return one and the same mapping for equal labels, so that selectors are matched once for all of them."""
    return dict(labels)


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod has ended, so that it holds nothing of its node any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def claims_of(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the PersistentVolumeClaims that a pod uses, generic ephemeral ones included."""
    name = pod["metadata"]["name"]
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            found.append(f"{name}-{volume['name']}")
    return tuple(found)


def pod_info(pod: Mapping[str, Any]) -> PodInfo:
    """Compile a pod. Raises ``InvalidQuantity`` or ``InvalidSelector`` for what no API server should have let
    in.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    namespace = metadata["namespace"]
    labels = _shared(tuple((metadata.get("labels") or {}).items()))
    affinity = spec.get("affinity") or {}
    by_node = affinity.get("nodeAffinity") or {}
    required, preferred = pod_terms(affinity.get("podAffinity"), namespace, labels)
    anti_required, anti_preferred = pod_terms(affinity.get("podAntiAffinity"), namespace, labels)
    requests = pod_requests(spec)
    return PodInfo(
        key=(namespace, metadata["name"]),
        uid=metadata["uid"],
        labels=labels,
        owner=next(
            (one["uid"] for one in metadata.get("ownerReferences") or () if one.get("controller")), ""
        ),
        node=spec.get("nodeName") or "",
        nominated=status.get("nominatedNodeName") or "",
        priority=spec.get("priority") or 0,
        preempts=spec.get("preemptionPolicy") != "Never",
        deleting="deletionTimestamp" in metadata,
        created=metadata.get("creationTimestamp") or "",
        started=status.get("startTime") or "",
        requests={name: value for name, value in requests.items() if value > 0},
        scored_cpu=requests.get("cpu") or DEFAULT_MILLI_CPU,
        scored_memory=requests.get("memory") or DEFAULT_MEMORY,
        ports=pod_ports(spec),
        node_selector=tuple((spec.get("nodeSelector") or {}).items()),
        node_required=node_terms(by_node.get("requiredDuringSchedulingIgnoredDuringExecution")),
        node_preferred=tuple(
            (one.get("weight") or 1, node_term(one["preference"]))
            for one in by_node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ),
        tolerations=tolerations_of(spec),
        affinity=required,
        anti_affinity=anti_required,
        preferred_affinity=preferred,
        preferred_anti_affinity=anti_preferred,
        spread=spread_rules(spec, labels),
        claims=claims_of(pod),
        devices=bool(spec.get("resourceClaims")),
        gates=tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
        scheduler=spec.get("schedulerName") or "default-scheduler",
    )

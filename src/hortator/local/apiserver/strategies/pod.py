"""Pods: what they become on creation, what may change, what is shown.

Priority, the service account, tolerations for nodes that are not ready and limit ranges are admission's;
binding, eviction and graceful deletion are the registry's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden
from hortator.apimachinery.meta import labels_of
from hortator.local.apiserver.strategies.base import Object, Strategy
from hortator.local.apiserver.strategies.metadata import validate_metadata_update
from hortator.local.apiserver.strategies.pod_columns import COLUMNS, pod_row
from hortator.local.apiserver.strategies.pod_defaults import default_pod_spec
from hortator.local.apiserver.strategies.pod_quality import qos_class
from hortator.local.apiserver.strategies.pod_validation import (
    check_ephemeral_update,
    check_pod,
    check_pod_update,
    check_resize,
)

__all__ = ["PodStrategy"]

GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
SUCCEEDED = (
    {
        "type": "Completed",
        "status": "True",
        "reason": "Succeeded",
        "message": "The pod has completed successfully.",
    },
)
FAILED = ({"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},)
SELECTOR_TERMS = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


class PodStrategy(Strategy):
    """Behaviour of pods."""

    columns = COLUMNS

    def default(self, obj: Object) -> Object:
        """Return the pod with upstream's defaults."""
        return {**obj, "spec": default_pod_spec(obj.get("spec") or {}, pod=True)}

    def prepare_create(self, obj: Object) -> Object:
        """Return the pod with a fresh status: pending, its class of service, and the gate's condition."""
        spec = _merge_label_keys(obj["spec"], labels_of(obj))
        status: Object = {"phase": "Pending", "qosClass": qos_class(spec)}
        if spec.get("schedulingGates"):
            since = obj["metadata"].get("creationTimestamp")
            status["conditions"] = [{**GATED, "lastProbeTime": None, "lastTransitionTime": since}]
        return {**obj, "spec": spec, "status": status}

    def prepare_subresource(self, name: str, new: Object, old: Object) -> Object:
        """Return the old pod with new ephemeral containers, new resources or a new status."""
        if name not in ("ephemeralcontainers", "resize"):
            return super().prepare_subresource(name, new, old)
        asked = new.get("spec") or {}
        spec = dict(old["spec"])
        if name == "ephemeralcontainers":
            spec.pop("ephemeralContainers", None)
            if asked.get("ephemeralContainers"):
                spec["ephemeralContainers"] = asked["ephemeralContainers"]
        else:
            for key in ("containers", "initContainers"):
                wanted = {each.get("name"): each for each in asked.get(key) or ()}
                if spec.get(key):
                    spec[key] = [_resized(each, wanted.get(each.get("name"))) for each in spec[key]]
        return {**old, "metadata": _same_metadata(new, old), "spec": spec}

    def prepare_status(self, new: Object, old: Object) -> Object:
        """Return the old pod with the new status; its class of service stays."""
        result = super().prepare_status(new, old)
        status = dict(result.get("status") or {})
        before = old.get("status") or {}
        if not status.get("qosClass") and before.get("qosClass"):
            status["qosClass"] = before["qosClass"]
        return {**result, "status": status}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a new pod."""
        return check_pod(obj)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change of a pod."""
        return check_pod_update(new, old)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a write to ``ephemeralcontainers``, ``resize`` or ``status``."""
        if name == "ephemeralcontainers":
            return [*validate_metadata_update(new, old), *check_ephemeral_update(new, old)]
        if name == "resize":
            return [*validate_metadata_update(new, old), *check_resize(new, old)]
        return super().validate_subresource(name, new, old)

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a write to the status: ended containers stay ended, an end is final."""
        errors = super().validate_status(new, old)
        after, before = new.get("status") or {}, old.get("status") or {}
        path = Path("status")
        if (new.get("spec") or {}).get("restartPolicy") != "Always":
            for key in ("containerStatuses", "initContainerStatuses"):
                errors += _ended(after.get(key) or (), before.get(key) or (), old, path.child(key))
        nominated, assigned = after.get("nominatedNodeName"), (old.get("spec") or {}).get("nodeName")
        if nominated and nominated != before.get("nominatedNodeName") and assigned:
            words = "may not be updated after the pod is scheduled to a node"
            if nominated != assigned:
                errors.append(forbidden(path.child("nominatedNodeName"), words))
        return errors

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of pods may name."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return {
            **super().fields(obj),
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase") or "",
            "status.podIP": status.get("podIP") or "",
            "status.nominatedNodeName": status.get("nominatedNodeName") or "",
        }

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a pod."""
        return pod_row(obj, now)

    def row_conditions(self, obj: Object) -> Sequence[Object]:
        """Return whether the pod has run its course."""
        phase = (obj.get("status") or {}).get("phase")
        return {"Succeeded": SUCCEEDED, "Failed": FAILED}.get(str(phase), ())


def _same_metadata(new: Object, old: Object) -> Object:
    """Return the old metadata at the version that the new one names."""
    metadata = dict(old.get("metadata") or {})
    for key in ("resourceVersion", "managedFields"):
        metadata.pop(key, None)
        if key in (new.get("metadata") or {}):
            metadata[key] = new["metadata"][key]
    return metadata


def _resized(container: Object, asked: Object | None) -> Object:
    if asked is None:
        return container
    result = {key: value for key, value in container.items() if key not in ("resources", "resizePolicy")}
    result.update({key: asked[key] for key in ("resources", "resizePolicy") if key in asked})
    return result


def _ended(new: Sequence[Object], old: Sequence[Object], pod: Object, path: Path) -> list[FieldError]:
    spec = pod.get("spec") or {}
    initial = {each.get("name"): each for each in spec.get("initContainers") or ()}
    states = {each.get("name"): each.get("state") or {} for each in new}
    errors = []
    for index, status in enumerate(old):
        name = status.get("name")
        terminated = (status.get("state") or {}).get("terminated")
        if terminated is None or name not in states or states[name].get("terminated") is not None:
            continue
        own = (initial.get(name) or {}).get("restartPolicy")
        may_restart = own == "Always" or (
            spec.get("restartPolicy") == "OnFailure" and terminated.get("exitCode", 0) != 0
        )
        if not may_restart and not _has_rules(spec, name):
            words = "may not be transitioned to non-terminated state"
            errors.append(forbidden(path.index(index).child("state"), words))
    return errors


def _has_rules(spec: Object, name: Any) -> bool:
    """Tell whether a container has a restart policy of its own (KEP-5307), which then decides."""
    everyone = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return any(each.get("name") == name and each.get("restartPolicy") for each in everyone)


def _merge_label_keys(spec: Object, labels: Mapping[str, str]) -> Object:
    """Return the spec with ``matchLabelKeys`` turned into requirements on labels (KEP-3633, 3243)."""
    affinity = spec.get("affinity") or {}
    changed = dict(affinity)
    for key in ("podAffinity", "podAntiAffinity"):
        if key in affinity:
            terms = dict(affinity[key])
            required, preferred = SELECTOR_TERMS
            if terms.get(required):
                terms[required] = [_with_keys(term, labels) for term in terms[required]]
            if terms.get(preferred):
                terms[preferred] = [
                    {**term, "podAffinityTerm": _with_keys(term.get("podAffinityTerm") or {}, labels)}
                    for term in terms[preferred]
                ]
            changed[key] = terms
    result = dict(spec)
    if changed != affinity:
        result["affinity"] = changed
    if spec.get("topologySpreadConstraints"):
        result["topologySpreadConstraints"] = [
            _with_keys(each, labels) for each in spec["topologySpreadConstraints"]
        ]
    return result


def _with_keys(term: Object, labels: Mapping[str, str]) -> Object:
    selector = term.get("labelSelector")
    if selector is None:
        return term
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in labels
    ]
    if not added:
        return term
    expressions = [*(selector.get("matchExpressions") or ()), *added]
    return {**term, "labelSelector": {**selector, "matchExpressions": expressions}}

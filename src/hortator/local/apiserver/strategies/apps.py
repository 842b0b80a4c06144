"""Deployments, ReplicaSets, StatefulSets, DaemonSets and ReplicationControllers: defaults, validation,
columns.

Nothing here makes pods of them; that is their controllers'.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, invalid, required
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.names import dns1123_label, percent
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import (
    check_choice,
    check_immutable,
    check_name,
    check_nonnegative,
)
from hortator.local.apiserver.strategies.pod_defaults import default_template
from hortator.local.apiserver.strategies.templates import (
    CONTAINER_COLUMNS,
    check_selected_template,
    check_service_template,
    container_cells,
    format_labels,
    format_selector,
    template_labels,
)

__all__ = [
    "DaemonSetStrategy",
    "DeploymentStrategy",
    "ReplicaSetStrategy",
    "ReplicationControllerStrategy",
    "StatefulSetStrategy",
]

SPEC = Path("spec")


def _count(status: Object, key: str) -> int:
    return int(status.get(key) or 0)


def _amount(path: Path, value: int | str | None) -> list[FieldError]:
    """Require a count or a percentage."""
    if isinstance(value, str):
        return [invalid(path, value, message) for message in percent(value)]
    return check_nonnegative(path, value)


class _TemplateStrategy(Strategy):
    """What these kinds share: a selector that never changes, and a template of pods that keep running."""

    #: Name in the message about an empty selector.
    selector_owner = ""
    defaults: Object = {}  # noqa: RUF012 - never changed

    def default(self, obj: Object) -> Object:
        """Return the object with upstream's defaults."""
        spec = {**self.defaults, **(obj.get("spec") or {})}
        spec["template"] = default_template(spec.get("template") or {})
        return {**obj, "spec": spec}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with the spec."""
        spec = obj.get("spec") or {}
        errors: list[FieldError] = []
        for key in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
            errors += check_nonnegative(SPEC.child(key), spec.get(key))
        errors += check_selected_template(spec, SPEC, self.selector_owner)
        return errors + self.validate_template(spec)

    def validate_template(self, spec: Object) -> list[FieldError]:
        """Return what is wrong with the pod template."""
        return check_service_template(spec, SPEC, self.kind.kind)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change."""
        selectors = (new.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector")
        return [*self.validate_body(new), *check_immutable(SPEC.child("selector"), *selectors)]


class DeploymentStrategy(_TemplateStrategy):
    """Behaviour of Deployments."""

    columns = (
        NAME,
        Column("Ready"),
        Column("Up-to-date"),
        Column("Available"),
        AGE,
        *CONTAINER_COLUMNS,
    )
    selector_owner = "deployment"
    defaults = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}  # noqa: RUF012

    def default(self, obj: Object) -> Object:
        """Return the Deployment with upstream's defaults."""
        obj = super().default(obj)
        strategy = dict(obj["spec"].get("strategy") or {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            limits = {"maxUnavailable": "25%", "maxSurge": "25%"}
            strategy["rollingUpdate"] = {**limits, **(strategy.get("rollingUpdate") or {})}
        return {**obj, "spec": {**obj["spec"], "strategy": strategy}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a Deployment."""
        errors = super().validate_body(obj)
        spec = obj.get("spec") or {}
        strategy, here = spec.get("strategy") or {}, SPEC.child("strategy")
        kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
        errors += check_choice(here, kind, ("Recreate", "RollingUpdate"))
        if kind == "Recreate" and rolling is not None:
            words = "may not be specified when strategy `type` is 'Recreate'"
            errors.append(forbidden(here.child("rollingUpdate"), words))
        elif kind == "RollingUpdate":
            where = here.child("rollingUpdate")
            unavailable, surge = (rolling or {}).get("maxUnavailable"), (rolling or {}).get("maxSurge")
            errors += _amount(where.child("maxUnavailable"), unavailable)
            errors += _amount(where.child("maxSurge"), surge)
            if unavailable in (0, "0%") and surge in (0, "0%"):
                words = "may not be 0 when `maxSurge` is 0"
                errors.append(invalid(where.child("maxUnavailable"), unavailable, words))
        deadline = spec.get("progressDeadlineSeconds")
        errors += check_nonnegative(SPEC.child("progressDeadlineSeconds"), deadline)
        if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
            words = "must be greater than minReadySeconds"
            errors.append(invalid(SPEC.child("progressDeadlineSeconds"), deadline, words))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a Deployment."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            name_of(obj),
            f"{_count(status, 'readyReplicas')}/{_count(spec, 'replicas')}",
            _count(status, "updatedReplicas"),
            _count(status, "availableReplicas"),
            age(obj, now),
            *container_cells(spec.get("template")),
            format_selector(spec.get("selector")),
        ]


class ReplicaSetStrategy(_TemplateStrategy):
    """Behaviour of ReplicaSets."""

    columns = (
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        AGE,
        *CONTAINER_COLUMNS,
    )
    selector_owner = "deployment"
    defaults = {"replicas": 1}  # noqa: RUF012

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a ReplicaSet."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            name_of(obj),
            _count(spec, "replicas"),
            _count(status, "replicas"),
            _count(status, "readyReplicas"),
            age(obj, now),
            *container_cells(spec.get("template")),
            self.selector_cell(spec),
        ]

    def selector_cell(self, spec: Object) -> str:
        """Return the cell of the selector."""
        return format_selector(spec.get("selector"))


class ReplicationControllerStrategy(ReplicaSetStrategy):
    """Behaviour of ReplicationControllers, whose selector is a plain map."""

    def default(self, obj: Object) -> Object:
        """Return the object with upstream's defaults; selector and labels come from the template."""
        obj = super().default(obj)
        labels = dict(template_labels(obj["spec"]))
        metadata = obj.get("metadata") or {}
        if labels and not obj["spec"].get("selector"):
            obj = {**obj, "spec": {**obj["spec"], "selector": labels}}
        if labels and not metadata.get("labels"):
            obj = {**obj, "metadata": {**metadata, "labels": labels}}
        return obj

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a ReplicationController."""
        spec = obj.get("spec") or {}
        errors: list[FieldError] = []
        for key in ("replicas", "minReadySeconds"):
            errors += check_nonnegative(SPEC.child(key), spec.get(key))
        selector, labels = spec.get("selector") or {}, template_labels(spec)
        if not selector:
            errors.append(required(SPEC.child("selector")))
        if any(labels.get(key) != value for key, value in selector.items()):
            words = "`selector` does not match template `labels`"
            errors.append(invalid(SPEC.child("template", "metadata", "labels"), dict(labels), words))
        return errors + self.validate_template(spec)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change; the selector may change."""
        return self.validate_body(new)

    def selector_cell(self, spec: Object) -> str:
        """Return the cell of the selector."""
        return format_labels(spec.get("selector"))


class StatefulSetStrategy(_TemplateStrategy):
    """Behaviour of StatefulSets."""

    columns = (NAME, Column("Ready"), AGE, wide("Containers"), wide("Images"))
    name_rule = staticmethod(dns1123_label)
    selector_owner = "statefulset"
    defaults = {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"}  # noqa: RUF012
    CHANGEABLE = (
        "replicas",
        "template",
        "updateStrategy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    )

    def default(self, obj: Object) -> Object:
        """Return the StatefulSet with upstream's defaults."""
        obj = super().default(obj)
        spec = dict(obj["spec"])
        update = dict(spec.get("updateStrategy") or {})
        if not update.get("type"):
            update["type"] = "RollingUpdate"
            update.setdefault("rollingUpdate", {})
        if update["type"] == "RollingUpdate" and update.get("rollingUpdate") is not None:
            update["rollingUpdate"] = {"partition": 0, **update["rollingUpdate"]}
        spec["updateStrategy"] = update
        retention = {"whenDeleted": "Retain", "whenScaled": "Retain"}
        retention.update(spec.get("persistentVolumeClaimRetentionPolicy") or {})
        spec["persistentVolumeClaimRetentionPolicy"] = retention
        if spec.get("volumeClaimTemplates"):
            spec["volumeClaimTemplates"] = [_claim(each) for each in spec["volumeClaimTemplates"]]
        return {**obj, "spec": spec}

    def validate_template(self, spec: Object) -> list[FieldError]:
        """Return what is wrong with the template, to which the claims add volumes of their names."""
        template = spec.get("template") or {}
        pod = {
            key: value
            for key, value in (template.get("spec") or {}).items()
            if key not in ("hostname", "subdomain")
        }
        names = [
            (each.get("metadata") or {}).get("name") or "" for each in spec.get("volumeClaimTemplates") or ()
        ]
        volumes = [each for each in pod.get("volumes") or () if each.get("name") not in names]
        volumes += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
        filled = {**spec, "template": {**template, "spec": {**pod, "volumes": volumes}}}
        return super().validate_template(filled)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a StatefulSet."""
        spec = obj.get("spec") or {}
        errors: list[FieldError] = []
        policy = spec.get("podManagementPolicy")
        if policy not in ("OrderedReady", "Parallel"):
            words = "must be 'OrderedReady' or 'Parallel'"
            errors.append(invalid(SPEC.child("podManagementPolicy"), policy, words))
        update = spec.get("updateStrategy") or {}
        if update.get("type") not in ("RollingUpdate", "OnDelete"):
            words = "must be 'RollingUpdate' or 'OnDelete'"
            errors.append(invalid(SPEC.child("updateStrategy"), update, words))
        elif update["type"] == "OnDelete" and update.get("rollingUpdate") is not None:
            words = "only allowed for updateStrategy 'RollingUpdate'"
            here = SPEC.child("updateStrategy", "rollingUpdate")
            errors.append(invalid(here, update["rollingUpdate"], words))
        service = spec.get("serviceName") or ""
        errors += check_name(SPEC.child("serviceName"), service, dns1123_label, optional=True)
        return errors + super().validate_body(obj)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: few fields may."""
        after, before = new.get("spec") or {}, old.get("spec") or {}
        errors = self.validate_body(new)
        if _without(after, self.CHANGEABLE) != _without(before, self.CHANGEABLE):
            words = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            )
            errors.append(forbidden(SPEC, words))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a StatefulSet."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        ready = f"{_count(status, 'readyReplicas')}/{_count(spec, 'replicas')}"
        return [name_of(obj), ready, age(obj, now), *container_cells(spec.get("template"))]


def _claim(claim: Object) -> Object:
    spec = {"volumeMode": "Filesystem", **(claim.get("spec") or {})}
    head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**head, **claim, "spec": spec, "status": {"phase": "Pending"}}


def _without(spec: Object, keys: tuple[str, ...]) -> Object:
    return {key: value for key, value in spec.items() if key not in keys}


class DaemonSetStrategy(_TemplateStrategy):
    """Behaviour of DaemonSets."""

    columns = (
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        Column("Up-to-date", "integer"),
        Column("Available", "integer"),
        Column("Node Selector"),
        AGE,
        *CONTAINER_COLUMNS,
    )
    selector_owner = "daemonset"
    defaults = {"revisionHistoryLimit": 10}  # noqa: RUF012

    def default(self, obj: Object) -> Object:
        """Return the DaemonSet with upstream's defaults."""
        obj = super().default(obj)
        update = dict(obj["spec"].get("updateStrategy") or {})
        update.setdefault("type", "RollingUpdate")
        if update["type"] == "RollingUpdate":
            limits = {"maxUnavailable": 1, "maxSurge": 0}
            update["rollingUpdate"] = {**limits, **(update.get("rollingUpdate") or {})}
        return {**obj, "spec": {**obj["spec"], "updateStrategy": update}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a DaemonSet."""
        update = (obj.get("spec") or {}).get("updateStrategy") or {}
        here = SPEC.child("updateStrategy")
        errors = check_choice(here, update.get("type"), ("RollingUpdate", "OnDelete"))
        rolling = update.get("rollingUpdate") or {}
        for key in ("maxUnavailable", "maxSurge"):
            errors += _amount(here.child("rollingUpdate", key), rolling.get(key))
        return super().validate_body(obj) + errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a DaemonSet."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        template = spec.get("template") or {}
        return [
            name_of(obj),
            _count(status, "desiredNumberScheduled"),
            _count(status, "currentNumberScheduled"),
            _count(status, "numberReady"),
            _count(status, "updatedNumberScheduled"),
            _count(status, "numberAvailable"),
            format_labels((template.get("spec") or {}).get("nodeSelector")),
            age(obj, now),
            *container_cells(template),
            format_selector(spec.get("selector")),
        ]

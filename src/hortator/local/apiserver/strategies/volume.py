"""PersistentVolumes, PersistentVolumeClaims and StorageClasses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, invalid, not_supported, required
from hortator.apimachinery.meta import annotations_of, is_deleting, name_of
from hortator.apimachinery.names import dns1123_subdomain, qualified_name
from hortator.apimachinery.quantity import Quantity, parse
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import (
    check_choice,
    check_immutable,
    check_name,
    check_selector,
)
from hortator.local.apiserver.strategies.pod_scheduling import check_node_selector

__all__ = ["PersistentVolumeClaimStrategy", "PersistentVolumeStrategy", "StorageClassStrategy"]

SPEC = Path("spec")
ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
VOLUME_MODES = ("Block", "Filesystem")
RECLAIM = ("Delete", "Recycle", "Retain")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
POSITIVE = "must be greater than zero"
NOT_SOURCES = {
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
}


def _access_modes(modes: Sequence[str], words: str = "") -> list[FieldError]:
    here = SPEC.child("accessModes")
    if not modes:
        return [required(here, words)]
    errors = [not_supported(here, mode, sorted(ACCESS_MODES)) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        errors.append(forbidden(here, "may not use ReadWriteOncePod with other access modes"))
    return errors


def _modes_cell(modes: Sequence[str] | None) -> str:
    return ",".join(short for mode, short in ACCESS_MODES.items() if mode in (modes or ()))


def _class_of(obj: Object) -> str:
    given = annotations_of(obj).get(CLASS_ANNOTATION)
    return given if given is not None else (obj.get("spec") or {}).get("storageClassName") or ""


def _phase(obj: Object) -> str:
    return "Terminating" if is_deleting(obj) else (obj.get("status") or {}).get("phase") or ""


class PersistentVolumeClaimStrategy(Strategy):
    """Behaviour of claims. Binding one is its controller's."""

    columns = (
        NAME,
        Column("Status"),
        Column("Volume"),
        Column("Capacity"),
        Column("Access Modes"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        AGE,
        wide("VolumeMode"),
    )

    def default(self, obj: Object) -> Object:
        """Return the claim with upstream's defaults."""
        return {**obj, "spec": {"volumeMode": "Filesystem", **(obj.get("spec") or {})}}

    def prepare_create(self, obj: Object) -> Object:
        """Return the claim pending."""
        return {**obj, "status": {"phase": "Pending"}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a claim."""
        spec = obj.get("spec") or {}
        errors = _access_modes(spec.get("accessModes") or (), "at least 1 access mode is required")
        errors += check_selector(SPEC.child("selector"), spec.get("selector"))
        size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        here = SPEC.child("resources").key("storage")
        if size is None:
            errors.append(required(here))
        elif parse(size) <= Quantity():
            errors.append(invalid(here, size, POSITIVE))
        for key in ("storageClassName", "volumeAttributesClassName"):
            errors += check_name(SPEC.child(key), spec.get(key) or "", dns1123_subdomain, optional=True)
        return errors + check_choice(SPEC.child("volumeMode"), spec.get("volumeMode"), VOLUME_MODES)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: a claim may be bound, and a bound one enlarged."""
        errors = self.validate_body(new)
        after, before = new.get("spec") or {}, dict(old.get("spec") or {})
        if not before.get("volumeName") and after.get("volumeName"):
            before["volumeName"] = after["volumeName"]
        if "storageClassName" not in before and after.get("storageClassName"):
            before["storageClassName"] = after["storageClassName"]  # a default that came later
        status = old.get("status") or {}
        was = ((before.get("resources") or {}).get("requests") or {}).get("storage") or "0"
        now = ((after.get("resources") or {}).get("requests") or {}).get("storage") or "0"
        if status.get("phase") == "Bound":
            before["resources"] = after.get("resources")
            before.pop("volumeAttributesClassName", None)
            if "volumeAttributesClassName" in after:
                before["volumeAttributesClassName"] = after["volumeAttributesClassName"]
        if after != before:
            words = (
                "spec is immutable after creation except resources.requests and volumeAttributesClassName "
                f"for bound claims\n- {json.dumps(old.get('spec'), sort_keys=True)}\n"
                f"+ {json.dumps(after, sort_keys=True)}"
            )
            errors.append(forbidden(SPEC, words))
        if parse(now) < parse(was) and parse(now) <= parse(
            (status.get("capacity") or {}).get("storage") or "0"
        ):
            here = SPEC.child("resources", "requests", "storage")
            errors.append(forbidden(here, "field can not be less than status.capacity"))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a claim."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        bound = bool(spec.get("volumeName"))
        return [
            name_of(obj),
            _phase(obj),
            spec.get("volumeName") or "",
            ((status.get("capacity") or {}).get("storage") or "0") if bound else "",
            _modes_cell(status.get("accessModes")) if bound else "",
            _class_of(obj),
            spec.get("volumeAttributesClassName") or "<unset>",
            age(obj, now),
            spec.get("volumeMode") or "<unset>",
        ]


class PersistentVolumeStrategy(Strategy):
    """Behaviour of volumes."""

    columns = (
        NAME,
        Column("Capacity"),
        Column("Access Modes"),
        Column("Reclaim Policy"),
        Column("Status"),
        Column("Claim"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        Column("Reason"),
        AGE,
        wide("VolumeMode"),
    )

    def default(self, obj: Object) -> Object:
        """Return the volume with upstream's defaults."""
        spec = {
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Filesystem",
            **(obj.get("spec") or {}),
        }
        if spec.get("hostPath") is not None:
            spec["hostPath"] = {"type": "", **spec["hostPath"]}
        return {**obj, "spec": spec}

    def prepare_create(self, obj: Object) -> Object:
        """Return the volume pending."""
        return {**obj, "status": {"phase": "Pending"}}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a volume."""
        spec = obj.get("spec") or {}
        errors = _access_modes(spec.get("accessModes") or ())
        capacity, here = spec.get("capacity") or {}, SPEC.child("capacity")
        if not capacity:
            errors.append(required(here))
        elif set(capacity) != {"storage"}:
            errors.append(not_supported(here, capacity, ("storage",)))
        for name, text in capacity.items():
            if parse(text) <= Quantity():
                errors.append(invalid(here.key(name), text, POSITIVE))
        policy = spec.get("persistentVolumeReclaimPolicy")
        errors += check_choice(SPEC.child("persistentVolumeReclaimPolicy"), policy, RECLAIM, optional=True)
        affinity = spec.get("nodeAffinity")
        if affinity is not None:
            where = SPEC.child("nodeAffinity", "required")
            if affinity.get("required") is None:
                errors.append(required(where, "must specify required node constraints"))
            else:
                errors += check_node_selector(affinity["required"], where)
        sources = [key for key in spec if key not in NOT_SOURCES]
        for key in sources[1:]:
            errors.append(forbidden(SPEC.child(key), "may not specify more than 1 volume type"))
        if not sources:
            errors.append(required(SPEC, "must specify a volume type"))
        if "hostPath" in sources and not spec["hostPath"].get("path"):
            errors.append(required(SPEC.child("hostPath", "path")))
        if "local" in sources:
            if not spec["local"].get("path"):
                errors.append(required(SPEC.child("local", "path")))
            if affinity is None:
                errors.append(required(SPEC.child("nodeAffinity"), "Local volume requires node affinity"))
        errors += check_name(
            SPEC.child("storageClassName"),
            spec.get("storageClassName") or "",
            dns1123_subdomain,
            optional=True,
        )
        return errors + check_choice(SPEC.child("volumeMode"), spec.get("volumeMode"), VOLUME_MODES)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: the source of a volume is fixed."""
        errors = self.validate_body(new)
        after, before = new.get("spec") or {}, old.get("spec") or {}
        sources = [{key: spec[key] for key in spec if key not in NOT_SOURCES} for spec in (after, before)]
        if sources[0] != sources[1]:
            words = "spec.persistentvolumesource is immutable after creation"
            errors.append(forbidden(SPEC.child("persistentvolumesource"), words))
        return errors + check_immutable(
            SPEC.child("volumeMode"), after.get("volumeMode"), before.get("volumeMode")
        )

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a volume."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        claim = spec.get("claimRef")
        return [
            name_of(obj),
            (spec.get("capacity") or {}).get("storage") or "0",
            _modes_cell(spec.get("accessModes")),
            spec.get("persistentVolumeReclaimPolicy") or "",
            _phase(obj),
            f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
            _class_of(obj),
            spec.get("volumeAttributesClassName") or "<unset>",
            status.get("reason") or "",
            age(obj, now),
            spec.get("volumeMode") or "<unset>",
        ]


class StorageClassStrategy(Strategy):
    """Behaviour of storage classes."""

    columns = (
        NAME,
        Column("Provisioner"),
        Column("ReclaimPolicy"),
        Column("VolumeBindingMode"),
        Column("AllowVolumeExpansion"),
        AGE,
    )

    def default(self, obj: Object) -> Object:
        """Return the class with upstream's defaults."""
        return {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **obj}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a class."""
        provisioner = (obj.get("provisioner") or "").lower()
        errors = check_name(Path("provisioner"), provisioner, qualified_name)
        errors += check_choice(Path("reclaimPolicy"), obj.get("reclaimPolicy"), ("Delete", "Retain"))
        modes = ("Immediate", "WaitForFirstConsumer")
        return errors + check_choice(Path("volumeBindingMode"), obj.get("volumeBindingMode"), modes)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: little of a class may."""
        errors = self.validate_body(new)
        for key, empty in (("parameters", {}), ("provisioner", "")):
            if (new.get(key) or empty) != (old.get(key) or empty):
                errors.append(forbidden(Path(key), "updates to " + key + " are forbidden."))
        if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
            errors.append(forbidden(Path("reclaimPolicy"), "updates to reclaimPolicy are forbidden."))
        mode = new.get("volumeBindingMode")
        return errors + check_immutable(Path("volumeBindingMode"), mode, old.get("volumeBindingMode"))

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a class."""
        annotations = annotations_of(obj)
        default = any(annotations.get(key) == "true" for key in DEFAULT_CLASS)
        return [
            name_of(obj) + (" (default)" if default else ""),
            obj.get("provisioner") or "",
            obj.get("reclaimPolicy") or "Delete",
            obj.get("volumeBindingMode") or "Immediate",
            bool(obj.get("allowVolumeExpansion")),
            age(obj, now),
        ]

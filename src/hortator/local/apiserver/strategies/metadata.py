"""Validation of ``metadata``, which is the same for every kind.

Rules and words are those of upstream's ``api/validation/objectmeta.go`` (v0.36). Filling in uid,
timestamps, generation and resourceVersion is left to the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, immutable, invalid, required
from hortator.apimachinery.names import dns1123_label, qualified_name, validate_annotations, validate_labels

__all__ = ["METADATA", "validate_metadata", "validate_metadata_update"]

METADATA = Path("metadata")
IMMUTABLE = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
#: Filled in from the stored object where a client leaves them out.
OPTIONAL = {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"}


def validate_metadata(
    obj: Mapping[str, Any], *, namespaced: bool, name_rule: Callable[[str], list[str]], path: Path = METADATA
) -> list[FieldError]:
    """Return what is wrong with the metadata of an object that is to be created."""
    metadata = obj.get("metadata") or {}
    errors: list[FieldError] = []
    prefix = metadata.get("generateName") or ""
    if prefix:
        # A prefix may end with the hyphen that the generated part follows.
        checked = prefix[:-1] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
        errors += [invalid(path.child("generateName"), prefix, message) for message in name_rule(checked)]
    name = metadata.get("name") or ""
    if name:
        errors += [invalid(path.child("name"), name, message) for message in name_rule(name)]
    else:
        errors.append(required(path.child("name"), "name or generateName is required"))
    namespace = metadata.get("namespace") or ""
    if namespaced and not namespace:
        errors.append(required(path.child("namespace")))
    elif namespaced:
        errors += [
            invalid(path.child("namespace"), namespace, message) for message in dns1123_label(namespace)
        ]
    elif namespace:
        errors.append(forbidden(path.child("namespace"), "not allowed on this type"))
    errors += _common(metadata, path)
    errors += _finalizers(metadata.get("finalizers") or (), path.child("finalizers"))
    return errors


def validate_metadata_update(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Return what is wrong with the metadata of an object that is to replace another."""
    path = METADATA
    metadata = new.get("metadata") or {}
    before = old.get("metadata") or {}
    errors: list[FieldError] = []
    if before.get("deletionTimestamp"):
        added = sorted(set(metadata.get("finalizers") or ()) - set(before.get("finalizers") or ()))
        if added:
            words = ", ".join(f'"{finalizer}"' for finalizer in added)
            errors.append(
                forbidden(
                    path.child("finalizers"),
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{words}}}",
                )
            )
    for key in IMMUTABLE:
        if key in OPTIONAL and not metadata.get(key):
            continue
        if (metadata.get(key) or "") != (before.get(key) or ""):
            errors.append(immutable(path.child(key), metadata.get(key) or ""))
    errors += _common(metadata, path)
    if metadata.get("finalizers") != before.get("finalizers"):
        errors += _finalizers(metadata.get("finalizers") or (), path.child("finalizers"))
    return errors


def _common(metadata: Mapping[str, Any], path: Path) -> list[FieldError]:
    errors = validate_labels(metadata.get("labels") or {}, path.child("labels"))
    errors += validate_annotations(metadata.get("annotations") or {}, path.child("annotations"))
    return errors + _owners(metadata.get("ownerReferences") or (), path.child("ownerReferences"))


def _owners(references: Any, path: Path) -> list[FieldError]:
    errors = []
    controller = ""
    for reference in references:
        for key, words in (
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ):
            if not reference.get(key):
                errors.append(invalid(path.child(key), "", words))
        if reference.get("apiVersion") == "v1" and reference.get("kind") == "Event":
            errors.append(invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner"))
        if reference.get("controller"):
            name = f"{reference.get('kind')}/{reference.get('name')}"
            if controller:
                errors.append(
                    invalid(
                        path,
                        references,
                        "Only one reference can have Controller set to true. "
                        f'Found "true" in references for {controller} and {name}',
                    )
                )
            controller = controller or name
    return errors


def _finalizers(finalizers: Any, path: Path) -> list[FieldError]:
    errors = [
        invalid(path, finalizer, message) for finalizer in finalizers for message in qualified_name(finalizer)
    ]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        words = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid(path, list(finalizers), words))
    return errors

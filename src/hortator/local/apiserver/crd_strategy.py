"""The kind CustomResourceDefinition itself: defaults, validation, and its status, which the server sets at once.

Rules and words follow ``apiextensions-apiserver/pkg/apis/apiextensions`` (v0.36), for what decides whether a definition
can be served. What a definition leads to is :mod:`.crds`'.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery import fielderrors, names
from hortator.apimachinery.fielderrors import FieldError, Path
from hortator.apimachinery.meta import name_of, rfc3339
from hortator.apimachinery.schema import compile_schema
from hortator.local.apiserver.crds import CLEANUP_FINALIZER, is_established
from hortator.local.apiserver.jsonpath import InvalidPath, compile_path, simple_path
from hortator.local.apiserver.scheme import Kind
from hortator.local.apiserver.strategies.base import NAME, Column, Strategy
from hortator.local.apiserver.strategies.webhook import check_client, check_review_versions

__all__ = ["CrdStrategy"]

Object = dict[str, Any]
#: Says whether a plural or kind of a group is taken by another definition: (group, name, definition) -> its owner.
Taken = Callable[[str, str, str], str]


class CrdStrategy(Strategy):
    """Definitions of custom kinds."""

    columns = (NAME, Column("Created At", format="date"))
    status_alone = True

    def __init__(self, kind: Kind, *, taken: Taken, now: Callable[[], datetime]) -> None:
        super().__init__(kind)
        self._taken = taken
        self._now = now

    def default(self, obj: Object) -> Object:
        """Fill in names that follow from others, and conversion None."""
        spec = obj.get("spec") or {}
        given = spec.get("names") or {}
        filled = {**given}
        if given.get("kind"):
            filled.setdefault("singular", given["kind"].lower())
            filled.setdefault("listKind", given["kind"] + "List")
        conversion = spec.get("conversion") or {"strategy": "None"}
        return {**obj, "spec": {**spec, "names": filled, "conversion": conversion}}

    def prepare_create(self, obj: Object) -> Object:
        """Accept the names, and hold the definition back from deletion until its objects are gone."""
        metadata = {**obj["metadata"]}
        if CLEANUP_FINALIZER not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), CLEANUP_FINALIZER]
        return {**obj, "metadata": metadata, "status": self._status(obj, {})}

    def prepare_update(self, new: Object, old: Object) -> Object:
        """Accept changed names again."""
        return {**new, "status": self._status(new, old.get("status") or {})}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return why the definition cannot be served."""
        return _validate_spec(obj.get("spec") or {}, name_of(obj))

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return why the change cannot be served; names and scope are fixed once established."""
        errors = self.validate_body(new)
        if is_established(old) and not _check_authority(old):
            errors += _check_authority(new)
        path = Path("spec")
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        for keys in (("group",), ("names", "plural"), ("names", "kind"), ("scope",)):
            was, now, at = before, spec, path
            for key in keys:
                was, now, at = was.get(key) or {}, now.get(key) or {}, at.child(key)
            if was != now:
                errors.append(fielderrors.immutable(at, now))
        declared = {version.get("name") for version in spec.get("versions") or ()}
        for stored in (old.get("status") or {}).get("storedVersions") or ():
            if stored not in declared:
                errors.append(
                    fielderrors.invalid(
                        Path("status").child("storedVersions").index(0),
                        stored,
                        "missing from spec.versions; "
                        f"{stored} was previously a storage version, and must remain in spec.versions until a "
                        "storage migration ensures no data remains persisted in it and removes it from "
                        "status.storedVersions",
                    )
                )
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return name and creation time."""
        return [name_of(obj), (obj.get("metadata") or {}).get("creationTimestamp")]

    def _status(self, obj: Object, old: Mapping[str, Any]) -> Object:
        spec = obj.get("spec") or {}
        given = spec.get("names") or {}
        group, name = spec.get("group") or "", name_of(obj)
        owner = self._taken(group, given.get("plural") or "", name) or self._taken(
            group, given.get("kind") or "", name
        )
        at = rfc3339(self._now())
        accepted = {
            "type": "NamesAccepted",
            "status": "False" if owner else "True",
            "reason": "NamesConflict" if owner else "NoConflicts",
            "message": f"names are already in use by {owner}" if owner else "no conflicts found",
        }
        if owner:
            words = "False", "NotAccepted", "not all names are accepted"
        elif not is_established({"status": old}) and _check_authority(obj):
            words = "False", "InvalidCABundle", "The conversion webhook CABundle is invalid"
        else:
            words = "True", "InitialNamesAccepted", "the initial names have been accepted"
        established = {
            "type": "Established",
            **dict(zip(("status", "reason", "message"), words, strict=True)),
        }
        before = {entry.get("type"): entry for entry in old.get("conditions") or ()}
        conditions = []
        for condition in (accepted, established):
            was = before.pop(condition["type"], None)
            same = was is not None and was.get("status") == condition["status"]
            conditions.append(
                {**condition, "lastTransitionTime": was.get("lastTransitionTime", at) if same and was else at}
            )
        stored = next(
            (version.get("name") for version in spec.get("versions") or () if version.get("storage")), None
        )
        versions = list(old.get("storedVersions") or ())
        if stored and stored not in versions:
            versions.append(stored)
        return {
            "conditions": [*conditions, *before.values()],
            "acceptedNames": {} if owner else given,
            "storedVersions": versions,
        }


def _validate_spec(spec: Mapping[str, Any], name: str) -> list[FieldError]:
    path = Path("spec")
    errors: list[FieldError] = []
    group = spec.get("group") or ""
    if not group:
        errors.append(fielderrors.required(path.child("group")))
    else:
        errors += [
            fielderrors.invalid(path.child("group"), group, text) for text in names.dns1123_subdomain(group)
        ]
        if "." not in group:
            errors.append(
                fielderrors.invalid(path.child("group"), group, "should be a domain with at least one dot")
            )
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        errors.append(
            fielderrors.not_supported(path.child("scope"), spec.get("scope") or "", ("Cluster", "Namespaced"))
            if spec.get("scope")
            else fielderrors.required(path.child("scope"))
        )
    given = spec.get("names") or {}
    for key in ("plural", "singular", "kind", "listKind"):
        value = given.get(key) or ""
        at = path.child("names").child(key)
        if not value:
            errors.append(fielderrors.required(at))
        else:
            errors += [fielderrors.invalid(at, value, text) for text in names.dns1035_label(value.lower())]
    if given.get("plural") and group and name != f"{given['plural']}.{group}":
        errors.append(fielderrors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    errors += _validate_versions(spec.get("versions") or [], path.child("versions"))
    errors += _validate_conversion(spec.get("conversion") or {}, path.child("conversion"))
    if spec.get("preserveUnknownFields"):
        errors.append(
            fielderrors.invalid(
                path.child("preserveUnknownFields"),
                True,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            )
        )
    return errors


def _validate_conversion(conversion: Mapping[str, Any], path: Path) -> list[FieldError]:
    """Return what is wrong with a conversion; the paths are those of upstream's internal form."""
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or ()
    at, at_reviews = path.child("webhookClientConfig"), path.child("conversionReviewVersions")
    if strategy == "Webhook":
        if client is None:
            return [
                fielderrors.required(at, "required when strategy is set to Webhook"),
                *check_review_versions(reviews, at_reviews),
            ]
        return [
            *check_client(client, at),
            *check_review_versions(reviews, at_reviews),
        ]
    words = "should not be set when strategy is not set to Webhook"
    errors = [
        fielderrors.forbidden(here, words) for here, value in ((at, client), (at_reviews, reviews)) if value
    ]
    if strategy != "None":
        errors.append(fielderrors.not_supported(path.child("strategy"), strategy, ("None", "Webhook")))
    return errors


def _check_authority(crd: Object) -> list[FieldError]:
    """Return why no conversion webhook can be trusted by the definition's ``caBundle``."""
    import ssl

    client = (((crd.get("spec") or {}).get("conversion") or {}).get("webhook") or {}).get(
        "clientConfig"
    ) or {}
    bundle = client.get("caBundle") or ""
    try:
        if bundle:
            ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    except (ValueError, ssl.SSLError):
        words = "unable to load root certificates: unable to parse bytes as PEM block"
        path = Path("spec").child("conversion").child("webhookClientConfig").child("caBundle")
        return [fielderrors.invalid(path, bundle, words)]
    return []


def _validate_versions(versions: list[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not versions:
        return [fielderrors.required(path)]
    if sum(bool(version.get("storage")) for version in versions) != 1:
        errors.append(
            fielderrors.invalid(path, versions, "must have exactly one version marked as storage version")
        )
    seen: set[str] = set()
    for index, version in enumerate(versions):
        at = path.index(index)
        name = version.get("name") or ""
        errors += [fielderrors.invalid(at.child("name"), name, text) for text in names.dns1035_label(name)]
        if name in seen:
            errors.append(fielderrors.invalid(path, versions, "must contain unique version names"))
        seen.add(name)
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            errors.append(
                fielderrors.required(at.child("schema").child("openAPIV3Schema"), "schemas are required")
            )
    for key, check in _PARTS.items():
        for at, part in _parts(versions, key, path):
            errors += check(part, at)
    return errors


def _parts(versions: list[Any], key: str, path: Path) -> list[tuple[Path, Any]]:
    """Return a part of each version and where it is; upstream names what all versions share as the spec's own."""
    found = [version.get(key) for version in versions]
    if all(part == found[0] for part in found):
        shared = Path("spec").child("validation" if key == "schema" else key)
        return [(shared, found[0])] if found[0] else []
    return [(path.index(index).child(key), part) for index, part in enumerate(found) if part]


def _validate_version_schema(part: Mapping[str, Any], path: Path) -> list[FieldError]:
    schema = part.get("openAPIV3Schema")
    return [] if schema is None else validate_schema(schema, path.child("openAPIV3Schema"))


def _validate_columns(columns: list[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, column in enumerate(columns):
        at = path.index(index)
        for key in ("name", "type", "jsonPath"):
            if not column.get(key):
                errors.append(fielderrors.required(at.child(key)))
        kinds = ("boolean", "date", "integer", "number", "string")
        if column.get("type") and column["type"] not in kinds:
            errors.append(
                fielderrors.invalid(at.child("type"), column["type"], f"must be one of {','.join(kinds)}")
            )
        if column.get("jsonPath"):
            try:
                compile_path(column["jsonPath"])
            except InvalidPath as error:
                errors.append(fielderrors.invalid(at.child("jsonPath"), column["jsonPath"], str(error)))
    return errors


def _validate_selectable(fields: list[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, field in enumerate(fields):
        errors += _check_simple(field.get("jsonPath") or "", path.index(index).child("jsonPath"))
    return errors


def _validate_subresources(subresources: Mapping[str, Any], path: Path) -> list[FieldError]:
    scale = subresources.get("scale")
    if scale is None:
        return []
    errors: list[FieldError] = []
    at = path.child("scale")
    for key, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(key) or ""
        if not value:
            errors.append(fielderrors.required(at.child(key)))
        elif not value.startswith(prefix):
            errors.append(
                fielderrors.invalid(at.child(key), value, f"should be a json path under {prefix[:-1]}")
            )
        else:
            errors += _check_simple(value, at.child(key))
    return errors


def _check_simple(text: str, path: Path) -> list[FieldError]:
    try:
        simple_path(text)
    except InvalidPath as error:
        return [fielderrors.invalid(path, text, str(error))]
    return []


_PARTS: Mapping[str, Callable[[Any, Path], list[FieldError]]] = {
    "schema": _validate_version_schema,
    "subresources": _validate_subresources,
    "additionalPrinterColumns": _validate_columns,
    "selectableFields": _validate_selectable,
}
_TYPES = ("array", "boolean", "integer", "number", "object", "string")


def validate_schema(schema: Any, path: Path, *, root: bool = True) -> list[FieldError]:
    """Return why a schema is not structural (types given everywhere, nothing but what the API server understands)."""
    if not isinstance(schema, dict):
        return [fielderrors.invalid(path, schema, "must be an object")]
    errors: list[FieldError] = []
    kind = schema.get("type")
    if root and kind != "object":
        errors.append(fielderrors.invalid(path.child("type"), kind or "", "must be object at the root"))
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if kind is None and not free:
        errors.append(
            fielderrors.required(path.child("type"), "must not be empty for specified object fields")
        )
    elif kind is not None and kind not in _TYPES:
        errors.append(fielderrors.not_supported(path.child("type"), kind, _TYPES))
    if "$ref" in schema:
        errors.append(fielderrors.forbidden(path.child("$ref"), "$ref is not supported"))
    if schema.get("uniqueItems"):
        errors.append(
            fielderrors.forbidden(
                path.child("uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            )
        )
    properties = schema.get("properties") or {}
    if properties and isinstance(schema.get("additionalProperties"), dict):
        errors.append(
            fielderrors.forbidden(
                path.child("additionalProperties"), "additionalProperties and properties are mutual exclusive"
            )
        )
    for name, child in properties.items():
        if root and name == "metadata":
            continue
        errors += validate_schema(child, path.child("properties").key(name), root=False)
    if isinstance(schema.get("additionalProperties"), dict):
        errors += validate_schema(
            schema["additionalProperties"], path.child("additionalProperties"), root=False
        )
    if kind == "array":
        if not isinstance(schema.get("items"), dict):
            errors.append(fielderrors.required(path.child("items"), "must be specified"))
        else:
            errors += validate_schema(schema["items"], path.child("items"), root=False)
    if pattern := schema.get("pattern"):
        errors += _check_pattern(pattern, path.child("pattern"))
    if "default" in schema and not errors:
        errors += _check_default(schema, path.child("default"))
    return errors + _check_rules(schema, path)


def _check_default(schema: Mapping[str, Any], path: Path) -> list[FieldError]:
    """Return why a default is no value of its own schema."""
    return compile_schema(schema).validate(schema["default"], path)


def _check_pattern(pattern: str, path: Path) -> list[FieldError]:
    import re2

    try:
        re2.compile(pattern)
    except re2.error as error:
        return [fielderrors.invalid(path, pattern, f"must be a valid regular expression, but isn't: {error}")]
    return []


def _check_rules(schema: Mapping[str, Any], path: Path) -> list[FieldError]:
    rules = schema.get("x-kubernetes-validations")
    if not rules:
        return []
    from hortator.apimachinery.cel import CelError, compile_rule

    errors: list[FieldError] = []
    for index, rule in enumerate(rules):
        at = path.child("x-kubernetes-validations").index(index).child("rule")
        text = rule.get("rule") or ""
        if not text.strip():
            errors.append(fielderrors.required(at, "rule is not specified"))
            continue
        try:
            compile_rule(text)
        except CelError as error:
            errors.append(fielderrors.invalid(at, text, f"compilation failed: {error}"))
    return errors

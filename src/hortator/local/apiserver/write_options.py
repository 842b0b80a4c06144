"""Which options of writes are allowed (upstream 1.36: ``ValidateCreateOptions`` and its like)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from hortator.apimachinery.status import StatusError
from hortator.kube.http import Request
from hortator.local.apiserver.bodies import media_type

__all__ = ["check_delete_options", "check_options"]

APPLY = "application/apply-patch+yaml"
_KINDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_MANAGER_BYTES = 128
_POLICIES = ("Foreground", "Background", "Orphan")


def check_options(request: Request, verb: str) -> None:
    """Raise 422 for options of a create, an update or a patch that are not allowed; other verbs have none of these."""
    kind = _KINDS.get(verb)
    if kind is None:
        return
    errors = [
        *(_patch(request) if verb == "patch" else ()),
        *_manager(request.param("fieldManager")),
        *_dry_run(request.params("dryRun")),
        *_validation(request.param("fieldValidation")),
    ]
    _refuse(kind, errors)


def check_delete_options(options: Mapping[str, Any]) -> None:
    """Raise 422 for DeleteOptions that are not allowed."""
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    errors = []
    if policy is not None and orphan is not None:
        errors.append(
            invalid(
                "propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    if policy is not None and policy not in _POLICIES:
        errors.append(not_supported("propagationPolicy", policy, (*_POLICIES, "nil")))
    _refuse("DeleteOptions", [*errors, *_dry_run(options.get("dryRun") or [])])


def _refuse(kind: str, errors: Sequence[FieldError]) -> None:
    if errors:
        raise StatusError.invalid(kind, "", errors, group="meta.k8s.io")


def _patch(request: Request) -> list[FieldError]:
    if media_type(request.headers.get("content-type", "")) == APPLY:
        missing = required("fieldManager", "is required for apply patch")
        return [] if request.param("fieldManager") else [missing]
    if request.param("force"):
        return [forbidden("force", "may not be specified for non-apply patch")]
    return []


def _manager(name: str) -> list[FieldError]:
    errors = []
    if len(name.encode()) > _MANAGER_BYTES:
        errors.append(too_long("fieldManager", _MANAGER_BYTES))
    for position, character in enumerate(name):
        if not character.isprintable():
            words = f"invalid character U+{ord(character):04X} (at position {position})"
            errors.append(invalid("fieldManager", name, words))
    return errors


def _dry_run(values: Sequence[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [not_supported("dryRun", list(values), ("All",))]


def _validation(value: str) -> list[FieldError]:
    if value in ("", "Ignore", "Strict", "Warn"):
        return []
    return [not_supported("fieldValidation", value, ("", "Ignore", "Strict", "Warn"))]

"""Validation of Jobs. Rules and words are upstream's (``batch/validation``, 1.36)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hortator.apimachinery.conditions import is_true
from hortator.apimachinery.fielderrors import (
    ErrorKind,
    FieldError,
    Path,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    unknown,
)
from hortator.apimachinery.names import dns1123_subdomain, qualified_name
from hortator.local.apiserver.strategies.checks import (
    check_choice,
    check_immutable,
    check_nonnegative,
    check_selector,
)
from hortator.local.apiserver.strategies.pod_validation import check_template
from hortator.local.apiserver.strategies.templates import check_matches, template_labels

__all__ = ["check_job_spec", "check_job_update", "check_template_spec", "index_count"]

Object = Mapping[str, Any]

SPEC = Path("spec")
ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
LIMIT = 100_000
HIGH_LIMIT = 10_000
COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)


def check_job_spec(spec: Object, path: Path = SPEC) -> list[FieldError]:
    """Return what is wrong with the spec of a Job."""
    errors = check_template_spec(spec, path)
    if spec.get("selector") is None:
        labels, words = (
            path.child("template", "metadata", "labels"),
            "`selector` does not match template `labels`",
        )
        errors.append(required(path.child("selector")))
        return [*errors, invalid(labels, dict(template_labels(spec)) or None, words)]
    errors += check_selector(path.child("selector"), spec["selector"])
    return errors + check_matches(spec, path)


def check_template_spec(spec: Object, path: Path) -> list[FieldError]:
    """Return what is wrong with a spec whose selector is still to be made, as in a CronJob."""
    errors: list[FieldError] = []
    for key in COUNTS:
        errors += check_nonnegative(path.child(key), spec.get(key))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        errors += _managed_by(spec["managedBy"], path.child("managedBy"))
    modes = ("NonIndexed", "Indexed")
    mode = spec.get("completionMode")
    errors += check_choice(path.child("completionMode"), mode, modes, optional=True)
    if mode == "Indexed":
        errors += _indexed(spec, path)
    elif mode in (None, "NonIndexed"):
        for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(key) is not None:
                errors.append(invalid(path.child(key), spec[key], "requires indexed completion mode"))
    if spec.get("podFailurePolicy") is not None:
        errors += _failure_policy(spec, path.child("podFailurePolicy", "rules"))
    if spec.get("successPolicy") is not None:
        here = path.child("successPolicy")
        if mode != "Indexed":
            errors.append(invalid(here, spec["successPolicy"], "requires indexed completion mode"))
        else:
            errors += _success_policy(spec, here.child("rules"))
    replacement = spec.get("podReplacementPolicy")
    allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    errors += check_choice(path.child("podReplacementPolicy"), replacement, allowed, optional=True)
    template = spec.get("template") or {}
    errors += check_template(template, path.child("template"))
    return errors + _restart_policy(spec, path.child("template", "spec", "restartPolicy"))


def _restart_policy(spec: Object, path: Path) -> list[FieldError]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(path, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        return [invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def _managed_by(text: str, path: Path) -> list[FieldError]:
    domain, slash, rest = text.partition("/")
    errors: list[FieldError] = []
    if not text:
        errors.append(required(path))
    elif not domain or not slash or not rest:
        words = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.append(invalid(path, text, words))
    else:
        errors += [invalid(path, domain, message) for message in dns1123_subdomain(domain)]
        if not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", rest):
            errors.append(invalid(path, rest, "Invalid path"))
    if len(text) > 63:
        errors.append(too_long(path, 63))
    return errors


def _indexed(spec: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed = spec.get("maxFailedIndexes")
    if completions is None:
        errors.append(required(path.child("completions"), "when completion mode is Indexed"))
    if parallelism is not None and parallelism > LIMIT:
        words = f"must be less than or equal to {LIMIT} when completion mode is Indexed"
        errors.append(invalid(path.child("parallelism"), parallelism, words))
    if failed is not None:
        here = path.child("maxFailedIndexes")
        if completions is not None and failed > completions:
            errors.append(invalid(here, failed, "must be less than or equal to completions"))
        if failed > LIMIT:
            errors.append(invalid(here, failed, f"must be less than or equal to {LIMIT}"))
    if completions is not None and completions > LIMIT and spec.get("backoffLimitPerIndex") is not None:
        words = (
            f"must be less than or equal to {HIGH_LIMIT} when completions are above {LIMIT} "
            "and used with backoff limit per index"
        )
        if failed is None:
            text = f"must be specified when completions is above {LIMIT}"
            errors.append(required(path.child("maxFailedIndexes"), text))
        elif failed > HIGH_LIMIT:
            errors.append(invalid(path.child("maxFailedIndexes"), failed, words))
        if parallelism is not None and parallelism > HIGH_LIMIT:
            errors.append(invalid(path.child("parallelism"), parallelism, words))
    return errors


def _failure_policy(spec: Object, path: Path) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or ()
    errors = [too_many(path, len(rules), 20)] if len(rules) > 20 else []
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {each.get("name") for key in ("containers", "initContainers") for each in pod.get(key) or ()}
    for index, rule in enumerate(rules):
        here = path.index(index)
        action = rule.get("action") or ""
        if not action:
            errors.append(required(here.child("action"), f"valid values: {_quoted(ACTIONS)}"))
        elif action not in ACTIONS:
            errors.append(not_supported(here.child("action"), action, ACTIONS))
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            words = "requires the backoffLimitPerIndex to be set"
            errors.append(invalid(here.child("action"), action, words))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
        if codes is not None:
            errors += _exit_codes(codes, here.child("onExitCodes"), containers)
        errors += _pod_conditions(conditions, here.child("onPodConditions"))
        if codes is not None and conditions:
            errors.append(_bare(here, "specifying both OnExitCodes and OnPodConditions is not supported"))
        if codes is None and not conditions:
            errors.append(_bare(here, "specifying one of OnExitCodes and OnPodConditions is required"))
    return errors


def _bare(path: Path, words: str) -> FieldError:
    """Return an error that does not repeat the value."""
    return FieldError(ErrorKind.INVALID, path, unknown(path).value, words)


def _quoted(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def _exit_codes(codes: Object, path: Path, containers: set[Any]) -> list[FieldError]:
    operators = ("In", "NotIn")
    operator, values = codes.get("operator") or "", codes.get("values") or []
    errors: list[FieldError] = []
    if not operator:
        errors.append(required(path.child("operator"), f"valid values: {_quoted(operators)}"))
    elif operator not in operators:
        errors.append(not_supported(path.child("operator"), operator, operators))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        words = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid(path.child("containerName"), name, words))
    here = path.child("values")
    if not values:
        errors.append(invalid(here, values, "at least one value is required"))
    elif len(values) > 255:
        errors.append(too_many(here, len(values), 255))
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(invalid(here.index(index), value, "must not be 0 for the In operator"))
        if value in values[:index]:
            errors.append(duplicate(here.index(index), value))
    if values != sorted(values):
        errors.append(invalid(here, values, "must be ordered"))
    return errors


def _pod_conditions(conditions: Sequence[Object], path: Path) -> list[FieldError]:
    errors = [too_many(path, len(conditions), 20)] if len(conditions) > 20 else []
    for index, pattern in enumerate(conditions):
        here = path.index(index)
        kind = pattern.get("type") or ""
        errors += [invalid(here.child("type"), kind, message) for message in qualified_name(kind)]
        errors += check_choice(here.child("status"), pattern.get("status"), ("False", "True", "Unknown"))
    return errors


def _success_policy(spec: Object, path: Path) -> list[FieldError]:
    rules = spec["successPolicy"].get("rules") or ()
    completions = spec.get("completions") or 0
    errors: list[FieldError] = []
    if not rules:
        errors.append(
            required(path, "at least one rules must be specified when the successPolicy is specified")
        )
    if len(rules) > 20:
        errors.append(too_many(path, len(rules), 20))
    for index, rule in enumerate(rules):
        here = path.index(index)
        count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            words = "at least one of succeededCount or succeededIndexes must be specified"
            errors.append(required(here, words))
        total = 0
        if indexes is not None:
            try:
                total = index_count(indexes, completions)
            except ValueError as error:
                words = f"error parsing succeededIndexes: {error}"
                errors.append(invalid(here.child("succeededIndexes"), indexes, words))
        if count is not None:
            where = here.child("succeededCount")
            errors += check_nonnegative(where, count)
            if count > completions:
                words = f"must be less than or equal to {completions} (the number of specified completions)"
                errors.append(invalid(where, count, words))
            if indexes is not None and count > total:
                words = (
                    f"must be less than or equal to {total} "
                    "(the number of indexes in the specified succeededIndexes field)"
                )
                errors.append(invalid(where, count, words))
    return errors


def index_count(text: str, completions: int) -> int:
    """Return how many indexes a list such as ``0,3-5`` names. Raises ValueError where it cannot be read."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        first, dash, second = part.partition("-")
        try:
            low = int(first)
            high = int(second) if dash else low
        except ValueError:
            raise ValueError(f'cannot convert string to integer for index: "{part}"') from None
        for bound in (low, high):
            if bound >= completions:
                raise ValueError(f'too large index: "{bound}"')
        if dash and low >= high:
            raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
        if low <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        total += high - low + 1
        last = high
    return total


def check_job_update(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with a change of a Job's spec."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors: list[FieldError] = []
    if after.get("completions") != before.get("completions"):
        here = SPEC.child("completions")
        if after.get("completionMode") != "Indexed":
            errors += check_immutable(here, after.get("completions"), before.get("completions"))
        elif after.get("completions") is not None and after["completions"] != after.get("parallelism"):
            words = "can only be modified in tandem with spec.parallelism"
            errors.append(invalid(here, after["completions"], words))
    errors += check_immutable(SPEC.child("selector"), after.get("selector"), before.get("selector"))
    errors += check_immutable(SPEC.child("template"), after.get("template"), _changeable_template(new, old))
    for key in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        errors += check_immutable(SPEC.child(key), after.get(key), before.get(key))
    return errors


def _changeable_template(new: Object, old: Object) -> Any:
    """Return the old template with what may change while the Job is suspended taken from the new one.

    Those are the scheduling directives (KEP-2926) and the containers' resources (1.36), as long as no pod
    runs.
    """
    before = old.get("spec") or {}
    template = before.get("template") or {}
    status = old.get("status") or {}
    idle = not status.get("startTime") or is_true(status.get("conditions"), "Suspended")
    if not before.get("suspend") or not idle or status.get("active"):
        return template
    after = (new.get("spec") or {}).get("template") or {}
    spec, wanted = dict(template.get("spec") or {}), after.get("spec") or {}
    for key in ("nodeSelector", "tolerations", "schedulingGates"):
        spec.pop(key, None)
        if key in wanted:
            spec[key] = wanted[key]
    affinity = {k: v for k, v in (spec.pop("affinity", None) or {}).items() if k != "nodeAffinity"}
    if "nodeAffinity" in (wanted.get("affinity") or {}):
        affinity["nodeAffinity"] = wanted["affinity"]["nodeAffinity"]
    if affinity or "affinity" in wanted:
        spec["affinity"] = affinity
    for key in ("containers", "initContainers"):
        if len(spec.get(key) or ()) == len(wanted.get(key) or ()) and spec.get(key):
            spec[key] = [
                {**each, "resources": asked.get("resources") or {}}
                for each, asked in zip(spec[key], wanted[key], strict=True)
            ]
    metadata = {
        k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")
    }
    for key in ("labels", "annotations"):
        if key in (after.get("metadata") or {}):
            metadata[key] = after["metadata"][key]
    result = {**template, "spec": spec}
    result.pop("metadata", None)
    if metadata or "metadata" in after:
        result["metadata"] = metadata
    return result

"""Jobs: defaults, the selector and labels that tie them to their pods, what may change, columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.conditions import is_true
from hortator.apimachinery.fielderrors import FieldError, Path, invalid, required
from hortator.apimachinery.meta import is_deleting, name_of, uid_of
from hortator.apimachinery.names import dns1123_label
from hortator.apimachinery.selectors import InvalidSelector, LabelSelector
from hortator.local.apiserver.strategies.ages import age, between, since
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.job_validation import check_job_spec, check_job_update
from hortator.local.apiserver.strategies.pod_defaults import default_template
from hortator.local.apiserver.strategies.templates import (
    CONTAINER_COLUMNS,
    container_cells,
    format_selector,
    template_labels,
)

__all__ = ["JobStrategy", "default_job_spec"]

NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")
UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
MAXIMUM = 2**31 - 1
#: Condition -> word in the STATUS column, the first that holds; deletion comes after the second.
WORDS = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def default_job_spec(spec: Object) -> Object:
    """Return the spec of a Job with upstream's defaults."""
    result = dict(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        result["completions"] = 1
    result.setdefault("parallelism", 1)
    result.setdefault("backoffLimit", MAXIMUM if spec.get("backoffLimitPerIndex") is not None else 6)
    result.setdefault("completionMode", "NonIndexed")
    result.setdefault("suspend", False)
    result.setdefault("manualSelector", False)
    policy = spec.get("podFailurePolicy")
    result.setdefault("podReplacementPolicy", "Failed" if policy is not None else "TerminatingOrFailed")
    if policy is not None and policy.get("rules"):
        result["podFailurePolicy"] = {**policy, "rules": [_rule(rule) for rule in policy["rules"]]}
    result["template"] = default_template(spec.get("template") or {})
    return result


def _rule(rule: Object) -> Object:
    if not rule.get("onPodConditions"):
        return rule
    return {**rule, "onPodConditions": [{"status": "True", **each} for each in rule["onPodConditions"]]}


class JobStrategy(Strategy):
    """Behaviour of Jobs."""

    columns = (NAME, Column("Status"), Column("Completions"), Column("Duration"), AGE, *CONTAINER_COLUMNS)

    def default(self, obj: Object) -> Object:
        """Return the Job with upstream's defaults; without labels of its own it takes its template's."""
        spec = default_job_spec(obj.get("spec") or {})
        result = {**obj, "spec": spec}
        metadata = obj.get("metadata") or {}
        labels = template_labels(spec)
        if labels and not metadata.get("labels"):
            result["metadata"] = {**metadata, "labels": dict(labels)}
        return result

    def prepare_create(self, obj: Object) -> Object:
        """Return the Job with an empty status, its generated selector and labels; it must have its uid already."""
        obj = super().prepare_create(obj)
        spec = obj["spec"]
        if not spec.get("manualSelector"):
            obj = {**obj, "spec": _generated(spec, name_of(obj), uid_of(obj))}
        return self.default({**obj, "status": {}})

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a Job."""
        spec = obj.get("spec") or {}
        errors = _check_generated(obj) + check_job_spec(spec)
        completions = spec.get("completions")
        if spec.get("completionMode") == "Indexed" and completions:
            host = f"{name_of(obj)}-{completions - 1}"
            if dns1123_label(host):
                words = f"will not able to create pod with invalid DNS label: {host}"
                errors.append(invalid(Path("metadata").child("name"), name_of(obj), words))
        return errors

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change of a Job."""
        return [*self.validate_body(new), *check_job_update(new, old)]

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a write to the status: an end is final, the times fit together."""
        errors = super().validate_status(new, old)
        after, before = new.get("status") or {}, old.get("status") or {}
        path = Path("status")
        for kind in ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"):
            if is_true(before.get("conditions"), kind) and not is_true(after.get("conditions"), kind):
                words = f"must not disable {kind} condition with status=True"
                errors.append(invalid(path.child("conditions"), after.get("conditions") or [], words))
        complete = is_true(after.get("conditions"), "Complete")
        if complete and is_true(after.get("conditions"), "Failed"):
            words = "cannot set Complete=True and Failed=true conditions"
            errors.append(invalid(path.child("conditions"), after["conditions"], words))
        if complete and not after.get("completionTime"):
            words = "completionTime is required for Complete jobs"
            errors.append(required(path.child("completionTime"), words))
        if after.get("completionTime") and not complete:
            words = "cannot set completionTime when there is no Complete=True condition"
            errors.append(invalid(path.child("completionTime"), after["completionTime"], words))
        start, end = after.get("startTime") or "", after.get("completionTime") or ""
        if start and end and end < start:  # UTC in whole seconds: text order is time order
            words = "completionTime cannot be set before startTime"
            errors.append(invalid(path.child("completionTime"), end, words))
        return errors

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of Jobs may name."""
        succeeded = (obj.get("status") or {}).get("succeeded") or 0
        return {**super().fields(obj), "status.successful": str(succeeded)}

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a Job."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        succeeded = status.get("succeeded") or 0
        parallelism = spec.get("parallelism") or 0
        if spec.get("completions") is not None:
            done = f"{succeeded}/{spec['completions']}"
        else:
            done = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
        start, end = status.get("startTime"), status.get("completionTime")
        duration = "" if not start else between(start, end) if end else since(start, now)
        cells = [name_of(obj), _word(obj), done, duration, age(obj, now)]
        return [*cells, *container_cells(spec.get("template")), format_selector(spec.get("selector"))]


def _word(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions")
    for kind, word in WORDS:
        if is_true(conditions, kind) if kind else is_deleting(obj):
            return word
    return "Running"


def _generated(spec: Object, name: str, uid: str) -> Object:
    template = spec.get("template") or {}
    metadata = template.get("metadata") or {}
    generated = {**dict.fromkeys(NAME_LABELS, name), **dict.fromkeys(UID_LABELS, uid)}
    labels = {**generated, **(metadata.get("labels") or {})}
    selector = spec.get("selector") or {}
    match = {UID_LABELS[1]: uid, **(selector.get("matchLabels") or {})}
    return {
        **spec,
        "selector": {**selector, "matchLabels": match},
        "template": {**template, "metadata": {**metadata, "labels": labels}},
    }


def _check_generated(obj: Object) -> list[FieldError]:
    """Require the labels and the selector that were generated, unless the user takes care of them."""
    spec = obj.get("spec") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    errors = []
    if not uid_of(obj):
        errors.append(required(Path("metadata").child("uid")))
    expected = {**dict.fromkeys(NAME_LABELS, name_of(obj)), **dict.fromkeys(UID_LABELS, uid_of(obj))}
    labels = template_labels(spec)
    path = Path("spec").child("template", "metadata", "labels")
    for key in (UID_LABELS[0], NAME_LABELS[0], UID_LABELS[1], NAME_LABELS[1]):
        if key not in labels:
            errors.append(required(path.key(key), f"must be '{expected[key]}'"))
        elif labels[key] != expected[key]:
            errors.append(invalid(path.key(key), dict(labels), f"must be '{expected[key]}'"))
    try:
        if not LabelSelector.from_object(spec["selector"]).matches(expected):
            words = "`selector` not auto-generated"
            errors.append(invalid(Path("spec").child("selector"), spec["selector"], words))
    except InvalidSelector:
        return errors  # said by the check of the spec
    return errors

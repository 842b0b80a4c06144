"""What the kinds with a pod template share: selectors that match the template, and the wide columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, invalid, not_supported, required
from hortator.apimachinery.selectors import InvalidSelector, LabelSelector
from hortator.local.apiserver.strategies.base import Column, wide
from hortator.local.apiserver.strategies.checks import check_selector
from hortator.local.apiserver.strategies.pod_validation import check_template

__all__ = [
    "CONTAINER_COLUMNS",
    "check_selected_template",
    "check_service_template",
    "container_cells",
    "format_labels",
    "format_selector",
    "template_labels",
]

Object = Mapping[str, Any]

CONTAINER_COLUMNS: tuple[Column, ...] = (wide("Containers"), wide("Images"), wide("Selector"))


def template_labels(spec: Object) -> Mapping[str, str]:
    """Return the labels of a spec's pod template."""
    labels: Mapping[str, str] = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return labels


def container_cells(template: Object | None) -> list[str]:
    """Return the cells for the names and the images of a template's containers."""
    containers = ((template or {}).get("spec") or {}).get("containers") or ()
    return [
        ",".join(str(each.get("name") or "") for each in containers),
        ",".join(str(each.get("image") or "") for each in containers),
    ]


def format_selector(selector: Object | None) -> str:
    """Return the cell for a label selector."""
    try:
        return str(LabelSelector.from_object(selector)) or "<none>"
    except InvalidSelector:
        return "<error>"


def format_labels(labels: Mapping[str, str] | None) -> str:
    """Return the cell for a map of labels."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def check_selected_template(spec: Object, path: Path, kind: str) -> list[FieldError]:
    """Require a selector that is not empty and that selects the template's pods."""
    selector = spec.get("selector")
    if selector is None:
        errors = [required(path.child("selector"))]
    else:
        errors = check_selector(path.child("selector"), selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid(path.child("selector"), selector, f"empty selector is invalid for {kind}"))
    return errors + check_matches(spec, path)


def check_matches(spec: Object, path: Path) -> list[FieldError]:
    """Require that the selector, if it can be read, selects the template's pods."""
    try:
        selector = LabelSelector.from_object(spec.get("selector") or {})
    except InvalidSelector:
        return []
    labels = template_labels(spec)
    if selector.matches(labels):
        return []
    where = path.child("template", "metadata", "labels")
    return [invalid(where, dict(labels), "`selector` does not match template `labels`")]


def check_service_template(spec: Object, path: Path, kind: str) -> list[FieldError]:
    """Require a template of pods that run until they are told to stop."""
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    errors = check_template(template, path.child("template"))
    here = path.child("template", "spec")
    if pod.get("restartPolicy") != "Always":
        errors.append(not_supported(here.child("restartPolicy"), pod.get("restartPolicy"), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        words = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden(here.child("activeDeadlineSeconds"), words))
    return errors

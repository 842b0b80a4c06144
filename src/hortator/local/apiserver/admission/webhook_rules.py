"""Which admission webhooks a write concerns: rules, selectors and match conditions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hortator.apimachinery.selectors import LabelSelector
from hortator.local.apiserver.admission.plugin import CONNECT, DELETE, Attempt
from hortator.local.apiserver.catalog import Served

if TYPE_CHECKING:
    from hortator.apimachinery.cel import Rule

__all__ = ["ConditionFailed", "conditions_hold", "equivalent_version", "selected"]

Object = dict[str, Any]

_OWN = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_CONDITION_VARIABLES = ("object", "oldObject", "request")
_compiled: dict[str, Rule] = {}


class ConditionFailed(Exception):
    """Raised when a match condition could not be evaluated; ``str`` says why."""


def equivalent_version(
    webhook: Mapping[str, Any], attempt: Attempt, versions: Sequence[Served]
) -> Served | None:
    """Return the version of the resource in which a webhook wants to see the write, or None when no rule is about it.

    With ``matchPolicy: Equivalent`` a rule for another served version counts, and the object is converted to it.
    """
    if attempt.served.plural in _OWN and attempt.served.group == "admissionregistration.k8s.io":
        return None
    candidates = [attempt.served]
    if webhook.get("matchPolicy", "Equivalent") == "Equivalent":
        candidates += [served for served in versions if served is not attempt.served]
    for served in candidates:
        if any(_rule_matches(rule, attempt, served) for rule in webhook.get("rules") or ()):
            return served
    return None


def _rule_matches(rule: Mapping[str, Any], attempt: Attempt, served: Served) -> bool:
    def has(key: str, value: str) -> bool:
        values = rule.get(key) or ()
        return "*" in values or value in values

    scope = rule.get("scope") or "*"
    # A namespace itself counts as cluster-scoped.
    namespaced = served.kind.namespaced
    return (
        has("operations", attempt.operation)
        and has("apiGroups", served.group)
        and has("apiVersions", served.kind.version)
        and (scope == "*" or (scope == "Namespaced") == namespaced)
        and any(
            _resource_matches(text, served.plural, attempt.subresource)
            for text in rule.get("resources") or ()
        )
    )


def _resource_matches(text: str, plural: str, subresource: str) -> bool:
    resource, slash, sub = text.partition("/")
    if resource not in ("*", plural):
        return False
    if text == "*":
        return not subresource
    return (sub in ("*", subresource)) if slash else not subresource


def selected(
    webhook: Mapping[str, Any], attempt: Attempt, namespace_labels: Mapping[str, str] | None
) -> bool:
    """Whether a webhook's selectors are about the write. ``namespace_labels`` is None outside of namespaces."""
    if attempt.served.storage == "/namespaces":
        obj = attempt.old if attempt.operation == DELETE else attempt.obj
        namespace_labels = _labels(obj)
    if namespace_labels is not None:
        selector = LabelSelector.from_object(webhook.get("namespaceSelector") or {})
        if not selector.matches(namespace_labels):
            return False
    wanted = webhook.get("objectSelector") or {}
    if not wanted:
        return True
    if attempt.operation == CONNECT:
        return False
    selector = LabelSelector.from_object(wanted)
    return any(selector.matches(_labels(obj)) for obj in (attempt.obj, attempt.old) if obj is not None)


def _labels(obj: Object | None) -> Mapping[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}


def conditions_hold(webhook: Mapping[str, Any], request: Object) -> bool:
    """Whether all match conditions are true; ``request`` is the AdmissionRequest. Raises :class:`ConditionFailed`.

    As upstream, one that is false decides even when another cannot be evaluated.
    """
    conditions = webhook.get("matchConditions")
    if not conditions:
        return True
    from hortator.apimachinery.cel import CelError, compile_rule

    failed: list[str] = []
    for condition in conditions:
        text = condition.get("expression") or ""
        try:
            rule = _compiled.get(text)
            if rule is None:
                rule = _compiled[text] = compile_rule(text, variables=_CONDITION_VARIABLES)
            value = rule.evaluate(
                object=request.get("object"), oldObject=request.get("oldObject"), request=request
            )
        except CelError as error:
            failed.append(f"expression '{text}' resulted in error: {error}")
            continue
        if value is False:
            return False
        if value is not True:
            failed.append(f"expression '{text}' is not true or false")
    if failed:
        raise ConditionFailed("; ".join(failed))
    return True

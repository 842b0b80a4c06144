"""Validation of where a pod may run: affinity, tolerations, spreading, gates.

Rules and words are upstream's (``core/validation``, 1.36).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, duplicate, forbidden, invalid, required
from hortator.apimachinery.names import dns1123_label, label_value, qualified_name
from hortator.local.apiserver.strategies.checks import check_choice, check_name, check_selector

__all__ = [
    "check_added_tolerations",
    "check_affinity",
    "check_gates",
    "check_node_selector",
    "check_removed_gates",
    "check_spreading",
    "check_tolerations",
]

Object = Mapping[str, Any]

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
WEIGHT = "must be in the range 1-100"


def check_tolerations(tolerations: Sequence[Object], path: Path) -> list[FieldError]:
    """Return what is wrong with tolerations."""
    errors: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        here = path.index(index)
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        effect, value = toleration.get("effect") or "", toleration.get("value") or ""
        errors += [invalid(here.child("key"), key, text) for text in (qualified_name(key) if key else ())]
        if not key and operator != "Exists":
            words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(invalid(here.child("operator"), operator, words))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(invalid(here.child("effect"), effect, words))
        if operator in ("", "Equal"):
            found = label_value(value)
            if found:
                errors.append(invalid(here.child("operator"), value, ";".join(found)))
        elif operator == "Exists":
            if value:
                words = "value must be empty when `operator` is 'Exists'"
                errors.append(invalid(here.child("operator"), value, words))
        else:
            errors += check_choice(here.child("operator"), operator, ("Equal", "Exists"))
        errors += check_choice(here.child("effect"), effect, EFFECTS, optional=True)
    return errors


def check_added_tolerations(new: Sequence[Object], old: Sequence[Object], path: Path) -> list[FieldError]:
    """Require that tolerations were only added, or changed in ``tolerationSeconds``."""

    def bare(toleration: Object) -> dict[str, Any]:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [bare(each) for each in new]
    if any(bare(each) not in kept for each in old):
        return [forbidden(path, "existing toleration can not be modified except its tolerationSeconds")]
    return check_tolerations(new, path)


def check_gates(gates: Sequence[Object], path: Path) -> list[FieldError]:
    """Return what is wrong with scheduling gates."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        errors += [invalid(path.index(index), name, message) for message in qualified_name(name)]
        if name in seen:
            errors.append(duplicate(path.index(index), name))
        seen.add(name)
    return errors


def check_removed_gates(new: Sequence[Object], old: Sequence[Object], path: Path) -> list[FieldError]:
    """Require that scheduling gates were only removed."""
    before = {gate.get("name") for gate in old}
    return [
        forbidden(
            path.index(index).child("name"),
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
        )
        for index, gate in enumerate(new)
        if gate.get("name") not in before
    ]


def check_affinity(affinity: Object, path: Path) -> list[FieldError]:
    """Return what is wrong with an affinity."""
    errors: list[FieldError] = []
    node = affinity.get("nodeAffinity") or {}
    here = path.child("nodeAffinity")
    if node.get(REQUIRED) is not None:
        errors += check_node_selector(node[REQUIRED], here.child(REQUIRED))
    for index, term in enumerate(node.get(PREFERRED) or ()):
        errors += _weight(term, here.child(PREFERRED).index(index))
        where = here.child(PREFERRED).index(index).child("preference")
        errors += _node_term(term.get("preference") or {}, where, values=False)
    for key in ("podAffinity", "podAntiAffinity"):
        pods, here = affinity.get(key) or {}, path.child(key)
        for index, term in enumerate(pods.get(REQUIRED) or ()):
            errors += _pod_term(term, here.child(REQUIRED).index(index))
        for index, term in enumerate(pods.get(PREFERRED) or ()):
            where = here.child(PREFERRED).index(index)
            errors += _weight(term, where)
            errors += _pod_term(term.get("podAffinityTerm") or {}, where.child("podAffinityTerm"))
    return errors


def check_node_selector(selector: Object, path: Path) -> list[FieldError]:
    """Return what is wrong with a node selector (terms of which one must match)."""
    terms = selector.get("nodeSelectorTerms") or ()
    here = path.child("nodeSelectorTerms")
    if not terms:
        return [required(here, "must have at least one node selector term")]
    return [error for index, term in enumerate(terms) for error in _node_term(term, here.index(index))]


def _weight(term: Object, path: Path) -> list[FieldError]:
    weight = term.get("weight") or 0
    return [] if 1 <= weight <= 100 else [invalid(path.child("weight"), weight, WEIGHT)]


def _node_term(term: Object, path: Path, *, values: bool = True) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(term.get("matchExpressions") or ()):
        here = path.child("matchExpressions").index(index)
        errors += _node_requirement(item, here, values=values)
    for index, item in enumerate(term.get("matchFields") or ()):
        errors += _node_field(item, path.child("matchFields").index(index))
    return errors


def _node_requirement(item: Object, path: Path, *, values: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, found = item.get("operator") or "", item.get("values") or ()
    where = path.child("values")
    if operator in ("In", "NotIn"):
        if not found:
            errors.append(required(where, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if found:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(where, words))
    elif operator in ("Gt", "Lt"):
        if len(found) != 1:
            words = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(where, words))
    else:
        errors.append(invalid(path.child("operator"), operator, "not a valid selector operator"))
    key = item.get("key") or ""
    errors += [invalid(path.child("key"), key, message) for message in qualified_name(key)]
    if values:
        for index, value in enumerate(found):
            errors += [invalid(where.index(index), value, message) for message in label_value(value)]
    return errors


def _node_field(item: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if item.get("operator") not in ("In", "NotIn"):
        words = "not a valid selector operator"
        errors.append(invalid(path.child("operator"), item.get("operator") or "", words))
    elif len(item.get("values") or ()) != 1:
        words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(path.child("values"), words))
    if item.get("key") != "metadata.name":
        errors.append(invalid(path.child("key"), item.get("key") or "", "not a valid field selector key"))
    return errors


def _pod_term(term: Object, path: Path) -> list[FieldError]:
    errors = check_selector(path.child("labelSelector"), term.get("labelSelector"))
    errors += check_selector(path.child("namespaceSelector"), term.get("namespaceSelector"))
    for name in term.get("namespaces") or ():
        errors += [invalid(path.child("namespace"), name, message) for message in dns1123_label(name)]
    for key in ("matchLabelKeys", "mismatchLabelKeys"):
        for index, name in enumerate(term.get(key) or ()):
            errors += [invalid(path.child(key).index(index), name, text) for text in qualified_name(name)]
    topology = term.get("topologyKey") or ""
    if not topology:
        errors.append(required(path.child("topologyKey"), "can not be empty"))
    return errors + [invalid(path.child("topologyKey"), topology, text) for text in qualified_name(topology)]


def check_spreading(constraints: Sequence[Object], path: Path) -> list[FieldError]:
    """Return what is wrong with topology spread constraints."""
    errors: list[FieldError] = []
    seen: set[tuple[Any, Any]] = set()
    for index, constraint in enumerate(constraints):
        here = path.index(index)
        skew, key = constraint.get("maxSkew") or 0, constraint.get("topologyKey") or ""
        unmet = constraint.get("whenUnsatisfiable")
        if skew <= 0:
            errors.append(invalid(here.child("maxSkew"), skew, "must be greater than zero"))
        errors += check_name(here.child("topologyKey"), key, qualified_name)
        errors += check_choice(here.child("whenUnsatisfiable"), unmet, ("DoNotSchedule", "ScheduleAnyway"))
        if (key, unmet) in seen:
            where = here.child("{topologyKey, whenUnsatisfiable}")
            errors.append(duplicate(where, f"{{{key}, {unmet}}}"))
        seen.add((key, unmet))
        domains = constraint.get("minDomains")
        if domains is not None and domains <= 0:
            errors.append(invalid(here.child("minDomains"), domains, "must be greater than zero"))
        elif domains is not None and unmet != "DoNotSchedule":
            words = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unmet}"
            errors.append(invalid(here.child("minDomains"), domains, words))
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            errors += check_choice(
                here.child(policy), constraint.get(policy), ("Honor", "Ignore"), optional=True
            )
        errors += check_selector(here.child("labelSelector"), constraint.get("labelSelector"))
    return errors

"""The small languages of placement: node selector terms, taints and tolerations, pod affinity terms, spread
rules.

Each is compiled once per pod and matched many times. Words and defaults are those of the core/v1 API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from hortator.apimachinery.selectors import LabelSelector

__all__ = [
    "NodeTerm",
    "PodTerm",
    "Requirement",
    "SpreadRule",
    "Taint",
    "Toleration",
    "node_terms",
    "pod_terms",
    "spread_rules",
    "terms_match",
    "tolerates",
]


class Requirement(NamedTuple):
    """One expression over a node's labels or fields."""

    key: str
    operator: str
    values: tuple[str, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels satisfy it; an unknown operator matches nothing."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value)
        return False

    def _compares(self, value: str | None) -> bool:
        try:
            left, right = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return left > right if self.operator == "Gt" else left < right


class NodeTerm(NamedTuple):
    """All expressions of one nodeSelectorTerm; one without any matches no node."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str], name: str) -> bool:
        """Tell whether a node with these labels and this name is meant."""
        if not self.labels and not self.fields:
            return False
        return all(one.matches(labels) for one in self.labels) and all(
            one.matches({"metadata.name": name}) for one in self.fields
        )


def _requirements(expressions: Sequence[Mapping[str, Any]] | None) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(one["key"], one["operator"], tuple(one.get("values") or ())) for one in expressions or ()
    )


def node_term(term: Mapping[str, Any]) -> NodeTerm:
    """Compile one nodeSelectorTerm."""
    return NodeTerm(_requirements(term.get("matchExpressions")), _requirements(term.get("matchFields")))


def node_terms(selector: Mapping[str, Any] | None) -> tuple[NodeTerm, ...] | None:
    """Compile a NodeSelector; None when there is none (matches every node)."""
    if selector is None:
        return None
    return tuple(node_term(term) for term in selector.get("nodeSelectorTerms") or ())


def terms_match(terms: tuple[NodeTerm, ...] | None, labels: Mapping[str, str], name: str) -> bool:
    """Tell whether any term matches; a selector with no terms matches nothing."""
    return terms is None or any(term.matches(labels, name) for term in terms)


class Taint(NamedTuple):
    """A node's taint."""

    key: str
    value: str
    effect: str


class Toleration(NamedTuple):
    """A pod's toleration; an empty key with Exists tolerates everything, an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def accepts(self, taint: Taint) -> bool:
        """Tell whether it tolerates the taint."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        if self.operator in ("Lt", "Gt"):
            return Requirement("v", "Lt" if self.operator == "Lt" else "Gt", (self.value,)).matches(
                {"v": taint.value}
            )
        return bool(self.key) and self.value == taint.value


def tolerates(tolerations: Sequence[Toleration], taint: Taint) -> bool:
    """Tell whether any toleration accepts the taint."""
    return any(one.accepts(taint) for one in tolerations)


def tolerations_of(spec: Mapping[str, Any]) -> tuple[Toleration, ...]:
    """Compile a pod's tolerations."""
    return tuple(
        Toleration(
            one.get("key") or "",
            one.get("operator") or "Equal",
            one.get("value") or "",
            one.get("effect") or "",
        )
        for one in spec.get("tolerations") or ()
    )


class PodTerm(NamedTuple):
    """A pod affinity term: which pods, in which namespaces, seen from which topology. ``weight`` 0 is
    required.
    """

    selector: LabelSelector | None
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    topology_key: str
    weight: int = 0

    def matches(
        self, namespace: str, labels: Mapping[str, str], namespace_labels: Mapping[str, Mapping[str, str]]
    ) -> bool:
        """Tell whether a pod is meant; ``namespace_labels`` are the labels of the namespaces by name."""
        if self.selector is None or not self.selector.matches(labels):
            return False
        if namespace in self.namespaces:
            return True
        return self.namespace_selector is not None and self.namespace_selector.matches(
            namespace_labels.get(namespace, {})
        )


def _selector(
    selector: Mapping[str, Any] | None, keys: Sequence[str], others: Sequence[str], labels: Mapping[str, str]
) -> LabelSelector | None:
    """Compile a label selector together with ``matchLabelKeys`` and ``mismatchLabelKeys`` (KEP-3243,
    KEP-3633).
    """
    if selector is None:
        return None
    extra = [{"key": key, "operator": "In", "values": [labels[key]]} for key in keys if key in labels]
    extra += [{"key": key, "operator": "NotIn", "values": [labels[key]]} for key in others if key in labels]
    if extra:
        selector = {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *extra]}
    return LabelSelector.from_object(dict(selector))


@lru_cache(maxsize=4096)
def _shared(term: PodTerm) -> PodTerm:
    """Return one and the same value for equal terms, so that pods of one template share what is matched."""
    return term


def _pod_term(term: Mapping[str, Any], namespace: str, labels: Mapping[str, str], weight: int) -> PodTerm:
    namespaces = frozenset(term.get("namespaces") or ())
    by_label = term.get("namespaceSelector")
    if not namespaces and by_label is None:
        namespaces = frozenset((namespace,))
    made = PodTerm(
        selector=_selector(
            term.get("labelSelector"),
            term.get("matchLabelKeys") or (),
            term.get("mismatchLabelKeys") or (),
            labels,
        ),
        namespaces=namespaces,
        namespace_selector=None if by_label is None else LabelSelector.from_object(by_label),
        topology_key=term.get("topologyKey") or "",
        weight=weight,
    )
    return _shared(made)


def pod_terms(
    affinity: Mapping[str, Any] | None, namespace: str, labels: Mapping[str, str]
) -> tuple[tuple[PodTerm, ...], tuple[PodTerm, ...]]:
    """Compile a podAffinity or podAntiAffinity into its required and its preferred terms."""
    if not affinity:
        return (), ()
    required = tuple(
        _pod_term(term, namespace, labels, 0)
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    )
    preferred = tuple(
        _pod_term(one["podAffinityTerm"], namespace, labels, one.get("weight") or 1)
        for one in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    )
    return required, preferred


class SpreadRule(NamedTuple):
    """A topologySpreadConstraint. ``hard``: DoNotSchedule."""

    selector: LabelSelector | None
    topology_key: str
    max_skew: int
    min_domains: int
    hard: bool
    honor_affinity: bool
    honor_taints: bool


def spread_rules(spec: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[SpreadRule, ...]:
    """Compile a pod's topologySpreadConstraints."""
    return tuple(
        SpreadRule(
            selector=_selector(rule.get("labelSelector"), rule.get("matchLabelKeys") or (), (), labels),
            topology_key=rule["topologyKey"],
            max_skew=rule.get("maxSkew") or 1,
            min_domains=rule.get("minDomains") or 1,
            hard=rule.get("whenUnsatisfiable") != "ScheduleAnyway",
            honor_affinity=(rule.get("nodeAffinityPolicy") or "Honor") == "Honor",
            honor_taints=rule.get("nodeTaintsPolicy") == "Honor",
        )
        for rule in spec.get("topologySpreadConstraints") or ()
    )

"""Who may do what: role-based access control, as upstream's (rbac.authorization.k8s.io/v1).

Members of ``system:masters`` may do everything. Compiled bindings are kept until a role or binding changes. Rules about
giving rights away (escalation) are :mod:`.admission.escalation`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.selectors import LabelSelector
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.authentication import MASTERS
from hortator.local.apiserver.context import User
from hortator.local.apiserver.storage import Event, Storage

__all__ = ["Attributes", "Authorizer", "Rule", "covers", "rules_of"]

GROUP = "rbac.authorization.k8s.io"
ROLES, BINDINGS = f"{GROUP}/roles", f"{GROUP}/rolebindings"
CLUSTER_ROLES, CLUSTER_BINDINGS = f"{GROUP}/clusterroles", f"{GROUP}/clusterrolebindings"
_DECISIONS = 4096


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is to be decided. ``path`` is set instead of a resource for paths that name none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def combined(self) -> str:
        """``pods`` or ``pods/log``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    def allows(self, wanted: Attributes) -> bool:
        """Whether the rule gives a right."""
        if wanted.verb not in self.verbs and "*" not in self.verbs:
            return False
        if wanted.path:
            return any(_path_matches(pattern, wanted.path) for pattern in self.paths)
        if wanted.group not in self.groups and "*" not in self.groups:
            return False
        if not self._has_resource(wanted.combined, wanted.subresource):
            return False
        return not self.names or wanted.name in self.names

    def _has_resource(self, combined: str, subresource: str) -> bool:
        resources = self.resources
        return (
            combined in resources or "*" in resources or bool(subresource and f"*/{subresource}" in resources)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as a review shows it."""
        pairs = (
            ("verbs", self.verbs),
            ("apiGroups", self.groups),
            ("resources", self.resources),
            ("resourceNames", self.names),
            ("nonResourceURLs", self.paths),
        )
        return {key: sorted(values) for key, values in pairs if values}


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


def rules_of(role: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules of a Role or ClusterRole object."""
    return tuple(
        Rule(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            frozenset(rule.get("nonResourceURLs") or ()),
        )
        for rule in role.get("rules") or ()
    )


def covers(owned: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """Return the parts of ``wanted`` that ``owned`` does not give (one verb, resource and name at a time)."""
    missing = []
    for rule in wanted:
        for single in _singles(rule):
            if not any(_rule_covers(own, single) for own in owned):
                missing.append(single)
    return missing


def _singles(rule: Rule) -> Iterator[Rule]:
    for verb in sorted(rule.verbs):
        for path in sorted(rule.paths):
            yield Rule(frozenset((verb,)), paths=frozenset((path,)))
        for group in sorted(rule.groups):
            for resource in sorted(rule.resources):
                for name in sorted(rule.names) or [""]:
                    yield Rule(
                        frozenset((verb,)),
                        frozenset((group,)),
                        frozenset((resource,)),
                        frozenset((name,)) if name else frozenset(),
                    )


def _rule_covers(own: Rule, single: Rule) -> bool:
    if not ("*" in own.verbs or single.verbs <= own.verbs):
        return False
    if single.paths:
        (path,) = single.paths
        return any(
            pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))
            for pattern in own.paths
        )
    if not ("*" in own.groups or single.groups <= own.groups):
        return False
    (resource,) = single.resources
    _, slash, subresource = resource.partition("/")
    if not (
        resource in own.resources or "*" in own.resources or (slash and f"*/{subresource}" in own.resources)
    ):
        return False
    return not own.names or (bool(single.names) and single.names <= own.names)


@dataclass(frozen=True, slots=True)
class _Binding:
    namespace: str
    subjects: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]
    description: str


class Authorizer:
    """Decides from what is stored. A reader of the collections of roles and bindings."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._bindings: list[_Binding] | None = None
        self._decisions: dict[tuple[User, Attributes], bool] = {}
        for resource in (ROLES, BINDINGS, CLUSTER_ROLES, CLUSTER_BINDINGS):
            storage.collection(resource).readers.add(self)

    def offer(self, event: Event) -> None:
        """Forget what was worked out: a role or binding changed."""
        self._bindings = None
        self._decisions.clear()

    def allows(self, user: User, wanted: Attributes) -> bool:
        """Whether a user may do something."""
        if MASTERS in user.groups:
            return True
        key = (user, wanted)
        known = self._decisions.get(key)
        if known is None:
            if len(self._decisions) >= _DECISIONS:
                self._decisions.clear()
            known = any(rule.allows(wanted) for rule in self.rules(user, wanted.namespace))
            self._decisions[key] = known
        return known

    def require(self, user: User, wanted: Attributes) -> None:
        """Raise 403, in upstream's words, unless the user may do something."""
        if self.allows(user, wanted):
            return
        if wanted.path:
            detail = f"User {go_quote(user.name)} cannot {wanted.verb} path {go_quote(wanted.path)}"
            raise StatusError.forbidden("", "", "", detail)
        scope = (
            f"in the namespace {go_quote(wanted.namespace)}" if wanted.namespace else "at the cluster scope"
        )
        raise StatusError.forbidden(
            wanted.resource,
            wanted.group,
            wanted.name,
            f"User {go_quote(user.name)} cannot {wanted.verb} resource {go_quote(wanted.combined)} "
            f"in API group {go_quote(wanted.group)} {scope}",
        )

    def reason(self, user: User, wanted: Attributes) -> str:
        """Return which binding gives a right, in upstream's words."""
        for binding in self._compiled():
            here = not binding.namespace or binding.namespace == wanted.namespace
            if here and _is_subject(user, binding) and any(rule.allows(wanted) for rule in binding.rules):
                return f"RBAC: allowed by {binding.description}"
        return ""

    def rules(self, user: User, namespace: str) -> Iterable[Rule]:
        """Yield every rule that a user has in a namespace ("" for the whole cluster)."""
        for binding in self._compiled():
            if (not binding.namespace or binding.namespace == namespace) and _is_subject(user, binding):
                yield from binding.rules

    def role_rules(self, namespace: str, reference: Mapping[str, Any]) -> tuple[Rule, ...] | None:
        """Return the rules of a role that a binding refers to, or None when there is no such role."""
        name = reference.get("name") or ""
        if reference.get("kind") == "ClusterRole":
            return self._cluster_role(name)
        item = self._storage.get(ROLES, namespace, name)
        return None if item is None else rules_of(item.decode())

    def _cluster_role(self, name: str) -> tuple[Rule, ...] | None:
        item = self._storage.get(CLUSTER_ROLES, "", name)
        if item is None:
            return None
        role = item.decode()
        aggregation = role.get("aggregationRule")
        return rules_of(role) if not aggregation else self._aggregated(name, aggregation, {name})

    def _aggregated(self, name: str, aggregation: Mapping[str, Any], seen: set[str]) -> tuple[Rule, ...]:
        """Return the rules of all roles whose labels are selected, through those that select in turn."""
        selectors = [
            LabelSelector.from_object(each) for each in aggregation.get("clusterRoleSelectors") or ()
        ]
        found: dict[Rule, None] = {}
        for item in self._storage.collection(CLUSTER_ROLES).ordered():
            if item.name in seen or not any(selector.matches(item.labels) for selector in selectors):
                continue
            role = item.decode()
            inner = role.get("aggregationRule")
            rules = self._aggregated(item.name, inner, {*seen, item.name}) if inner else rules_of(role)
            found.update(dict.fromkeys(rules))
        return tuple(found)

    def aggregate(self, name: str, aggregation: Mapping[str, Any]) -> tuple[Rule, ...]:
        """Return the rules that an aggregating ClusterRole has now."""
        return self._aggregated(name, aggregation, {name})

    def _compiled(self) -> list[_Binding]:
        if self._bindings is None:
            self._bindings = [
                *self._read(CLUSTER_BINDINGS, "ClusterRoleBinding"),
                *self._read(BINDINGS, "RoleBinding"),
            ]
        return self._bindings

    def _read(self, resource: str, kind: str) -> Iterator[_Binding]:
        for item in self._storage.collection(resource).ordered():
            binding = item.decode()
            reference = binding.get("roleRef") or {}
            rules = self.role_rules(item.namespace, reference)
            if rules is None:
                continue
            shown = f"{item.name}/{item.namespace}" if item.namespace else item.name
            subjects = ", ".join(
                f'{subject.get("kind")} "{subject.get("name")}'
                + (f'/{subject["namespace"]}"' if subject.get("namespace") else '"')
                for subject in binding.get("subjects") or ()
            )
            yield _Binding(
                item.namespace,
                tuple(_subjects(binding, item.namespace)),
                rules,
                f'{kind} "{shown}" of {reference.get("kind")} "{reference.get("name")}" to {subjects}',
            )


def _subjects(binding: Mapping[str, Any], namespace: str) -> Iterator[tuple[str, str]]:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name") or ""
        if kind == "ServiceAccount":
            yield "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
        elif kind in ("User", "Group"):
            yield kind, name


def _is_subject(user: User, binding: _Binding) -> bool:
    return any(
        name == user.name if kind == "User" else name in user.groups for kind, name in binding.subjects
    )

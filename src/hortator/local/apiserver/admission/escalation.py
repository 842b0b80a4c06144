"""Nobody gives away rights that they do not have themselves, as upstream's RBAC registries check.

A role may hold only rules that its author has (or the author may ``escalate`` the role); a binding may refer only to roles
whose rules its author has (or the author may ``bind`` the role).
"""

from __future__ import annotations

from dataclasses import replace

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.admission.plugin import CREATE, UPDATE, Attempt, Plugin
from hortator.local.apiserver.authentication import MASTERS
from hortator.local.apiserver.authorization import GROUP, Attributes, Authorizer, Rule, covers, rules_of

__all__ = ["Escalation"]


class Escalation(Plugin):
    """Judges writes of roles and bindings."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attempt: Attempt) -> None:
        """Refuse (403) rights beyond the author's."""
        if attempt.served.group != GROUP or attempt.operation not in (CREATE, UPDATE) or attempt.obj is None:
            return
        if MASTERS in attempt.user.groups:
            return
        obj, old, plural = attempt.obj, attempt.old, attempt.served.plural
        name = obj["metadata"].get("name") or ""
        if plural in ("roles", "clusterroles"):
            if old is not None and all(old.get(key) == obj.get(key) for key in ("rules", "aggregationRule")):
                return
            if self._may("escalate", plural, attempt.namespace, name, attempt):
                return
            wanted = list(rules_of(obj))
            if obj.get("aggregationRule"):
                wanted.append(Rule(frozenset("*"), frozenset("*"), frozenset("*")))
            self._check(attempt, wanted)
            return
        reference = obj.get("roleRef") or {}
        if old is not None and all(old.get(key) == obj.get(key) for key in ("subjects", "roleRef")):
            return
        target = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        if self._may("bind", target, attempt.namespace, reference.get("name") or "", attempt):
            return
        rules = self._authorizer.role_rules(attempt.namespace, reference)
        if rules is None:
            raise StatusError.not_found(target, GROUP, reference.get("name") or "")
        self._check(attempt, list(rules))

    def _may(self, verb: str, plural: str, namespace: str, name: str, attempt: Attempt) -> bool:
        scope = "" if attempt.served.plural.startswith("cluster") else namespace
        return self._authorizer.allows(attempt.user, Attributes(verb, GROUP, plural, "", scope, name))

    def _check(self, attempt: Attempt, wanted: list[Rule]) -> None:
        owned = list(self._authorizer.rules(attempt.user, attempt.namespace))
        missing = covers(owned, wanted)
        if missing:
            shown = "\n".join(sorted(_shown(rule) for rule in _together(missing)))
            user = attempt.user
            groups = " ".join(go_quote(group) for group in user.groups)
            raise StatusError.forbidden(
                attempt.served.plural,
                GROUP,
                (attempt.obj or {"metadata": {}})["metadata"].get("name") or "",
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
                f"currently held:\n{shown}",
            )


def _together(rules: list[Rule]) -> list[Rule]:
    """Return the rules with one rule for all the verbs of a resource or a path."""
    verbs: dict[Rule, frozenset[str]] = {}
    for rule in rules:
        key = replace(rule, verbs=frozenset())
        verbs[key] = verbs.get(key, frozenset()) | rule.verbs
    return [replace(key, verbs=found) for key, found in verbs.items()]


def _shown(rule: Rule) -> str:
    parts = []
    for label, values in (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.paths),
        ("ResourceNames", rule.names),
        ("Verbs", rule.verbs),
    ):
        if values:
            parts.append(f"{label}:[{' '.join(go_quote(value) for value in sorted(values))}]")
    return "{" + ", ".join(parts) + "}"

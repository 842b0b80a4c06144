"""Roles and their bindings, of a namespace and of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, invalid, not_supported, required
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.names import dns1123_subdomain, path_segment
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import check_name, check_selector

__all__ = ["BindingStrategy", "RoleStrategy"]

GROUP = "rbac.authorization.k8s.io"
SUBJECTS = ("ServiceAccount", "User", "Group")


class RoleStrategy(Strategy):
    """Behaviour of Roles and ClusterRoles."""

    columns = (NAME, Column("Created At", "date"))
    name_rule = staticmethod(path_segment)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with the rules."""
        errors: list[FieldError] = []
        for index, rule in enumerate(obj.get("rules") or ()):
            errors += self._rule(rule, Path("rules").index(index))
        aggregation = obj.get("aggregationRule")
        if aggregation is not None:
            path = Path("aggregationRule").child("clusterRoleSelectors")
            selectors = aggregation.get("clusterRoleSelectors") or ()
            if not selectors:
                words = "at least one clusterRoleSelector required if aggregationRule is non-nil"
                errors.append(required(path, words))
            for index, selector in enumerate(selectors):
                errors += check_selector(path.index(index), selector)
        return errors

    def _rule(self, rule: Object, path: Path) -> list[FieldError]:
        errors: list[FieldError] = []
        if not rule.get("verbs"):
            errors.append(required(path.child("verbs"), "verbs must contain at least one value"))
        paths = rule.get("nonResourceURLs")
        if paths:
            here = path.child("nonResourceURLs")
            if self.kind.namespaced:
                words = "namespaced rules cannot apply to non-resource URLs"
                errors.append(invalid(here, paths, words))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                words = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(invalid(here, paths, words))
            return errors
        if not rule.get("apiGroups"):
            words = "resource rules must supply at least one api group"
            errors.append(required(path.child("apiGroups"), words))
        if not rule.get("resources"):
            words = "resource rules must supply at least one resource"
            errors.append(required(path.child("resources"), words))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a role."""
        return [name_of(obj), (obj.get("metadata") or {}).get("creationTimestamp") or ""]


class BindingStrategy(Strategy):
    """Behaviour of RoleBindings and ClusterRoleBindings."""

    columns = (NAME, Column("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts"))
    name_rule = staticmethod(path_segment)

    def default(self, obj: Object) -> Object:
        """Return the binding with the API groups of its role and of its users and groups."""
        role = obj.get("roleRef") or {}
        result = {**obj, "roleRef": {**role, "apiGroup": role.get("apiGroup") or GROUP}}
        if obj.get("subjects"):
            result["subjects"] = [
                {**each, "apiGroup": each.get("apiGroup") or GROUP}
                if each.get("kind") in ("User", "Group")
                else each
                for each in obj["subjects"]
            ]
        return result

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a binding."""
        role, path = obj.get("roleRef") or {}, Path("roleRef")
        errors: list[FieldError] = []
        if role.get("apiGroup") != GROUP:
            errors.append(not_supported(path.child("apiGroup"), role.get("apiGroup") or "", (GROUP,)))
        kinds = ("Role", "ClusterRole") if self.kind.namespaced else ("ClusterRole",)
        if role.get("kind") not in kinds:
            errors.append(not_supported(path.child("kind"), role.get("kind") or "", kinds))
        errors += check_name(path.child("name"), role.get("name") or "", path_segment)
        for index, subject in enumerate(obj.get("subjects") or ()):
            errors += self._subject(subject, Path("subjects").index(index))
        return errors

    def _subject(self, subject: Object, path: Path) -> list[FieldError]:
        kind, group, name = (
            subject.get("kind") or "",
            subject.get("apiGroup") or "",
            subject.get("name") or "",
        )
        errors: list[FieldError] = [] if name else [required(path.child("name"))]
        if kind == "ServiceAccount":
            errors += check_name(path.child("name"), name, dns1123_subdomain, optional=True)
            if group:
                errors.append(not_supported(path.child("apiGroup"), group, ("",)))
            if not self.kind.namespaced and not subject.get("namespace"):
                errors.append(required(path.child("namespace")))
        elif kind in SUBJECTS:
            if group != GROUP:
                errors.append(not_supported(path.child("apiGroup"), group, (GROUP,)))
        else:
            errors.append(not_supported(path.child("kind"), kind, SUBJECTS))
        return errors

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: the role is fixed."""
        errors = self.validate_body(new)
        if new.get("roleRef") != old.get("roleRef"):
            role = new.get("roleRef") or {}
            shown = {"APIGroup": role.get("apiGroup"), "Kind": role.get("kind"), "Name": role.get("name")}
            errors.append(invalid(Path("roleRef"), shown, "cannot change roleRef"))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a binding."""
        role = obj.get("roleRef") or {}
        subjects = obj.get("subjects") or ()
        cells = [name_of(obj), f"{role.get('kind') or ''}/{role.get('name') or ''}", age(obj, now)]
        return [
            *cells,
            _named(subjects, "User"),
            _named(subjects, "Group"),
            _named(subjects, "ServiceAccount"),
        ]


def _named(subjects: Sequence[Object], kind: str) -> str:
    names = []
    for subject in subjects:
        if subject.get("kind") == kind:
            namespace = subject.get("namespace") if kind == "ServiceAccount" else ""
            names.append(f"{namespace}/{subject.get('name')}" if namespace else str(subject.get("name")))
    return ", ".join(names)

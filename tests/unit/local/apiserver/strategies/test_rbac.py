from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused

API = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"roles.{API}", f"clusterroles.{API}"
BINDINGS, CLUSTER_BINDINGS = f"rolebindings.{API}", f"clusterrolebindings.{API}"
RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}


@pytest.mark.parametrize(
    ("resource", "rule", "start"),
    [
        (
            ROLES,
            {**RULE, "verbs": []},
            "rules[0].verbs: Required value: verbs must contain at least one value",
        ),
        (
            ROLES,
            {**RULE, "apiGroups": []},
            "rules[0].apiGroups: Required value: resource rules must supply at least one",
        ),
        (
            ROLES,
            {**RULE, "resources": []},
            "rules[0].resources: Required value: resource rules must supply at least one",
        ),
        (
            ROLES,
            {"verbs": ["get"], "nonResourceURLs": ["/"]},
            'rules[0].nonResourceURLs: Invalid value: ["/"]: namespaced',
        ),
        (
            CLUSTER_ROLES,
            {**RULE, "nonResourceURLs": ["/"]},
            'rules[0].nonResourceURLs: Invalid value: ["/"]: rules cannot',
        ),
    ],
)
def test_bad_rules(resource: str, rule: dict[str, Any], start: str) -> None:
    (error,) = refused(resource, named("r", rules=[rule]))
    assert error.startswith(start)


def test_names_of_roles_need_only_fit_a_path() -> None:
    assert refused(CLUSTER_ROLES, named("system:Node/x", rules=[RULE])) == [
        "metadata.name: Invalid value: \"system:Node/x\": may not contain '/'"
    ]
    assert refused(CLUSTER_ROLES, named("system:Node", rules=[RULE])) == []


def binding(**parts: Any) -> dict[str, Any]:
    return named(
        "b",
        roleRef={"kind": "ClusterRole", "name": "view"},
        subjects=[{"kind": "User", "name": "u"}],
        **parts,
    )


def test_the_api_groups_of_roles_and_people_are_filled_in() -> None:
    made = created(BINDINGS, binding())
    assert made["roleRef"]["apiGroup"] == API
    assert made["subjects"] == [{"apiGroup": API, "kind": "User", "name": "u"}]


@pytest.mark.parametrize(
    ("resource", "change", "start"),
    [
        (
            BINDINGS,
            {"roleRef": {"kind": "Rule", "name": "r"}},
            'roleRef.kind: Unsupported value: "Rule": supported values: "Ro',
        ),
        (
            CLUSTER_BINDINGS,
            {"roleRef": {"kind": "Role", "name": "r"}},
            'roleRef.kind: Unsupported value: "Role"',
        ),
        (BINDINGS, {"roleRef": {"kind": "Role"}}, "roleRef.name: Required value"),
        (
            BINDINGS,
            {"subjects": [{"kind": "Robot", "name": "r"}]},
            'subjects[0].kind: Unsupported value: "Robot"',
        ),
        (
            CLUSTER_BINDINGS,
            {"subjects": [{"kind": "ServiceAccount", "name": "s"}]},
            "subjects[0].namespace: Required value",
        ),
        (BINDINGS, {"subjects": [{"kind": "Group"}]}, "subjects[0].name: Required value"),
    ],
)
def test_bad_bindings(resource: str, change: dict[str, Any], start: str) -> None:
    (error,) = refused(resource, {**binding(), **change})
    assert error.startswith(start)


def test_the_role_of_a_binding_is_fixed() -> None:
    old = created(BINDINGS, binding())
    new = {**old, "roleRef": {**old["roleRef"], "name": "edit"}}
    (error,) = changed(BINDINGS, old, new)
    assert error.endswith("cannot change roleRef")


def test_columns() -> None:
    subjects = [
        {"kind": "User", "name": "u"},
        {"kind": "Group", "name": "g"},
        {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
        {"kind": "User", "name": "v"},
    ]
    row = cells(BINDINGS, {**binding(), "subjects": subjects})
    assert (row["Role"], row["Users"], row["Groups"], row["ServiceAccounts"]) == (
        "ClusterRole/view",
        "u, v",
        "g",
        "n/s",
    )

"""Who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import APPLY, MAPS, PODS, Api, pod

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
ACCESS = "/apis/authorization.k8s.io/v1"
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}


def bind(role: str, kind: str, account: str) -> dict[str, Any]:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "default"}
    return {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]}


async def test_nothing_is_allowed_at_first(api: Api) -> None:
    token = await api.account("robot")
    answer = await api("GET", PODS, token=token)
    assert answer.message == (
        'pods is forbidden: User "system:serviceaccount:default:robot" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )
    assert "at the cluster scope" in (await api("GET", "/api/v1/nodes", token=token)).message
    assert 'cannot get path "/metrics"' in (await api("GET", "/metrics", token=token)).message
    assert (await api("GET", "/apis", token=token)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PODS, True),
        ("GET", f"{PODS}/p", True),
        ("GET", f"{PODS}/p/log", False),
        ("DELETE", f"{PODS}/p", False),
        ("DELETE", PODS, False),
        ("GET", "/api/v1/pods", False),
        ("GET", MAPS, False),
    ],
)
async def test_a_role_gives_what_it_says(api: Api, method: str, path: str, allowed: bool) -> None:
    await api.post(PODS, pod())
    token = await api.account("robot")
    await api.grant("robot", [READ_PODS])
    assert ((await api(method, path, token=token)).status != 403) is allowed


async def test_rights_end_with_the_binding(api: Api) -> None:
    token = await api.account("robot")
    await api.grant("robot", [READ_PODS])
    assert (await api("GET", PODS, token=token)).status == 200
    await api("DELETE", f"{BINDINGS}/robot")
    assert (await api("GET", PODS, token=token)).status == 403


async def test_names_confine_a_rule(api: Api) -> None:
    token = await api.account("robot")
    await api.grant("robot", [{**READ_PODS, "resourceNames": ["p"]}])
    assert (await api("GET", f"{PODS}/p", token=token)).status == 404
    assert (await api("GET", f"{PODS}/q", token=token)).status == 403
    assert (await api("GET", PODS, token=token)).status == 403
    assert (await api("GET", PODS, token=token, fieldSelector="metadata.name=p")).status == 200


@pytest.mark.parametrize(
    ("role", "path", "verb", "allowed"),
    [
        ("view", "/api/v1/namespaces/default/configmaps", "GET", True),
        ("view", "/api/v1/namespaces/default/secrets", "GET", False),
        ("view", "/api/v1/namespaces/default/configmaps", "POST", False),
        ("edit", "/api/v1/namespaces/default/secrets", "GET", True),
        ("edit", "/api/v1/namespaces/default/configmaps", "POST", True),
        ("edit", ROLES, "GET", False),
        ("admin", ROLES, "GET", True),
        ("admin", "/api/v1/nodes", "GET", False),
    ],
)
async def test_default_roles_aggregate(api: Api, role: str, path: str, verb: str, allowed: bool) -> None:
    token = await api.account("robot")
    await api.post(BINDINGS, bind(role, "ClusterRole", "robot"))
    body = {"metadata": {"name": "m"}} if verb == "POST" else None
    assert ((await api(verb, path, body, token=token)).status != 403) is allowed


async def test_a_labelled_role_joins_an_aggregating_one(api: Api) -> None:
    token = await api.account("robot")
    await api.post(BINDINGS, bind("view", "ClusterRole", "robot"))
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    assert (await api("GET", path, token=token)).status == 403
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
    await api.post(f"{RBAC}/clusterroles", {"metadata": {"name": "more", "labels": labels}, "rules": rules})
    assert (await api("GET", "/api/v1/namespaces/default/secrets", token=token)).status == 200


async def test_nobody_gives_away_what_he_does_not_have(api: Api) -> None:
    token = await api.account("robot")
    await api.grant(
        "robot", [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]}, READ_PODS]
    )
    # "*" on verbs includes escalate and bind, so take these away.
    verbs = ["create", "update", "get"]
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": verbs}, READ_PODS]
    await api("PATCH", f"{ROLES}/robot", {"rules": rules}, kind="application/merge-patch+json")
    own = {"metadata": {"name": "own"}, "rules": [{**READ_PODS, "verbs": ["get"]}]}
    assert (await api("POST", ROLES, own, token=token)).status == 201
    more = {"metadata": {"name": "more"}, "rules": [{**READ_PODS, "verbs": ["get", "delete"]}]}
    answer = await api("POST", ROLES, more, token=token)
    assert answer.status == 403
    assert "attempting to grant RBAC permissions not currently held" in answer.message
    assert 'Verbs:["delete"]' in answer.message
    assert (await api("POST", BINDINGS, bind("edit", "ClusterRole", "robot"), token=token)).status == 403
    assert (await api("POST", BINDINGS, bind("own", "Role", "robot"), token=token)).status == 201


async def test_bind_and_escalate_are_rights_of_their_own(api: Api) -> None:
    token = await api.account("robot")
    rules = [
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "rolebindings", "clusterroles"],
            "verbs": ["create", "bind", "escalate"],
        }
    ]
    await api.grant("robot", rules)
    role = {"metadata": {"name": "more"}, "rules": [{**READ_PODS, "verbs": ["delete"]}]}
    assert (await api("POST", ROLES, role, token=token)).status == 201
    assert (await api("POST", BINDINGS, bind("more", "Role", "robot"), token=token)).status == 201


async def test_apply_that_creates_needs_create(api: Api) -> None:
    token = await api.account("robot")
    await api.grant("robot", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}])
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
    answer = await api("PATCH", f"{MAPS}/m", body, token=token, kind=APPLY, fieldManager="x")
    assert answer.status == 403 and "cannot create" in answer.message


async def test_access_reviews(api: Api) -> None:
    token = await api.account("robot")
    await api.grant("robot", [READ_PODS])
    attributes = {"namespace": "default", "verb": "list", "resource": "pods"}
    mine = await api.post(
        f"{ACCESS}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": attributes}}, token=token
    )
    assert mine.body["status"]["allowed"] is True
    assert mine.body["status"]["reason"].startswith('RBAC: allowed by RoleBinding "robot/default"')
    spec = {
        "user": "system:serviceaccount:default:robot",
        "resourceAttributes": {**attributes, "verb": "delete"},
    }
    other = await api.post(f"{ACCESS}/subjectaccessreviews", {"spec": spec})
    assert other.body["status"]["allowed"] is False
    assert (await api("POST", f"{ACCESS}/subjectaccessreviews", {"spec": spec}, token=token)).status == 403
    assert (await api("POST", f"{ACCESS}/selfsubjectaccessreviews", {"spec": {}})).status == 422


async def test_rules_reviews(api: Api) -> None:
    token = await api.account("robot")
    await api.grant("robot", [READ_PODS])
    body = {"spec": {"namespace": "default"}}
    review = await api.post(f"{ACCESS}/selfsubjectrulesreviews", body, token=token)
    assert {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]} in review.body[
        "status"
    ]["resourceRules"]

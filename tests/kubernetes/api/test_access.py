"""Access: roles and who has them, reviews, accounts and their tokens."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.server import MERGE, Server
from support.staying import until

Object = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"
READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
Grant = Callable[..., None]


@pytest.fixture
def user() -> str:
    return f"u-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def grant(server: Server, namespace: str, user: str) -> Grant:
    """Gives the user rules in the namespace."""

    def give(*rules: Object, subject: Object | None = None) -> None:
        at = f"{RBAC}/namespaces/{namespace}"
        name = f"r-{uuid.uuid4().hex[:8]}"
        server.post(f"{at}/roles", {"metadata": {"name": name}, "rules": list(rules)}).ok  # noqa: B018
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [subject or {"kind": "User", "name": user, "apiGroup": GROUP}],
        }
        server.post(f"{at}/rolebindings", binding).ok  # noqa: B018

    return give


@pytest.fixture
def cluster_role(server: Server) -> Iterator[Callable[..., str]]:
    """Makes cluster roles, which go when the test ends."""
    made: list[str] = []

    def make(**body: Any) -> str:
        made.append(f"c-{uuid.uuid4().hex[:8]}")
        metadata = {"name": made[-1], **body.pop("metadata", {})}
        server.post(f"{RBAC}/clusterroles", {"metadata": metadata, **body}).ok  # noqa: B018
        return made[-1]

    yield make
    for name in made:
        server.delete(f"{RBAC}/clusterroles/{name}")


def allowed(server: Server, user: str, **attributes: str) -> bool:
    body = {"spec": {"user": user, "resourceAttributes": attributes}}
    return bool(
        server.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", body).ok["status"]["allowed"]
    )


def test_a_role_gives_what_it_names_and_no_more(
    server: Server, namespace: str, user: str, grant: Grant
) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    answer = server.get(maps, user=user)
    assert answer.refusal[:2] == (403, "Forbidden")
    assert answer.body["message"] == (
        f'configmaps is forbidden: User "{user}" cannot list resource "configmaps" in API group "" in the namespace '
        f'"{namespace}"'
    )
    grant(READ)
    until(lambda: server.get(maps, user=user).status == 200, "the right")
    assert server.post(maps, {"metadata": {"name": "a"}}, user=user).status == 403
    assert server.get("/api/v1/namespaces/default/configmaps", user=user).status == 403
    assert server.get(f"/api/v1/namespaces/{namespace}/secrets", user=user).status == 403
    assert server.get(maps, user=user, query={"watch": "1"}).status == 403


@pytest.mark.parametrize(
    ("rule", "asked", "answer"),
    [
        (READ, {"verb": "get", "resource": "configmaps", "name": "any"}, True),
        (READ, {"verb": "get", "resource": "configmaps", "group": "apps"}, False),
        (READ | {"resourceNames": ["one"]}, {"verb": "get", "resource": "configmaps", "name": "one"}, True),
        (READ | {"resourceNames": ["one"]}, {"verb": "get", "resource": "configmaps", "name": "two"}, False),
        (READ | {"resourceNames": ["one"]}, {"verb": "list", "resource": "configmaps"}, False),
        (READ | {"resources": ["pods/log"]}, {"verb": "get", "resource": "pods", "subresource": "log"}, True),
        (READ | {"resources": ["pods"]}, {"verb": "get", "resource": "pods", "subresource": "log"}, False),
        (READ | {"resources": ["*/log"]}, {"verb": "get", "resource": "pods", "subresource": "log"}, True),
        (READ | {"resources": ["*"], "verbs": ["*"]}, {"verb": "fly", "resource": "birds"}, True),
        (
            READ | {"apiGroups": ["*"]},
            {"verb": "get", "resource": "configmaps", "group": "x.example.com"},
            True,
        ),
    ],
    ids=str,
)
def test_rules(
    server: Server, namespace: str, user: str, grant: Grant, rule: Object, asked: dict[str, str], answer: bool
) -> None:
    grant(rule, READ | {"resources": ["seen"]})
    until(lambda: allowed(server, user, verb="get", resource="seen", namespace=namespace), "the right")
    assert allowed(server, user, namespace=namespace, **asked) is answer


def test_nobody_gives_what_they_do_not_have(server: Server, namespace: str, user: str, grant: Grant) -> None:
    grant(READ, {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["create"]})
    roles = f"{RBAC}/namespaces/{namespace}/roles"
    less = {"metadata": {"name": "less"}, "rules": [READ]}
    until(lambda: server.post(roles, less, user=user).status == 201, "the right")
    more = {"metadata": {"name": "more"}, "rules": [READ | {"verbs": ["delete"]}]}
    answer = server.post(roles, more, user=user)
    assert answer.refusal[:2] == (403, "Forbidden")
    assert "is attempting to grant RBAC permissions not currently held" in answer.body["message"]
    binding = {
        "metadata": {"name": "all"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": user, "apiGroup": GROUP}],
    }
    bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"
    assert server.post(bindings, binding, user=user).refusal[:2] == (403, "Forbidden")
    grant(
        {
            "apiGroups": [GROUP],
            "resources": ["clusterroles"],
            "resourceNames": ["cluster-admin"],
            "verbs": ["bind"],
        }
    )
    until(lambda: server.post(bindings, binding, user=user).status == 201, "the right to bind")


def test_roles_are_put_together_by_their_labels(server: Server, cluster_role: Callable[..., str]) -> None:
    label = f"l-{uuid.uuid4().hex[:8]}"
    selector = {"clusterRoleSelectors": [{"matchLabels": {label: "yes"}}]}
    whole = cluster_role(aggregationRule=selector)
    cluster_role(metadata={"labels": {label: "yes"}}, rules=[READ])

    def rules() -> list[Object]:
        return server.get(f"{RBAC}/clusterroles/{whole}").ok.get("rules") or []

    until(lambda: rules() == [READ], "the rules of the part")


@pytest.mark.parametrize(
    ("body", "causes"),
    [
        (
            {"rules": [{"verbs": []}]},
            [
                ("rules[0].apiGroups", "FieldValueRequired"),
                ("rules[0].resources", "FieldValueRequired"),
                ("rules[0].verbs", "FieldValueRequired"),
            ],
        ),
        (
            {"rules": [READ | {"nonResourceURLs": ["/x"]}]},
            [("rules[0].nonResourceURLs", "FieldValueInvalid")],
        ),
    ],
    ids=["nothing", "paths in a namespace"],
)
def test_bad_roles(server: Server, namespace: str, body: Object, causes: list[tuple[str, str]]) -> None:
    answer = server.post(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "r"}, **body})
    assert answer.refusal[:2] == (422, "Invalid")
    assert set(answer.refusal[2]) & set(causes), answer


def test_a_binding_keeps_its_role(server: Server, namespace: str, user: str, grant: Grant) -> None:
    grant(READ)
    bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"
    name = server.get(bindings).ok["items"][0]["metadata"]["name"]
    answer = server.patch(f"{bindings}/{name}", {"roleRef": {"name": "other"}}, MERGE)
    assert answer.refusal == (422, "Invalid", [("roleRef", "FieldValueInvalid")])


def test_who_am_i(server: Server, user: str) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    found = server.post(path, {}, user=user, groups=("some",)).ok["status"]["userInfo"]
    assert (found["username"], sorted(found["groups"])) == (user, ["some", "system:authenticated"])


def test_what_may_i(server: Server, namespace: str, user: str, grant: Grant) -> None:
    grant(READ | {"resources": ["only"]})
    until(lambda: allowed(server, user, verb="get", resource="only", namespace=namespace), "the right")
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = server.post(path, {"spec": {"namespace": namespace}}, user=user).ok["status"]
    assert READ | {"resources": ["only"]} in status["resourceRules"]
    assert any("/healthz" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])
    assert status["incomplete"] is False


def test_acting_as_somebody_is_a_right(server: Server, user: str, namespace: str, grant: Grant) -> None:
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    token = server.post(f"{account}/default/token", {}).ok["status"]["token"]
    answer = server.get("/version", token=token, user=user)
    assert answer.refusal[:2] == (403, "Forbidden")
    assert "cannot impersonate" in answer.body["message"]


@pytest.mark.differs(
    "a request without credentials is refused with 401, not 403",
    why="nobody is anonymous on a person's own machine, and no path is open, not even those of health",
)
def test_without_credentials_somebody_is_anonymous(server: Server) -> None:
    assert server.get("/healthz", token="").status == 200
    assert server.get("/api/v1/namespaces", token="").refusal[:2] == (403, "Forbidden")


def test_credentials_that_nobody_gave_are_refused(server: Server) -> None:
    assert server.get("/api/v1/namespaces", token="nonsense").refusal[:2] == (401, "Unauthorized")


def test_an_account_has_tokens_of_its_own(server: Server, namespace: str, grant: Grant) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    server.post(accounts, {"metadata": {"name": "robot"}}).ok  # noqa: B018
    made = server.post(f"{accounts}/robot/token", {"spec": {"expirationSeconds": 3600}})
    assert (made.status, made.body["kind"]) == (201, "TokenRequest")
    token = made.body["status"]["token"]
    me = server.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=token).ok
    info = me["status"]["userInfo"]
    assert info["username"] == f"system:serviceaccount:{namespace}:robot"
    assert sorted(info["groups"]) == [
        "system:authenticated",
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
    ]
    grant(READ, subject={"kind": "ServiceAccount", "name": "robot", "namespace": namespace})
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    until(lambda: server.get(maps, token=token).status == 200, "the right")
    server.delete(f"{accounts}/robot").ok  # noqa: B018
    until(lambda: server.get(maps, token=token).status == 401, "that the token ends with its account")


def test_a_token_for_another_audience_is_none_here(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    token = server.post(path, {"spec": {"audiences": ["elsewhere"]}}).ok["status"]["token"]
    assert server.get("/version", token=token).refusal[:2] == (401, "Unauthorized")
    review = "/apis/authentication.k8s.io/v1/tokenreviews"
    theirs = server.post(review, {"spec": {"token": token, "audiences": ["elsewhere"]}}).ok["status"]
    assert (theirs["authenticated"], theirs["audiences"]) == (True, ["elsewhere"])
    ours = server.post(review, {"spec": {"token": token}}).ok["status"]
    assert "authenticated" not in ours and ours["error"]


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"expirationSeconds": 5}, (422, "Invalid", [("spec.expirationSeconds", "FieldValueInvalid")])),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "none"}}, (404, "NotFound", [])),
    ],
    ids=str,
)
def test_bad_token_requests(server: Server, namespace: str, spec: Object, refusal: Any) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    assert server.post(path, {"spec": spec}).refusal == refusal


def test_a_token_of_a_secret_ends_with_it(server: Server, namespace: str) -> None:
    at = f"/api/v1/namespaces/{namespace}"
    secret = server.post(f"{at}/secrets", {"metadata": {"name": "s"}}).ok
    reference = {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": secret["metadata"]["uid"]}
    token = server.post(f"{at}/serviceaccounts/default/token", {"spec": {"boundObjectRef": reference}}).ok
    bearer = token["status"]["token"]
    assert server.get("/version", token=bearer).status == 200
    server.delete(f"{at}/secrets/s").ok  # noqa: B018
    until(lambda: server.get("/version", token=bearer).status == 401, "that the token ends with the secret")

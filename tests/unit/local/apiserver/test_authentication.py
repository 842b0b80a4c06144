"""Who asks, and what tokens say."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from hortator.kube.http import Request
from hortator.local.apiserver.tokens import AUDIENCE, Tokens
from support.api import OWNER, PODS, Api, pod

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKEN_REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"


async def whoami(api: Api, token: str) -> dict[str, Any] | None:
    answer = await api("POST", REVIEW, {}, token=token)
    return answer.body["status"]["userInfo"] if answer.status == 201 else None


@pytest.mark.parametrize(
    "token", ["", "wrong", OWNER + "x", "a.b.c", "..", "é", "a" * 100_000, "=.=.=", "\udcff.a.b", "e30.e30."]
)
async def test_without_credentials_nothing_is_answered(api: Api, token: str) -> None:
    answer = await api("GET", "/api", token=token)
    assert (answer.status, answer.reason, answer.message) == (401, "Unauthorized", "Unauthorized")


async def test_the_owner_is_master(api: Api) -> None:
    user = await whoami(api, OWNER)
    assert user is not None and "system:masters" in user["groups"]


async def test_a_token_may_come_as_a_websocket_subprotocol(api: Api) -> None:
    encoded = base64.urlsafe_b64encode(OWNER.encode()).rstrip(b"=").decode()
    header = {"sec-websocket-protocol": f"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}"}
    assert (await api("GET", "/api", token="", headers=header)).status == 200


async def test_client_certificates_name_user_and_groups(api: Api) -> None:
    request = Request("POST", REVIEW, peer=("alice", ("devs",)), body=b"{}")
    body = json.loads((await api.server.handle(request)).body)
    if body.get("code") == 403:
        pytest.fail(body["message"])
    assert body["status"]["userInfo"]["username"] == "alice"
    assert body["status"]["userInfo"]["groups"] == ["devs", "system:authenticated"]


async def test_account_tokens(api: Api) -> None:
    token = await api.account("robot")
    user = await whoami(api, token)
    assert user is not None
    assert user["username"] == "system:serviceaccount:default:robot"
    assert user["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]


async def test_tokens_expire(api: Api) -> None:
    token = await api.account("robot", expirationSeconds=600)
    api.clock.advance(599)
    assert await whoami(api, token)
    api.clock.advance(1)
    assert await whoami(api, token) is None


async def test_a_token_ends_with_its_account(api: Api) -> None:
    token = await api.account("robot")
    await api("DELETE", f"{ACCOUNTS}/robot")
    assert await whoami(api, token) is None
    await api.post(ACCOUNTS, {"metadata": {"name": "robot"}})
    assert await whoami(api, token) is None  # another account of that name


async def test_a_token_ends_with_its_pod(api: Api) -> None:
    await api.post(PODS, pod(nodeName="n"))
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    token = await api.account("default", boundObjectRef=reference)
    user = await whoami(api, token)
    assert user is not None
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    await api("DELETE", f"{PODS}/p")  # marked; its node ends it
    assert await whoami(api, token)
    api.clock.advance(30 + 61)
    assert await whoami(api, token) is None


@pytest.mark.parametrize("kind", ["Pod", "Secret"])
async def test_a_token_ends_with_what_it_is_bound_to(api: Api, kind: str) -> None:
    path = PODS if kind == "Pod" else "/api/v1/namespaces/default/secrets"
    bound = pod("b") if kind == "Pod" else {"metadata": {"name": "b"}}
    await api.post(path, bound)
    reference = {"kind": kind, "apiVersion": "v1", "name": "b"}
    token = await api.account("default", boundObjectRef=reference)
    assert await whoami(api, token)
    await api("DELETE", f"{path}/b")
    assert await whoami(api, token) is None
    await api.post(path, bound)  # another of that name
    assert await whoami(api, token) is None


async def test_a_token_of_another_cluster_is_refused(api: Api) -> None:
    uid = (await api.get(f"{ACCOUNTS}/default"))["metadata"]["uid"]
    for key, known in ((b"k" * 32, True), (b"o" * 32, False)):
        issuer = Tokens(key, api.server.storage, api.clock)
        token = issuer.issue("default", "default", uid, audiences=[AUDIENCE], seconds=3600)
        assert (await whoami(api, token) is not None) is known


async def test_a_forged_token_is_refused(api: Api) -> None:
    token = await api.account("robot")
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert await whoami(api, f"{head}.{forged}.{signature}") is None
    nobody = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    assert await whoami(api, f"{nobody}.{payload}.") is None


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        ({"expirationSeconds": 60}, 422, "may not specify a duration less than 10 minutes"),
        ({"boundObjectRef": {"kind": "Pod", "name": "none"}}, 404, 'pods "none" not found'),
        ({"boundObjectRef": {"kind": "Service", "name": "x"}}, 400, "cannot bind token"),
        ({"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "other"}}, 409, "does not match the UID"),
        ({"boundObjectRef": {"kind": "Pod", "name": "p"}}, 400, "pod running with different serviceaccount"),
    ],
)
async def test_bad_token_requests(api: Api, spec: dict[str, Any], status: int, message: str) -> None:
    await api.post(ACCOUNTS, {"metadata": {"name": "robot"}})
    await api.post(PODS, pod())
    answer = await api("POST", f"{ACCOUNTS}/robot/token", {"spec": spec})
    assert answer.status == status and message in answer.message, answer


async def test_token_reviews(api: Api) -> None:
    token = await api.account("robot", audiences=["vault"])
    assert await whoami(api, token) is None  # not for this server
    review = await api.post(TOKEN_REVIEW, {"spec": {"token": token, "audiences": ["vault", "other"]}})
    assert review.body["status"]["authenticated"] is True
    assert review.body["status"]["audiences"] == ["vault"]
    bad = await api.post(TOKEN_REVIEW, {"spec": {"token": "x"}})
    assert not bad.body["status"].get("authenticated")


async def test_impersonation_needs_the_right(api: Api) -> None:
    header = {"impersonate-user": "bob", "impersonate-group": "devs"}
    answer = await api("POST", REVIEW, {}, headers=header)
    assert answer.body["status"]["userInfo"]["username"] == "bob"
    assert answer.body["status"]["userInfo"]["groups"] == ["devs", "system:authenticated"]
    token = await api.account("robot")
    refused = await api("GET", "/api", token=token, headers=header)
    assert refused.status == 403
    assert 'cannot impersonate resource "users"' in refused.message


async def test_a_pod_in_a_new_namespace_waits_for_its_account(api: Api) -> None:
    await api.post("/api/v1/namespaces", {"metadata": {"name": "new"}})
    creating = asyncio.ensure_future(api("POST", "/api/v1/namespaces/new/pods", pod()))
    await asyncio.sleep(0.1)
    await api.post("/api/v1/namespaces/new/serviceaccounts", {"metadata": {"name": "default"}})
    assert (await creating).status == 201
    other = await api("POST", PODS, pod(serviceAccountName="none"))
    assert other.status == 403 and 'serviceaccount "none" not found' in other.message

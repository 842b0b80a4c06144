"""Admission webhooks over real connections."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hortator.kube.http import Request, Response
from hortator.local.apiserver import certificates
from hortator.local.apiserver.http_server import HttpServer
from support.api import CRDS, MAPS, MERGE, WIDGETS, Api, running_api, widgets

MUTATING = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


@dataclass
class Webhook:
    """A webhook server: keeps what it is asked, and answers as a test says."""

    url: str
    bundle: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda request: {"allowed": True}
    release: asyncio.Event | None = None

    async def handle(self, request: Request) -> Response:
        review = json.loads(request.body)
        self.asked.append(review["request"])
        if self.release is not None:
            await self.release.wait()
        response = {"uid": review["request"]["uid"], **self.answer(review["request"])}
        body = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}
        return Response(200, {"content-type": "application/json"}, json.dumps(body).encode())

    def configuration(self, **webhook: Any) -> dict[str, Any]:
        entry = {
            "name": "hook.example.com",
            "clientConfig": {"url": self.url, "caBundle": self.bundle},
            "rules": [RULE],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **webhook,
        }
        return {"metadata": {"name": entry["name"]}, "webhooks": [entry]}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as found:
        yield found


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[Webhook]:
    made = certificates.ensure(tmp_path / "pki")
    found = Webhook("", base64.b64encode(made.ca.read_bytes()).decode())
    server = HttpServer(found.handle, port=0, tls=certificates.server_context(made))
    await server.start()
    found.url = f"https://127.0.0.1:{server.port}/admit"
    yield found
    if found.release is not None:
        found.release.set()
    await server.stop()


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


async def test_a_webhook_changes_an_object(api: Api, webhook: Webhook) -> None:
    webhook.answer = lambda request: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}
    )
    await api.post(MUTATING, webhook.configuration())
    made = await api.post(MAPS, {"metadata": {"name": "m"}})
    assert made.body["metadata"]["labels"] == {"seen": "yes"}
    (request,) = webhook.asked
    assert (request["operation"], request["name"], request["namespace"]) == ("CREATE", "m", "default")
    assert request["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert request["userInfo"]["username"] == "hort:owner"
    assert request["object"]["metadata"]["name"] == "m" and request["oldObject"] is None


async def test_what_a_webhook_makes_is_validated(api: Api, webhook: Webhook) -> None:
    webhook.answer = lambda request: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"not ok": "x"}}
    )
    await api.post(MUTATING, webhook.configuration())
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}})).status == 422


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (None, 400, 'admission webhook "hook.example.com" denied the request without explanation'),
        (
            {"message": "no", "code": 403, "reason": "Forbidden"},
            403,
            'admission webhook "hook.example.com" denied the request: no',
        ),
        ({"code": 200}, 400, 'admission webhook "hook.example.com" denied the request without explanation'),
    ],
)
async def test_a_webhook_refuses(api: Api, webhook: Webhook, status: Any, code: int, message: str) -> None:
    webhook.answer = lambda request: {"allowed": False, **({"status": status} if status else {})}
    await api.post(VALIDATING, webhook.configuration())
    answer = await api("POST", MAPS, {"metadata": {"name": "m"}})
    assert (answer.status, answer.message) == (code, message)
    assert (await api("GET", f"{MAPS}/m")).status == 404


async def test_updates_and_deletes_show_the_old_object(api: Api, webhook: Webhook) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}})
    await api.post(VALIDATING, webhook.configuration())
    await api("PATCH", f"{MAPS}/m", {"data": {"a": "2"}}, kind=MERGE)
    await api("DELETE", f"{MAPS}/m")
    update, delete = webhook.asked
    assert (update["oldObject"]["data"], update["object"]["data"]) == ({"a": "1"}, {"a": "2"})
    assert (delete["operation"], delete["object"], delete["oldObject"]["data"]) == (
        "DELETE",
        None,
        {"a": "2"},
    )


@pytest.mark.parametrize(
    ("webhook_part", "asked"),
    [
        ({"rules": [{**RULE, "operations": ["UPDATE"]}]}, False),
        ({"rules": [{**RULE, "resources": ["secrets"]}]}, False),
        ({"rules": [{**RULE, "resources": ["*/*"]}]}, True),
        ({"rules": [{**RULE, "apiGroups": ["*"], "apiVersions": ["*"]}]}, True),
        ({"rules": [{**RULE, "scope": "Cluster"}]}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False),
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, True),
        ({"objectSelector": {"matchLabels": {"a": "c"}}}, False),
        ({"matchConditions": [{"name": "c", "expression": "object.metadata.name == 'm'"}]}, True),
        ({"matchConditions": [{"name": "c", "expression": "request.operation != 'CREATE'"}]}, False),
    ],
)
async def test_who_is_asked(api: Api, webhook: Webhook, webhook_part: dict[str, Any], asked: bool) -> None:
    await api.post(VALIDATING, webhook.configuration(**webhook_part))
    await api.post(MAPS, {"metadata": {"name": "m", "labels": {"a": "b"}}})
    assert bool(webhook.asked) is asked


async def test_a_condition_that_fails_follows_the_policy(api: Api, webhook: Webhook) -> None:
    conditions = [{"name": "c", "expression": "object.data.none == 'x'"}]
    await api.post(VALIDATING, webhook.configuration(matchConditions=conditions))
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}})).status == 403
    policy = webhook.configuration(matchConditions=conditions, failurePolicy="Ignore")["webhooks"]
    await api("PATCH", f"{VALIDATING}/hook.example.com", {"webhooks": policy}, kind=MERGE)
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}})).status == 201
    assert not webhook.asked


@pytest.mark.parametrize(
    "client",
    [
        {"url": "https://127.0.0.1:1/x"},
        {"service": {"name": "hook", "namespace": "default"}},
    ],
)
async def test_an_unreachable_webhook_follows_the_policy(api: Api, webhook: Webhook, client: Any) -> None:
    await api.post(VALIDATING, webhook.configuration(clientConfig=client))
    answer = await api("POST", MAPS, {"metadata": {"name": "m"}})
    assert answer.status == 500
    assert (
        'failed calling webhook "hook.example.com": failed to call webhook: Post "https://' in answer.message
    )
    await api(
        "PATCH",
        f"{VALIDATING}/hook.example.com",
        {"webhooks": webhook.configuration(clientConfig=client, failurePolicy="Ignore")["webhooks"]},
        kind=MERGE,
    )
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}})).status == 201


async def test_a_slow_webhook_times_out(api: Api, webhook: Webhook) -> None:
    webhook.release = asyncio.Event()
    await api.post(VALIDATING, webhook.configuration(timeoutSeconds=1))
    answer = await api("POST", MAPS, {"metadata": {"name": "m"}})
    assert answer.status == 500 and "context deadline exceeded" in answer.message


async def test_a_webhook_with_side_effects_has_no_dry_run(api: Api, webhook: Webhook) -> None:
    await api.post(VALIDATING, webhook.configuration())
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}}, dryRun="All")).status == 201
    assert webhook.asked[0]["dryRun"] is True
    entry = webhook.configuration(sideEffects="NoneOnDryRun")["webhooks"]
    await api("PATCH", f"{VALIDATING}/hook.example.com", {"webhooks": entry}, kind=MERGE)
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}}, dryRun="All")).status == 201


async def test_an_earlier_webhook_is_asked_again(api: Api, webhook: Webhook) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        annotations = request["object"]["metadata"].get("annotations", {})
        count = len(annotations)
        if count < 2:
            value = {**annotations, f"call{count}": "x"}
            return patch({"op": "add", "path": "/metadata/annotations", "value": value})
        return {"allowed": True}

    webhook.answer = answer
    first = webhook.configuration(name="a.example.com", reinvocationPolicy="IfNeeded")
    await api.post(MUTATING, first)
    await api.post(MUTATING, webhook.configuration(name="b.example.com"))
    made = await api.post(MAPS, {"metadata": {"name": "m"}})
    assert len(webhook.asked) == 3
    assert made.body["metadata"]["annotations"] == {"call0": "x", "call1": "x"}


async def test_a_webhook_sees_the_version_that_it_knows(api: Api, webhook: Webhook) -> None:
    crd = widgets()
    (version,) = crd["spec"]["versions"]
    crd["spec"]["versions"] = [version, {**version, "name": "v2", "storage": False}]
    await api.post(CRDS, crd)
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["example.com"],
        "apiVersions": ["v1"],
        "resources": ["widgets"],
    }
    await api.post(VALIDATING, webhook.configuration(rules=[rule]))
    await api.post(WIDGETS.replace("v1", "v2"), {"metadata": {"name": "w"}})
    (request,) = webhook.asked
    assert request["object"]["apiVersion"] == "example.com/v1"
    assert request["kind"]["version"] == "v1" and request["requestKind"]["version"] == "v2"


async def test_warnings_reach_the_client(api: Api, webhook: Webhook) -> None:
    webhook.answer = lambda request: {"allowed": True, "warnings": ["mind the gap"]}
    await api.post(VALIDATING, webhook.configuration())
    assert (await api.post(MAPS, {"metadata": {"name": "m"}})).headers["warning"] == '299 - "mind the gap"'


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"allowed": True, "uid": "other"}, "expected response.uid="),
        ({"allowed": True, "patch": "!"}, "response.patch but not response.patchType"),
        ({"allowed": True, "patchType": "JSONPatch", "patch": "!"}, "the patch cannot be read"),
        (patch({"op": "remove", "path": "/none"}), "its patch cannot be applied"),
    ],
)
async def test_bad_answers(api: Api, webhook: Webhook, answer: dict[str, Any], message: str) -> None:
    webhook.answer = lambda request: answer
    await api.post(MUTATING, webhook.configuration())
    refused = await api("POST", MAPS, {"metadata": {"name": "m"}})
    assert (refused.status, message in refused.message) == (500, True), refused

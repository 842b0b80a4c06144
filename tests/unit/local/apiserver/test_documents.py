"""Discovery, OpenAPI, health, and what is refused before anything is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import CRDS, MAPS, PODS, WIDGETS, Api, widgets

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/batch", "APIGroup"),
        ("/api/v1", "APIResourceList"),
        ("/apis/apps/v1", "APIResourceList"),
    ],
)
async def test_plain_discovery(api: Api, path: str, kind: str) -> None:
    assert (await api.get(path))["kind"] == kind


async def test_aggregated_discovery_has_a_tag(api: Api) -> None:
    answer = await api("GET", "/apis", accept=AGGREGATED)
    assert answer.body["kind"] == "APIGroupDiscoveryList"
    assert "v=v2;as=APIGroupDiscoveryList" in answer.headers["content-type"]
    tag = answer.headers["etag"]
    again = await api("GET", "/apis", accept=AGGREGATED, headers={"if-none-match": tag})
    assert (again.status, again.text) == (304, "")


async def test_discovery_and_openapi_follow_definitions(api: Api) -> None:
    before = await api("GET", "/apis", accept=AGGREGATED)
    assert (await api("GET", "/apis/example.com/v1")).status == 404
    await api.post(CRDS, widgets())
    found = await api.get("/apis/example.com/v1")
    assert [each["name"] for each in found["resources"]] == ["widgets"]
    tag = before.headers["etag"]
    assert (await api("GET", "/apis", accept=AGGREGATED, headers={"if-none-match": tag})).status == 200
    index = await api.get("/openapi/v3")
    assert "apis/example.com/v1" in index["paths"]
    document = await api.get("/openapi/v3/apis/example.com/v1")
    schema = document["components"]["schemas"]["com.example.v1.Widget"]
    assert schema["properties"]["spec"]["properties"]["color"]["enum"] == ["red", "green"]
    await api("DELETE", f"{CRDS}/widgets.example.com")


async def test_openapi_of_built_in_kinds(api: Api) -> None:
    index = await api.get("/openapi/v3")
    assert index["paths"]["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")
    document = await api.get("/openapi/v3/api/v1")
    post = document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"]
    assert "fieldValidation" in [parameter["name"] for parameter in post["parameters"]]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
async def test_health(api: Api, path: str) -> None:
    answer = await api("GET", path)
    assert (answer.status, answer.text) == (200, "ok")


async def test_version(api: Api) -> None:
    assert (await api.get("/version"))["minor"] == "36"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/nothing", 404),
        ("GET", "/apis/nothing.io", 404),
        ("GET", "/apis/batch/v7", 404),
        ("GET", "/apis/batch/v1/nothing", 404),
        ("GET", "/api/v1/namespaces/default/nothing", 404),
        ("GET", f"{PODS}/p/nothing", 404),
        ("GET", f"{PODS}/p/log/more", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/openapi/v3/apis/nothing/v1", 404),
        ("GET", "/openapi/v2", 200),
        ("POST", "/version", 405),
        ("POST", "/healthz", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("PUT", MAPS, 405),
        ("PATCH", MAPS, 405),
        ("POST", f"{MAPS}/m", 405),
        ("GET", "/api/v1/namespaces/default/bindings", 405),
        ("POST", f"{PODS}/p/log", 405),
        ("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", 404),
    ],
)
async def test_paths_and_verbs(api: Api, method: str, path: str, status: int) -> None:
    answer = await api(method, path)
    assert answer.status == status, answer
    if status >= 400:
        assert (answer.body["kind"], answer.body["code"]) == ("Status", status)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xa1", "application/cbor", 415),
        (b"<a/>", "application/xml", 415),
        (b"{", "application/json", 400),
        (b'{"metadata": {"name": "m"}} x', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"a: [", "application/yaml", 400),
        (b"k8s\x00\xff\xff", "application/vnd.kubernetes.protobuf", 400),
        (b"[" * 100_000, "application/json", 400),
        (b" " * (3 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
async def test_bodies_that_cannot_be_read(api: Api, body: bytes, kind: str, status: int) -> None:
    answer = await api("POST", MAPS, body, kind=kind)
    assert answer.status == status, answer


async def test_custom_kinds_are_not_sent_as_protobuf(api: Api) -> None:
    await api.post(CRDS, widgets())
    assert (await api("POST", WIDGETS, b"k8s\x00", kind="application/vnd.kubernetes.protobuf")).status == 415


async def test_a_large_object_is_taken(api: Api) -> None:
    data: dict[str, Any] = {f"k{index}": "x" * 10_000 for index in range(40)}
    made = await api.post(MAPS, {"metadata": {"name": "m"}, "data": data})
    assert made.body["data"] == data


async def test_before_the_start_nothing_is_served() -> None:
    from hortator.kube.http import Request
    from hortator.local.apiserver.server import ApiServer

    server = ApiServer(journal=None, owner_token="x", connector=lambda name: None)
    assert (await server.handle(Request("GET", "/version"))).status == 503

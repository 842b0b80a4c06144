"""Conversion by webhook, where a client watches or reads many objects at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api import CRDS, Api, running_api
from support.webhooks import Webhook, running_webhook

RODS = "/apis/example.com/{version}/namespaces/default/rods"
V1, V2 = (RODS.format(version=version) for version in ("v1", "v2"))


def convert(request: dict[str, Any]) -> dict[str, Any]:
    objects = [{**obj, "apiVersion": request["desiredAPIVersion"]} for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": objects}


def fail(request: dict[str, Any]) -> dict[str, Any]:
    return {"result": {"status": "Failed", "message": "rods cannot bend"}}


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[Webhook]:
    with running_webhook(tmp_path) as running:
        yield running


@pytest.fixture
async def api(webhook: Webhook) -> AsyncIterator[Api]:
    """A server with rods in two versions, the first of which is stored."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    conversion = {"clientConfig": webhook.on("/", convert), "conversionReviewVersions": ["v1"]}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "rods", "kind": "Rod"},
        "versions": [
            {"name": name, "served": True, "storage": name == "v1", "schema": schema} for name in ("v1", "v2")
        ],
        "conversion": {"strategy": "Webhook", "webhook": conversion},
    }
    async with running_api() as found:
        await found.post(CRDS, {"metadata": {"name": "rods.example.com"}, "spec": spec})
        yield found


def rod(name: str) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Rod", "metadata": {"name": name}}


async def test_a_list_is_one_call_and_the_next_is_none(api: Api, webhook: Webhook) -> None:
    for name in ("a", "b", "c"):
        await api.post(V1, rod(name))
    for _ in range(2):
        items = (await api("GET", V2)).body["items"]
        assert [item["apiVersion"] for item in items] == ["example.com/v2"] * 3
    (review,) = webhook.asked("/")
    assert [obj["metadata"]["name"] for obj in review["request"]["objects"]] == ["a", "b", "c"]


async def test_one_object_is_converted_each_time_it_is_read(api: Api, webhook: Webhook) -> None:
    await api.post(V1, rod("a"))
    for _ in range(2):
        assert (await api("GET", f"{V2}/a")).status == 200
    assert len(webhook.asked("/")) == 2


async def test_a_watch_ends_with_an_error_at_what_cannot_be_converted(api: Api, webhook: Webhook) -> None:
    await api.post(V1, rod("a"))
    response = await api.raw("GET", V2, watch="1")
    assert response.stream is not None
    lines = aiter(response.stream)
    assert json.loads(await anext(lines))["object"]["apiVersion"] == "example.com/v2"
    webhook.on("/", fail)
    await api.post(V1, rod("b"))
    error = json.loads(await anext(lines))
    assert (error["type"], error["object"]["code"]) == ("ERROR", 500)
    assert error["object"]["message"] == (
        "conversion webhook for example.com/v1, Kind=Rod failed: rods cannot bend"
    )
    assert [line async for line in lines] == []


async def test_all_objects_are_deleted_in_another_version(api: Api) -> None:
    for name in ("a", "b"):
        await api.post(V1, rod(name))
    gone = await api("DELETE", V2)
    assert [item["apiVersion"] for item in gone.body["items"]] == ["example.com/v2"] * 2
    assert (await api("GET", V1)).body["items"] == []

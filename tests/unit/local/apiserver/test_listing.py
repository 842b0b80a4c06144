"""Lists: selectors, pages, versions, tables."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import MAPS, PODS, TABLE, Api, pod

PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def fill(api: Api, count: int) -> None:
    for index in range(count):
        await api.post(MAPS, {"metadata": {"name": f"m{index}", "labels": {"odd": str(index % 2)}}})


def names(body: Any) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


async def test_a_list_is_in_order_and_says_its_version(api: Api) -> None:
    await fill(api, 3)
    body = await api.get(MAPS)
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert names(body) == ["m0", "m1", "m2"]
    assert int(body["metadata"]["resourceVersion"]) >= int(body["items"][-1]["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"labelSelector": "odd=1"}, ["m1", "m3"]),
        ({"labelSelector": "odd in (0),!even"}, ["m0", "m2"]),
        ({"fieldSelector": "metadata.name=m2"}, ["m2"]),
        ({"fieldSelector": "metadata.name!=m2", "labelSelector": "odd=0"}, ["m0"]),
    ],
)
async def test_selectors(api: Api, query: dict[str, str], expected: list[str]) -> None:
    await fill(api, 4)
    assert names(await api.get(MAPS, **query)) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"labelSelector": "a in b"},
        {"fieldSelector": "data.a=b"},
        {"limit": "-1"},
        {"resourceVersion": "x"},
        {"continue": "x"},
    ],
)
async def test_bad_queries_are_refused(api: Api, query: dict[str, str]) -> None:
    answer = await api("GET", MAPS, **query)
    assert (answer.status, answer.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"resourceVersionMatch": "Exact"}, "resourceVersionMatch"),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, "resourceVersionMatch"),
        ({"resourceVersionMatch": "Maybe", "resourceVersion": "5"}, "resourceVersionMatch"),
        ({"sendInitialEvents": "true"}, "sendInitialEvents"),
    ],
)
async def test_options_must_fit_together(api: Api, query: dict[str, str], field: str) -> None:
    answer = await api("GET", MAPS, **query)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [field]


async def test_pods_are_selected_by_node_and_phase(api: Api) -> None:
    await api.post(PODS, pod("a", nodeName="n1"))
    await api.post(PODS, pod("b", nodeName="n2"))
    found = await api.get("/api/v1/pods", fieldSelector="spec.nodeName=n2,status.phase=Pending")
    assert names(found) == ["b"]


async def test_pages_show_one_version(api: Api) -> None:
    await fill(api, 5)
    first = await api.get(MAPS, limit=2)
    assert names(first) == ["m0", "m1"]
    assert first["metadata"]["remainingItemCount"] == 3
    await api.post(MAPS, {"metadata": {"name": "m1a"}})
    await api("DELETE", f"{MAPS}/m3")
    second = await api.get(MAPS, limit=2, continue_=first["metadata"]["continue"])
    third = await api.get(MAPS, limit=2, continue_=second["metadata"]["continue"])
    assert names(second) + names(third) == ["m2", "m3", "m4"]
    assert third["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in third["metadata"]


async def test_an_old_page_is_gone_when_history_is(api: Api) -> None:
    await fill(api, 3)
    token = (await api.get(MAPS, limit=1))["metadata"]["continue"]
    for index in range(4100):
        await api("PUT", f"{MAPS}/m0", {"metadata": {"name": "m0"}, "data": {"a": str(index)}})
    answer = await api("GET", MAPS, continue_=token)
    assert (answer.status, answer.reason) == (410, "Expired")


async def test_exact_versions(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "a"}})
    then = (await api.get(MAPS))["metadata"]["resourceVersion"]
    await api.post(MAPS, {"metadata": {"name": "b"}})
    exact = await api.get(MAPS, resourceVersion=then, resourceVersionMatch="Exact")
    assert names(exact) == ["a"]
    for match in ({}, {"resourceVersionMatch": "NotOlderThan"}):
        assert names(await api.get(MAPS, resourceVersion=then, **match)) == ["a", "b"]
    assert names(await api.get(MAPS, resourceVersion="0")) == ["a", "b"]


async def test_versions_of_the_future_are_waited_for_by_the_client(api: Api) -> None:
    answer = await api("GET", MAPS, resourceVersion="999999999")
    assert (answer.status, answer.reason) == (504, "Timeout")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer.headers["retry-after"] == "1"


async def test_tables(api: Api) -> None:
    await api.post(PODS, pod())
    table = await api.get(PODS, accept=TABLE)
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]][:3] == ["Name", "Ready", "Status"]
    assert table["rows"][0]["cells"][:3] == ["p", "0/1", "Pending"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = await api.get(PODS, accept=TABLE, includeObject="Object")
    assert whole["rows"][0]["object"]["spec"]["containers"]
    one = await api.get(f"{PODS}/p", accept=TABLE)
    assert len(one["rows"]) == 1
    assert (await api("GET", PODS, accept=TABLE, includeObject="Some")).status == 400


async def test_partial_metadata(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
    partial = await api.get(MAPS, accept=PARTIAL)
    assert partial["kind"] == "PartialObjectMetadataList"
    found = next(item for item in partial["items"] if item["metadata"]["name"] == "m")
    assert set(found) == {"kind", "apiVersion", "metadata"}


async def test_an_answer_that_nobody_can_read_is_refused(api: Api) -> None:
    answer = await api("GET", MAPS, accept="text/html")
    assert (answer.status, answer.reason) == (406, "NotAcceptable")


async def test_a_large_table_is_made_in_a_thread(api: Api) -> None:
    await fill(api, 301)
    table = await api.get(MAPS, accept=TABLE)
    assert len(table["rows"]) == 301

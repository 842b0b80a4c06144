"""JSON, merge, strategic and apply patches over the API."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import APPLY, CRDS, JSON_PATCH, MAPS, MERGE, PODS, STRATEGIC, WIDGETS, Api, pod, widgets

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap"}


async def make(api: Api, **data: str) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": data})


@pytest.mark.parametrize(
    ("kind", "patch", "data"),
    [
        (JSON_PATCH, [{"op": "add", "path": "/data/b", "value": "2"}], {"a": "1", "b": "2"}),
        (JSON_PATCH, [{"op": "remove", "path": "/data/a"}], None),
        (MERGE, {"data": {"a": None, "b": "2"}}, {"b": "2"}),
        (STRATEGIC, {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
    ],
)
async def test_patches(api: Api, kind: str, patch: Any, data: Any) -> None:
    await make(api, a="1")
    answer = await api("PATCH", f"{MAPS}/m", patch, kind=kind)
    assert answer.status == 200, answer
    assert answer.body.get("data") == data


async def test_strategic_patches_merge_lists_by_their_key(api: Api) -> None:
    await api.post(PODS, pod())
    patch = {"spec": {"containers": [{"name": "main", "image": "other"}]}}
    changed = (await api("PATCH", f"{PODS}/p", patch, kind=STRATEGIC)).body["spec"]["containers"]
    assert [(each["name"], each["image"], each["command"]) for each in changed] == [
        ("main", "other", ["sleep", "1"])
    ]


@pytest.mark.parametrize(
    ("kind", "patch", "status"),
    [
        (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "2"}], 422),
        (JSON_PATCH, {"op": "add"}, 400),
        (JSON_PATCH, [{"op": "remove", "path": "/data/a"}] * 10_001, 413),
        (MERGE, [1], 400),
        (MERGE, b"{", 400),
        (MERGE, {"data": {"a": 5}}, 422),
        (MERGE, {"kind": "Secret"}, 422),
        (MERGE, {"metadata": {"resourceVersion": "1"}}, 409),
        (MERGE, {"metadata": {"name": "other"}}, 400),
        ("text/plain", {}, 415),
        ("application/json", {}, 415),
    ],
)
async def test_patches_that_do_not_fit(api: Api, kind: str, patch: Any, status: int) -> None:
    await make(api, a="1")
    answer = await api("PATCH", f"{MAPS}/m", patch, kind=kind)
    assert answer.status == status, answer
    assert (await api.get(f"{MAPS}/m"))["data"] == {"a": "1"}


async def test_custom_kinds_have_no_strategic_patch(api: Api) -> None:
    await api.post(CRDS, widgets())
    await api.post(WIDGETS, {"metadata": {"name": "w"}})
    answer = await api("PATCH", f"{WIDGETS}/w", {}, kind=STRATEGIC)
    assert answer.status == 415
    assert "application/merge-patch+json" in answer.message


async def test_apply_creates_then_changes_then_conflicts(api: Api) -> None:
    made = await api(
        "PATCH", f"{MAPS}/m", {**CONFIG, "data": {"a": "1", "b": "1"}}, kind=APPLY, fieldManager="me"
    )
    assert made.status == 201
    assert made.body["metadata"]["managedFields"][0]["manager"] == "me"
    dropped = await api("PATCH", f"{MAPS}/m", {**CONFIG, "data": {"a": "2"}}, kind=APPLY, fieldManager="me")
    assert (dropped.status, dropped.body["data"]) == (200, {"a": "2"})
    other = {**CONFIG, "data": {"a": "3"}}
    conflict = await api("PATCH", f"{MAPS}/m", other, kind=APPLY, fieldManager="you")
    assert (conflict.status, conflict.reason) == (409, "Conflict")
    assert conflict.body["details"]["causes"][0]["field"] == ".data.a"
    forced = await api("PATCH", f"{MAPS}/m", other, kind=APPLY, fieldManager="you", force="true")
    assert forced.body["data"] == {"a": "3"}


async def test_applying_the_same_again_writes_nothing(api: Api) -> None:
    body = {**CONFIG, "data": {"a": "1"}}
    first = await api("PATCH", f"{MAPS}/m", body, kind=APPLY, fieldManager="me")
    api.clock.advance(60)
    again = await api("PATCH", f"{MAPS}/m", body, kind=APPLY, fieldManager="me")
    assert again.body == first.body


async def test_apply_conflicts_with_what_an_update_wrote(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}}, fieldManager="writer")
    answer = await api("PATCH", f"{MAPS}/m", {**CONFIG, "data": {"a": "2"}}, kind=APPLY, fieldManager="me")
    assert answer.status == 409
    assert 'conflict with "writer"' in answer.message


async def test_apply_to_a_custom_kind_merges_by_schema(api: Api) -> None:
    await api.post(CRDS, widgets(subresources={"status": {}}))
    head = {"apiVersion": "example.com/v1", "kind": "Widget"}
    one = {**head, "metadata": {"finalizers": ["a.io/x"]}, "spec": {"color": "red"}}
    two = {**head, "metadata": {"finalizers": ["b.io/x"]}, "spec": {"size": 5}}
    await api("PATCH", f"{WIDGETS}/w", one, kind=APPLY, fieldManager="one")
    merged = await api("PATCH", f"{WIDGETS}/w", two, kind=APPLY, fieldManager="two", force="true")
    assert merged.status == 200, merged
    assert merged.body["spec"] == {"color": "red", "size": 5}
    assert merged.body["metadata"]["finalizers"] == ["a.io/x", "b.io/x"]


@pytest.mark.parametrize(
    ("body", "query", "status"),
    [
        ({**CONFIG}, {}, 422),
        ({"kind": "ConfigMap"}, {"fieldManager": "me"}, 400),
        ({**CONFIG, "metadata": {"name": "other"}}, {"fieldManager": "me"}, 400),
        ({**CONFIG, "metadata": {"managedFields": []}}, {"fieldManager": "me"}, 400),
        ({**CONFIG, "date": {}}, {"fieldManager": "me", "fieldValidation": "Ignore"}, 500),
        (b"a: b\n---\nc: d\n", {"fieldManager": "me"}, 400),
    ],
)
async def test_bad_applies(api: Api, body: Any, query: dict[str, str], status: int) -> None:
    answer = await api("PATCH", f"{MAPS}/m", body, kind=APPLY, **query)
    assert answer.status == status, answer
    assert (await api("GET", f"{MAPS}/m")).status == 404


async def test_force_is_for_apply_only(api: Api) -> None:
    await make(api)
    assert (await api("PATCH", f"{MAPS}/m", {}, kind=MERGE, force="true")).status == 422


async def test_apply_with_a_uid_does_not_create(api: Api) -> None:
    body = {**CONFIG, "metadata": {"uid": "gone"}}
    assert (await api("PATCH", f"{MAPS}/m", body, kind=APPLY, fieldManager="me")).status == 409


async def test_managed_fields_name_the_program_that_wrote(api: Api) -> None:
    made = await api.post(
        MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}}, headers={"user-agent": "hort/1.0"}
    )
    (entry,) = made.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsV1"]["f:data"]) == (
        "hort",
        "Update",
        {".": {}, "f:a": {}},
    )

"""Create, get, update and delete, as clients see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hortator.local.apiserver.bodies import duplicate_keys
from support.api import CRDS, MAPS, MERGE, PODS, WIDGETS, Api, pod, widgets

NAMESPACES = "/api/v1/namespaces"


async def test_create_sets_system_metadata(api: Api) -> None:
    body = {
        "metadata": {"name": "m", "uid": "mine", "generation": 7, "deletionTimestamp": "2020-01-01T00:00:00Z"}
    }
    made = (await api.post(MAPS, body)).body
    metadata = made["metadata"]
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"] == "2026-03-01T12:00:00Z"
    assert metadata["uid"] != "mine"
    assert "deletionTimestamp" not in metadata
    assert await api.get(f"{MAPS}/m") == made


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            MAPS,
            {"metadata": {"name": "Not_ok"}},
            422,
            'ConfigMap "Not_ok" is invalid: metadata.name: Invalid value',
        ),
        (MAPS, {"metadata": {}}, 422, "name or generateName is required"),
        (MAPS, {"metadata": {"name": "x", "namespace": "other"}}, 400, "does not match the namespace sent"),
        (
            MAPS,
            {"metadata": {"name": "x", "resourceVersion": "5"}},
            500,
            "should not be set on objects to be created",
        ),
        (MAPS, {"kind": "Secret", "metadata": {"name": "x"}}, 400, "cannot be handled as a ConfigMap"),
        (
            MAPS,
            {"apiVersion": "v2", "metadata": {"name": "x"}},
            400,
            "does not match the expected API version (v1)",
        ),
        (MAPS, {"metadata": {"name": "x"}, "data": {"a": 1}}, 400, "json: cannot unmarshal number"),
        (MAPS, {"metadata": "x"}, 400, "cannot unmarshal string"),
        (MAPS, [], 400, "cannot unmarshal array"),
        ("/api/v1/namespaces/no/configmaps", {"metadata": {"name": "x"}}, 404, 'namespaces "no" not found'),
        (PODS, pod(containers=[]), 422, "spec.containers: Required value"),
        (
            "/api/v1/configmaps",
            {"metadata": {"name": "x"}},
            400,
            "an empty namespace may not be set during creation",
        ),
    ],
)
async def test_bad_objects_are_refused(api: Api, path: str, body: Any, status: int, message: str) -> None:
    answer = await api("POST", path, body)
    assert answer.status == status, answer
    assert message in answer.message
    assert answer.body["kind"] == "Status"


async def test_a_taken_name_is_a_conflict(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    answer = await api("POST", MAPS, {"metadata": {"name": "m"}})
    assert (answer.status, answer.reason, answer.message) == (
        409,
        "AlreadyExists",
        'configmaps "m" already exists',
    )


async def test_generated_names_differ(api: Api) -> None:
    made = [await api.post(MAPS, {"metadata": {"generateName": "m-"}}) for _ in range(2)]
    names = {answer.body["metadata"]["name"] for answer in made}
    assert len(names) == 2
    assert all(name.startswith("m-") and len(name) == 7 for name in names)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_dry_run_changes_nothing(api: Api, method: str) -> None:
    before = (await api.post(MAPS, {"metadata": {"name": "m"}})).body
    path, name = (MAPS, "n") if method == "POST" else (f"{MAPS}/m", "m")
    kind = MERGE if method == "PATCH" else "application/json"
    body = None if method == "DELETE" else {"metadata": {"name": name}, "data": {"a": "b"}}
    answer = await api(method, path, body, kind=kind, dryRun="All")
    assert answer.status in (200, 201), answer
    assert await api.get(f"{MAPS}/m") == before
    assert (await api("GET", f"{MAPS}/n")).status == 404


async def test_dry_run_takes_no_other_value(api: Api) -> None:
    assert (await api("POST", MAPS, {"metadata": {"name": "m"}}, dryRun="Some")).status == 422


@pytest.mark.parametrize("custom", [False, True])
async def test_unknown_fields(api: Api, custom: bool) -> None:
    await api.post(CRDS, widgets())
    path = WIDGETS if custom else PODS
    body = pod("a")
    if custom:
        body = {"metadata": {"name": "a"}, "spec": {"color": "red"}}
    body["spec"]["shape"] = 1
    strict = await api("POST", path, body, fieldValidation="Strict")
    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.shape"' in strict.message
    warned = await api.post(path, body)
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.shape\\""'
    assert "shape" not in warned.body["spec"]
    body["metadata"]["name"] = "b"
    assert "warning" not in (await api.post(path, body, fieldValidation="Ignore")).headers


async def test_duplicate_keys_are_noticed(api: Api) -> None:
    body = b'{"metadata":{"name":"m"},"data":{"a":"1","a":"2"}}'
    answer = await api("POST", MAPS, body, fieldValidation="Strict")
    assert answer.status == 400 and 'duplicate field "data.a"' in answer.message
    assert "duplicate field" in (await api.post(MAPS, body)).headers["warning"]
    body = b'{"spec":{"containers":[{},{"env":[],"env":[]}]},"spec":1}'
    assert duplicate_keys(body) == ["spec.containers[1].env", "spec"]


async def test_update_needs_the_newest_version(api: Api) -> None:
    first = (await api.post(MAPS, {"metadata": {"name": "m"}})).body
    second = (await api("PUT", f"{MAPS}/m", {**first, "data": {"a": "1"}})).body
    assert second["data"] == {"a": "1"}
    answer = await api("PUT", f"{MAPS}/m", {**first, "data": {"a": "2"}})
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert answer.message.startswith(
        'Operation cannot be fulfilled on configmaps "m": the object has been modified'
    )
    unconditional = {"metadata": {"name": "m"}, "data": {"a": "3"}}
    assert (await api("PUT", f"{MAPS}/m", unconditional)).body["data"] == {"a": "3"}


async def test_an_update_without_change_writes_nothing(api: Api) -> None:
    first = (await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}})).body
    assert (await api("PUT", f"{MAPS}/m", first)).body == first


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"metadata": {"name": "other"}}, 400, "does not match the name on the URL (m)"),
        ({"metadata": {"name": "m", "uid": "other"}}, 409, "Precondition failed: UID in precondition: other"),
        ({"metadata": {"name": "m", "namespace": "other"}}, 400, "does not match the namespace on the URL"),
    ],
)
async def test_an_update_must_mean_the_same_object(api: Api, change: Any, status: int, message: str) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    answer = await api("PUT", f"{MAPS}/m", change)
    assert answer.status == status and message in answer.message


async def test_generation_counts_changes_of_spec_only(api: Api) -> None:
    await api.post(CRDS, widgets(subresources={"status": {}}))
    await api.post(
        WIDGETS, {"metadata": {"name": "w"}, "spec": {"color": "red"}, "status": {"phase": "made up"}}
    )
    made = await api.get(f"{WIDGETS}/w")
    assert made["metadata"]["generation"] == 1 and "status" not in made
    labelled = await api("PATCH", f"{WIDGETS}/w", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    assert labelled.body["metadata"]["generation"] == 1
    changed = await api(
        "PATCH", f"{WIDGETS}/w", {"spec": {"color": "green"}, "status": {"phase": "no"}}, kind=MERGE
    )
    assert changed.body["metadata"]["generation"] == 2 and "status" not in changed.body
    path = f"{WIDGETS}/w/status"
    status = await api("PATCH", path, {"spec": {"color": "red"}, "status": {"phase": "yes"}}, kind=MERGE)
    assert status.body["metadata"]["generation"] == 2
    assert (status.body["spec"]["color"], status.body["status"]) == ("green", {"phase": "yes"})


async def test_custom_objects_need_a_version_to_be_replaced(api: Api) -> None:
    await api.post(CRDS, widgets())
    await api.post(WIDGETS, {"metadata": {"name": "w"}})
    answer = await api("PUT", f"{WIDGETS}/w", {"metadata": {"name": "w"}})
    assert answer.status == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in answer.message


async def test_delete_answers_with_success_and_the_object_is_gone(api: Api) -> None:
    made = (await api.post(MAPS, {"metadata": {"name": "m"}})).body
    answer = await api("DELETE", f"{MAPS}/m")
    assert answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "m", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    again = await api("DELETE", f"{MAPS}/m")
    assert (again.status, again.message) == (404, 'configmaps "m" not found')


@pytest.mark.parametrize("condition", [{"uid": "other"}, {"resourceVersion": "1"}])
async def test_delete_keeps_to_preconditions(api: Api, condition: dict[str, str]) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    assert (await api("DELETE", f"{MAPS}/m", {"preconditions": condition})).status == 409
    await api.get(f"{MAPS}/m")


async def test_finalizers_hold_an_object_back(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m", "finalizers": ["example.com/hold"]}})
    marked = (await api("DELETE", f"{MAPS}/m")).body
    assert marked["metadata"]["deletionTimestamp"] == "2026-03-01T12:00:00Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    added = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    refused = await api("PATCH", f"{MAPS}/m", added, kind=MERGE)
    assert refused.status == 422 and "no new finalizers can be added" in refused.message
    assert (await api("PATCH", f"{MAPS}/m", {"metadata": {"finalizers": None}}, kind=MERGE)).status == 200
    assert (await api("GET", f"{MAPS}/m")).status == 404


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])]
)
async def test_propagation_leaves_work_to_the_garbage_collector(
    api: Api, policy: str, finalizers: list[str]
) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    marked = await api("DELETE", f"{MAPS}/m", {"propagationPolicy": policy})
    assert marked.body["metadata"]["finalizers"] == finalizers
    # Background takes the finalizer off again, and the object goes.
    await api("DELETE", f"{MAPS}/m", {"propagationPolicy": "Background"})
    assert (await api("GET", f"{MAPS}/m")).status == 404


async def test_jobs_leave_their_pods_unless_told_otherwise(api: Api) -> None:
    path = "/apis/batch/v1/namespaces/default/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": pod()["spec"]["containers"]}}
    await api.post(path, {"metadata": {"name": "j"}, "spec": {"template": template}})
    answer = await api("DELETE", f"{path}/j")
    assert answer.body["metadata"]["finalizers"] == ["orphan"]
    assert "child pods are preserved by default" in answer.headers["warning"]


async def test_a_running_pod_is_deleted_by_its_node(api: Api) -> None:
    await api.post(PODS, pod(nodeName="n", terminationGracePeriodSeconds=20))
    marked = (await api("DELETE", f"{PODS}/p")).body
    assert marked["metadata"]["deletionTimestamp"] == "2026-03-01T12:00:20Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    unchanged = (await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60})).body
    assert unchanged["metadata"]["deletionGracePeriodSeconds"] == 20
    sooner = (await api("DELETE", f"{PODS}/p", gracePeriodSeconds=5)).body
    assert sooner["metadata"]["deletionTimestamp"] == "2026-03-01T12:00:05Z"
    await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (await api("GET", f"{PODS}/p")).status == 404


@pytest.mark.parametrize("phase", ["", "Succeeded", "Failed"])
async def test_a_pod_that_runs_nowhere_goes_at_once(api: Api, phase: str) -> None:
    await api.post(PODS, pod(**({"nodeName": "n"} if phase else {})))
    if phase:
        await api("PATCH", f"{PODS}/p/status", {"status": {"phase": phase}}, kind=MERGE)
    answer = await api("DELETE", f"{PODS}/p")
    assert answer.body["kind"] == "Pod"
    assert (await api("GET", f"{PODS}/p")).status == 404


async def test_a_namespace_waits_for_its_finalizer(api: Api) -> None:
    await api.post(NAMESPACES, {"metadata": {"name": "ns"}})
    marked = (await api("DELETE", f"{NAMESPACES}/ns")).body
    assert marked["status"]["phase"] == "Terminating"
    refused = await api("POST", f"{NAMESPACES}/ns/configmaps", {"metadata": {"name": "m"}})
    assert refused.status == 403
    assert "unable to create new content in namespace ns because it is being terminated" in refused.message
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    done = await api("PUT", f"{NAMESPACES}/ns/finalize", {**marked, "spec": {}})
    assert done.status == 200
    assert (await api("GET", f"{NAMESPACES}/ns")).status == 404


async def test_the_default_namespace_stays(api: Api) -> None:
    answer = await api("DELETE", f"{NAMESPACES}/default")
    assert (answer.status, answer.reason) == (403, "Forbidden")


async def test_delete_collection_takes_what_is_selected(api: Api) -> None:
    for name, color in (("a", "red"), ("b", "green"), ("c", "red")):
        await api.post(MAPS, {"metadata": {"name": name, "labels": {"color": color}}})
    answer = await api("DELETE", MAPS, labelSelector="color=red")
    assert sorted(item["metadata"]["name"] for item in answer.body["items"]) == ["a", "c"]
    assert [item["metadata"]["name"] for item in (await api.get(MAPS))["items"]] == ["b"]
    assert (await api("DELETE", "/api/v1/configmaps")).status == 405


async def test_many_writers_of_one_object_lose_nothing(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    patches = ({"data": {f"key{index}": "x"}} for index in range(50))
    answers = await asyncio.gather(*(api("PATCH", f"{MAPS}/m", patch, kind=MERGE) for patch in patches))
    assert {answer.status for answer in answers} == {200}
    assert len((await api.get(f"{MAPS}/m"))["data"]) == 50


async def test_events_are_one_store_under_two_groups(api: Api) -> None:
    newer = "/apis/events.k8s.io/v1/namespaces/default/events"
    body = {
        "metadata": {"name": "e"},
        "eventTime": "2026-03-01T12:00:00.000000Z",
        "reportingController": "example.com/c",
        "reportingInstance": "c-1",
        "action": "Doing",
        "reason": "Done",
        "type": "Normal",
        "note": "all of it",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
    }
    await api.post(newer, body)
    older = "/api/v1/namespaces/default/events"
    event = await api.get(f"{older}/e")
    assert (event["apiVersion"], event["message"]) == ("v1", "all of it")
    found = await api.get(older, fieldSelector="involvedObject.name=p")
    assert len(found["items"]) == 1
    again = (await api.get(newer))["items"][0]
    assert (again["apiVersion"], again["note"], again["regarding"]["name"]) == (
        "events.k8s.io/v1",
        "all of it",
        "p",
    )


async def test_bodies_may_be_yaml(api: Api) -> None:
    made = await api.post(MAPS, b"metadata:\n  name: m\ndata:\n  a: '1'\n", kind="application/yaml")
    assert made.body["data"] == {"a": "1"}

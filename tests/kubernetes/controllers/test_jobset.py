"""JobSet beside the server: what its webhooks and its controller do by the API alone, and in which formats they speak."""

from __future__ import annotations

from typing import Any

import pytest

from support.jobset import NAMESPACE, Installation, JobSets, jobset, replicated
from support.recorder import Exchange
from support.server import Server
from support.staying import until

Object = dict[str, Any]
PROTOBUF = "application/vnd.kubernetes.protobuf"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
JOBSETS_EVERYWHERE = "/apis/jobset.x-k8s.io/v1alpha2/jobsets"
#: What the controller watches.
WATCHED = {
    "/api/v1/pods",
    "/api/v1/services",
    "/apis/batch/v1/jobs",
    JOBSETS_EVERYWHERE,
}


def _owner(item: Object) -> Object:
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "controller": True} | {
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }


def test_the_mutating_webhook_fills_in_defaults(jobsets: JobSets) -> None:
    job = replicated("a", "true")
    del job["template"]["spec"]["template"]["spec"]["restartPolicy"]
    made = jobsets.create("demo", job, suspend=True)["spec"]
    assert made["successPolicy"] == {"operator": "All"}
    assert made["startupPolicy"] == {"startupPolicyOrder": "AnyOrder"}
    assert made["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
    template = made["replicatedJobs"][0]["template"]["spec"]
    assert template["completionMode"] == "Indexed"
    assert template["template"]["spec"]["restartPolicy"] == "OnFailure"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"successPolicy": {"operator": "All", "targetReplicatedJobs": ["none"]}},
            "<nil>: Internal error: invalid replicatedJob name 'none' does not appear in .spec.ReplicatedJobs",
        ),
        (
            {"network": {"subdomain": "Not.A.Label"}},
            "spec.network.subdomain: Invalid value: ",
        ),
        (
            {"coordinator": {"replicatedJob": "a", "jobIndex": 5}},
            "<nil>: Internal error: coordinator job index 5 is invalid for replicatedJob a",
        ),
    ],
    ids=["success-policy", "network", "coordinator"],
)
def test_the_validating_webhook_refuses_in_its_own_words(
    jobsets: JobSets, spec: Object, message: str
) -> None:
    answer = jobsets.server.post(jobsets.path, jobset("bad", replicated("a", "true"), **spec))
    assert answer.refusal[:2] == (422, "Invalid")
    words = 'admission webhook "vjobset.kb.io" denied the request: JobSet.jobset.x-k8s.io "bad" is invalid: '
    assert answer.body["message"].removeprefix(words).lstrip("[").startswith(message)
    assert jobsets.server.get(f"{jobsets.path}/bad").status == 404


def test_an_update_of_what_must_stay_is_refused(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"), suspend=True)
    more = [replicated("a", "true", replicas=2)]
    answer = jobsets.server.patch(f"{jobsets.path}/demo", {"spec": {"replicatedJobs": more}})
    assert answer.status == 422
    assert "spec.replicatedJobs" in answer.body["message"]
    assert "field is immutable" in answer.body["message"]


def test_the_schema_refuses_before_any_webhook(jobsets: JobSets) -> None:
    bad = jobset("bad", replicated("a", "true"), successPolicy={"operator": "Some"})
    answer = jobsets.server.post(jobsets.path, bad)
    # The CRD's rules are not run on such an object; a cause without a field says so.
    causes = [("<nil>", "FieldValueInvalid"), ("spec.successPolicy.operator", "FieldValueNotSupported")]
    assert answer.refusal == (422, "Invalid", causes)


def test_jobs_and_a_headless_service_belong_to_the_jobset(jobsets: JobSets) -> None:
    made = jobsets.create(
        "demo", replicated("a", "sleep 60"), replicated("b", "sleep 60", replicas=2, pods=2)
    )
    until(lambda: len(jobsets.jobs()) == 3, "three jobs")
    jobs = jobsets.jobs()
    assert sorted(jobs) == ["demo-a-0", "demo-b-0", "demo-b-1"]
    assert [job["metadata"]["ownerReferences"] for job in jobs.values()] == [[_owner(made)]] * 3
    last = jobs["demo-b-1"]
    labels = {
        name.removeprefix("jobset.sigs.k8s.io/"): value for name, value in last["metadata"]["labels"].items()
    }
    assert labels["jobset-name"] == "demo"
    assert (labels["replicatedjob-name"], labels["job-index"], labels["job-global-index"]) == ("b", "1", "2")
    assert (last["spec"]["parallelism"], last["spec"]["completionMode"]) == (2, "Indexed")
    service = jobsets.server.get(f"/api/v1/namespaces/{jobsets.namespace}/services/demo").ok
    assert service["metadata"]["ownerReferences"] == [_owner(made)]
    spec = service["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == {"jobset.sigs.k8s.io/jobset-name": "demo"}


def test_what_a_jobset_made_goes_with_it(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "sleep 60", replicas=2))
    until(lambda: len(jobsets.jobs()) == 2 and len(jobsets.pods()) == 2, "jobs and pods")
    answer = jobsets.server.delete(f"{jobsets.path}/demo", {"propagationPolicy": "Foreground"})
    assert answer.ok["metadata"]["finalizers"] == ["foregroundDeletion"]
    until(lambda: jobsets.server.get(f"{jobsets.path}/demo").status == 404, "the JobSet is gone")
    service = f"/api/v1/namespaces/{jobsets.namespace}/services/demo"
    assert (jobsets.jobs(), jobsets.server.get(service).status) == ({}, 404)


def test_its_events_tell_of_suspension(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"), suspend=True)
    jobsets.becomes("demo", "Suspended", "SuspendedJobs")
    assert [job["spec"]["suspend"] for job in jobsets.jobs().values()] == [True]
    assert jobsets.pods() == {}
    events = f"/apis/events.k8s.io/v1/namespaces/{jobsets.namespace}/events"
    until(lambda: jobsets.server.get(events).ok["items"], "an event")
    found = [item for item in jobsets.server.get(events).ok["items"] if item["regarding"]["kind"] == "JobSet"]
    assert [(item["reason"], item["reportingController"]) for item in found] == [("SuspendedJobs", "jobset")]


def test_caches_are_filled_by_watches_alone(installation: Installation, jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"), suspend=True)
    until(lambda: jobsets.jobs(), "a job")
    reads = [item for item in installation.said() if item.method == "GET" and item.path in WATCHED]
    # A server that is just learning of a kind may put a client off (429).
    assert {item.path for item in reads if item.status == 200} == WATCHED
    for item in reads:
        asked = (
            item.query.get("sendInitialEvents"),
            item.query.get("resourceVersionMatch"),
            item.query["watch"],
        )
        assert asked == ("true", "NotOlderThan", "true"), item


def test_the_end_of_the_initial_events_is_marked(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"), suspend=True)
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    with jobsets.server.watch(jobsets.path, **query) as watch:
        events = iter(watch)
        first, mark = next(events), next(events)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "demo")
    assert mark["type"] == "BOOKMARK"
    assert (mark["object"]["kind"], mark["object"]["apiVersion"]) == ("JobSet", "jobset.x-k8s.io/v1alpha2")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def _writes(said: list[Exchange], path: str) -> set[tuple[str, str, int]]:
    return {
        (item.method, item.sent_kind, item.status)
        for item in said
        if item.path.startswith(path) and item.sent_kind
    }


def test_what_it_writes_in_protobuf_is_understood(installation: Installation, jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"))
    until(lambda: jobsets.jobs(), "a job")
    until(
        lambda: ("PUT", PROTOBUF, 200) in _writes(installation.said(), LEASES), "a renewed Lease", seconds=20
    )
    said = installation.said()
    assert ("POST", PROTOBUF, 201) in _writes(said, LEASES)
    assert _writes(said, f"/apis/batch/v1/namespaces/{jobsets.namespace}/jobs") == {("POST", PROTOBUF, 201)}
    assert _writes(said, f"/api/v1/namespaces/{jobsets.namespace}/services") == {("POST", PROTOBUF, 201)}
    # A custom resource has no protobuf form: its controller writes JSON.
    status = _writes(said, f"{jobsets.path}/demo/status")
    assert {(method, kind) for method, kind, _ in status} == {("PUT", "application/json")}


def test_a_manager_that_prefers_cbor_reads_json(installation: Installation, jobsets: JobSets) -> None:
    before = len(installation.said())
    installation.alone(KUBE_FEATURE_ClientsAllowCBOR="true", KUBE_FEATURE_ClientsPreferCBOR="true")
    try:
        jobsets.create("demo", replicated("a", "true"), suspend=True)
        # Its writes of custom resources do not leave the manager: controller-runtime has no encoder for CBOR.
        until(lambda: jobsets.jobs(), "a job from the JobSet that it read")
        asked = [item for item in installation.said()[before:] if "cbor" in item.headers.get("accept", "")]
        assert {item.headers["accept"] for item in asked} == {"application/cbor, */*"}
        assert {(item.path, item.sent_kind, item.status, item.answer_kind) for item in asked} == {
            (JOBSETS_EVERYWHERE, "", 200, "application/json"),
            (EVENTS, "application/cbor", 415, "application/json"),
        }
    finally:
        installation.alone()


def test_cbor_is_refused_in_bodies(jobsets: JobSets) -> None:
    answer = jobsets.server.post(jobsets.path, b"\xd9\xd9\xf7\xa0", kind="application/cbor")
    assert answer.refusal == (415, "UnsupportedMediaType", [])


def test_metrics_ask_the_server_who_may_read_them(installation: Installation, namespace: str) -> None:
    server, manager = installation.server, installation.managers[-1]
    assert (manager.probe("/healthz"), manager.probe("/readyz")) == (200, 200)
    assert manager.scrape(installation.authority)[0] == 401
    stranger = installation.token(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    assert manager.scrape(installation.authority, stranger)[0] == 403
    assert _may_read_metrics(server) == [("ServiceAccount", "jobset-controller-manager")]
    status, text = manager.scrape(installation.authority, installation.token())
    assert status == 200
    assert 'controller_runtime_webhook_requests_total{code="200",webhook="/mutate-jobset' in text


def _may_read_metrics(server: Server) -> list[tuple[str, str]]:
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/jobset-metrics-reader-rolebinding"
    return [(item["kind"], item["name"]) for item in server.get(path).ok["subjects"]]

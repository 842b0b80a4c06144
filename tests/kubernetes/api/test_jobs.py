"""Jobs: which pods are made, and when a Job is over. Pods fit no node; the test says how they end."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import MERGE, Server
from support.staying import until

Object = dict[str, Any]


class Work:
    """One Job in a namespace, and its pods."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self.at = f"/api/v1/namespaces/{namespace}/pods"

    def make(self, **spec: Any) -> Object:
        container = {"name": "main", "image": "none", "command": ["true"]}
        pod = {"restartPolicy": "Never", "nodeSelector": {"none": "such"}, "containers": [container]}
        pod |= spec.pop("pod", {})
        body = {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod}, **spec}}
        return dict(self.server.post(self.jobs, body).ok)

    @property
    def job(self) -> Object:
        return dict(self.server.get(f"{self.jobs}/j").ok)

    @property
    def status(self) -> Object:
        return dict(self.job.get("status") or {})

    def pods(self, phase: str = "Pending") -> list[Object]:
        found = self.server.get(self.at).ok["items"]
        return [
            pod
            for pod in found
            if pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]
        ]

    def wait_for_pods(self, count: int) -> list[Object]:
        until(lambda: len(self.pods()) == count, f"{count} pods")
        return self.pods()

    def end(self, pod: Object, code: int = 0, **status: Any) -> None:
        """Say of a pod that it ran and how it ended."""
        state = {"terminated": {"exitCode": code, "startedAt": None, "finishedAt": "2026-01-01T00:00:00Z"}}
        containers = [
            {
                "name": "main",
                "image": "none",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ]
        body = {"phase": "Failed" if code else "Succeeded", "containerStatuses": containers, **status}
        path = f"{self.at}/{pod['metadata']['name']}/status"
        self.server.patch(path, {"status": body}, MERGE).ok  # noqa: B018

    def conditions(self) -> dict[str, str]:
        """Return type -> reason of the conditions that hold."""
        found = self.status.get("conditions") or []
        return {each["type"]: each.get("reason", "") for each in found if each["status"] == "True"}

    def over(self) -> dict[str, str]:
        until(lambda: {"Complete", "Failed"} & set(self.conditions()), "the end of the job")
        return self.conditions()


@pytest.fixture
def work(server: Server, namespace: str) -> Work:
    return Work(server, namespace)


def test_a_job_is_complete_when_all_its_pods_are(work: Work) -> None:
    made = work.make(completions=3, parallelism=2)
    assert made["spec"]["completionMode"] == "NonIndexed"
    for pending in (2, 2, 1):
        work.end(work.wait_for_pods(pending)[0])
    assert work.over() == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert (work.status["succeeded"], work.status.get("active", 0)) == (3, 0)


def test_what_the_pods_carry(work: Work) -> None:
    made = work.make()
    (pod,) = work.wait_for_pods(1)
    labels = pod["metadata"]["labels"]
    uid = made["metadata"]["uid"]
    assert labels == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "Job",
        uid,
        True,
        True,
    )
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def test_a_job_fails_after_its_retries(work: Work) -> None:
    work.make(backoffLimit=0)
    work.end(*work.wait_for_pods(1), code=3)
    assert work.over() == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert work.status["failed"] == 1


def test_indexes(work: Work) -> None:
    work.make(completions=3, parallelism=3, completionMode="Indexed")
    pods = work.wait_for_pods(3)
    index = "batch.kubernetes.io/job-completion-index"
    assert sorted(pod["metadata"]["annotations"][index] for pod in pods) == ["0", "1", "2"]
    assert {pod["metadata"]["labels"][index] for pod in pods} == {"0", "1", "2"}
    assert {pod["spec"]["hostname"] for pod in pods} == {"j-0", "j-1", "j-2"}
    environment = pods[0]["spec"]["containers"][0]["env"]
    assert [each["name"] for each in environment] == ["JOB_COMPLETION_INDEX"]
    for pod in pods:
        work.end(pod)
    assert work.over()["Complete"] == "CompletionsReached"
    assert work.status["completedIndexes"] == "0-2"


def test_each_index_has_retries_of_its_own(work: Work) -> None:
    work.make(completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=0)
    for pod in work.wait_for_pods(2):
        work.end(pod, code=int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]))
    assert work.over() == {"FailureTarget": "FailedIndexes", "Failed": "FailedIndexes"}
    assert (work.status["completedIndexes"], work.status["failedIndexes"]) == ("0", "1")


POLICIES: dict[str, tuple[Object, Object, dict[str, str]]] = {
    "fail the job": (
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"code": 42},
        {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"},
    ),
    "a condition of the pod": (
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"code": 1, "conditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"},
    ),
    "another code": (
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [3]}},
        {"code": 3},
        {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"},
    ),
}


@pytest.mark.parametrize(("rule", "ending", "expected"), POLICIES.values(), ids=POLICIES)
def test_failure_policies(work: Work, rule: Object, ending: Object, expected: dict[str, str]) -> None:
    work.make(backoffLimit=0, podFailurePolicy={"rules": [rule]})
    work.end(*work.wait_for_pods(1), **ending)
    assert work.over() == expected


def test_an_ignored_failure_does_not_count(work: Work) -> None:
    rule = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}
    work.make(backoffLimit=0, podFailurePolicy={"rules": [rule]})
    (first,) = work.wait_for_pods(1)
    work.end(first, code=42)
    until(
        lambda: [pod["metadata"]["name"] for pod in work.pods()] not in ([], [first["metadata"]["name"]]),
        "another pod",
    )
    assert work.status.get("failed", 0) == 0


def test_a_success_policy_ends_it_early(work: Work) -> None:
    policy = {"rules": [{"succeededIndexes": "0"}]}
    work.make(completions=2, parallelism=2, completionMode="Indexed", successPolicy=policy)
    for pod in work.wait_for_pods(2):
        if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "0":
            work.end(pod)
    assert work.over() == {"SuccessCriteriaMet": "SuccessPolicy", "Complete": "SuccessPolicy"}


def test_a_suspended_job_has_no_pods(work: Work) -> None:
    work.make(suspend=True)
    until(lambda: work.conditions() == {"Suspended": "JobSuspended"}, "the condition")
    assert work.pods() == [] and "startTime" not in work.status
    work.server.patch(f"{work.jobs}/j", {"spec": {"suspend": False}}, MERGE).ok  # noqa: B018
    work.wait_for_pods(1)
    until(lambda: "startTime" in work.status and not work.conditions(), "the start")
    work.server.patch(f"{work.jobs}/j", {"spec": {"suspend": True}}, MERGE).ok  # noqa: B018
    until(lambda: work.conditions() == {"Suspended": "JobSuspended"} and not work.pods(), "the rest")
    assert "startTime" not in work.status


def test_a_deadline(work: Work) -> None:
    work.make(activeDeadlineSeconds=1)
    assert work.over() == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}
    until(lambda: not work.pods(), "the end of its pods")


def test_a_finished_job_goes_in_its_time(work: Work) -> None:
    work.make(ttlSecondsAfterFinished=1)
    work.end(*work.wait_for_pods(1))
    until(lambda: work.server.get(f"{work.jobs}/j").status == 404, "the end of its time")


def test_parallelism_can_change(work: Work) -> None:
    work.make(parallelism=1, completions=3)
    work.wait_for_pods(1)
    work.server.patch(f"{work.jobs}/j", {"spec": {"parallelism": 3}}, MERGE).ok  # noqa: B018
    work.wait_for_pods(3)
    work.server.patch(f"{work.jobs}/j", {"spec": {"parallelism": 0}}, MERGE).ok  # noqa: B018
    work.wait_for_pods(0)


def test_somebody_elses_job_is_left_alone(work: Work) -> None:
    work.make(managedBy="example.com/other")
    other = Work(work.server, work.at.split("/")[4])
    assert other.job["spec"]["managedBy"] == "example.com/other"
    # Of a job made after it the pods are there: it had its time.
    body = {"metadata": {"name": "k"}, "spec": {"template": work.job["spec"]["template"]}}
    body["spec"]["template"].pop("metadata", None)
    work.server.post(work.jobs, body).ok  # noqa: B018
    (pod,) = work.wait_for_pods(1)
    assert pod["metadata"]["labels"]["job-name"] == "k"
    assert work.status == {}


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({"completions": -1}, [("spec.completions", "FieldValueInvalid")]),
        (
            {"pod": {"restartPolicy": "Always"}},
            [("spec.template.spec.restartPolicy", "FieldValueRequired")],
        ),
        ({"backoffLimitPerIndex": 1}, [("spec.backoffLimitPerIndex", "FieldValueInvalid")]),
        ({"activeDeadlineSeconds": -1}, [("spec.activeDeadlineSeconds", "FieldValueInvalid")]),
        ({"ttlSecondsAfterFinished": -1}, [("spec.ttlSecondsAfterFinished", "FieldValueInvalid")]),
        ({"managedBy": "x"}, [("spec.managedBy", "FieldValueInvalid")]),
        ({"podReplacementPolicy": "Never"}, [("spec.podReplacementPolicy", "FieldValueNotSupported")]),
        (
            {"selector": {"matchLabels": {"a": "b"}}},
            [("spec.selector", "FieldValueInvalid"), ("spec.template.metadata.labels", "FieldValueInvalid")],
        ),
    ],
    ids=str,
)
def test_bad_jobs(work: Work, spec: Object, causes: list[tuple[str, str]]) -> None:
    container = {"name": "main", "image": "none"}
    pod = {"restartPolicy": "Never", "containers": [container], **spec.get("pod", {})}
    rest = {key: value for key, value in spec.items() if key != "pod"}
    body = {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod}, **rest}}
    assert work.server.post(work.jobs, body).refusal == (422, "Invalid", causes)


@pytest.mark.parametrize(
    "patch",
    [
        {"completions": 5},
        {"completionMode": "Indexed"},
        {"template": {"spec": {"restartPolicy": "OnFailure"}}},
    ],
    ids=str,
)
def test_what_cannot_change(work: Work, patch: Object) -> None:
    work.make()
    status, reason, causes = work.server.patch(f"{work.jobs}/j", {"spec": patch}, MERGE).refusal
    assert (status, reason) == (422, "Invalid")
    assert {field for field, _ in causes} >= {f"spec.{next(iter(patch))}"}

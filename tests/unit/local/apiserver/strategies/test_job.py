from typing import Any

import pytest

from support.strategies import CREATED, cells, changed, created, named, refused, strategy, template, texts

JOBS = "jobs.batch"


def job(**spec: Any) -> dict[str, Any]:
    parts = {"restartPolicy": "Never", **spec.pop("pod", {})}
    return named("pi", spec={"template": template(**parts), **spec})


def test_a_bare_job_runs_once() -> None:
    spec = created(JOBS, job())["spec"]
    wanted = {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }
    assert {key: spec[key] for key in wanted} == wanted
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"parallelism": 3}, {"parallelism": 3, "completions": None}),
        ({"completions": 3}, {"parallelism": 1, "completions": 3}),
        (
            {"completionMode": "Indexed", "completions": 1, "backoffLimitPerIndex": 1},
            {"backoffLimit": 2**31 - 1},
        ),
        ({"podFailurePolicy": {"rules": []}}, {"podReplacementPolicy": "Failed"}),
    ],
)
def test_defaults_follow_from_what_is_given(given: dict[str, Any], found: dict[str, Any]) -> None:
    spec = created(JOBS, job(**given))["spec"]
    assert {key: spec.get(key) for key in found} == found


def test_pods_are_tied_to_the_job_by_generated_labels() -> None:
    spec = created(JOBS, job())["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert labels == {
        "app": "a",
        "batch.kubernetes.io/controller-uid": "uid-1",
        "batch.kubernetes.io/job-name": "pi",
        "controller-uid": "uid-1",
        "job-name": "pi",
    }
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "uid-1"}}


def test_a_job_takes_its_templates_labels_when_it_has_none() -> None:
    assert created(JOBS, job())["metadata"]["labels"] == {"app": "a"}


def test_a_manual_selector_is_left_alone() -> None:
    made = created(JOBS, job(manualSelector=True, selector={"matchLabels": {"app": "a"}}))
    assert made["spec"]["selector"] == {"matchLabels": {"app": "a"}}
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "a"}
    assert texts(strategy(JOBS).validate(made)) == []


def test_a_new_job_has_no_status() -> None:
    assert created(JOBS, {**job(), "status": {"succeeded": 5}})["status"] == {}


INDEXED = {"completionMode": "Indexed", "completions": 3}
FAILURE = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        ({"completions": -1}, "spec.completions: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"pod": {"restartPolicy": "Always"}},
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFail',
        ),
        (
            {"completionMode": "Indexed", "parallelism": 1},
            "spec.completions: Required value: when completion mode is Ind",
        ),
        (
            {"completionMode": "Other"},
            'spec.completionMode: Unsupported value: "Other": supported values: "NonIndexed"',
        ),
        (
            {"backoffLimitPerIndex": 1},
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (
            {**INDEXED, "maxFailedIndexes": 1},
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is spec",
        ),
        (
            {**INDEXED, "maxFailedIndexes": 4, "backoffLimitPerIndex": 1},
            "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions",
        ),
        ({"podReplacementPolicy": "Never"}, 'spec.podReplacementPolicy: Unsupported value: "Never"'),
        ({"managedBy": "me"}, 'spec.managedBy: Invalid value: "me": must be a domain-prefixed path'),
        (
            {"pod": {"restartPolicy": "OnFailure"}, "podFailurePolicy": {"rules": [FAILURE]}},
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when',
        ),
        (
            {"podFailurePolicy": {"rules": [{**FAILURE, "action": "FailIndex"}]}},
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex',
        ),
        (
            {"podFailurePolicy": {"rules": [{"action": "Ignore"}]}},
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ),
        (
            {
                "podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [0]}}]
                }
            },
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            {
                "podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [2, 1]}}]
                }
            },
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered",
        ),
        ({"successPolicy": {"rules": [{"succeededCount": 1}]}}, "spec.successPolicy: Invalid value:"),
        (
            {**INDEXED, "successPolicy": {"rules": []}},
            "spec.successPolicy.rules: Required value: at least one rules",
        ),
        (
            {**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0,3"}]}},
            'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0,3": error parsing succeededIndexes: too large',
        ),
        (
            {**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}},
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2",
        ),
        ({"pod": {"hostname": "A"}}, 'spec.template.spec.hostname: Invalid value: "A"'),
    ],
)
def test_one_thing_wrong_is_one_error(parts: dict[str, Any], start: str) -> None:
    (error,) = refused(JOBS, job(**parts))
    assert error.startswith(start)


def test_an_indexed_job_needs_a_name_that_fits_its_pods_host_names() -> None:
    given = job(**INDEXED)
    given["metadata"]["name"] = "a.b"
    (error,) = refused(JOBS, given)
    assert error.endswith("will not able to create pod with invalid DNS label: a.b-2")


OLD = created(JOBS, job(**INDEXED, parallelism=3))


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ({"parallelism": 5}, ""),
        ({"suspend": True}, ""),
        ({"completions": 5, "parallelism": 5}, ""),
        (
            {"completions": 5},
            "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism",
        ),
        (
            {"completionMode": "NonIndexed"},
            'spec.completionMode: Invalid value: "NonIndexed": field is immutable',
        ),
        ({"managedBy": "a.com/b"}, 'spec.managedBy: Invalid value: "a.com/b": field is immutable'),
    ],
)
def test_some_of_a_job_may_change(spec: dict[str, Any], start: str) -> None:
    errors = changed(JOBS, OLD, {**OLD, "spec": {**OLD["spec"], **spec}})
    assert (not errors) if not start else errors[0].startswith(start)


def narrowed(old: dict[str, Any], **pod: Any) -> list[str]:
    made = old["spec"]["template"]
    changed_template = {**made, "spec": {**made["spec"], **pod}}
    return changed(JOBS, old, {**old, "spec": {**old["spec"], "template": changed_template}})


def test_the_template_may_be_directed_elsewhere_while_suspended() -> None:
    suspended = created(JOBS, job(suspend=True))
    assert narrowed(suspended, nodeSelector={"a": "b"}, schedulingGates=[{"name": "x"}]) == []
    (error,) = narrowed(suspended, hostNetwork=True)
    assert error.startswith("spec.template: Invalid value:")


@pytest.mark.parametrize("status", [{"active": 1}, {"startTime": CREATED}])
def test_the_template_is_fixed_once_pods_ran(status: dict[str, Any]) -> None:
    running = {**created(JOBS, job(suspend=True)), "status": status}
    (error,) = narrowed(running, nodeSelector={"a": "b"})
    assert error.endswith("field is immutable")


def condition(kind: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True"}]}


@pytest.mark.parametrize(
    ("before", "after", "start"),
    [
        ({}, {"active": 1, "startTime": CREATED}, ""),
        ({}, {**condition("Complete"), "startTime": CREATED, "completionTime": CREATED}, ""),
        (
            condition("Failed"),
            {},
            "status.conditions: Invalid value: []: must not disable Failed condition with status",
        ),
        (
            {},
            condition("Complete"),
            "status.completionTime: Required value: completionTime is required for Complete jobs",
        ),
        ({}, {"completionTime": CREATED}, "status.completionTime: Invalid value:"),
    ],
)
def test_the_end_of_a_job_is_final(before: dict[str, Any], after: dict[str, Any], start: str) -> None:
    old, new = {**OLD, "status": before}, {**OLD, "status": after}
    errors = texts(strategy(JOBS).validate_status(new, old))
    assert (not errors) if not start else errors[0].startswith(start)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({}, "Running"),
        (condition("Complete"), "Complete"),
        (condition("Failed"), "Failed"),
        (condition("Suspended"), "Suspended"),
        (condition("FailureTarget"), "FailureTarget"),
    ],
)
def test_the_status_column(status: dict[str, Any], word: str) -> None:
    assert cells(JOBS, {**OLD, "status": status})["Status"] == word


@pytest.mark.parametrize(
    ("spec", "status", "done", "duration"),
    [
        ({"completions": 3}, {"succeeded": 1, "startTime": "2026-03-01T11:59:00Z"}, "1/3", "60s"),
        ({"parallelism": 2}, {}, "0/1 of 2", ""),
        ({"parallelism": 1}, {}, "0/1", ""),
        (
            {"completions": 1},
            {"succeeded": 1, "startTime": "2026-03-01T11:00:00Z", "completionTime": "2026-03-01T11:00:05Z"},
            "1/1",
            "5s",
        ),
    ],
)
def test_completions_and_duration(
    spec: dict[str, Any], status: dict[str, Any], done: str, duration: str
) -> None:
    row = cells(JOBS, {"metadata": {"name": "pi"}, "spec": spec, "status": status})
    assert (row["Completions"], row["Duration"]) == (done, duration)


def test_jobs_are_selected_by_how_many_pods_succeeded() -> None:
    assert strategy(JOBS).fields({"status": {"succeeded": 2}})["status.successful"] == "2"

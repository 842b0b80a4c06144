from datetime import timedelta
from typing import Any

import pytest

from hortator.apimachinery import meta
from hortator.local.controllers.job.observe import FAILURES, IGNORED_FAILURES, observe
from hortator.local.controllers.job.plan import plan
from hortator.local.controllers.job.pods import make_pod
from support.batch import START, World, job, planned, pod

BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")


def conditions(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["type"], one["reason"]) for one in status.get("conditions", ()) if one["status"] == "True"]


@pytest.mark.parametrize(
    ("spec", "pods", "made"),
    [
        ({}, [], 1),
        ({"completions": 5, "parallelism": 3}, [], 3),
        ({"completions": 2, "parallelism": 3}, [], 2),
        ({"completions": 5, "parallelism": 3}, [pod(), pod("Pending")], 1),
        ({"completions": 3, "parallelism": 3}, [pod("Succeeded"), pod()], 1),
        ({"completions": 3, "parallelism": 0}, [], 0),
        ({"parallelism": 3}, [], 3),
        ({"parallelism": 3}, [pod("Succeeded"), pod()], 0),
        ({"suspend": True}, [], 0),
        ({"completions": 3, "parallelism": 3}, [pod(deleting=True, ended=START - timedelta(60))], 3),
        (
            {"completions": 3, "parallelism": 3, "podReplacementPolicy": "Failed"},
            [pod(deleting=True)],
            2,
        ),
    ],
)
def test_as_many_pods_as_are_missing(spec: dict[str, Any], pods: list[dict[str, Any]], made: int) -> None:
    assert len(planned(job(**spec), *pods).create) == made


def test_the_first_pass_starts_the_clock() -> None:
    assert planned(job()).status["startTime"] == meta.rfc3339(START)
    assert "startTime" not in planned(job(suspend=True)).status


def test_too_many_pods_lose_the_least_advanced() -> None:
    idle, running, ready = pod("Pending", node=""), pod(), pod(ready=True)
    found = planned(job(completions=9, parallelism=1), ready, idle, running)
    assert [one.name for one in found.surplus] == [one["metadata"]["name"] for one in (idle, running)]
    assert (found.status["active"], found.status["ready"], found.status["terminating"]) == (1, 1, 2)


def test_a_job_runs_to_completion() -> None:
    world = World(job(completions=3, parallelism=2))
    world.settle()
    assert world.status["active"] == 2
    while world.active():
        world.end(world.active()[0], "Succeeded")
        world.settle()
    assert world.final == "Complete"
    assert world.status["succeeded"] == 3
    assert "active" not in world.status
    assert world.status["uncountedTerminatedPods"] == {}
    assert conditions(world.status) == [
        ("SuccessCriteriaMet", "CompletionsReached"),
        ("Complete", "CompletionsReached"),
    ]
    assert world.status["completionTime"] == meta.rfc3339(START)
    assert plan(world.view()) is None


def test_a_work_queue_ends_when_one_succeeded_and_the_others_ended() -> None:
    world = World(job(parallelism=3))
    world.settle()
    first, second, third = world.active()
    world.end(first, "Succeeded")
    world.settle()
    assert len(world.active()) == 2
    world.end(second, "Succeeded")
    world.end(third, "Failed")
    world.settle()
    assert (world.final, world.status["succeeded"], world.status["failed"]) == ("Complete", 2, 1)


def test_failures_up_to_the_limit_are_retried_ever_more_slowly() -> None:
    world = World(job(backoffLimit=3))
    world.settle()
    waits = []
    for _ in range(3):
        world.end(world.active()[0], "Failed")
        world.settle()
        assert not world.active()
        last = world.sync()
        assert last is not None and last.requeue_after is not None
        waits.append(last.requeue_after)
        world.seconds += last.requeue_after
        world.settle()
    assert waits == [10, 20, 40]
    world.end(world.active()[0], "Failed")
    world.settle()
    assert world.final == "Failed"
    assert world.status["failed"] == 4
    last_condition = world.status["conditions"][-1]
    assert (last_condition["reason"], last_condition["message"]) == BACKOFF
    assert conditions(world.status) == [("FailureTarget", BACKOFF[0]), ("Failed", BACKOFF[0])]


def test_the_backoff_does_not_outgrow_ten_minutes() -> None:
    failed = [pod("Failed", tracked=False) for _ in range(40)]
    assert planned(job(backoffLimit=99, status={"failed": 40}), *failed).requeue_after == 600


def test_a_success_ends_the_backoff() -> None:
    failed = pod("Failed", tracked=False)
    good = pod("Succeeded", ended=START + timedelta(seconds=1))
    assert len(planned(job(completions=3), failed, good, after=2).create) == 1


def test_when_the_job_fails_its_other_pods_are_ended_and_counted() -> None:
    world = World(job(completions=3, parallelism=3, backoffLimit=0))
    world.settle()
    first, second, third = world.active()
    for one in (second, third):
        one["status"] = {"phase": "Running"}
    world.end(first, "Failed")
    world.settle()
    assert world.final == ""
    assert conditions(world.status) == [("FailureTarget", "BackoffLimitExceeded")]
    assert world.status["terminating"] == 2
    world.end(second, "Failed")
    world.end(third, "Succeeded")
    world.settle()
    assert (world.final, world.status["failed"]) == ("Failed", 3)
    assert world.status["terminating"] == 0


@pytest.mark.parametrize(
    ("limit", "restarts", "fails"), [(3, 2, False), (3, 3, True), (0, 0, False), (0, 1, True)]
)
def test_restarts_in_place_count_against_the_limit(limit: int, restarts: int, fails: bool) -> None:
    found = planned(job(restartPolicy="OnFailure", backoffLimit=limit), pod(restarts=restarts))
    assert bool(found.end) is fails


def test_the_deadline_ends_the_job() -> None:
    started = {"startTime": meta.rfc3339(START)}
    the_job = job(activeDeadlineSeconds=30, status=started)
    assert planned(the_job, pod(), after=10).requeue_after == 20
    late = planned(the_job, pod(), after=30)
    assert len(late.end) == 1
    assert late.status["conditions"][0]["reason"] == "DeadlineExceeded"
    assert late.status["conditions"][0]["message"] == "Job was active longer than specified deadline"


def test_time_asleep_is_not_counted() -> None:
    the_job = job(activeDeadlineSeconds=30, status={"startTime": meta.rfc3339(START)})
    assert planned(the_job, pod(), after=3600, asleep=3590).requeue_after == 20


def test_suspending_ends_pods_without_counting_them_and_resuming_starts_anew() -> None:
    world = World(job(completions=2, parallelism=2))
    world.settle()
    world.job["spec"]["suspend"] = True
    noted = world.sync()
    assert noted is not None and [one.reason for one in noted.events] == ["Suspended"]
    world.settle()
    assert not world.pods
    assert "startTime" not in world.status
    assert "failed" not in world.status
    assert conditions(world.status) == [("Suspended", "JobSuspended")]
    world.seconds = 100
    world.job["spec"]["suspend"] = False
    noted = world.sync()
    assert noted is not None and [one.reason for one in noted.events] == ["Resumed"]
    assert world.status["startTime"] == meta.rfc3339(world.now)
    assert len(world.active()) == 2
    assert conditions(world.status) == []


def test_a_job_of_another_controller_is_left_alone() -> None:
    assert plan(observe(job(managedBy="example.com/mine"), [], now=START)) is None


def test_a_job_that_is_deleted_makes_no_pods_and_lets_its_own_go() -> None:
    found = planned(job(deleting=True, completions=2, parallelism=2), pod())
    assert (found.create, len(found.release)) == ((), 1)


def test_a_crash_between_noting_and_releasing_counts_once() -> None:
    world = World(job(completions=2, parallelism=2))
    world.settle()
    done = world.active()[0]
    world.end(done, "Succeeded")
    todo = plan(world.view())
    assert todo is not None
    # The status is written, and then nothing more happens.
    world.job["status"] = todo.status
    assert todo.status["uncountedTerminatedPods"] == {"succeeded": [done["metadata"]["uid"]]}
    world.settle()
    assert world.status["succeeded"] == 1
    assert world.status["uncountedTerminatedPods"] == {}


def test_a_crash_between_releasing_and_counting_counts_once() -> None:
    world = World(job(completions=2, parallelism=2))
    world.settle()
    done = world.active()[0]
    world.end(done, "Failed")
    todo = plan(world.view())
    assert todo is not None
    world.job["status"] = todo.status
    done["metadata"]["finalizers"] = []
    world.settle()
    assert world.status["failed"] == 1


# Indexed Jobs


def test_each_index_gets_a_pod_of_its_own() -> None:
    found = planned(job(completionMode="Indexed", completions=5, parallelism=3), pod(index=1))
    assert [one.index for one in found.create] == [0, 2]


def test_indexed_jobs_list_what_is_done() -> None:
    world = World(job(completionMode="Indexed", completions=4, parallelism=4))
    world.settle()
    for number in (0, 1, 3):
        world.end(world.active()[0 if number < 3 else 1], "Succeeded")
    world.settle()
    assert world.status["completedIndexes"] == "0,1,3"
    assert world.status["succeeded"] == 3
    world.end(world.active()[0], "Succeeded")
    world.settle()
    assert (world.final, world.status["completedIndexes"]) == ("Complete", "0-3")


def test_pods_without_a_place_among_the_indexes_go() -> None:
    good, twin, beyond = pod(index=0, ready=True), pod(index=0), pod(index=7)
    nameless = pod()
    found = planned(job(completionMode="Indexed", completions=2, parallelism=2), good, twin, beyond, nameless)
    assert {one.name for one in found.surplus} == {
        one["metadata"]["name"] for one in (twin, beyond, nameless)
    }


def test_an_index_that_fails_too_often_is_given_up_and_the_others_go_on() -> None:
    world = World(job(completionMode="Indexed", completions=2, parallelism=2, backoffLimitPerIndex=1))
    world.settle()
    bad, good = world.active()
    world.end(bad, "Failed")
    world.settle()
    # The failed pod stays until its successor carries the count.
    assert bad["metadata"]["finalizers"]
    todo = world.sync()
    assert todo is not None and todo.requeue_after == 10
    world.seconds += 10
    world.settle()
    successor = next(one for one in world.active() if one is not good)
    assert successor["metadata"]["annotations"][FAILURES] == "1"
    assert not bad["metadata"]["finalizers"]
    world.end(successor, "Failed")
    world.settle()
    assert world.status["failedIndexes"] == "0"
    assert world.final == ""
    world.end(good, "Succeeded")
    world.settle()
    assert world.final == "Failed"
    assert conditions(world.status)[-1] == ("Failed", "FailedIndexes")
    assert (world.status["failed"], world.status["succeeded"]) == (2, 1)


def test_too_many_lost_indexes_end_the_job() -> None:
    spec = {"completionMode": "Indexed", "completions": 9, "parallelism": 9, "backoffLimitPerIndex": 0}
    pods = [pod("Failed", index=0), pod("Failed", index=1)]
    assert not planned(job(**spec, maxFailedIndexes=2), *pods).finishing
    found = planned(job(**spec, maxFailedIndexes=1), *pods)
    assert found.status["conditions"][0]["reason"] == "MaxFailedIndexesExceeded"


# Policies


def exit_rule(
    action: str, operator: str = "In", values: tuple[int, ...] = (42,), **more: Any
) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"operator": operator, "values": list(values), **more}}


CONDITION_RULE = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


@pytest.mark.parametrize(
    ("rule", "failed", "counted", "message"),
    [
        (
            exit_rule("FailJob"),
            pod("Failed", code=42, name="j-x"),
            1,
            "Container main for pod default/j-x failed with exit code 42 matching FailJob rule at index 0",
        ),
        (exit_rule("FailJob"), pod("Failed", code=1), 1, ""),
        (exit_rule("FailJob", "NotIn"), pod("Failed", code=42), 1, ""),
        (exit_rule("FailJob", containerName="other"), pod("Failed", code=42), 1, ""),
        (exit_rule("Ignore"), pod("Failed", code=42), 0, ""),
        (exit_rule("Count"), pod("Failed", code=42), 1, ""),
        (CONDITION_RULE, pod("Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}]), 0, ""),
        (CONDITION_RULE, pod("Failed"), 1, ""),
        (
            {**CONDITION_RULE, "action": "FailJob"},
            pod("Failed", name="j-y", conditions=[{"type": "DisruptionTarget", "status": "True"}]),
            1,
            "Pod default/j-y has condition DisruptionTarget matching FailJob rule at index 0",
        ),
    ],
)
def test_the_failure_policy_decides(
    rule: dict[str, Any], failed: dict[str, Any], counted: int, message: str
) -> None:
    found = planned(job(podFailurePolicy={"rules": [rule]}, backoffLimit=5), failed)
    assert len(found.status["uncountedTerminatedPods"].get("failed", ())) == counted
    said = [one["message"] for one in found.status.get("conditions", ()) if one["type"] == "FailureTarget"]
    assert said == ([message] if message else [])


def test_the_failure_policy_can_give_up_one_index() -> None:
    found = planned(
        job(
            completionMode="Indexed",
            completions=2,
            parallelism=2,
            backoffLimitPerIndex=5,
            podFailurePolicy={"rules": [exit_rule("FailIndex")]},
        ),
        pod("Failed", index=0, code=42),
        pod(index=1),
    )
    assert found.status["failedIndexes"] == "0"


def test_ignored_failures_of_an_index_are_carried_on_apart() -> None:
    found = planned(
        job(
            completionMode="Indexed",
            completions=1,
            backoffLimitPerIndex=5,
            podFailurePolicy={"rules": [exit_rule("Ignore")]},
        ),
        pod("Failed", index=0, code=42, annotations={FAILURES: "2", IGNORED_FAILURES: "1"}),
        after=999,
    )
    assert [(one.failures, one.ignored) for one in found.create] == [(2, 2)]


@pytest.mark.parametrize(
    ("rules", "done", "met"),
    [
        ([{"succeededIndexes": "0,2-3"}], "0,2,3", 0),
        ([{"succeededIndexes": "0,2-3"}], "0,2", None),
        ([{"succeededCount": 2}], "1,3", 0),
        ([{"succeededIndexes": "0-3", "succeededCount": 2}], "1,3", 0),
        ([{"succeededIndexes": "0"}, {"succeededCount": 1}], "4", 1),
        ([{"succeededCount": 1}], "", None),
    ],
)
def test_the_success_policy_ends_the_job_early(
    rules: list[dict[str, Any]], done: str, met: int | None
) -> None:
    found = planned(
        job(
            completionMode="Indexed",
            completions=6,
            parallelism=6,
            successPolicy={"rules": rules},
            status={"completedIndexes": done},
        ),
        pod(index=5),
    )
    if met is None:
        assert not found.finishing
        return
    assert [one.index for one in found.end] == [5]
    condition = found.status["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("SuccessCriteriaMet", "SuccessPolicy")
    assert condition["message"] == f"Matched rules at index {met}"
    # Pods that were ended because enough had succeeded did not fail.
    assert "failed" not in found.status["uncountedTerminatedPods"]


# Pods


def test_a_pod_carries_its_owner_the_finalizer_and_the_template() -> None:
    view = observe(job("name"), [], now=START)
    made = make_pod(view, planned(job("name")).create[0])
    assert made["metadata"]["generateName"] == "name-"
    assert made["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert made["metadata"]["labels"] == {"job-name": "name"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-name"
    assert made["spec"] == view.spec["template"]["spec"]


def test_an_indexed_pod_knows_its_index() -> None:
    long = "n" * 60
    the_job = job(long, completionMode="Indexed", completions=12, parallelism=12)
    view = observe(the_job, [], now=START)
    made = make_pod(view, planned(the_job).create[11])
    assert made["metadata"]["generateName"] == "n" * 54 + "-11-"
    assert made["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "11"
    assert made["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "11"
    assert made["spec"]["hostname"] == f"{long}-11"
    assert [one["name"] for one in made["spec"]["containers"][0]["env"]] == ["JOB_COMPLETION_INDEX"]
    assert "env" not in the_job["spec"]["template"]["spec"]["containers"][0]

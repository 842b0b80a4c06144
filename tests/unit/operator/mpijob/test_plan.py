from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hortator.api import mpijob as api
from hortator.operator.mpijob import objects
from hortator.operator.mpijob.changes import Create, Delete, EnsureKeys, Patch, Plan
from hortator.operator.mpijob.observe import Observed, select_launcher_pods, select_workers
from hortator.operator.mpijob.plan import make_plan
from hortator.operator.mpijob.settings import Settings
from hortator.operator.mpijob.status import make_status
from support.builders import MPIJobBuilder, job, mpijob, pod, stored

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
SSH = Settings()
EXEC = Settings(launch_mode="exec", exec_agent="agent")


def _view(builder: MPIJobBuilder) -> api.MPIJob:
    return api.default(api.parse(builder.build()))


def observed(
    builder: MPIJobBuilder,
    *,
    settings: Settings = SSH,
    support: bool = True,
    launcher: dict[str, Any] | str | None = None,
    phases: dict[int, str] | None = None,
    ready: bool = False,
    **worker: Any,
) -> Observed:
    """What is there of a job: its support objects, a launcher (by default none), workers by number and phase."""
    view = _view(builder)
    workers = {
        index: pod(objects.worker(view, index, settings), phase, ready=ready, **worker)
        for index, phase in (phases or {}).items()
    }
    if isinstance(launcher, str):
        made = objects.launcher_job(view, settings, suspend=launcher == "suspended")
        launcher = job(made, launcher if launcher in ("Complete", "Failed") else "")
    running = [index for index, phase in (phases or {}).items() if phase == "Running"]
    with_account = settings.launch_mode == "exec" and support
    return Observed(
        job=view,
        service=stored(objects.service(view)) if support else None,
        config_map=stored(objects.config_map(view, running, settings)) if support else None,
        account=stored(objects.service_account(view)) if with_account else None,
        role=stored(objects.role(view)) if with_account else None,
        binding=stored(objects.role_binding(view)) if with_account else None,
        launcher=launcher,
        workers=workers,
    )


def brief(plan: Plan) -> list[list[str]]:
    """The plan in words, a list for each step."""

    def word(change: Any) -> str:
        match change:
            case Create(resource, obj):
                return f"create {resource.kind} {obj['metadata']['name']}"
            case EnsureKeys(_, name):
                return f"keys {name}"
            case Patch(resource, _, name):
                slash = f"/{change.subresource}" if change.subresource else ""
                return f"patch {resource.kind}{slash} {name}"
            case Delete(resource, _, name):
                return f"delete {resource.kind} {name}"
        raise AssertionError(change)

    return [[word(change) for change in step] for step in plan.steps]


SUPPORT = ["create Service pi", "create ConfigMap pi-config"]
RIGHTS = ["create ServiceAccount pi-launcher", "create Role pi-launcher", "create RoleBinding pi-launcher"]
WORKERS = ["create Pod pi-worker-0", "create Pod pi-worker-1"]
LAUNCHER = ["create Job pi-launcher"]
TWO = {0: "Running", 1: "Running"}


@pytest.mark.parametrize(
    ("found", "settings", "expected"),
    [
        (observed(mpijob().workers(2), support=False), SSH, [[*SUPPORT, "keys pi-ssh"], WORKERS, LAUNCHER]),
        (observed(mpijob().workers(2), support=False), EXEC, [[*SUPPORT, *RIGHTS], WORKERS, LAUNCHER]),
        (observed(mpijob(), support=False), SSH, [[*SUPPORT, "keys pi-ssh"], LAUNCHER]),
        # Everything there: nothing to do.
        (observed(mpijob().workers(2), launcher="running", phases=TWO), SSH, []),
        (observed(mpijob().workers(2), settings=EXEC, launcher="running", phases=TWO), EXEC, []),
        # The start gate.
        (observed(mpijob().workers(2).waiting()), SSH, [["keys pi-ssh"], WORKERS]),
        (observed(mpijob().workers(2).waiting(), phases=TWO), SSH, []),
        (observed(mpijob().workers(2).waiting(), phases=TWO, ready=True), SSH, [["keys pi-ssh"], LAUNCHER]),
        (
            observed(mpijob().workers(2).waiting(), settings=EXEC, phases={0: "Running"}, ready=True),
            EXEC,
            [WORKERS[1:]],
        ),
        # A suspended job has everything but workers; with a start gate it has no launcher either.
        (
            observed(mpijob().workers(2).suspended(), support=False),
            SSH,
            [[*SUPPORT, "keys pi-ssh"], LAUNCHER],
        ),
        (observed(mpijob().workers(2).suspended().waiting(), support=False), SSH, [SUPPORT]),
        (
            observed(mpijob().workers(2).suspended(), launcher="running", phases=TWO),
            SSH,
            [["patch Job pi-launcher"], ["delete Pod pi-worker-0", "delete Pod pi-worker-1"]],
        ),
        (
            observed(
                mpijob().workers(2).suspended().policy(cleanPodPolicy="Running"),
                launcher="suspended",
                phases={0: "Failed", 1: "Pending"},
            ),
            SSH,
            [["delete Pod pi-worker-1"]],
        ),
        # Resumption: workers first; with a start gate the launcher stays stopped until they are Ready.
        (
            observed(mpijob().workers(2), launcher="suspended"),
            SSH,
            [["keys pi-ssh"], WORKERS, ["patch Job pi-launcher"]],
        ),
        (observed(mpijob().workers(2).waiting(), launcher="suspended"), SSH, [["keys pi-ssh"], WORKERS]),
        (
            observed(mpijob().workers(2).waiting(), launcher="suspended", phases=TWO, ready=True),
            SSH,
            [["patch Job pi-launcher"]],
        ),
        # Failed workers are left as they are; those that have gone come back.
        (observed(mpijob().workers(2), launcher="running", phases={0: "Failed", 1: "Running"}), SSH, []),
        (
            observed(mpijob().workers(2), launcher="running", phases={1: "Running"}),
            SSH,
            [["keys pi-ssh"], WORKERS[:1]],
        ),
        # A launcher that has ended is not to be disturbed until its end is recorded.
        (observed(mpijob().workers(2), support=False, launcher="Complete"), SSH, []),
    ],
)
def test_plan(found: Observed, settings: Settings, expected: list[list[str]]) -> None:
    assert brief(make_plan(found, settings, now=NOW)) == expected


def _scaled(before: int, after: int, builder: MPIJobBuilder, settings: Settings) -> Plan:
    old = observed(
        builder.workers(before),
        settings=settings,
        launcher="running",
        phases=dict.fromkeys(range(before), "Running"),
    )
    view = _view(builder.workers(before).scaled(after))
    return make_plan(dataclasses.replace(old, job=view), settings, now=NOW)


@pytest.mark.parametrize("builder", [mpijob(), mpijob().launcher_as_worker()])
def test_scaling_down_takes_the_last_workers(builder: MPIJobBuilder) -> None:
    plan = _scaled(3, 2, builder, SSH)
    assert brief(plan) == [["patch ConfigMap pi-config"], ["delete Pod pi-worker-2"]]


def test_scaling_up_extends_hosts_and_rights() -> None:
    plan = _scaled(1, 2, mpijob(), EXEC)
    assert brief(plan) == [
        ["patch ConfigMap pi-config", "patch Role pi-launcher"],
        ["create Pod pi-worker-1"],
    ]
    config = next(change for change in plan.changes if isinstance(change, Patch))
    assert config.patch["data"].keys() == {"hostfile", "hostfile.hydra"}


def _finished(policy: str, phases: dict[int, str], **run_policy: Any) -> list[list[str]]:
    builder = mpijob().workers(2).policy(cleanPodPolicy=policy, **run_policy)
    found = observed(builder, launcher="Complete", phases=phases)
    status = make_status(found, now=NOW)
    again = observed(builder.status(status), launcher="Complete", phases=phases)
    return brief(make_plan(again, SSH, now=NOW))


@pytest.mark.parametrize(
    ("policy", "gone"),
    [("None", []), ("Running", [0, 2]), ("All", [0, 1, 2])],
)
def test_clean_up_covers_every_worker_whatever_the_spec_says_now(policy: str, gone: list[int]) -> None:
    phases = {0: "Running", 1: "Succeeded", 2: "Pending"}
    expected = [[f"delete Pod pi-worker-{index}" for index in gone]] if gone else []
    assert _finished(policy, phases) == expected


def test_workers_may_be_given_time_to_end_by_themselves() -> None:
    builder = mpijob().workers(1).policy(cleanPodPolicy="Running")
    builder = builder.with_("metadata.annotations", {"hortator.dev/clean-after-seconds": "10"})
    builder = builder.status(make_status(observed(builder, launcher="Complete"), now=NOW))
    ended = datetime.fromisoformat(builder.build()["status"]["completionTime"])
    running = observed(builder, launcher="Complete", phases={0: "Running"})
    waiting = make_plan(running, SSH, now=ended + timedelta(seconds=4))
    assert (brief(waiting), waiting.requeue_after) == ([], 6.0)
    over = make_plan(running, SSH, now=ended + timedelta(seconds=10))
    assert (brief(over), over.requeue_after) == ([["delete Pod pi-worker-0"]], None)


def test_the_jobs_ttl_is_set_only_once_its_end_is_recorded() -> None:
    assert _finished("None", {}, ttlSecondsAfterFinished=0) == [["patch Job pi-launcher"]]


def test_a_finished_job_whose_launcher_has_gone_is_not_run_again() -> None:
    status = make_status(observed(mpijob(), launcher="Complete"), now=NOW)
    assert make_plan(observed(mpijob().status(status), support=False), SSH, now=NOW) == Plan()


def test_resuming_takes_over_scheduling_directives() -> None:
    before = _view(mpijob().workers(1).launcher_spec(nodeSelector={"old": "1", "kept": "1"}))
    made = objects.launcher_job(before, SSH, suspend=True)
    queued = (
        mpijob()
        .workers(1)
        .launcher_spec(
            nodeSelector={"kept": "1", "new": "2"},
            tolerations=[{"key": "t"}],
            schedulingGates=[{"name": "g"}],
            containers=[{"name": "main", "image": "other"}],
        )
    )
    queued = queued.with_(
        "spec.mpiReplicaSpecs.Launcher.template.metadata", {"labels": {"l": "1"}, "annotations": {"a": "2"}}
    )
    launcher = job(made, startTime="2026-01-01T00:00:00Z")
    plan = make_plan(observed(queued, launcher=launcher, phases={0: "Running"}), SSH, now=NOW)
    assert brief(plan) == [["patch Job/status pi-launcher"], ["patch Job pi-launcher"]]
    clear, resume = plan.changes
    assert isinstance(clear, Patch)
    assert clear.patch == {"status": {"startTime": None}}
    assert isinstance(resume, Patch)
    assert resume.patch["spec"] == {
        "suspend": False,
        "template": {
            "metadata": {"labels": {"l": "1"}, "annotations": {"a": "2"}},
            "spec": {
                "nodeSelector": {"old": None, "new": "2"},
                "tolerations": [{"key": "t"}],
                "schedulingGates": [{"name": "g"}],
            },
        },
    }


def test_a_restart_policy_in_the_launchers_template_is_announced() -> None:
    plan = make_plan(observed(mpijob().launcher_spec(restartPolicy="Always")), SSH, now=NOW)
    assert [notice.reason for notice in plan.notices] == ["SetPodTemplateRestartPolicy"]


def _discovering(**worker: Any) -> Plan:
    found = observed(mpijob().workers(2), launcher="running", phases={0: "Running", 1: "Pending"}, **worker)
    empty = stored(objects.config_map(found.job, [], SSH))
    return make_plan(dataclasses.replace(found, config_map=empty), SSH, now=NOW)


def test_running_hosts_are_written_down_once_a_start_has_settled() -> None:
    early = _discovering(startTime="2026-01-01T00:01:00Z")
    assert early.steps == ()
    assert early.requeue_after == 1.0
    late = _discovering(startTime="2026-01-01T00:00:58Z")
    assert brief(late) == [["patch ConfigMap pi-config"]]


def test_a_service_is_mended_in_what_is_ours() -> None:
    found = observed(mpijob(), launcher="running")
    service = stored(objects.service(found.job))
    service["spec"] |= {"selector": {"x": "y"}, "clusterIPs": ["None"], "type": "ClusterIP"}
    plan = make_plan(dataclasses.replace(found, service=service), SSH, now=NOW)
    (change,) = plan.changes
    assert isinstance(change, Patch)
    assert change.patch == {
        "spec": {
            "selector": {
                "x": None,
                "training.kubeflow.org/operator-name": "mpi-operator",
                "training.kubeflow.org/job-name": "pi",
            }
        }
    }


def test_workers_are_known_by_their_names_and_their_owner() -> None:
    view = _view(mpijob().workers(2))
    ours = stored(objects.worker(view, 11, SSH))
    del ours["metadata"]["labels"]["training.kubeflow.org/replica-index"]
    foreign = stored(objects.worker(view, 0, SSH))
    foreign["metadata"]["ownerReferences"] = []
    odd = stored(objects.worker(view, 1, SSH))
    odd["metadata"]["name"] = "pi-worker-01"
    launcher = stored(objects.launcher_job(view, SSH, suspend=False))
    made = {
        "kind": "Pod",
        "metadata": {"name": "pi-launcher-x", "ownerReferences": [{"uid": "other", "controller": True}]},
    }
    assert select_workers(view, [ours, foreign, odd, made]) == {11: ours}
    assert select_launcher_pods(launcher, [made]) == ()

"""What to do next for a job: a pure function from what is there to the changes that are missing.

The order is upstream's: names, configuration and rights first, then workers, then the launcher; a job that is suspended has
its launcher stopped before its workers go; of a finished job only the cleaning up is left. What to record about it
is :mod:`.status`'s; making the changes is :mod:`.run`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.api import mpijob as api
from hortator.apimachinery import meta
from hortator.kube import resources
from hortator.kube.resources import Resource
from hortator.operator.mpijob import cleanup, objects, suspend
from hortator.operator.mpijob.changes import (
    Change,
    Create,
    Delete,
    EnsureKeys,
    Notice,
    Patch,
    Plan,
    difference,
)
from hortator.operator.mpijob.launch import DISCOVER_HOSTS
from hortator.operator.mpijob.observe import Observed, launcher_ended, phase
from hortator.operator.mpijob.settings import Settings

__all__ = ["make_plan"]

#: Seconds that the list of running hosts waits for more workers to appear, so that a start is one write and not many.
SETTLE = 1.0

Step = tuple[Change, ...]


def make_plan(observed: Observed, settings: Settings, *, now: datetime) -> Plan:
    """Return what is to be done for a job that is ours, valid and not being deleted."""
    if observed.finished:
        changes, wait = _clean_up(observed, now)
        return Plan(steps=_steps(changes), requeue_after=wait)
    job, launcher = observed.job, observed.launcher
    if launcher_ended(launcher):
        return Plan()
    support, wait = _support(observed, settings, now)
    workers = () if job.suspended else _workers(observed, settings)
    create: Step = ()
    notices: tuple[Notice, ...] = ()
    align: tuple[Step, ...] = ()
    if launcher is None:
        if observed.launcher_may_run:
            obj = objects.launcher_job(job, settings, suspend=job.suspended)
            create = (Create(resources.JOBS, obj),)
            notices = _restart_policy_notice(observed)
    else:
        align = tuple((patch,) for patch in suspend.align_launcher(observed, _template(observed, settings)))
    if settings.launch_mode == "ssh" and (create or any(isinstance(each, Create) for each in workers)):
        support = (*support, EnsureKeys(job.namespace, objects.secret_name(job)))
    gone: Step = ()
    if job.suspended:
        leaving = cleanup.after_suspension(job.clean_pod_policy, observed.workers.values())
        gone = tuple(Delete.of(resources.PODS, pod) for pod in leaving)
    return Plan(steps=_steps(support, workers, create, *align, gone), notices=notices, requeue_after=wait)


def _steps(*steps: Step) -> tuple[Step, ...]:
    return tuple(step for step in steps if step)


def _template(observed: Observed, settings: Settings) -> dict[str, Any]:
    return objects.launcher_template(observed.job, settings)


def _support(observed: Observed, settings: Settings, now: datetime) -> tuple[Step, float | None]:
    """Return the changes of everything that pods need, and how long to wait before the next look."""
    job = observed.job
    changes = list(_ensure_service(observed))
    config, wait = _ensure_config(observed, settings, now)
    changes += config
    if settings.launch_mode == "exec":
        if objects.account_name(job) == meta.name_of(objects.service_account(job)):
            changes += _ensure(resources.SERVICE_ACCOUNTS, observed.account, objects.service_account(job))
        changes += _ensure(resources.ROLES, observed.role, objects.role(job), "rules")
        changes += _ensure(resources.ROLE_BINDINGS, observed.binding, objects.role_binding(job), "subjects")
    return tuple(changes), wait


def _ensure(
    resource: Resource, found: Mapping[str, Any] | None, wanted: dict[str, Any], *keys: str
) -> list[Change]:
    """Return the change that makes an object exist, and these of its top-level fields be as wanted."""
    if found is None:
        return [Create(resource, wanted)]
    patch = {key: wanted[key] for key in keys if found.get(key) != wanted[key]}
    return [Patch.of(resource, found, patch)] if patch else []


def _ensure_service(observed: Observed) -> list[Change]:
    wanted, found = objects.service(observed.job), observed.service
    if found is None:
        return [Create(resources.SERVICES, wanted)]

    # Only these two are ours to keep; the API server adds others.
    def ours(obj: Mapping[str, Any]) -> dict[str, Any]:
        spec = obj.get("spec") or {}
        return {
            "selector": spec.get("selector") or {},
            "publishNotReadyAddresses": bool(spec.get("publishNotReadyAddresses")),
        }

    patch = difference(ours(found), ours(wanted))
    return [Patch.of(resources.SERVICES, found, {"spec": patch})] if patch else []


def _ensure_config(
    observed: Observed, settings: Settings, now: datetime
) -> tuple[list[Change], float | None]:
    job, found = observed.job, observed.config_map
    if found is None:
        return [
            Create(resources.CONFIG_MAPS, objects.config_map(job, observed.running_workers, settings))
        ], None
    data = objects.config_data(job, observed.running_workers, settings)
    patch = difference(found.get("data") or {}, data)
    wait = None
    if DISCOVER_HOSTS in patch and _still_starting(observed, now):
        del patch[DISCOVER_HOSTS]
        wait = SETTLE
    return ([Patch.of(resources.CONFIG_MAPS, found, {"data": patch})] if patch else []), wait


def _still_starting(observed: Observed, now: datetime) -> bool:
    """Say whether more workers can be expected to run within moments: some wait, and one has only just started."""
    waiting = len(observed.workers) < observed.job.workers or any(
        phase(pod) == "Pending" for pod in observed.workers.values()
    )
    if not waiting:
        return False
    starts = [(observed.workers[i].get("status") or {}).get("startTime") for i in observed.running_workers]
    return any(start and (now - meta.parse_time(start)).total_seconds() < SETTLE for start in starts)


def _workers(observed: Observed, settings: Settings) -> Step:
    """Return the workers to create, and those beyond the number asked for to delete. Failed ones are not replaced."""
    job = observed.job
    missing = [index for index in range(job.workers) if index not in observed.workers]
    surplus = [pod for i, pod in observed.workers.items() if i >= job.workers and not meta.is_deleting(pod)]
    return (
        *(Create(resources.PODS, objects.worker(job, index, settings)) for index in missing),
        *(Delete.of(resources.PODS, pod) for pod in surplus),
    )


def _restart_policy_notice(observed: Observed) -> tuple[Notice, ...]:
    if not observed.job.launcher.pod_spec.get("restartPolicy"):
        return ()
    text = "Restart policy in pod template overridden by restart policy in replica spec"
    return (Notice("Warning", api.REASON_RESTART_POLICY, text),)


def _clean_up(observed: Observed, now: datetime) -> tuple[Step, float | None]:
    job, launcher = observed.job, observed.launcher
    # Nothing has ever run in the workers of a refused job, so there is nothing to keep.
    policy = api.CLEAN_ALL if observed.refused else job.clean_pod_policy
    pods = cleanup.after_finish(policy, observed.workers.values())
    completion = (job.status or {}).get("completionTime") or ""
    wait = 0.0 if observed.refused else cleanup.patience(job.metadata.annotations, completion, now)
    changes: list[Change] = [] if wait else [Delete.of(resources.PODS, pod) for pod in pods]
    ttl = job.policy.ttl_seconds_after_finished
    if ttl is not None and launcher is not None and launcher_ended(launcher):
        current = (launcher.get("spec") or {}).get("ttlSecondsAfterFinished")
        if current != ttl and not meta.is_deleting(launcher):
            patch = {"spec": {"ttlSecondsAfterFinished": ttl}}
            changes.append(Patch.of(resources.JOBS, launcher, patch))
    return tuple(changes), wait if wait and pods else None

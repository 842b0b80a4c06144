"""What a job's status says: a pure function from what is there to the new status, and the Events that follow from it.

Conditions, reasons and counts are upstream's (0.8), with one rule added: true conditions stand last, the latest at the very
end, so that the last condition is the job's state (the printer column shows it). Their order means nothing in a list keyed
by type. Events follow transitions; upstream repeats some at each look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hortator.api import mpijob as api
from hortator.api.mpijob import MPIJob
from hortator.apimachinery import conditions, meta
from hortator.operator.mpijob.changes import Notice
from hortator.operator.mpijob.observe import Observed, launcher_ended, phase

__all__ = ["make_status", "transitions"]

_MESSAGE_LIMIT = 1024

Object = Mapping[str, Any]
Condition = dict[str, Any]


def make_status(observed: Observed, *, now: datetime, refusal: str = "") -> dict[str, Any]:
    """Return the job's new status. ``refusal``: why the API server will never take an object of the job's."""
    job = observed.job
    status = dict(job.status or {})
    listed = [dict(each) for each in status.get("conditions") or ()]
    if not listed:
        listed = _set(listed, api.CREATED, True, api.REASON_CREATED, f"{_title(job)} is created.", now)
    if observed.finished:
        if job.clean_pod_policy != api.CLEAN_NONE:
            status["replicaStatuses"] = {**(status.get("replicaStatuses") or {}), api.WORKER: {}}
        return status
    if not status.get("startTime") and not job.suspended:
        status["startTime"] = meta.rfc3339(now)

    ended = launcher_ended(observed.launcher)
    if ended or refusal:
        listed, completion = _end(observed, listed, ended, refusal, now)
        status["completionTime"] = completion
    else:
        listed = _progress(observed, listed, now)
        if job.suspended:
            listed = _suspend(job, listed, now)
        elif conditions.is_true(listed, api.SUSPENDED):
            text = f"{_title(job)} is resumed."
            listed = _set(listed, api.SUSPENDED, False, api.REASON_RESUMED, text, now)
            status["startTime"] = meta.rfc3339(now)
    status["replicaStatuses"] = _replica_statuses(observed, over=bool(ended or refusal))
    status["conditions"] = sorted(listed, key=lambda each: each.get("status") == "True")
    return status


def transitions(job: MPIJob, new: Mapping[str, Any]) -> list[Notice]:
    """Return the Events for the conditions that differ between the job's status and the new one."""
    before = {each.get("type"): each for each in (job.status or {}).get("conditions") or ()}
    notices = []
    for each in new.get("conditions") or ():
        old = before.get(each["type"]) or {}
        if (old.get("status"), old.get("reason")) == (each["status"], each.get("reason")):
            continue
        resumed = each["type"] == api.SUSPENDED and old.get("status") == "True"
        if each["status"] == "True" or resumed:
            kind = "Warning" if each["type"] == api.FAILED else "Normal"
            notices.append(Notice(kind, each.get("reason") or "", each.get("message") or ""))  # type: ignore[arg-type]
    return notices


def _title(job: MPIJob) -> str:
    return f"MPIJob {job.namespace}/{job.name}"


def _set(
    listed: Iterable[Condition], kind: str, status: bool, reason: str, message: str, now: datetime
) -> list[Condition]:
    """Set a condition upstream's way: untouched while status and reason are the same, else replaced and moved to the end."""
    word, moment = "True" if status else "False", meta.rfc3339(now)
    others = [each for each in listed if each.get("type") != kind]
    old = conditions.find(list(listed), kind)
    if old is not None and old.get("status") == word and old.get("reason") == reason:
        return list(listed)
    kept = old.get("lastTransitionTime") if old is not None and old.get("status") == word else None
    condition = {
        "type": kind,
        "status": word,
        "reason": reason,
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": kept or moment,
    }
    return [*others, condition]


def _lower(listed: Iterable[Condition], *kinds: str) -> list[Condition]:
    """Turn conditions False that are there, leaving their reasons and times."""
    return [{**each, "status": "False"} if each.get("type") in kinds else each for each in listed]


def _progress(observed: Observed, listed: list[Condition], now: datetime) -> list[Condition]:
    """Set Running once launcher and workers run, and Failed when a worker was evicted."""
    job = observed.job
    evicted = [
        meta.name_of(pod)
        for pod in observed.workers.values()
        if phase(pod) == "Failed" and (pod.get("status") or {}).get("reason") == "Evicted"
    ]
    if evicted:
        text = f"{len(evicted)}/{job.workers} workers are evicted: {', '.join(evicted)}"
        listed = _set(listed, api.FAILED, True, api.REASON_EVICTED, _cut(text), now)
        return _lower(listed, api.RUNNING)
    launched = any(phase(pod) == "Running" for pod in observed.launcher_pods)
    asked_for = [i for i in observed.running_workers if i < job.workers]
    if launched and len(asked_for) == job.workers and not job.suspended:
        text = f"{_title(job)} is running."
        listed = _set(listed, api.RUNNING, True, api.REASON_RUNNING, text, now)
    return listed


def _suspend(job: MPIJob, listed: list[Condition], now: datetime) -> list[Condition]:
    text = f"{_title(job)} is suspended."
    listed = _set(listed, api.SUSPENDED, True, api.REASON_SUSPENDED, text, now)
    return _set(listed, api.RUNNING, False, api.REASON_SUSPENDED, text, now)


def _end(
    observed: Observed, listed: list[Condition], ended: str, refusal: str, now: datetime
) -> tuple[list[Condition], str]:
    """Return the conditions of a job that is over, and when it ended."""
    job, launcher = observed.job, observed.launcher or {}
    completion = meta.rfc3339(now)
    if ended == "Complete":
        completion = (launcher.get("status") or {}).get("completionTime") or completion
        text = f"{_title(job)} successfully completed."
        listed = _lower(listed, api.FAILED)
        outcome = (api.SUCCEEDED, api.REASON_SUCCEEDED, text)
    elif ended == "Failed":
        outcome = (api.FAILED, *_failure(observed))
    else:
        outcome = (api.FAILED, api.REASON_REFUSED, refusal)
    # A job that was over before it was seen running says so too; times are those of its end.
    if conditions.find(listed, api.RUNNING) is None:
        moment = meta.parse_time(completion)
        listed = _set(listed, api.RUNNING, False, api.REASON_RUNNING, f"{_title(job)} is finished.", moment)
    kind, reason, message = outcome
    return _set(_lower(listed, api.RUNNING), kind, True, reason, _cut(message), now), completion


def _failure(observed: Observed) -> tuple[str, str]:
    """Return reason and message of a job whose launcher has failed."""
    job, launcher = observed.job, observed.launcher or {}
    condition = conditions.find((launcher.get("status") or {}).get("conditions"), "Failed") or {}
    reason = condition.get("reason") or api.REASON_FAILED
    message = condition.get("message") or f"{_title(job)} has failed"
    failed = [pod for pod in observed.launcher_pods if phase(pod) == "Failed"]
    if failed and reason == "BackoffLimitExceeded":
        newest = max(failed, key=lambda pod: str((pod.get("metadata") or {}).get("creationTimestamp") or ""))
        status = newest.get("status") or {}
        reason += f"/{status.get('reason') or ''}"
        message += f": {status.get('message') or _exit_text(newest)}"
    return reason, message


def _exit_text(pod: Object) -> str:
    """Say how the containers of a failed pod ended."""
    texts = []
    for each in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            texts.append(
                f"container {each.get('name')} of {meta.name_of(pod)} exited with {ended['exitCode']}"
            )
    return "; ".join(texts)


def _replica_statuses(observed: Observed, *, over: bool) -> dict[str, dict[str, int]]:
    statuses: dict[str, dict[str, int]] = {}
    if observed.launcher is not None:
        status = observed.launcher.get("status") or {}
        running = sum(1 for pod in observed.launcher_pods if phase(pod) == "Running")
        complete = launcher_ended(observed.launcher) == "Complete"
        statuses[api.LAUNCHER] = _counts(
            0 if over else running, int(complete), int(status.get("failed") or 0)
        )
    phases = [] if over else [phase(pod) for pod in observed.workers.values()]
    statuses[api.WORKER] = _counts(*(phases.count(each) for each in ("Running", "Succeeded", "Failed")))
    return statuses


def _counts(active: int, succeeded: int, failed: int) -> dict[str, int]:
    counts = {"active": active, "succeeded": succeeded, "failed": failed}
    return {key: value for key, value in counts.items() if value}


def _cut(message: str) -> str:
    return message if len(message) <= _MESSAGE_LIMIT else message[: _MESSAGE_LIMIT - 3] + "..."

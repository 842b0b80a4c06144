"""What a Job's owner decided beforehand: podFailurePolicy (KEP-3329) and successPolicy (KEP-3998)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hortator.local.controllers.job.indexes import IndexSet
from hortator.local.controllers.job.observe import JobView, PodView

__all__ = ["COUNT", "Match", "failure_message", "match_failure", "match_success"]


class Match(NamedTuple):
    """What the failure policy says of a failed pod. ``message`` is set when the Job shall fail."""

    action: str
    counts: bool
    message: str = ""


COUNT = Match("Count", counts=True)


def match_failure(job: JobView, pod: PodView) -> Match:
    """Return what the first matching rule says; without a policy or a match, the failure counts."""
    policy = job.spec.get("podFailurePolicy")
    if not policy:
        return COUNT
    where = f"{job.object['metadata']['namespace']}/{pod.name}"
    for number, rule in enumerate(policy.get("rules") or ()):
        action = rule.get("action")
        if (codes := rule.get("onExitCodes")) is not None:
            container = _failed_container(pod, codes)
            if container is None:
                continue
            code = container["state"]["terminated"]["exitCode"]
            message = (
                f"Container {container['name']} for pod {where} failed with exit code {code} "
                f"matching {action} rule at index {number}"
            )
        elif (patterns := rule.get("onPodConditions")) is not None:
            kind = _matching_condition(pod, patterns)
            if kind is None:
                continue
            message = f"Pod {where} has condition {kind} matching {action} rule at index {number}"
        else:
            continue
        return Match(action, counts=action != "Ignore", message=message if action == "FailJob" else "")
    return COUNT


def failure_message(job: JobView) -> str:
    """Return why the policy fails the Job; empty when it does not."""
    if not job.spec.get("podFailurePolicy"):
        return ""
    messages = (match_failure(job, pod).message for pod in job.pods if job.failed(pod))
    return next((one for one in messages if one), "")


def _failed_container(pod: PodView, requirement: Mapping[str, Any]) -> Mapping[str, Any] | None:
    status = pod.object.get("status") or {}
    values = requirement.get("values") or ()
    wanted = requirement.get("operator") == "In"
    candidates: Iterable[Mapping[str, Any]] = (
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    )
    for one in candidates:
        ended = (one.get("state") or {}).get("terminated")
        if not ended or not ended.get("exitCode"):
            continue
        if requirement.get("containerName") not in (None, one.get("name")):
            continue
        if (ended["exitCode"] in values) == wanted:
            return one
    return None


def _matching_condition(pod: PodView, patterns: Sequence[Mapping[str, Any]]) -> str | None:
    for condition in (pod.object.get("status") or {}).get("conditions") or ():
        for pattern in patterns:
            if condition.get("type") == pattern.get("type") and condition.get("status") == (
                pattern.get("status") or "True"
            ):
                return str(condition["type"])
    return None


def match_success(job: JobView, succeeded: IndexSet) -> str:
    """Return the sentence about the success rule that is met; empty when none is."""
    rules = (job.spec.get("successPolicy") or {}).get("rules") or ()
    if not succeeded:
        return ""
    for number, rule in enumerate(rules):
        count = rule.get("succeededCount")
        if (text := rule.get("succeededIndexes")) is not None:
            required = IndexSet.parse(text, job.completions or 0)
            if not required:
                continue
            common = required.common(succeeded)
            met = common == len(required) or (count is not None and common >= count)
        else:
            met = count is not None and len(succeeded) >= count
        if met:
            return f"Matched rules at index {number}"
    return ""

"""Suspension: stopping a job without losing it, and letting it run again.

The launcher's Job is suspended before its workers go, so that no mpirun sees them vanish. On resumption the Job takes over
the scheduling directives that a queue has put into the launcher's template meanwhile (KEP-2926), which the API server
allows only while the Job has no start time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hortator.kube import resources
from hortator.operator.mpijob.changes import Patch, difference
from hortator.operator.mpijob.observe import Observed, launcher_ended

__all__ = ["align_launcher"]

#: Replaced as a whole; labels and annotations are merged instead.
_DIRECTIVES = ("nodeSelector", "tolerations", "schedulingGates")


def align_launcher(observed: Observed, template: Mapping[str, Any]) -> tuple[Patch, ...]:
    """Return the patches, one after the other, that make the launcher's Job stop or go as the job says.

    ``template`` is the pod template that a launcher made now would have. Nothing is done to a Job that has ended; a gate
    that waits for workers keeps the Job suspended.
    """
    launcher = observed.launcher
    if launcher is None or launcher_ended(launcher):
        return ()
    spec = launcher.get("spec") or {}
    stopped = bool(spec.get("suspend"))
    if observed.job.suspended:
        return () if stopped else (Patch.of(resources.JOBS, launcher, {"spec": {"suspend": True}}),)
    if not stopped or not observed.launcher_may_run:
        return ()
    changes: dict[str, Any] = {"suspend": False}
    taken_over = _take_over(spec.get("template") or {}, template)
    if taken_over:
        changes["template"] = taken_over
    resume = Patch.of(resources.JOBS, launcher, {"spec": changes})
    if (launcher.get("status") or {}).get("startTime") is None:
        return (resume,)
    return (Patch.of(resources.JOBS, launcher, {"status": {"startTime": None}}, "status"), resume)


def _take_over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch of a stopped Job's template: metadata merged with the new one's, directives replaced."""
    patch: dict[str, Any] = {}
    old_metadata, new_metadata = old.get("metadata") or {}, new.get("metadata") or {}
    metadata = {}
    for key in ("labels", "annotations"):
        before = old_metadata.get(key) or {}
        changed = {k: v for k, v in (new_metadata.get(key) or {}).items() if before.get(k) != v}
        if changed:
            metadata[key] = changed
    if metadata:
        patch["metadata"] = metadata
    before = {key: old.get("spec", {}).get(key) for key in _DIRECTIVES if old.get("spec", {}).get(key)}
    after = {key: new.get("spec", {}).get(key) for key in _DIRECTIVES if new.get("spec", {}).get(key)}
    spec = difference(before, after)
    if spec:
        patch["spec"] = spec
    return patch

"""Builders of Jobs and their pods, and a way to run the plan to its end without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hortator.apimachinery import meta
from hortator.local.controllers.job.observe import FINALIZER, INDEX, JobView, observe
from hortator.local.controllers.job.plan import Plan, plan
from hortator.local.controllers.job.pods import make_pod
from hortator.local.controllers.job.status import settle

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
_numbers = count(1)


def job(
    name: str = "j", *, status: dict[str, Any] | None = None, deleting: bool = False, **spec: Any
) -> dict[str, Any]:
    restart = spec.pop("restartPolicy", "Never")
    template = {
        "metadata": {"labels": {"job-name": name}},
        "spec": {"restartPolicy": restart, "containers": [{"name": "main", "command": ["true"]}]},
    }
    if "backoffLimitPerIndex" not in spec:
        spec.setdefault("backoffLimit", 6)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    if deleting:
        metadata["deletionTimestamp"] = meta.rfc3339(START)
    return {
        "metadata": metadata,
        "spec": {"parallelism": 1, "template": template, **spec},
        "status": status or {},
    }


def pod(
    phase: str = "Running",
    *,
    index: int | None = None,
    ready: bool = False,
    node: str = "n",
    tracked: bool = True,
    deleting: bool = False,
    code: int | None = None,
    container: str = "main",
    ended: datetime = START,
    created: datetime = START,
    restarts: int = 0,
    annotations: dict[str, str] | None = None,
    conditions: list[dict[str, str]] | None = None,
    name: str = "",
) -> dict[str, Any]:
    number = next(_numbers)
    name = name or f"j-{number:05d}"
    marks = dict(annotations or {})
    if index is not None:
        marks[INDEX] = str(index)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "annotations": marks,
        "creationTimestamp": meta.rfc3339(created),
        "finalizers": [FINALIZER] if tracked else [],
    }
    if deleting:
        metadata["deletionTimestamp"] = meta.rfc3339(ended)
    state: dict[str, Any] = {"running": {}}
    if phase in ("Succeeded", "Failed"):
        exit_code = code if code is not None else (0 if phase == "Succeeded" else 1)
        state = {"terminated": {"exitCode": exit_code, "finishedAt": meta.rfc3339(ended)}}
    status: dict[str, Any] = {
        "phase": phase,
        "containerStatuses": [{"name": container, "state": state, "restartCount": restarts}],
        "conditions": list(conditions or ()),
    }
    if ready:
        status["conditions"].append(
            {"type": "Ready", "status": "True", "lastTransitionTime": meta.rfc3339(START)}
        )
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}


def planned(the_job: dict[str, Any], *pods: dict[str, Any], after: float = 0, asleep: float = 0) -> Plan:
    """Plan a Job that must have one."""
    view = observe(the_job, pods, now=START + timedelta(seconds=after), asleep=asleep)
    found = plan(view)
    assert found is not None
    return found


class World:
    """A Job and its pods, on which plans are carried out as the loop does, with pods that do as they are told."""

    def __init__(self, the_job: dict[str, Any]) -> None:
        self.job = the_job
        self.pods: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0
        self.final: str = ""

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job["status"]
        return found

    def view(self) -> JobView:
        return observe(self.job, self.pods.values(), now=self.now)

    def active(self) -> list[dict[str, Any]]:
        return [one for one, view in zip(self.pods.values(), self.view().pods, strict=True) if view.active]

    def sync(self) -> Plan | None:
        """Carry one plan out; None when there is none."""
        view = self.view()
        todo = plan(view)
        if todo is None:
            return None
        for one in todo.surplus:
            self._release(one.name)
            self._delete(one.name)
        for one in todo.end:
            self._delete(one.name)
        for creation in todo.create:
            made = make_pod(view, creation)
            fresh = pod("Pending", index=creation.index, node="", created=self.now)
            fresh["metadata"]["annotations"] = made["metadata"].get("annotations", {})
            self.pods[fresh["metadata"]["name"]] = fresh
        for one in todo.release:
            self._release(one.name)
        tracked = {one["metadata"]["uid"] for one in self.pods.values() if one["metadata"]["finalizers"]}
        self.job["status"], final = settle(view, todo.status, tracked, finish=todo.finishing)
        self.final = final["type"] if final else self.final
        return todo

    def settle(self, rounds: int = 10) -> None:
        """Carry out plans until nothing changes."""
        for _ in range(rounds):
            before = (self.status, set(self.pods))
            if self.sync() is None or (self.status, set(self.pods)) == before:
                return
        raise AssertionError("the Job does not come to rest")

    def end(self, the_pod: dict[str, Any], phase: str, code: int = 1) -> None:
        """Let a pod end."""
        state = {
            "terminated": {
                "exitCode": 0 if phase == "Succeeded" else code,
                "finishedAt": meta.rfc3339(self.now),
            }
        }
        the_pod["status"] = {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]}
        self._gone(the_pod)

    def _delete(self, name: str) -> None:
        self.pods[name]["metadata"]["deletionTimestamp"] = meta.rfc3339(self.now)
        self._gone(self.pods[name])

    def _release(self, name: str) -> None:
        self.pods[name]["metadata"]["finalizers"] = []
        self._gone(self.pods[name])

    def _gone(self, the_pod: dict[str, Any]) -> None:
        metadata = the_pod["metadata"]
        ended = the_pod["status"]["phase"] in ("Succeeded", "Failed", "Pending")
        if "deletionTimestamp" in metadata and not metadata["finalizers"] and ended:
            self.pods.pop(metadata["name"], None)

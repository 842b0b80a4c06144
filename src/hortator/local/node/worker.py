"""One pod on its node: looks at what is known, asks the plan what to do, does it, writes the status. Repeats.

The rules of a pod's life are in :mod:`.pod` (pure), the form of its status in :mod:`.podstatus` (pure); one container's
run is in :mod:`.run`. Here is the loop, and what belongs to the pod as a whole: volumes, names, CPUs, deletion.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hortator.apimachinery.meta import parse_time
from hortator.kube.errors import ApiError, Conflict, KubeError, NotFound
from hortator.kube.resources import PODS

from .container import ContainerProcess
from .environment import FieldContext, Object
from .host import Host
from .launch import Belongings
from .pod import Container, Observed, Plan, Remove, Start, Stop, make_plan
from .podstatus import Identity, already_says, make_status
from .podvolumes import PodVolumes
from .recall import LOST, recalled
from .resources import exclusive_cpus, pod_amount, pod_containers
from .run import ContainerRun
from .volumes import MountFailed

__all__ = ["HOST_IP", "PodWorker"]

HOST_IP = "127.0.0.1"
_GPU = "nvidia.com/gpu"
_log = logging.getLogger(__name__)

_LAST_SECONDS = 2.0
#: Seconds between attempts at what is not announced by a change (a claim that is not bound yet, a server error).
_RETRY_FIRST, _RETRY_MAX = 0.5, 10.0
_DEADLINE = "Pod was active on the node longer than the specified deadline"
_SHUTDOWN = "Pod was terminated in response to imminent node shutdown."


class PodWorker:
    """Runs one pod (one uid) to its end. :meth:`run` returns when nothing is left to do for it."""

    def __init__(self, host: Host, node: Object, pod: Object) -> None:
        self._host = host
        self.node = node  # name and allocatable, as FieldContext wants them
        self.pod = pod
        metadata = pod["metadata"]
        self.uid: str = metadata["uid"]
        self._key = (metadata.get("namespace", ""), metadata["name"])
        data, run = host.places.of(self.uid)
        self._data = data
        self.changed = asyncio.Event()
        self._dirty = False  # files of volumes may be out of date
        self.volumes = PodVolumes(
            pod, client=host.client, objects=host.objects, data=data, run=run, changed=self.volumes_changed
        )
        self.containers: dict[str, Container] = {}
        self.ephemeral: dict[str, Container] = {}
        self.runs: dict[str, ContainerRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._prepared = False
        self._prepare_due = 0.0
        self._prepare_delay = _RETRY_FIRST
        self._told: set[str] = set()
        self.gone = False
        self.ending = ""
        self._end_by: float | None = None  # when everything is to be over, once the pod is being ended
        self._start_time = datetime.now(UTC)
        self._started_clock = asyncio.get_running_loop().time()
        self.belongings = Belongings(ip="")
        self._written: dict[str, Any] | None = None
        self._write_delay = _RETRY_FIRST
        self._recall()

    # -- what others tell us -------------------------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        """Take the newest object."""
        before, self.pod = self.pod, pod
        for each in pod["spec"].get("ephemeralContainers") or ():
            self.ephemeral.setdefault(each["name"], Container())
        grace = pod["metadata"].get("deletionGracePeriodSeconds")
        if grace is not None and grace != before["metadata"].get("deletionGracePeriodSeconds"):
            self._shorten(float(grace))
        images = {each["name"]: each.get("image") for each in pod_containers(before["spec"])}
        for each in pod_containers(pod["spec"]):
            if each.get("image") != images.get(each["name"]) and each["name"] in self.runs:
                self.runs[each["name"]].image_changed()
        for field in ("labels", "annotations"):
            if pod["metadata"].get(field) != before["metadata"].get(field):
                self._dirty = True
        self.changed.set()

    def vanish(self) -> None:
        """The object has been removed by somebody else: end everything now."""
        self.gone = True
        self._shorten(0.0)
        self.changed.set()

    def shut_down(self, grace: float) -> None:
        """The node stops: end the pod and say so in its status."""
        if not self.ending:
            self.ending = "Terminated"
        self._shorten(grace)
        self.changed.set()

    def _shorten(self, grace: float) -> None:
        until = asyncio.get_running_loop().time() + grace
        self._end_by = until if self._end_by is None else min(self._end_by, until)
        for run in self.runs.values():
            run.shorten(grace)

    def volumes_changed(self) -> None:
        """Something that the pod refers to may have appeared or changed."""
        self._dirty = True
        self._prepare_due = 0.0
        for states in (self.containers, self.ephemeral):
            for name, state in states.items():
                if state.state == "waiting" and state.retry_clock:
                    states[name] = replace(state, retry_clock=0.0)
        self.changed.set()

    # -- the loop ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the pod until it is over and, if it is being deleted, removed."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self.changed.clear()
                wake: list[float] = []
                seen = self._observe()
                if self.gone and not any(
                    state.alive for state in (*seen.containers.values(), *seen.ephemeral.values())
                ):
                    return
                plan = make_plan(seen)
                if (
                    not self._prepared
                    and not plan.over
                    and not plan.failure
                    and not self._deleting
                    and not self.gone
                ):
                    wake += await self._prepare()
                    seen = self._observe()
                    plan = make_plan(seen)
                elif self._prepared and self._dirty and not plan.over:
                    wake += await self._refresh()
                remove = self._act(plan)
                seen = self._observe()
                if not self.gone:
                    wake += await self._write_status(seen, make_plan(seen) if plan.actions else plan)
                if remove and await self._remove():
                    return
                if plan.over and not self._deleting and not self.gone:
                    self._release()
                    if not wake:
                        return
                if plan.wake is not None:
                    wake.append(plan.wake)
                await self._wait(min(wake) - loop.time() if wake else None)
        finally:
            await self._clean_up()

    @property
    def _deleting(self) -> bool:
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    def _observe(self) -> Observed:
        return Observed(
            pod=self.pod
            if not self.gone
            else {**self.pod, "metadata": {**self.pod["metadata"], "deletionTimestamp": "-"}},
            containers=dict(self.containers),
            prepared=self._prepared,
            clock=asyncio.get_running_loop().time(),
            started_clock=self._started_clock,
            ending=self.ending,
            ephemeral=dict(self.ephemeral),
        )

    async def _wait(self, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.changed.wait()

    def _act(self, plan: Plan) -> bool:
        remove = False
        for action in plan.actions:
            match action:
                case Start(name=name, again=again):
                    self._start(name, again)
                case Stop(name=name, reason=reason):
                    run = self.runs.get(name)
                    if run is not None:
                        if plan.failure == "DeadlineExceeded":
                            self.tell_once("DeadlineExceeded", "Normal", "DeadlineExceeded", _DEADLINE)
                        run.stop(self._grace_left(), reason)
                case Remove():
                    remove = True
        for name in plan.waiting:
            namespace, pod = self._key
            self.tell_once(
                f"back-off {name} {self.containers[name].restarts}",
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {name} in pod {pod}_{namespace}({self.uid})",
                container=name,
            )
        return remove

    def grace(self) -> float:
        """Return how many seconds containers get between TERM and KILL."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        grace = metadata.get("deletionGracePeriodSeconds")
        if grace is None:
            grace = spec.get("terminationGracePeriodSeconds", 30)
        return float(grace)

    def _grace_left(self) -> float:
        """Return what a container gets that is stopped with its pod: all of them share the pod's grace."""
        clock = asyncio.get_running_loop().time()
        if self._end_by is None:
            self._end_by = clock + self.grace()
            return self.grace()
        # Sidecars are stopped one after another, each with something left.
        least = 0.0 if self.gone else min(_LAST_SECONDS, self.grace())
        return max(self._end_by - clock, least)

    @property
    def ends(self) -> bool:
        """Whether the pod as a whole is being ended."""
        return self._deleting or self.gone or self._end_by is not None

    def _start(self, name: str, again: bool) -> None:
        states = self.ephemeral if name in self.ephemeral else self.containers
        spec = next(
            each
            for each in [
                *pod_containers(self.pod["spec"]),
                *(self.pod["spec"].get("ephemeralContainers") or ()),
            ]
            if each["name"] == name
        )
        run = ContainerRun(self, self._host, spec, states)
        self.runs[name] = run
        run.begin(again)
        self.spawn(run.run())

    def spawn(self, coroutine: Any) -> asyncio.Task[None]:
        """Run something for this pod; it is cancelled with the pod."""
        task: asyncio.Task[None] = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("pod %s/%s: %r", *self._key, error, exc_info=error)
        self.changed.set()

    # -- volumes and belongings ----------------------------------------------------------------------------------

    def context(self) -> FieldContext:
        """Return what fieldRef and resourceFieldRef look at."""
        return FieldContext(
            pod=self.pod,
            pod_ip=self.belongings.ip,
            host_ip=HOST_IP,
            node_name=self.node["name"],
            allocatable=self.node["allocatable"],
        )

    async def _prepare(self) -> list[float]:
        """Take what the pod owns and make its volumes; return when to try again if that failed."""
        loop = asyncio.get_running_loop()
        if self._prepare_due > loop.time():
            return [self._prepare_due]
        if not self.belongings.ip:
            ip = self._host.addresses.take(self.uid, (self.pod.get("status") or {}).get("podIP", ""))
            gpus = int(pod_amount(self.pod["spec"], _GPU))
            self.belongings = Belongings(
                ip=ip,
                cpus=self._host.cpus.take(self.uid, exclusive_cpus(self.pod["spec"])),
                gpus=self._host.take_gpus(self.uid, gpus) if gpus else None,
                hosts=self._host.add_name(self.pod, ip),
            )
        self._dirty = False
        try:
            await self.volumes.prepare(self.context())
        except MountFailed as error:
            self.tell_once(f"mount {error}", "Warning", "FailedMount", str(error))
            self._prepare_due = loop.time() + self._prepare_delay
            self._prepare_delay = min(self._prepare_delay * 2, _RETRY_MAX)
            return [self._prepare_due]
        self._prepared = True
        if not self._host.sandbox.mounts:
            self.tell_once(
                "NoSandbox",
                "Warning",
                "NoSandbox",
                f"this pod runs without a sandbox ({self._host.sandbox.why}): its host name is the machine's, and volume "
                "paths in its environment and arguments were replaced by the real folders; "
                "`hort doctor` tells how to allow user namespaces",
            )
        if any(each.get("image") for each in pod_containers(self.pod["spec"])):
            self.tell_once(
                "HostFilesystem",
                "Normal",
                "HostFilesystem",
                "images are not used on a local node: commands run on this machine's own file system",
            )
        return []

    async def _refresh(self) -> list[float]:
        self._dirty = False
        try:
            await self.volumes.refresh(self.pod, self.context())
        except MountFailed as error:
            self.tell_once(f"refresh {error}", "Warning", "FailedMount", str(error))
            self._dirty = True
            return [asyncio.get_running_loop().time() + _RETRY_MAX]
        return []

    def tell_once(self, key: str, kind: str, reason: str, message: str, *, container: str = "") -> None:
        """Record an Event unless the same was recorded for this pod before."""
        if key not in self._told:
            self._told.add(key)
            self.tell(kind, reason, message, container=container)

    def tell(self, kind: str, reason: str, message: str, *, container: str = "") -> None:
        """Record an Event about the pod, or one of its containers."""
        reference: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.pod["metadata"],
        }
        if container:
            field = "containers"
            for candidate in ("initContainers", "ephemeralContainers"):
                if any(each["name"] == container for each in self.pod["spec"].get(candidate) or ()):
                    field = candidate
            reference["fieldPath"] = f"spec.{field}{{{container}}}"
        self._host.recorder.event(reference, kind, reason, message)

    # -- status --------------------------------------------------------------------------------------------------

    async def _write_status(self, seen: Observed, plan: Plan) -> list[float]:
        """Write what changed; return when to try again if that failed."""
        message = {"DeadlineExceeded": _DEADLINE, "Terminated": _SHUTDOWN}.get(plan.failure, "")
        identity = Identity(host_ip=HOST_IP, pod_ip=self.belongings.ip, start_time=self._start_time)
        status = make_status(seen, plan, identity, datetime.now(UTC), message=message)
        if plan.failure == "Terminated":
            status["conditions"].append(_disruption(message, self._start_time, self.pod))
        if status == self._written or already_says(self.pod.get("status") or {}, status):
            return []
        namespace, name = self._key
        patch = {"metadata": {"uid": self.uid}, "status": status}
        try:
            answer = await self._host.client.patch(
                PODS, name, patch, namespace=namespace, kind="strategic", subresource="status"
            )
        except (NotFound, Conflict) as error:
            # Removed, or another pod of this name: the informer will say so.
            _log.debug("status of pod %s/%s: %s", namespace, name, error)
            return []
        except KubeError as error:
            # An invalid status is a defect of ours; whatever it is, it must not end the pod.
            _log.warning("status of pod %s/%s: %s", namespace, name, error)
            delay, self._write_delay = self._write_delay, min(self._write_delay * 2, _RETRY_MAX)
            return [asyncio.get_running_loop().time() + delay]
        self._write_delay = _RETRY_FIRST
        self._written = status
        self._host.pods.record(answer)
        return []

    async def _remove(self) -> bool:
        """Remove the object for good; return whether the pod is done with."""
        namespace, name = self._key
        # As upstream: the object is the last to go.
        await asyncio.to_thread(self.volumes.remove)
        try:
            await self._host.client.delete(PODS, name, namespace=namespace, grace_seconds=0, uid=self.uid)
        except (NotFound, Conflict):
            return True
        except ApiError as error:
            _log.warning("removing pod %s/%s: %s", namespace, name, error)
            return False
        return True

    def _release(self) -> None:
        self.volumes.release()
        self._host.release(self.uid)

    async def _clean_up(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in self.runs.values():
            if run.process is not None:
                await run.process.close()
        self._release()
        await asyncio.to_thread(self.volumes.remove)

    def process(self, container: str) -> ContainerProcess | None:
        """Return the running process of a container."""
        run = self.runs.get(container)
        if run is None or run.process is None or not run.process.running:
            return None
        return run.process

    # -- after a restart of the cluster --------------------------------------------------------------------------

    def _recall(self) -> None:
        """Read what an earlier run of the cluster recorded: whatever ran then has ended with it."""
        spec, status = self.pod["spec"], self.pod.get("status") or {}
        recorded: dict[str, Mapping[str, Any]] = {}
        for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
            recorded.update({each["name"]: each for each in status.get(field) or ()})
        if status.get("startTime"):
            self._start_time = parse_time(status["startTime"])
            ago = (datetime.now(UTC) - self._start_time).total_seconds()
            self._started_clock -= max(ago, 0.0)
        clock = asyncio.get_running_loop().time()
        lost = False
        for states, containers in (
            (self.containers, pod_containers(spec)),
            (self.ephemeral, spec.get("ephemeralContainers") or ()),
        ):
            for each in containers:
                states[each["name"]], ran = recalled(recorded.get(each["name"]), clock, datetime.now(UTC))
                lost = lost or ran
        if lost:
            self.tell_once("lost", "Warning", "NodeLost", LOST)


def _disruption(message: str, when: datetime, pod: Object) -> dict[str, Any]:
    from hortator.apimachinery.conditions import find
    from hortator.apimachinery.meta import rfc3339

    before = find((pod.get("status") or {}).get("conditions"), "DisruptionTarget")
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": message,
        "lastTransitionTime": before["lastTransitionTime"] if before else rfc3339(datetime.now(UTC)),
    }

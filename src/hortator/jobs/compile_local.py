"""A job as Kubernetes objects for the local engine.

With ranks: an MPIJob whose workers run our collector and whose launcher runs ``launch``; without: a batch Job. Beside it a
Secret with the caller's surroundings. The programs are those of this installation, started by path: pods of the local
cluster see the machine's files. Creating the objects, and what happens to them then, is for the caller.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hortator.jobs.context import encode
from hortator.jobs.job import Job
from hortator.jobs.layout import Layout

__all__ = [
    "ANNOTATION_COMMAND",
    "ANNOTATION_CPUS_PER_RANK",
    "ANNOTATION_CWD",
    "ANNOTATION_NOTE",
    "ANNOTATION_RANKS",
    "ANNOTATION_TAGGED",
    "ANNOTATION_WORKERS",
    "CONTEXT_DIR",
    "LABEL_JOB",
    "RUN_DIR",
    "Compiled",
    "compile_local",
    "feed_command",
    "owner_patch",
]

#: On every object and pod of the job: its name.
LABEL_JOB = "hortator.dev/job"
#: On the MPIJob or Job: the command as a shell would take it (cut at 4,000 characters), and the numbers asked for.
ANNOTATION_COMMAND = "hortator.dev/command"
ANNOTATION_RANKS = "hortator.dev/ranks"
ANNOTATION_WORKERS = "hortator.dev/workers"
ANNOTATION_CPUS_PER_RANK = "hortator.dev/cpus-per-rank"
ANNOTATION_CWD = "hortator.dev/cwd"
ANNOTATION_NOTE = "hortator.dev/note"
#: "true" where the workers' logs are in the form of ``tagged.py``.
ANNOTATION_TAGGED = "hortator.dev/tagged-output"
#: The collectors end by themselves once the daemons of their ranks have, a moment after the launcher: see the operator.
ANNOTATION_CLEAN_AFTER = "hortator.dev/clean-after-seconds"

CONTEXT_DIR = "/hort/context"
RUN_DIR = "/hort/run"
#: The image is a formality here: pods of the local cluster run on the machine's own files.
IMAGE = "hortator.dev/host"
GPU = "nvidia.com/gpu"
GRACE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Compiled:
    """``secret`` is created first (pods wait for it), then ``job``; then ``owner_patch`` ties the first to the second."""

    secret: dict[str, Any]
    job: dict[str, Any]


def compile_local(
    job: Job,
    layout: Layout,
    *,
    namespace: str,
    python: str = sys.executable,
    programs: Path | None = None,
    gpu_resource: str = GPU,
) -> Compiled:
    """Return the objects of ``job`` laid out as ``layout``.

    ``python`` runs our own programs, found in the folder ``programs`` (this package's). Raises what ``context.encode``
    raises.
    """
    folder = programs or Path(__file__).resolve().parent
    start = [python, "-I", "-S", str(folder / "start.py")]
    # An argument that is not UTF-8 cannot be in JSON: the command then travels with the environment.
    plain = all(_encodable(word) for word in job.command)
    in_spec = job.command if plain else ()
    argv = () if plain else job.command
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(f"{job.name}-context", namespace, job),
        "type": "hortator.dev/context",
        "data": {
            "context": base64.b64encode(encode(job.context, [os.fsencode(word) for word in argv])).decode()
        },
    }
    words = ["--", *(_literal(word) for word in in_spec)]
    env = _environment(job, layout, enter=shlex.join([*start, "enter", "--"]))
    body = _batch_job if job.ranks is None else _mpi_job
    spec = body(job, layout, [_literal(word) for word in start], words, env, gpu_resource)
    annotations = {
        ANNOTATION_COMMAND: _shown(job.command),
        ANNOTATION_CPUS_PER_RANK: str(job.cpus_per_rank),
        ANNOTATION_CWD: os.fsdecode(job.context.cwd).encode(errors="replace").decode(),
    }
    if job.ranks is not None:
        annotations |= {
            ANNOTATION_RANKS: str(job.ranks),
            ANNOTATION_WORKERS: str(layout.workers),
            ANNOTATION_TAGGED: "true",
            ANNOTATION_CLEAN_AFTER: str(GRACE_SECONDS),
        }
    if layout.note:
        annotations[ANNOTATION_NOTE] = layout.note
    kind = ("batch/v1", "Job") if job.ranks is None else ("kubeflow.org/v2beta1", "MPIJob")
    return Compiled(
        secret,
        {
            "apiVersion": kind[0],
            "kind": kind[1],
            "metadata": {**_meta(job.name, namespace, job), "annotations": annotations},
            "spec": spec,
        },
    )


def owner_patch(created: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch for the Secret that lets it go when ``created`` (the MPIJob or Job) goes."""
    meta = created["metadata"]
    owner = {
        "apiVersion": created["apiVersion"],
        "kind": created["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }
    return {"metadata": {"ownerReferences": [owner]}}


def feed_command() -> list[str]:
    """Return the command to exec in the pod of rank 0 (worker 0; a plain job's only pod) that takes the job's stdin.

    It ends when its input does, or when the program stops reading.
    """
    return ["/bin/sh", "-c", 'p=$HORT_RUN_DIR/stdin; mkfifo -m 600 "$p" 2>/dev/null; exec cat >"$p"']


def _mpi_job(
    job: Job, layout: Layout, start: list[str], words: list[str], env: list[dict[str, Any]], gpu: str
) -> dict[str, Any]:
    launcher = _pod(
        job,
        {
            "name": "launcher",
            "command": [*start, "launch"],
            "args": words,
            "env": env,
            "resources": _nothing(),
        },
    )
    worker = _pod(
        job,
        {
            "name": "worker",
            "command": [*start, "collector"],
            "env": env,
            "resources": _resources(layout, gpu),
        },
    )
    run_policy: dict[str, Any] = {"cleanPodPolicy": "Running", "backoffLimit": 0}
    if job.time_limit is not None:
        run_policy["activeDeadlineSeconds"] = job.time_limit
    return {
        "slotsPerWorker": layout.slots,
        "runPolicy": run_policy,
        "mpiReplicaSpecs": {
            "Launcher": {"replicas": 1, "restartPolicy": "Never", "template": launcher},
            "Worker": {"replicas": layout.workers, "restartPolicy": "Never", "template": worker},
        },
    }


def _batch_job(
    job: Job, layout: Layout, start: list[str], words: list[str], env: list[dict[str, Any]], gpu: str
) -> dict[str, Any]:
    options = ["--stdin"] if job.stdin else []
    container = {
        "name": "main",
        "command": [*start, "enter", *options],
        "args": words,
        "env": env,
        "resources": _resources(layout, gpu),
    }
    template = _pod(job, container)
    template["spec"]["restartPolicy"] = "Never"
    spec: dict[str, Any] = {"backoffLimit": 0, "template": template}
    if job.time_limit is not None:
        spec["activeDeadlineSeconds"] = job.time_limit
    return spec


def _pod(job: Job, container: dict[str, Any]) -> dict[str, Any]:
    mounts = [
        {"name": "hort-context", "mountPath": CONTEXT_DIR, "readOnly": True},
        {"name": "hort-run", "mountPath": RUN_DIR},
    ]
    secret = {"secretName": f"{job.name}-context", "defaultMode": 0o400}
    return {
        "metadata": {"labels": {LABEL_JOB: job.name}},
        "spec": {
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "containers": [{**container, "image": IMAGE, "volumeMounts": mounts}],
            "volumes": [
                {"name": "hort-context", "secret": secret},
                {"name": "hort-run", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }


def _environment(job: Job, layout: Layout, *, enter: str) -> list[dict[str, Any]]:
    """Return what the pods are told; what of it reaches the program, and what the user may override, is ``enter``'s."""
    values = {
        "HORT_JOB_ID": job.name,
        "HORT_CONTEXT_FILE": f"{CONTEXT_DIR}/context",
        "HORT_RUN_DIR": RUN_DIR,
        "HORT_CPUS_PER_RANK": str(job.cpus_per_rank),
    }
    if job.ranks is not None:
        values |= {
            "HORT_ENTER": enter,
            "HORT_COLLECT": "1",
            "HORT_EXPECT_RANKS": str(job.ranks),
        }
        if job.mpi is not None:
            values["HORT_MPI"] = job.mpi
        if layout.oversubscribed:
            values["HORT_OVERSUBSCRIBED"] = "1"
    if job.gpus_per_rank:
        values["HORT_GPUS_PER_RANK"] = str(job.gpus_per_rank)
    if job.stdin:
        values["HORT_STDIN"] = "1"
    env: list[dict[str, Any]] = [{"name": name, "value": _literal(value)} for name, value in values.items()]
    for name, path in (("HORT_WORKER", "metadata.name"), ("HORT_NODE", "spec.nodeName")):
        env.append({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
    return env


def _resources(layout: Layout, gpu: str) -> dict[str, Any]:
    amounts = {"cpu": f"{layout.milli_cpus}m"}
    limits: dict[str, str] = {}
    if layout.milli_cpus and layout.milli_cpus % 1000 == 0:
        amounts["cpu"] = limits["cpu"] = str(layout.milli_cpus // 1000)
    if layout.memory is not None:
        amounts["memory"] = limits["memory"] = str(layout.memory)
    if layout.gpus:
        amounts[gpu] = limits[gpu] = str(layout.gpus)
    return {"requests": amounts, **({"limits": limits} if limits else {})}


def _nothing() -> dict[str, Any]:
    """Return the launcher's request: none, so that it runs beside the last worker on a full machine."""
    return {"requests": {"cpu": "0"}}


def _meta(name: str, namespace: str, job: Job) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": {LABEL_JOB: job.name}}


def _literal(text: str) -> str:
    """Escape what Kubernetes would expand in arguments and values: ``$(NAME)``, and ``$$``, which means one ``$``."""
    return re.sub(r"\$\$+|\$(?=\()", lambda run: run[0] * 2, text)


def _encodable(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(command: Sequence[str]) -> str:
    text = shlex.join(command).encode(errors="backslashreplace").decode()
    return text if len(text) <= 4000 else text[:3999] + "…"

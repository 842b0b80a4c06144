"""The objects that a job is made of, as they are sent to the API server. Pure; templates are shared, never changed.

Names, labels and contents are upstream's (0.8), which scripts and Kueue rely on; what exec mode adds is marked so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hortator.api import mpijob as api
from hortator.api.mpijob import MPICH, OPEN_MPI, MPIJob, ReplicaSpec
from hortator.kube import resources
from hortator.kube.resources import Resource
from hortator.operator.mpijob import hostfile, launch
from hortator.operator.mpijob.settings import Settings

__all__ = [
    "SELECTOR",
    "account_name",
    "config_data",
    "config_map",
    "config_name",
    "launcher_job",
    "launcher_template",
    "role",
    "role_binding",
    "secret",
    "secret_name",
    "service",
    "service_account",
    "service_spec",
    "worker",
    "worker_names",
]

Object = dict[str, Any]

#: What every object of ours carries, so that caches hold nothing else.
SELECTOR = f"{api.LABEL_OPERATOR}={api.OPERATOR_NAME}"

_SSH_VOLUME = "ssh-auth"
_CONFIG_VOLUME = "mpi-job-config"
_RUN_VOLUME = "hort-run"
_SSHD_COMMAND = ["/usr/sbin/sshd", "-De"]


def secret_name(job: MPIJob) -> str:
    """Return the name of the Secret with the job's ssh keys (ssh mode)."""
    return f"{job.name}-ssh"


def config_name(job: MPIJob) -> str:
    """Return the name of the job's ConfigMap."""
    return f"{job.name}-config"


def account_name(job: MPIJob) -> str:
    """Return the ServiceAccount that the launcher runs as in exec mode: the template's, else one of ours."""
    spec = job.launcher.pod_spec
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or hostfile.launcher_name(job))


def worker_names(job: MPIJob) -> list[str]:
    """Return the names of all workers that the job asks for."""
    return [hostfile.worker_name(job, index) for index in range(job.workers)]


def service_spec(job: MPIJob) -> Object:
    """Return the spec of the headless Service that gives launcher and workers their names."""
    return {
        "clusterIP": "None",
        "selector": _identity(job),
        "publishNotReadyAddresses": job.launcher_as_worker,
    }


def service(job: MPIJob) -> Object:
    """Return the Service."""
    return _object(resources.SERVICES, job, job.name, spec=service_spec(job))


def config_data(job: MPIJob, running: Iterable[int], settings: Settings) -> dict[str, str]:
    """Return the files of ``/etc/mpi``; ``running`` are the indices of workers whose pods run."""
    domain = settings.cluster_domain
    data = {
        launch.HOSTFILE: hostfile.hostfile(job, job.implementation, domain),
        launch.DISCOVER_HOSTS: hostfile.discover_hosts(job, running, domain),
    }
    if settings.launch_mode == "exec":
        data[launch.REMOTE_SHELL] = launch.remote_shell_script(settings)
        if job.implementation == OPEN_MPI:
            data[launch.HYDRA_HOSTFILE] = hostfile.hostfile(job, MPICH, domain)
    return data


def config_map(job: MPIJob, running: Iterable[int], settings: Settings) -> Object:
    """Return the ConfigMap."""
    return _object(resources.CONFIG_MAPS, job, config_name(job), data=config_data(job, running, settings))


def secret(job: MPIJob, private_key: bytes, public_key: bytes) -> Object:
    """Return the Secret with the job's ssh keys (ssh mode): PEM, and one authorized_keys line."""
    data = {"ssh-privatekey": private_key.decode("ascii"), "ssh-publickey": public_key.decode("ascii")}
    return _object(resources.SECRETS, job, secret_name(job), type="kubernetes.io/ssh-auth", stringData=data)


def service_account(job: MPIJob) -> Object:
    """Return the launcher's ServiceAccount (exec mode)."""
    return _object(resources.SERVICE_ACCOUNTS, job, hostfile.launcher_name(job))


def role(job: MPIJob) -> Object:
    """Return what the launcher may do (exec mode): see its workers, and start a program in them; nothing else.

    ``get`` beside ``create``: exec over a WebSocket is a GET, which API servers before 1.35 authorise as such. Seeing
    includes watching a single pod by name.
    """
    names = worker_names(job)
    rules: list[Object] = []
    if names:
        rules = [
            {
                "apiGroups": [""],
                "resources": ["pods"],
                "verbs": ["get", "list", "watch"],
                "resourceNames": names,
            },
            {
                "apiGroups": [""],
                "resources": ["pods/exec"],
                "verbs": ["create", "get"],
                "resourceNames": names,
            },
        ]
    return _object(resources.ROLES, job, hostfile.launcher_name(job), rules=rules)


def role_binding(job: MPIJob) -> Object:
    """Return the binding of :func:`role` to the account that the launcher runs as (exec mode)."""
    subject = {"kind": "ServiceAccount", "name": account_name(job), "namespace": job.namespace}
    reference = {"apiGroup": resources.ROLES.group, "kind": "Role", "name": hostfile.launcher_name(job)}
    return _object(
        resources.ROLE_BINDINGS, job, hostfile.launcher_name(job), roleRef=reference, subjects=[subject]
    )


def worker(job: MPIJob, index: int, settings: Settings) -> Object:
    """Return a worker pod. ``index`` counts from 0; the label counts the launcher too if that takes ranks."""
    replica = job.worker or ReplicaSpec()
    name = hostfile.worker_name(job, index)
    label = index + 1 if job.launcher_as_worker else index
    template = _pod_template(job, replica, name, "worker", str(label), settings)
    spec = template["spec"]
    searches = f"{job.name}.{job.namespace}.svc.{settings.cluster_domain or 'cluster.local'}"
    dns = spec.get("dnsConfig") or {}
    spec["dnsConfig"] = {**dns, "searches": [*(dns.get("searches") or ()), searches]}
    container = dict(spec["containers"][0])
    command = _worker_command(container, settings)
    if command is not None:
        container["command"] = command
        container.pop("args", None)
    spec["containers"] = [container, *spec["containers"][1:]]
    if settings.launch_mode == "exec":
        # Never called there, but the daemon of Open MPI 4 does not start without its remote shell.
        _add_files(job, spec, (launch.REMOTE_SHELL,))
    pod = _object(resources.PODS, job, name, spec=spec)
    pod["metadata"] |= template["metadata"]
    return pod


def launcher_template(job: MPIJob, settings: Settings) -> Object:
    """Return the pod template of the launcher's Job."""
    name = hostfile.launcher_name(job)
    index = "0" if job.launcher_as_worker else None
    template = _pod_template(job, job.launcher, name, "launcher", index, settings)
    spec = template["spec"]
    _add_files(job, spec, config_data(job, (), settings))
    if settings.launch_mode == "exec":
        spec["serviceAccountName"] = account_name(job)
    return template


def launcher_job(job: MPIJob, settings: Settings, *, suspend: bool) -> Object:
    """Return the launcher's Job.

    Its ``ttlSecondsAfterFinished`` is not set here but once the end is recorded: a Job that vanished before would be
    started again, and the program would run twice.
    """
    policy = job.policy
    spec: Object = {"podReplacementPolicy": "Failed", "template": launcher_template(job, settings)}
    if policy.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = policy.active_deadline_seconds
    if policy.backoff_limit is not None:
        spec["backoffLimit"] = policy.backoff_limit
    if suspend:
        spec["suspend"] = True
    return _object(resources.JOBS, job, hostfile.launcher_name(job), spec=spec)


def _worker_command(container: Mapping[str, Any], settings: Settings) -> list[str] | None:
    """Return the command that replaces the container's own, or None when that stays."""
    command = container.get("command") or []
    if settings.launch_mode == "ssh":
        return None if command or container.get("args") else list(_SSHD_COMMAND)
    # An sshd of the manifest's would have neither keys nor callers here.
    sshd = bool(command) and str(command[0]).rpartition("/")[2] == "sshd"
    return list(launch.IDLE_COMMAND) if sshd or not (command or container.get("args")) else None


def _pod_template(
    job: MPIJob, replica: ReplicaSpec, hostname: str, role: str, index: str | None, settings: Settings
) -> Object:
    """Return what launcher and workers share, as a fresh dict down to the first container."""
    template = replica.template or {}
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **_identity(job), api.LABEL_ROLE: role}
    if index is not None:
        labels[api.LABEL_INDEX] = index
    meta: Object = {"labels": labels}
    if metadata.get("annotations"):
        meta["annotations"] = dict(metadata["annotations"])

    spec = {
        **replica.pod_spec,
        "hostname": hostname,
        "subdomain": job.name,
        "restartPolicy": replica.restart_policy,
    }
    if spec.get("hostNetwork"):
        # Names of the cluster would not be found through the node's own resolver.
        spec["dnsPolicy"] = "ClusterFirstWithHostNet"
    container = dict(spec["containers"][0])
    ours = launch.launcher_env(job, settings) if role == "launcher" else launch.worker_env(settings)
    container["env"] = launch.merge_env(container.get("env") or (), ours)
    spec["containers"] = [container, *spec["containers"][1:]]
    if settings.launch_mode == "exec":
        _add_volume(
            spec, {"name": _RUN_VOLUME, "emptyDir": {}}, {"name": _RUN_VOLUME, "mountPath": launch.RUN_DIR}
        )
    else:
        _add_volume(spec, _ssh_volume(job), {"name": _SSH_VOLUME, "mountPath": job.spec.ssh_auth_mount_path})
    return {"metadata": meta, "spec": spec}


def _ssh_volume(job: MPIJob) -> Object:
    source: Object = {
        "secretName": secret_name(job),
        "items": [
            {"key": "ssh-privatekey", "path": "id_rsa"},
            {"key": "ssh-publickey", "path": "id_rsa.pub"},
            {"key": "ssh-publickey", "path": "authorized_keys"},
        ],
    }
    if job.spec.ssh_auth_mount_path == api.SSH_MOUNT_PATH:
        # Root's ssh refuses a key that others can read; other users' keys belong to root and are not checked.
        source["defaultMode"] = 0o600
    return {"name": _SSH_VOLUME, "secret": source}


_PROGRAMS = (launch.DISCOVER_HOSTS, launch.REMOTE_SHELL)


def _add_files(job: MPIJob, spec: Object, keys: Iterable[str]) -> None:
    """Mount files of the job's ConfigMap into the first container."""
    items = [{"key": key, "path": key, "mode": 0o555 if key in _PROGRAMS else 0o444} for key in keys]
    volume = {"name": _CONFIG_VOLUME, "configMap": {"name": config_name(job), "items": items}}
    _add_volume(spec, volume, {"name": _CONFIG_VOLUME, "mountPath": launch.CONFIG_DIR})


def _add_volume(spec: Object, volume: Object, mount: Object) -> None:
    """Append to a spec that :func:`_pod_template` has made, unless the template has brought its own."""
    volumes, container = spec.get("volumes") or (), spec["containers"][0]
    mounts = container.get("volumeMounts") or ()
    if not any(each.get("name") == volume["name"] for each in volumes):
        spec["volumes"] = [*volumes, volume]
    if not any(each.get("mountPath") == mount["mountPath"] for each in mounts):
        container["volumeMounts"] = [*mounts, mount]


def _identity(job: MPIJob) -> dict[str, str]:
    return {api.LABEL_OPERATOR: api.OPERATOR_NAME, api.LABEL_JOB: job.name}


def _object(resource: Resource, job: MPIJob, name: str, **fields: Any) -> Object:
    metadata: Object = {
        "name": name,
        "namespace": job.namespace,
        "labels": {"app": job.name, **_identity(job)},
        "ownerReferences": [owner_reference(job)],
    }
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


def owner_reference(job: MPIJob) -> Object:
    """Return the owner reference that every object of the job carries."""
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "name": job.name,
        "uid": job.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }

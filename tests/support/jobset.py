"""JobSet's own manager, a Go program made with controller-runtime, beside an API server: installed, started, stopped."""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import yaml

from support.certificates import Authority
from support.control_plane import find_tool
from support.kubectl import Kubectl
from support.recorder import Exchange, Recorder
from support.server import Server
from support.staying import until

__all__ = [
    "ACCOUNT",
    "JOBSETS",
    "LEASE",
    "NAMESPACE",
    "Installation",
    "JobSets",
    "Manager",
    "jobset",
    "replicated",
]

NAMESPACE = "jobset-system"
ACCOUNT = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/jobset-controller-manager"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/6d4f6a47.jobset.x-k8s.io"
JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{}/jobsets"

Object = dict[str, Any]


def jobset(name: str, *jobs: Object, **spec: Any) -> Object:
    """Return a JobSet of replicated jobs (see :func:`replicated`)."""
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name},
        "spec": {"replicatedJobs": list(jobs), **spec},
    }


def replicated(
    name: str, script: str, *, replicas: int = 1, pods: int = 1, container: Object | None = None, **more: Any
) -> Object:
    """Return ``replicas`` jobs of ``pods`` pods each, which run a POSIX shell script once."""
    main = {"name": "main", "image": "none", "command": ["/bin/sh", "-c", script], **(container or {})}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main]}
    job = {"parallelism": pods, "completions": pods, "backoffLimit": 0, "template": {"spec": pod}}
    return {"name": name, "replicas": replicas, "template": {"spec": job}, **more}


@dataclass(frozen=True)
class JobSets:
    """The JobSets of one namespace, and what is made from them."""

    server: Server
    namespace: str

    @property
    def path(self) -> str:
        return JOBSETS.format(self.namespace)

    def create(self, name: str, *jobs: Object, **spec: Any) -> Object:
        return dict(self.server.post(self.path, jobset(name, *jobs, **spec)).ok)

    def get(self, name: str) -> Object:
        return dict(self.server.get(f"{self.path}/{name}").ok)

    def conditions(self, name: str) -> dict[str, str]:
        """Return the reason of each condition that is true."""
        found = self.get(name).get("status", {}).get("conditions", [])
        return {item["type"]: item["reason"] for item in found if item["status"] == "True"}

    def becomes(self, name: str, condition: str, reason: str) -> None:
        """Wait until a condition is true, and check its reason."""
        until(
            lambda: condition in self.conditions(name), f"{condition} of {name}, {self.pods()} {self.jobs()}"
        )
        assert self.conditions(name)[condition] == reason

    def jobs(self) -> dict[str, Object]:
        return self._named(f"/apis/batch/v1/namespaces/{self.namespace}/jobs")

    def pods(self) -> dict[str, Object]:
        """Return the pods by their names without the random end."""
        found = self._named(f"/api/v1/namespaces/{self.namespace}/pods")
        return {name.rpartition("-")[0]: pod for name, pod in found.items()}

    def log(self, pod: str) -> str:
        """Return what a pod (named as in :meth:`pods`) has printed."""
        name = self.pods()[pod]["metadata"]["name"]
        answer = self.server.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}/log", accept="*/*")
        return str(answer.ok)

    def _named(self, path: str) -> dict[str, Object]:
        return {item["metadata"]["name"]: item for item in self.server.get(path).ok["items"]}


class Manager:
    """One process of the manager. ``url`` is where its webhooks are."""

    def __init__(self, folder: Path, kubeconfig: Path, authority: Authority, env: Mapping[str, str]) -> None:
        self._log = folder / "log"
        self._ports = {name: _free_port() for name in ("webhook", "metrics", "health")}
        self.url = f"https://127.0.0.1:{self._ports['webhook']}"
        self.metrics = f"https://127.0.0.1:{self._ports['metrics']}/metrics"
        certificate, key = authority.pair("jobset")
        (folder / "tls.crt").write_bytes(certificate)
        (folder / "tls.key").write_bytes(key)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(self._config(folder)))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(find_tool("jobset")), f"--config={config}", "--zap-log-level=debug"],
                env={"KUBECONFIG": str(kubeconfig), "HOME": str(folder), **env},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )

    def _config(self, folder: Path) -> Object:
        return {
            "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
            "kind": "Configuration",
            "webhook": {"host": "127.0.0.1", "port": self._ports["webhook"], "certDir": str(folder)},
            "metrics": {"bindAddress": f"127.0.0.1:{self._ports['metrics']}", "certDir": str(folder)},
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self._ports['health']}"},
            "internalCertManagement": {"enable": False},
            "leaderElection": {
                "leaderElect": True,
                "resourceNamespace": NAMESPACE,
                "leaseDuration": "6s",
                "renewDeadline": "4s",
                "retryPeriod": "500ms",
            },
        }

    def log(self, lines: int = 60) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def probe(self, path: str) -> int:
        """Return the status code of ``/healthz`` or ``/readyz``; 0 as long as nothing listens."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._ports['health']}{path}", timeout=5
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (URLError, OSError):
            return 0

    def ready(self) -> None:
        """Wait until its webhook server listens."""
        until(lambda: self.process.poll() is not None or self.probe("/readyz") == 200, "the manager is ready")
        assert self.process.poll() is None, self.log()

    def scrape(self, authority: Authority, token: str = "") -> tuple[int, str]:
        """Return status code and text of its metrics."""
        request = urllib.request.Request(self.metrics)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        context = ssl.create_default_context(cadata=authority.pem.decode())
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Installation:
    """JobSet on one server: what its kustomization makes, but its Deployment, whose manager is a process here.

    The manager speaks as its own ServiceAccount with the rights that JobSet ships, through a :class:`Recorder`.
    """

    def __init__(self, server: Server, kubectl: Kubectl, folder: Path) -> None:
        self.server, self.kubectl = server, kubectl.at(NAMESPACE)
        self.authority = Authority()
        self.managers: list[Manager] = []
        self._at_exit = ExitStack()
        self._folder = folder
        self._objects = list(_published(kubectl))
        self._recorder = Recorder(server.host, server.port, server.authority, folder)

    def __enter__(self) -> Installation:
        with ExitStack() as stack:
            stack.enter_context(self._recorder)
            stack.callback(self._take_off)
            self._apply(item for item in self._objects if "webhooks" not in item)
            self._at_exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._at_exit.close()

    def _take_off(self) -> None:
        for manager in self.managers:
            manager.stop()
        kept = [item for item in self._objects if item["kind"] != "Namespace"]
        self.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=_list(kept))
        self.kubectl("delete", "namespace", NAMESPACE, "--wait=false")

    def said(self) -> list[Exchange]:
        """Return what all managers and the server said to each other so far."""
        return self._recorder.exchanges()

    def start(self, **env: str) -> Manager:
        """Start one more manager with more environment variables and wait until it is ready (it need not lead)."""
        folder = self._folder / f"manager-{len(self.managers)}"
        folder.mkdir()
        manager = Manager(folder, self._kubeconfig(folder), self.authority, env)
        self.managers.append(manager)
        manager.ready()
        return manager

    def serving(self) -> None:
        """Make sure that a manager leads and that the server calls its webhooks."""
        if not any(manager.process.poll() is None for manager in self.managers):
            self.alone()

    def alone(self, **env: str) -> Manager:
        """Stop all managers and start one, which leads at once and whose webhooks the server calls."""
        for manager in self.managers:
            manager.stop()
        # A Lease that nobody releases would have to run out first.
        self.server.delete(LEASE)
        manager = self.start(**env)
        self.register(manager)
        until(self.holder, "a leader")
        return manager

    def register(self, manager: Manager) -> None:
        """Let the server call this manager's webhooks, and wait until it does."""
        bundle = base64.b64encode(self.authority.pem).decode()
        changed = []
        for item in self._objects:
            if "webhooks" in item:
                changed.append(item := json.loads(json.dumps(item)))
                for hook in item["webhooks"]:
                    url = manager.url + hook["clientConfig"]["service"]["path"]
                    hook["clientConfig"] = {"url": url, "caBundle": bundle}
        self._apply(changed)
        until(self._hooks_act, "the webhooks act")

    def holder(self) -> str:
        """Return who holds the Lease; empty before the first does."""
        answer = self.server.get(LEASE)
        return str(answer.body["spec"].get("holderIdentity", "")) if answer.status == 200 else ""

    def token(self, account: str = ACCOUNT) -> str:
        return str(self.server.post(f"{account}/token", {}).ok["status"]["token"])

    def _hooks_act(self) -> bool:
        """Say whether both kinds of webhooks are called: a server learns of a configuration a moment later."""
        path, dry = JOBSETS.format("default"), {"dryRun": "All"}
        good, bad = jobset("probe", replicated("a", "true")), jobset("probe", replicated("a", "true"))
        bad["spec"]["successPolicy"] = {"operator": "All", "targetReplicatedJobs": ["none"]}
        defaulted = self.server.post(path, good, query=dry)
        if defaulted.status != 201 or "startupPolicy" not in defaulted.body["spec"]:
            return False
        return self.server.post(path, bad, query=dry).status in (403, 422)

    def _apply(self, objects: Iterator[Object] | list[Object]) -> None:
        self.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=_list(list(objects)), timeout=90
        )

    def _kubeconfig(self, folder: Path) -> Path:
        config = yaml.safe_load(self.server.kubeconfig.read_text())
        authority = base64.b64encode(self._recorder.authority.pem).decode()
        config["clusters"][0]["cluster"] = {
            "server": f"https://127.0.0.1:{self._recorder.port}",
            "certificate-authority-data": authority,
        }
        config["users"][0]["user"] = {"token": self.token()}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


def _list(objects: list[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def _published(kubectl: Kubectl) -> Iterator[Object]:
    """Yield what ``kubectl kustomize`` makes of the configuration in JobSet's own module, without the Deployment."""
    tools = Path(__file__).parents[1] / "kubernetes/tools/jobset"
    done = subprocess.run(
        ["go", "mod", "download", "-json", "sigs.k8s.io/jobset"], cwd=tools, capture_output=True, check=True
    )
    folder = Path(json.loads(done.stdout)["Dir"]) / "config/default"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for item in yaml.load_all(kubectl("kustomize", str(folder)), loader):
        if item["kind"] != "Deployment":
            yield item


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

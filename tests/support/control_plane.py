"""Kubernetes' own control plane for tests: etcd, kube-apiserver, and where asked the controller-manager and the scheduler.

Everything lies in one folder and listens on free ports of 127.0.0.1; what was started is stopped by id.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.certificates import Authority

__all__ = ["ControlPlane", "NoTool", "find_tool"]

#: Who may speak to the server by a token, and the groups of each.
USERS = {"admin": ("admin-token", "system:masters"), "nobody": ("nobody-token", "")}

#: What a program answers once it can be used; kube-apiserver makes its namespaces after it says that it is ready.
_READY = {"etcd": "/readyz", "kube-apiserver": "/api/v1/namespaces/default"}


class NoTool(Exception):
    """Raised when one of Kubernetes' programs is not there; ``str`` says which, and who builds it."""


def find_tool(name: str) -> Path:
    """Return the program in ``$HORT_TOOLS``. Raises :class:`NoTool`."""
    folder = os.environ.get("HORT_TOOLS")
    found = shutil.which(name, path=folder) if folder else None
    if found is None:
        raise NoTool(f"there is no {name} in {folder or '$HORT_TOOLS'}: make test-kubernetes builds it")
    return Path(found)


class ControlPlane:
    """A control plane that runs from :meth:`start` to :meth:`stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._authority = Authority()
        self._ports: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._ports['kube-apiserver']}"

    @property
    def authority(self) -> bytes:
        """The certificate that the server's is signed with."""
        return self._authority.pem

    def pid(self, program: str) -> int:
        """Return the process id of a running program."""
        return self._running[program].pid

    def start(self, *more: str, flags: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Start etcd, kube-apiserver and ``more`` programs, with more flags for each; return when all are ready.

        Raises :class:`NoTool`, and AssertionError with the end of the log of a program that does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        extra = flags or {}
        self._write_keys()
        self._start("etcd", self._etcd(), extra)
        self._start("kube-apiserver", self._apiserver(), extra)
        self._write_kubeconfig()
        for program in more:
            self._start(program, self._client_of_the_server(program), extra)

    def stop(self) -> None:
        """Stop what was started, last first."""
        while self._running:
            _, process = self._running.popitem()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, program: str, lines: int = 30) -> str:
        """Return the end of a program's log."""
        return "\n".join((self.folder / f"{program}.log").read_text(errors="replace").splitlines()[-lines:])

    def _start(self, program: str, flags: list[str], extra: Mapping[str, tuple[str, ...]]) -> None:
        command = [str(find_tool(program)), *flags, *extra.get(program, ())]
        with (self.folder / f"{program}.log").open("wb") as log:
            self._running[program] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        self._wait_for(program)

    def _etcd(self) -> list[str]:
        client, peer = self._port("etcd"), self._port("etcd-peer")
        data = self.folder / "etcd"
        data.mkdir(mode=0o700)
        return [
            f"--data-dir={data}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        ]

    def _apiserver(self) -> list[str]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self._port('kube-apiserver')}",
            f"--tls-cert-file={self.folder / 'server.pem'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            f"--client-ca-file={self.folder / 'ca.pem'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--allow-privileged=true",
            "--profiling=false",
        ]

    def _client_of_the_server(self, program: str) -> list[str]:
        flags = [
            f"--kubeconfig={self.kubeconfig}",
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port(program)}",
            "--leader-elect=false",
        ]
        if program == "kube-controller-manager":
            flags += [
                f"--service-account-private-key-file={self.folder / 'accounts.key'}",
                f"--root-ca-file={self.folder / 'ca.pem'}",
                "--use-service-account-credentials",
                "--controllers=*,bootstrapsigner,tokencleaner",
            ]
        return flags

    def _write_keys(self) -> None:
        certificate, key = self._authority.pair(
            "kube-apiserver", names=("127.0.0.1", "10.96.0.1", "kubernetes.default.svc", "localhost")
        )
        tokens = [f'{token},{user},{user},"{group}"' for user, (token, group) in USERS.items()]
        for name, content in {
            "ca.pem": self._authority.pem,
            "server.pem": certificate,
            "server.key": key,
            "accounts.key": _account_key(),
            "tokens.csv": "\n".join(tokens).encode(),
        }.items():
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o600)

    def _write_kubeconfig(self) -> None:
        ca = base64.b64encode(self._authority.pem).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": ca}}],
            "users": [{"name": "admin", "user": {"token": USERS["admin"][0]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.kubeconfig.chmod(0o600)

    def _port(self, program: str) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._ports[program] = probe.getsockname()[1]
        return self._ports[program]

    def _wait_for(self, program: str, seconds: float = 60) -> None:
        scheme = "http" if program == "etcd" else "https"
        request = urllib.request.Request(
            f"{scheme}://127.0.0.1:{self._ports[program]}{_READY.get(program, '/healthz')}",
            headers={"Authorization": f"Bearer {USERS['admin'][0]}"},
        )
        # Controller-manager and scheduler make certificates of their own.
        context = ssl._create_unverified_context()
        end = time.monotonic() + seconds
        while True:
            if (code := self._running[program].poll()) is not None:
                raise AssertionError(f"{program} ended with {code}:\n{self.log(program)}")
            try:
                with urllib.request.urlopen(request, timeout=5, context=context):
                    return
            except (URLError, OSError) as error:
                assert time.monotonic() < end, f"{program} is not ready: {error}\n{self.log(program)}"
            time.sleep(0.05)


def _account_key() -> bytes:
    """Return a key for ServiceAccount tokens, in the one form that every program here reads."""
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )

"""Credential plugins: programs that hand out a token or a certificate (client-go's ``exec`` in a kubeconfig).

Both versions of the protocol, ``client.authentication.k8s.io/v1`` and ``v1beta1``. What a plugin gave is kept in memory
until it expires, as in client-go v0.36.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hortator.apimachinery.meta import parse_time
from hortator.kube.credentials import CredentialError

__all__ = ["ExecPlugin"]

_GROUP = "client.authentication.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_MODES = ("Never", "IfAvailable", "Always")


class ExecPlugin:
    """Credentials from a program. Safe for threads: it runs once at a time."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        api_version: str,
        env: Mapping[str, str] | None = None,
        interactive_mode: str = "IfAvailable",
        cluster: Mapping[str, Any] | None = None,
        install_hint: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._command = list(command)
        self._api_version = api_version
        self._env = dict(env or {})
        self._mode = interactive_mode
        self._cluster = cluster
        self._install_hint = install_hint
        self._now = now
        self._lock = threading.Lock()
        self._token = ""
        self._pair: tuple[bytes, bytes] | None = None
        self._fetched = False
        self._expires: datetime | None = None

    @classmethod
    def from_config(
        cls, config: object, *, directory: str = "", cluster: Mapping[str, Any] | None = None
    ) -> ExecPlugin:
        """Make one from a kubeconfig's ``exec``; a command with a slash is relative to ``directory``.

        Raises ``ValueError`` that says which field is wrong.
        """
        if not isinstance(config, Mapping):
            raise ValueError("it is no object")
        command, arguments = config.get("command"), config.get("args") or []
        version, mode = config.get("apiVersion"), config.get("interactiveMode")
        if not isinstance(command, str) or not command:
            raise ValueError("command is missing")
        if not isinstance(arguments, list) or not all(isinstance(word, str) for word in arguments):
            raise ValueError("args is no list of text")
        if version not in _VERSIONS:
            raise ValueError(f"apiVersion is {version!r}; supported are {' and '.join(_VERSIONS)}")
        if mode is None and version == _VERSIONS[0]:
            raise ValueError("interactiveMode is missing, which v1 requires")
        mode = mode or "IfAvailable"
        if mode not in _MODES:
            raise ValueError(f"interactiveMode is {mode!r}; it can be {', '.join(_MODES)}")
        env: dict[str, str] = {}
        for entry in config.get("env") or []:
            if not isinstance(entry, Mapping) or not entry.get("name"):
                raise ValueError("env has an entry without a name")
            env[str(entry["name"])] = str(entry.get("value") or "")
        if os.sep in command:
            command = str(Path(directory, command))
        return cls(
            [command, *arguments],
            api_version=version,
            env=env,
            interactive_mode=mode,
            cluster=cluster if config.get("provideClusterInfo") else None,
            install_hint=str(config.get("installHint") or ""),
        )

    def ready(self) -> bool:
        """Say whether what the plugin gave is still good."""
        return self._fetched and (self._expires is None or self._now() < self._expires)

    def authorization(self) -> str:
        """Return the token's header value, running the plugin if need be. Raises ``CredentialError``."""
        with self._lock:
            if not self.ready():
                self._fetch()
            return f"Bearer {self._token}" if self._token else ""

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Return the client certificate and key, running the plugin if need be. Raises ``CredentialError``."""
        with self._lock:
            if not self.ready():
                self._fetch()
            return self._pair

    def invalidate(self) -> bool:
        """Run the plugin again; say whether it gave anything else. Raises ``CredentialError``."""
        with self._lock:
            before = (self._token, self._pair)
            self._fetch()
            return (self._token, self._pair) != before

    def _fetch(self) -> None:
        status = self._run()
        token = status.get("token") or ""
        certificate, key = status.get("clientCertificateData") or "", status.get("clientKeyData") or ""
        if not all(isinstance(value, str) for value in (token, certificate, key)):
            raise self._error("gave something that is no text")
        if not token and not certificate and not key:
            raise self._error("gave neither a token nor a certificate")
        if bool(certificate) != bool(key):
            raise self._error("gave only one of certificate and key")
        if not token.isascii() or not token.isprintable():
            raise self._error("gave a token that cannot stand in a header")
        expires = status.get("expirationTimestamp")
        try:
            self._expires = parse_time(expires) if expires else None
        except (TypeError, ValueError) as error:
            raise self._error(f"gave an expirationTimestamp that is no time: {expires!r}") from error
        self._token = token
        self._pair = (certificate.encode(), key.encode()) if certificate else None
        self._fetched = True

    def _run(self) -> Mapping[str, Any]:
        interactive = self._interactive()
        spec: dict[str, Any] = {"interactive": interactive}
        if self._cluster is not None:
            spec["cluster"] = self._cluster
        info = {"kind": "ExecCredential", "apiVersion": self._api_version, "spec": spec}
        environ = {**os.environ, **self._env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        try:
            # Its standard error is the user's: that is where a plugin says what to do in a browser.
            done = subprocess.run(
                self._command,
                stdin=None if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environ,
                check=False,
            )
        except OSError as error:
            hint = f"\n{self._install_hint}" if self._install_hint else ""
            raise self._error(f"cannot be run: {error.strerror}{hint}") from error
        if done.returncode != 0:
            raise self._error(f"failed with exit code {done.returncode}")
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            raise self._error(f"did not answer in JSON: {error}") from error
        if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
            raise self._error("did not answer with an ExecCredential")
        if answer.get("apiVersion") != self._api_version:
            raise self._error(
                f"answered in {answer.get('apiVersion')}, while the kubeconfig says {self._api_version}"
            )
        status = answer.get("status")
        if not isinstance(status, dict):
            raise self._error("answered without a status")
        return status

    def _interactive(self) -> bool:
        terminal = sys.stdin is not None and sys.stdin.isatty()
        if self._mode == "Always" and not terminal:
            raise self._error("wants a terminal, and there is none")
        return terminal and self._mode != "Never"

    def _error(self, problem: str) -> CredentialError:
        return CredentialError(f"the credential plugin {self._command[0]} {problem}")

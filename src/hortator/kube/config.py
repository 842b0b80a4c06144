"""Kubeconfig files: read and merged as kubectl does it, and edited without disturbing what else is in them.

What comes out is an :class:`~hortator.kube.endpoint.Endpoint`. Rules are those of client-go v0.36
``tools/clientcmd``: of several files the first that has an entry, or names a current context, wins; paths are
relative to their file; credentials are sent over TLS only. Importing this module is quick; YAML is imported
when a file is read.
"""

# pathlib is slow to import:
# ruff: noqa: PTH103, PTH108, PTH110, PTH111, PTH118, PTH120
from __future__ import annotations

import os

from hortator.kube.credentials import BasicAuth, StaticToken, TokenFile
from hortator.kube.endpoint import Endpoint, InvalidEndpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from hortator.kube.credentials import Credentials

__all__ = [
    "Cluster",
    "ConfigError",
    "Kubeconfig",
    "in_cluster",
    "kubeconfig_paths",
    "load",
    "merge",
    "remove",
]

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}


class ConfigError(Exception):
    """Raised when a kubeconfig cannot be used; the message names the file and the entry."""


class Cluster:
    """What a context comes down to: a server, who asks there, and in which namespace by default."""

    __slots__ = ("endpoint", "name", "namespace")

    def __init__(self, name: str, endpoint: Endpoint, namespace: str = "") -> None:
        self.name = name
        self.endpoint = endpoint
        #: Empty when the context names none.
        self.namespace = namespace

    @property
    def server(self) -> str:
        """The server's URL."""
        return self.endpoint.server


class _Entry:
    """One named entry, and the folder that its relative paths start from."""

    __slots__ = ("file", "value")

    def __init__(self, value: Mapping[str, Any], file: str) -> None:
        self.value = value
        self.file = file

    def text(self, key: str) -> str:
        value = self.value.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ConfigError(f"{self.file}: {key} is {type(value).__name__}, not text")
        return value

    def flag(self, key: str) -> bool:
        value = self.value.get(key)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{self.file}: {key} is {value!r}, neither true nor false")
        return bool(value)

    def path(self, key: str) -> str:
        value = self.text(key)
        return os.path.join(os.path.dirname(self.file), value) if value else ""

    def data(self, key: str) -> bytes:
        """Return the bytes of ``KEY-data``, else of the file that ``KEY`` names."""
        inline = self.text(f"{key}-data")
        if inline:
            import base64
            import binascii

            try:
                return base64.b64decode(inline, validate=True)
            except binascii.Error as error:
                raise ConfigError(f"{self.file}: {key}-data is no base64: {error}") from error
        path = self.path(key)
        if not path:
            return b""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigError(f"{self.file}: {key} {path} cannot be read: {error.strerror}") from error


def kubeconfig_paths(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the files that kubectl would read: those in ``KUBECONFIG``, else ``~/.kube/config``."""
    environ = os.environ if environ is None else environ
    named = environ.get("KUBECONFIG", "")
    if named:
        paths = [path for path in named.split(os.pathsep) if path]
        return list(dict.fromkeys(paths))
    home = environ.get("HOME") or os.path.expanduser("~")
    return [os.path.join(home, ".kube", "config")]


def load(paths: Sequence[str] | None = None) -> Kubeconfig:
    """Read and merge files (default: :func:`kubeconfig_paths`); those that are missing are skipped.

    Raises :class:`ConfigError` for one that cannot be read or is no kubeconfig.
    """
    current = ""
    entries: dict[str, dict[str, _Entry]] = {section: {} for section in _SECTIONS}
    for path in kubeconfig_paths() if paths is None else paths:
        document = _read(path)
        if document is None:
            continue
        current = current or str(document.get("current-context") or "")
        for section, key in _SECTIONS.items():
            for name, value in _named(document, section, key, path).items():
                entries[section].setdefault(name, _Entry(value, os.path.abspath(path)))
    return Kubeconfig(current, entries)


class Kubeconfig:
    """The merged content of some kubeconfig files; made by :func:`load`."""

    def __init__(self, current_context: str, entries: dict[str, dict[str, _Entry]]) -> None:
        #: Empty when no file names one.
        self.current_context = current_context
        self._entries = entries

    def contexts(self) -> list[str]:
        """Return the names of all contexts, in the order of the files."""
        return list(self._entries["contexts"])

    def cluster(self, context: str = "") -> Cluster:
        """Return what a context (default: the current one) comes down to. Raises :class:`ConfigError`."""
        name = context or self.current_context
        if not name:
            raise ConfigError("no context was named, and the kubeconfig has no current-context")
        found = self._entries["contexts"].get(name)
        if found is None:
            known = ", ".join(sorted(self._entries["contexts"])) or "none"
            raise ConfigError(f"there is no context {name!r} in the kubeconfig; there are: {known}")
        cluster = self._get("clusters", found.text("cluster"), name)
        user_name = found.text("user")
        # kubectl, too, lets a context go without a user.
        user = self._get("users", user_name, name) if user_name else _Entry({}, cluster.file)
        endpoint = _endpoint(cluster, found.text("cluster"), user, user_name)
        return Cluster(name, endpoint, found.text("namespace"))

    def _get(self, section: str, name: str, context: str) -> _Entry:
        entry = self._entries[section].get(name)
        if entry is None:
            what = _SECTIONS[section]
            raise ConfigError(f"the context {context!r} refers to the {what} {name!r}, which does not exist")
        return entry


def in_cluster(
    *,
    environ: Mapping[str, str] | None = None,
    directory: str = _SERVICE_ACCOUNT,
    socket_path: str = "",
) -> Cluster:
    """Return the cluster that this program is a pod of. Raises :class:`ConfigError` when it is none.

    ``directory`` is where the service account's volume is. With ``socket_path`` the server is reached through
    that socket.
    """
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    token = TokenFile(os.path.join(directory, "token"))
    if not os.path.exists(token.path):
        raise ConfigError(f"this is no pod of a cluster: {token.path} does not exist")
    namespace = _content(os.path.join(directory, "namespace")).decode("utf-8", "replace").strip()
    if socket_path:
        return Cluster("in-cluster", Endpoint(socket_path=socket_path, credentials=token), namespace)
    if not host or not port:
        raise ConfigError("this is no pod of a cluster: KUBERNETES_SERVICE_HOST or _PORT is not set")
    host = f"[{host}]" if ":" in host else host
    # As client-go: without the file, the system's authorities must vouch for the server.
    ca = _content(os.path.join(directory, "ca.crt"))
    try:
        endpoint = Endpoint(f"https://{host}:{port}", ca=ca, credentials=token)
    except InvalidEndpoint as error:
        raise ConfigError(f"KUBERNETES_SERVICE_HOST and _PORT: {error}") from error
    return Cluster("in-cluster", endpoint, namespace)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _endpoint(cluster: _Entry, cluster_name: str, user: _Entry, user_name: str) -> Endpoint:
    server = cluster.text("server")
    if not server:
        raise ConfigError(f"{cluster.file}: the cluster {cluster_name!r} has no server")
    if cluster.text("proxy-url"):
        raise ConfigError(f"{cluster.file}: the cluster {cluster_name!r} is behind a proxy; not supported")
    ca, insecure = cluster.data("certificate-authority"), cluster.flag("insecure-skip-tls-verify")
    if ca and insecure:
        raise ConfigError(
            f"{cluster.file}: the cluster {cluster_name!r} has a certificate-authority and "
            "insecure-skip-tls-verify; it can have one of them"
        )
    # Over plain HTTP everybody could read them.
    secure = server.startswith("https://")
    certificate = _certificate(user, user_name) if secure else None
    try:
        return Endpoint(
            server,
            ca=ca,
            certificate=certificate,
            insecure=insecure,
            server_name=cluster.text("tls-server-name"),
            credentials=_credentials(user, user_name, cluster, certificate) if secure else None,
        )
    except InvalidEndpoint as error:
        raise ConfigError(f"{cluster.file}: {error}") from error


def _certificate(user: _Entry, name: str) -> tuple[bytes, bytes] | None:
    certificate, key = user.data("client-certificate"), user.data("client-key")
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise ConfigError(f"{user.file}: the user {name!r} has no {missing}")
    return (certificate, key) if certificate else None


def _credentials(
    user: _Entry, name: str, cluster: _Entry, certificate: tuple[bytes, bytes] | None
) -> Credentials | None:
    for key in ("auth-provider", "act-as", "act-as-uid", "act-as-groups", "act-as-user-extra"):
        if user.value.get(key):
            raise ConfigError(f"{user.file}: {key} of the user {name!r} is not supported")
    token, token_file = user.text("token"), user.path("tokenFile")
    try:
        # client-go lets the file win over a token beside it, as long as it can be read.
        if token_file:
            return TokenFile(token_file, fallback=token)
        if token:
            return StaticToken(token)
        if user.text("username"):
            return BasicAuth(user.text("username"), user.text("password"))
    except ValueError as error:
        raise ConfigError(f"{user.file}: the user {name!r}: {error}") from error
    if user.value.get("exec") and certificate is None:
        from hortator.kube.exec_plugin import ExecPlugin

        try:
            return ExecPlugin.from_config(
                user.value["exec"],
                directory=os.path.dirname(user.file),
                cluster=_cluster_info(cluster),
            )
        except ValueError as error:
            raise ConfigError(f"{user.file}: exec of the user {name!r}: {error}") from error
    return None


def _cluster_info(cluster: _Entry) -> dict[str, Any]:
    """Return what a credential plugin may be told about the cluster."""
    import base64

    info: dict[str, Any] = {"server": cluster.text("server")}
    for key in ("tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression"):
        if cluster.value.get(key):
            info[key] = cluster.value[key]
    ca = cluster.data("certificate-authority")
    if ca:
        info["certificate-authority-data"] = base64.b64encode(ca).decode()
    for extension in cluster.value.get("extensions") or ():
        if isinstance(extension, dict) and extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


def _read(path: str) -> dict[str, Any] | None:
    from hortator.apimachinery.yaml import YamlError, load_all

    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    try:
        documents = [document for document in load_all(data, source=path) if document is not None]
    except YamlError as error:
        raise ConfigError(str(error)) from error
    if not documents:
        return {}
    document = documents[0]
    if len(documents) > 1 or not isinstance(document, dict):
        raise ConfigError(f"{path} is no kubeconfig: it is not one object")
    kind, version = document.get("kind") or "Config", document.get("apiVersion") or "v1"
    if (kind, version) != ("Config", "v1"):
        raise ConfigError(f"{path} is no kubeconfig: it is a {kind} of {version}")
    return document


def _named(document: Mapping[str, Any], section: str, key: str, path: str) -> dict[str, Mapping[str, Any]]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: {section} is no list")
    found: dict[str, Mapping[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"{path}: {section}[{number}] has no name")
        value = entry.get(key) or {}
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {section}[{number}].{key} is no object")
        found.setdefault(entry["name"], value)
    return found


def merge(document: Mapping[str, Any], *, path: str = "", set_current: str | None = None) -> Path:
    """Add the clusters, users and contexts of a kubeconfig to another one; return that one's path.

    ``path`` is by default the first of :func:`kubeconfig_paths`. The file is made (mode 0600) if need be, and
    replaced in one step; everything else in it stays, the current context too unless ``set_current`` names
    another. An entry of the same name is only replaced where both clusters of that name are on this machine;
    else :class:`ConfigError` is raised and nothing changes.
    """
    path = path or kubeconfig_paths()[0]
    additions = {
        section: _named(document, section, key, "the addition") for section, key in _SECTIONS.items()
    }

    def edit(target: dict[str, Any]) -> None:
        known = {section: _named(target, section, key, path) for section, key in _SECTIONS.items()}
        for section, key in _SECTIONS.items():
            for name, value in additions[section].items():
                before = known[section].get(name)
                clusters = known["clusters"].get(name), additions["clusters"].get(name)
                if before not in (None, value) and not all(map(_is_here, clusters)):
                    raise ConfigError(f"{path} has a {key} {name!r} already; it was left as it is")
            rest = [entry for entry in target.get(section) or [] if entry["name"] not in additions[section]]
            target[section] = rest + [
                {"name": name, key: dict(value)} for name, value in additions[section].items()
            ]
        if set_current is not None:
            target["current-context"] = set_current

    _edit(path, edit)
    from pathlib import Path

    return Path(path)


def _is_here(cluster: Mapping[str, Any] | None) -> bool:
    try:
        host = Endpoint(str((cluster or {}).get("server") or "")).host
    except InvalidEndpoint:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")


def remove(name: str, *, path: str = "") -> bool:
    """Remove the cluster, the user and the context called ``name``; say whether any was there.

    A current context of that name is unset. A file that does not exist is not made. Raises
    :class:`ConfigError`.
    """
    path = path or kubeconfig_paths()[0]
    found = False

    def edit(document: dict[str, Any]) -> None:
        nonlocal found
        for section, key in _SECTIONS.items():
            if name in _named(document, section, key, path):
                found = True
                document[section] = [entry for entry in document[section] if entry["name"] != name]
        if document.get("current-context") == name:
            found = True
            document["current-context"] = ""

    if os.path.exists(path):
        _edit(path, edit)
    return found


def _edit(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    from hortator.apimachinery.yaml import dump

    # Through links, so that a file that is one stays one.
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    lock = f"{path}.lock"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # The lock is the one that kubectl takes.
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise ConfigError(f"{path} is being changed by another program ({lock} is there)") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be changed: {error.strerror}") from error
    try:
        document = _read(path) or {}
        before = dump(document)
        document.setdefault("apiVersion", "v1")
        document.setdefault("kind", "Config")
        change(document)
        text = dump(document)
        if text == before:
            return
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        os.unlink(lock)

"""The ``/etc/hosts`` of pods: the machine's own entries and the names of pods and Services. Pure, but for the write.

One file for each namespace: every pod of the namespace has it bound over its ``/etc/hosts``, so it is changed in place.
A pod with ``hostAliases`` has a file of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HostEntry", "ServiceEntry", "hosts_text", "write_in_place"]

_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A pod with an address. ``hostname`` is what it calls itself; ``subdomain`` the headless Service it is under."""

    namespace: str
    name: str
    ip: str
    hostname: str
    subdomain: str = ""


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A Service and the addresses of the pods that it selects."""

    namespace: str
    name: str
    ips: tuple[str, ...]


def hosts_text(
    machine: str,
    namespace: str,
    pods: Iterable[HostEntry],
    services: Iterable[ServiceEntry],
    aliases: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Return the file's text as pods of one namespace see it; ``aliases`` (``hostAliases`` of a pod) come first.

    Within the namespace pods answer to their short names and ``POD.SERVICE``; across namespaces to
    ``POD.SERVICE.NAMESPACE`` and longer, as with a cluster's DNS.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for alias in aliases:
        names = list(alias.get("hostnames") or ())
        lines.append(f"{alias['ip']}\t{' '.join(names)}")
        seen.update(names)
    # The own namespace first: a short name belongs to it.
    for pod in sorted(pods, key=lambda p: (p.namespace != namespace, p.namespace, p.name)):
        names = []
        if pod.subdomain:
            base = f"{pod.hostname}.{pod.subdomain}"
            names += _forms(base, pod.namespace, namespace)
        if pod.namespace == namespace:
            names += [pod.hostname, pod.name]
        fresh = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(fresh)
        if fresh:
            lines.append(f"{pod.ip}\t{' '.join(fresh)}")
    for service in sorted(services, key=lambda s: (s.namespace != namespace, s.namespace, s.name)):
        names = [name for name in _forms(service.name, service.namespace, namespace) if name not in seen]
        seen.update(names)
        if names:
            lines += [f"{ip}\t{' '.join(names)}" for ip in service.ips]
    own = "\n".join(lines)
    # The machine's entries come last: a pod's name wins over the machine's.
    return f"# Kept by hortator: the pods and Services of this cluster, then the machine's own entries.\n{own}\n{machine}"


def _forms(base: str, namespace: str, seen_from: str) -> Sequence[str]:
    full = f"{base}.{namespace}.svc.{_DOMAIN}"
    forms = [full, f"{base}.{namespace}.svc", f"{base}.{namespace}"]
    return [*forms, base] if namespace == seen_from else forms


def selects(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Whether a Service's selector picks these labels; one without selector picks nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def write_in_place(path: Path, text: str) -> None:
    """Replace a file's content without replacing the file, because it is bind-mounted."""
    data = text.encode()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.pread(fd, len(data) + 1, 0) != data:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)

"""Discovery documents: what is served, in the aggregated form (v2) and in the plain one, and the version.

Pure functions of the kinds given, built in and custom. Which form a client asks for, and the ETag, are left
to the handler.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from hortator.local.apiserver.scheme.kinds import Kind, Subresource

__all__ = [
    "AGGREGATED_CONTENT_TYPE",
    "aggregated",
    "core_versions",
    "group",
    "group_list",
    "groups_of",
    "resource_list",
    "version",
    "version_order",
]

AGGREGATED_CONTENT_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def version(kubernetes: str) -> dict[str, str]:
    """Return the body of ``/version``; ``kubernetes`` is the version of the API, as ``1.36.3``."""
    major, minor, _ = kubernetes.split(".", 2)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{kubernetes}+hortator",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"{sys.platform}/{machine}",
    }


def version_order(name: str) -> tuple[int, int, int, str]:
    """Return a sort key that puts preferred versions first: v2, v1, v1beta2, v1beta1, v1alpha1, others by
    name.

    The order is upstream's ``version.CompareKubeAwareVersionStrings``.
    """
    match = re.fullmatch(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?", name)
    if match is None:
        return (3, 0, 0, name)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")


def groups_of(kinds: Iterable[Kind]) -> dict[str, dict[str, list[Kind]]]:
    """Return group -> version -> kinds; groups as they come, versions preferred first."""
    found: dict[str, dict[str, list[Kind]]] = {}
    for kind in kinds:
        found.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    return {
        name: dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
        for name, versions in found.items()
    }


def core_versions(address: str = "") -> dict[str, Any]:
    """Return the body of ``/api``; ``address`` is ``host:port`` where the server listens, if it does."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(kinds: Iterable[Kind]) -> dict[str, Any]:
    """Return the body of ``/apis``."""
    groups = [_group(name, list(versions)) for name, versions in groups_of(kinds).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Iterable[Kind], name: str) -> dict[str, Any] | None:
    """Return the body of ``/apis/GROUP``, or None where nothing of that group is served."""
    versions = groups_of(kinds).get(name)
    if versions is None or not name:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, list(versions))}


def _group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def resource_list(kinds: Iterable[Kind], group: str, version: str) -> dict[str, Any] | None:
    """Return the body of ``/api/VERSION`` or ``/apis/GROUP/VERSION``, or None where it is not served."""
    served = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    if not served:
        return None
    resources = []
    for kind in served:
        resources.append(_resource(kind))
        resources += [_subresource(kind, sub) for sub in kind.subresources]
    resources.sort(key=lambda resource: str(resource["name"]))
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": resources,
    }


def _resource(kind: Kind) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    return resource


def _subresource(kind: Kind, sub: Subresource) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "name": f"{kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }
    if (sub.group, sub.version) != (kind.group, kind.version):
        resource["group"] = sub.group
        resource["version"] = sub.version
    return resource


def aggregated(kinds: Iterable[Kind], *, core: bool) -> dict[str, Any]:
    """Return the ``APIGroupDiscoveryList`` of ``/api`` (``core``) or of ``/apis``."""
    items = []
    for name, versions in groups_of(kinds).items():
        if core == (name == ""):
            served = [
                {
                    "version": version,
                    "resources": [
                        _discovered(kind) for kind in sorted(members, key=lambda kind: kind.plural)
                    ],
                    "freshness": "Current",
                }
                for version, members in versions.items()
            ]
            items.append({"metadata": {"name": name} if name else {}, "versions": served})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(kind: Kind) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    if kind.subresources:
        resource["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return resource

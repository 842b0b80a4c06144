"""What an API serves just now: every resource in its preferred version, custom ones included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from hortator.kube.client import Client
from hortator.kube.resources import Resource

__all__ = ["Served", "discover"]

ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@dataclass(frozen=True, slots=True)
class Served:
    """One served resource and the verbs that it knows; ``versions`` are all its API versions."""

    resource: Resource
    verbs: frozenset[str]
    versions: tuple[str, ...]


async def discover(client: Client) -> list[Served]:
    """Ask for all resources (two requests). Raises ``ApiError`` or ``Unavailable``."""
    found: dict[tuple[str, str], Served] = {}
    for path in ("/api", "/apis"):
        answer = await client.raw("GET", path, headers={"accept": ACCEPT})
        for group in msgspec.json.decode(answer.body).get("items") or ():
            _read_group(group, found)
    return list(found.values())


def _read_group(group: dict[str, Any], found: dict[tuple[str, str], Served]) -> None:
    name = (group.get("metadata") or {}).get("name") or ""
    for version in group.get("versions") or ():
        for one in version.get("resources") or ():
            key = (name, one["resource"])
            kind = (one.get("responseKind") or {}).get("kind") or ""
            resource = Resource(
                name, version["version"], one["resource"], kind, namespaced=one.get("scope") == "Namespaced"
            )
            earlier = found.get(key)
            if earlier is None:
                found[key] = Served(resource, frozenset(one.get("verbs") or ()), (resource.api_version,))
            else:
                found[key] = Served(
                    earlier.resource, earlier.verbs, (*earlier.versions, resource.api_version)
                )

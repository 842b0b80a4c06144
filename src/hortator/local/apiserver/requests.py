"""What a URL asks for: the resource, the verb and the options, as the authorizer and the handlers need them.

Facts as in upstream's request info (apiserver 1.36). Whether such a resource exists is the catalog's to know.
"""

from __future__ import annotations

from dataclasses import dataclass

from hortator.kube.http import Request

__all__ = ["RequestInfo", "boolean", "parse"]

_VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "GET": "get",
    "HEAD": "get",
}
# Subresources of a namespace itself; any other word after its name is a resource within it.
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request, taken apart. ``resource`` is empty for a path that names none (``/version``, ``/apis/batch``)."""

    path: str
    verb: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    #: Path segments after the subresource (``proxy/…``).
    rest: tuple[str, ...] = ()

    @property
    def is_resource(self) -> bool:
        """Whether the path names a resource."""
        return bool(self.resource)

    @property
    def group_resource(self) -> str:
        """The resource as messages name it: ``pods`` or ``deployments.apps``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def boolean(request: Request, name: str) -> bool:
    """Return a flag of the query; a name without a value means true."""
    for key, value in request.query:
        if key == name:
            return value.lower() not in ("0", "f", "false")
    return False


def parse(request: Request) -> RequestInfo:
    """Take a request apart. Never raises: what does not name a resource is a path."""
    path = request.path
    method_verb = _VERBS.get(request.method, request.method.lower())
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(path, method_verb)
    namespace = ""
    if rest[0] == "namespaces" and group == "" and (len(rest) <= 2 or rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace = rest[1] if len(rest) > 1 else ""
    elif rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    verb = method_verb
    if not name:
        if verb == "get":
            verb = "watch" if boolean(request, "watch") else "list"
        elif verb == "delete":
            verb = "deletecollection"
    if verb in ("list", "watch", "deletecollection"):
        name = _selected_name(request)
        return RequestInfo(path, verb, group, version, namespace, resource, name)
    return RequestInfo(path, verb, group, version, namespace, resource, name, subresource, tuple(rest[3:]))


def _selected_name(request: Request) -> str:
    """Return the one name that a field selector asks for, which the authorizer may then judge."""
    for part in request.param("fieldSelector").split(","):
        key, _, value = part.partition("=")
        if key == "metadata.name":
            return value.lstrip("=")
    return ""

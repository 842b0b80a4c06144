"""``Impersonate-…`` headers (``kubectl --as``): acting as somebody else, for those who may."""

from __future__ import annotations

from urllib.parse import unquote

from hortator.apimachinery.status import StatusError
from hortator.kube.http import Request
from hortator.local.apiserver.authentication import AUTHENTICATED
from hortator.local.apiserver.authorization import Attributes, Authorizer
from hortator.local.apiserver.context import User

__all__ = ["impersonated"]

_ACCOUNT = "system:serviceaccount:"
_EXTRA = "impersonate-extra-"


def impersonated(user: User, request: Request, authorizer: Authorizer) -> User:
    """Return whom a request is made for. Raises 403 when its maker may not impersonate, 400 for a group without user."""
    headers = request.headers
    name = headers.get("impersonate-user", "")
    uid = headers.get("impersonate-uid", "")
    getall = getattr(headers, "getall", None)
    groups = (
        getall("impersonate-group", [])
        if getall
        else [headers[key] for key in headers if key == "impersonate-group"]
    )
    if not name:
        raise StatusError.bad_request("requested impersonation without a user name")
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in headers.items():
        if key.lower().startswith(_EXTRA):
            label = unquote(key.lower().removeprefix(_EXTRA))
            extra[label] = (*extra.get(label, ()), value)
    if name.startswith(_ACCOUNT) and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        authorizer.require(user, Attributes("impersonate", "", "serviceaccounts", "", namespace, account))
        if not groups:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    else:
        authorizer.require(user, Attributes("impersonate", "", "users", name=name))
    for group in _distinct(groups):
        authorizer.require(user, Attributes("impersonate", "", "groups", name=group))
    if uid:
        authorizer.require(user, Attributes("impersonate", "authentication.k8s.io", "uids", name=uid))
    for label, values in extra.items():
        for value in values:
            wanted = Attributes("impersonate", "authentication.k8s.io", "userextras", label, name=value)
            authorizer.require(user, wanted)
    known = _distinct(groups)
    if AUTHENTICATED not in known:
        known = (*known, AUTHENTICATED)
    return User(name, uid, known, extra)


def _distinct(groups: list[str]) -> tuple[str, ...]:
    """Return the groups without repetition, in order."""
    return tuple(dict.fromkeys(groups))

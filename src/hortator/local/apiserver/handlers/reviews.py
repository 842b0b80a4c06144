"""Questions about identity and rights, and ServiceAccount tokens: resources that are asked, not kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from hortator.apimachinery import fielderrors
from hortator.apimachinery.meta import rfc3339
from hortator.apimachinery.status import StatusError
from hortator.kube.http import Response
from hortator.local.apiserver.authentication import Authenticator
from hortator.local.apiserver.authorization import Attributes, Authorizer
from hortator.local.apiserver.bodies import json_response
from hortator.local.apiserver.context import Call, User
from hortator.local.apiserver.handlers.resources import Subresource
from hortator.local.apiserver.registry import Registry
from hortator.local.apiserver.tokens import AUDIENCE, Tokens

__all__ = ["Reviews"]

Object = dict[str, Any]

_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32
_DEFAULT_SECONDS = 3600


class Reviews:
    """The handlers of reviews and of ``serviceaccounts/token``."""

    def __init__(
        self, registry: Registry, authenticator: Authenticator, authorizer: Authorizer, tokens: Tokens
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._tokens = tokens

    def kinds(self) -> Mapping[str, Callable[[Call], Awaitable[Response]]]:
        """Return what answers each kind of review, by collection."""
        return {
            "authentication.k8s.io/selfsubjectreviews": self.self_subject,
            "authentication.k8s.io/tokenreviews": self.token_review,
            "authorization.k8s.io/selfsubjectaccessreviews": self.self_access,
            "authorization.k8s.io/subjectaccessreviews": self.access,
            "authorization.k8s.io/localsubjectaccessreviews": self.access,
            "authorization.k8s.io/selfsubjectrulesreviews": self.rules,
        }

    def subresources(self) -> Mapping[tuple[str, str], Subresource]:
        """Return the subresources that are answered here."""
        return {("/serviceaccounts", "token"): self.token}

    async def self_subject(self, call: Call) -> Response:
        """Say who asks."""
        body = await self._registry.body(call)
        metadata = {**(body.get("metadata") or {}), "creationTimestamp": rfc3339(call.now)}
        return self._answer({**body, "metadata": metadata}, {"userInfo": user_info(call.user)})

    async def token_review(self, call: Call) -> Response:
        """Say whose token it is."""
        body = await self._registry.body(call)
        spec = body.get("spec") or {}
        token = spec.get("token") or ""
        if not token:
            raise StatusError.bad_request("token is required for TokenReview in authentication")
        audiences = spec.get("audiences") or [AUDIENCE]
        found = self._tokens.review(token, audiences)
        if found is None and AUDIENCE in audiences:
            owner = self._authenticator.of_token(token)
            found = (owner, [AUDIENCE]) if owner is not None else None
        if found is None:
            return self._answer(body, {"user": {}, "error": "the token is not valid for these audiences"})
        user, shared = found
        return self._answer(body, {"authenticated": True, "user": user_info(user), "audiences": shared})

    async def self_access(self, call: Call) -> Response:
        """Say whether the asker may do something."""
        body = await self._registry.body(call)
        return self._access(body, call.user, "SelfSubjectAccessReview")

    async def access(self, call: Call) -> Response:
        """Say whether somebody may do something."""
        body = await self._registry.body(call)
        spec = body.get("spec") or {}
        kind = call.served.kind.kind
        if not spec.get("user") and not spec.get("groups"):
            error = fielderrors.invalid("spec.user", "", "at least one of user or group must be specified")
            raise StatusError.invalid(kind, "", [error], group="authorization.k8s.io")
        if call.namespace and (spec.get("resourceAttributes") or {}).get("namespace") != call.namespace:
            raise StatusError.bad_request(
                f"spec.resourceAttributes.namespace must match namespace: {call.namespace}"
            )
        extra = {key: tuple(value) for key, value in (spec.get("extra") or {}).items()}
        user = User(spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), extra)
        return self._access(body, user, kind)

    def _access(self, body: Object, user: User, kind: str) -> Response:
        spec = body.get("spec") or {}
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (resource is None) == (path is None):
            error = fielderrors.invalid(
                "spec.resourceAttributes",
                None,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )
            raise StatusError.invalid(kind, "", [error], group="authorization.k8s.io")
        if resource is not None:
            wanted = Attributes(
                resource.get("verb") or "",
                resource.get("group") or "",
                resource.get("resource") or "",
                resource.get("subresource") or "",
                resource.get("namespace") or "",
                resource.get("name") or "",
            )
        else:
            wanted = Attributes((path or {}).get("verb") or "", path=(path or {}).get("path") or "/")
        allowed = self._authorizer.allows(user, wanted)
        status: Object = {"allowed": allowed}
        if allowed and (reason := self._authorizer.reason(user, wanted)):
            status["reason"] = reason
        return self._answer(body, status)

    async def rules(self, call: Call) -> Response:
        """Say what the asker may do in a namespace."""
        body = await self._registry.body(call)
        namespace = (body.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise StatusError.bad_request("no namespace on request")
        rules = [rule.to_dict() for rule in self._authorizer.rules(call.user, namespace)]
        status = {
            "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
            "incomplete": False,
        }
        return self._answer(body, status)

    async def token(self, call: Call) -> Response:
        """Issue a token for a ServiceAccount. Raises 404, 409 or 422."""
        name = call.info.name
        account = self._registry.storage.get("/serviceaccounts", call.namespace, name)
        if account is None:
            raise call.not_found()
        body = await self._registry.body_of("authentication.k8s.io/v1", "TokenRequest", call)
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds")
        seconds = _DEFAULT_SECONDS if seconds is None else seconds
        errors = []
        if seconds < _MIN_SECONDS:
            detail = "may not specify a duration less than 10 minutes"
            errors.append(fielderrors.invalid("spec.expirationSeconds", seconds, detail))
        if seconds > _MAX_SECONDS:
            detail = "may not specify a duration larger than 2^32 seconds"
            errors.append(fielderrors.invalid("spec.expirationSeconds", seconds, detail))
        if errors:
            raise StatusError.invalid("TokenRequest", "", errors, group="authentication.k8s.io")
        audiences = spec.get("audiences") or [AUDIENCE]
        bound = self._bound(call, spec.get("boundObjectRef"), name)
        token = ""
        if not call.dry_run:
            token = self._tokens.issue(
                call.namespace, name, account.uid, audiences=audiences, seconds=seconds, bound=bound
            )
        status = {"token": token, "expirationTimestamp": rfc3339(call.now + timedelta(seconds=seconds))}
        metadata = {**(body.get("metadata") or {}), "name": name, "namespace": call.namespace}
        metadata["creationTimestamp"] = rfc3339(call.now)
        spec = {**spec, "audiences": audiences, "expirationSeconds": seconds}
        return json_response(
            {
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": metadata,
                "spec": spec,
                "status": status,
            },
            201,
        )

    def _bound(self, call: Call, reference: Any, account: str) -> dict[str, dict[str, str]]:
        if not reference:
            return {}
        kind, name = reference.get("kind") or "", reference.get("name") or ""
        resources = {"Pod": "/pods", "Secret": "/secrets", "Node": "/nodes"}
        if kind not in resources or (reference.get("apiVersion") or "v1") != "v1":
            raise StatusError.bad_request(f"cannot bind token for serviceaccount to object type {kind}")
        namespace = "" if kind == "Node" else call.namespace
        item = self._registry.storage.get(resources[kind], namespace, name)
        if item is None:
            raise StatusError.not_found(resources[kind].lstrip("/"), "", name)
        if reference.get("uid") and reference["uid"] != item.uid:
            raise StatusError.conflict(
                resources[kind].lstrip("/"),
                "",
                name,
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                f"The object might have been deleted and then recreated",
            )
        bound = {kind.lower(): {"name": name, "uid": item.uid}}
        if kind == "Pod":
            spec = item.decode().get("spec") or {}
            if spec.get("serviceAccountName") != account:
                raise StatusError.bad_request(
                    f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount '
                    f'"{spec.get("serviceAccountName") or ""}"'
                )
            node = self._registry.storage.get("/nodes", "", spec.get("nodeName") or "")
            if node is not None:
                bound["node"] = {"name": node.name, "uid": node.uid}
        return bound

    def _answer(self, body: Object, status: Object) -> Response:
        return json_response({**body, "status": status}, 201)


def user_info(user: User) -> Object:
    """Return a user as ``UserInfo``."""
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info

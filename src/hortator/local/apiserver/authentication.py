"""Who asks: the owner's token, a client certificate of our own authority, or a ServiceAccount's token.

Nobody is anonymous: without valid credentials the answer is 401. What somebody may do is :mod:`.authorization`'s.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from hortator.apimachinery.status import StatusError
from hortator.kube.http import Request
from hortator.local.apiserver.context import User

__all__ = ["Authenticator", "TokenVerifier"]

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
OWNER = User("hort:owner", groups=(MASTERS, AUTHENTICATED))
_BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."


class TokenVerifier(Protocol):
    """Knows tokens other than the owner's."""

    def verify(self, token: str) -> User | None:
        """Return whose token it is, or None when it is not (or no longer) valid for this server."""


class Authenticator:
    """Finds out who asks. Costs no more than a comparison for the owner."""

    def __init__(self, owner_token: str, verifier: TokenVerifier | None = None) -> None:
        self._owner_token = owner_token.encode()
        self._verifier = verifier

    def authenticate(self, request: Request) -> User:
        """Return the user of a request. Raises 401."""
        token = bearer_token(request)
        if token:
            user = self.of_token(token)
            if user is not None:
                return user
        elif request.peer is not None:
            name, organizations = request.peer
            if name:
                return User(name, groups=(*organizations, AUTHENTICATED))
        raise StatusError.unauthorized()

    def of_token(self, token: str) -> User | None:
        """Return whose token it is, or None."""
        if hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._owner_token):
            return OWNER
        return self._verifier.verify(token) if self._verifier is not None else None


def bearer_token(request: Request) -> str:
    """Return the request's bearer token, from its header or, as browsers send it, a WebSocket subprotocol."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for protocol in request.headers.get("sec-websocket-protocol", "").split(","):
        protocol = protocol.strip()
        if protocol.startswith(_BEARER_PROTOCOL):
            import base64
            import binascii

            encoded = protocol.removeprefix(_BEARER_PROTOCOL)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError):
                return ""
    return ""

"""ServiceAccount tokens: JSON Web Tokens that say which account, for whom, until when, and bound to which object.

They are signed with a secret of this cluster (HS256), since nobody but this server verifies them; so no key pair has to
be made and no cryptography loaded. A token is valid only while its account, and the object it is bound to, exist under the
same uid, as upstream.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from hortator.apimachinery.meta import parse_time
from hortator.local.apiserver.context import User
from hortator.local.apiserver.storage import Storage

__all__ = ["AUDIENCE", "ISSUER", "Tokens", "account_user"]

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = ISSUER
_HEADER = {"alg": "HS256", "typ": "JWT"}
_CACHED = 1024
#: How long a token outlives the deletion mark of its pod, so that the pod can end in order.
_DELETION_LEEWAY = timedelta(seconds=60)

_BOUND = {"pod": "/pods", "secret": "/secrets", "node": "/nodes"}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def account_user(
    namespace: str, name: str, uid: str, extra: Mapping[str, tuple[str, ...]] | None = None
) -> User:
    """Return the user that a ServiceAccount is."""
    return User(
        f"system:serviceaccount:{namespace}:{name}",
        uid,
        ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
        extra or {},
    )


class Tokens:
    """Issues and verifies tokens of one cluster. ``key`` is secret and stays the same over restarts."""

    def __init__(self, key: bytes, storage: Storage, now: Callable[[], datetime]) -> None:
        self._key = key
        self._storage = storage
        self._now = now
        self._claims: dict[str, dict[str, Any]] = {}

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        audiences: Sequence[str],
        seconds: int,
        bound: Mapping[str, Mapping[str, str]] | None = None,
    ) -> str:
        """Return a token. ``bound`` maps ``pod``, ``secret`` or ``node`` to its name and uid."""
        at = int(self._now().timestamp())
        claims = {
            "aud": list(audiences),
            "exp": at + seconds,
            "iat": at,
            "nbf": at,
            "iss": ISSUER,
            "jti": secrets.token_hex(16),
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": uid},
                **{kind: dict(value) for kind, value in (bound or {}).items()},
            },
        }
        signed = f"{_encode(msgspec.json.encode(_HEADER))}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{_encode(self._sign(signed))}"

    def verify(self, token: str) -> User | None:
        """Return the account of a token for this server's own audience, or None."""
        found = self.review(token, (AUDIENCE,))
        return found[0] if found is not None else None

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]] | None:
        """Return the account of a token and which of ``audiences`` it is for, or None when it is not valid."""
        claims = self._read(token)
        if claims is None:
            return None
        at = self._now().timestamp()
        shared = [audience for audience in audiences if audience in claims["aud"]]
        if not shared or not claims["nbf"] - 60 <= at < claims["exp"]:
            return None
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        item = self._storage.get("/serviceaccounts", namespace, account["name"])
        if item is None or item.uid != account["uid"]:
            return None
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
        for kind, resource in _BOUND.items():
            reference = private.get(kind)
            if reference is None:
                continue
            target = self._storage.get(resource, "" if kind == "node" else namespace, reference["name"])
            if target is None or target.uid != reference["uid"]:
                if kind == "node" and "pod" in private:
                    continue  # a pod's token names its node for information only
                return None
            if kind == "pod" and self._gone(target.data):
                return None
            if kind != "secret":
                extra[f"authentication.kubernetes.io/{kind}-name"] = (reference["name"],)
                extra[f"authentication.kubernetes.io/{kind}-uid"] = (reference["uid"],)
        return account_user(namespace, account["name"], account["uid"], extra), shared

    def _gone(self, data: bytes) -> bool:
        if b'"deletionTimestamp"' not in data:
            return False
        marked = msgspec.json.decode(data)["metadata"].get("deletionTimestamp")
        return bool(marked) and parse_time(marked) + _DELETION_LEEWAY < self._now()

    def _read(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token with a good signature; such tokens are remembered."""
        known = self._claims.get(token)
        if known is not None:
            return known
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        try:
            if not hmac.compare_digest(_decode(signature), self._sign(signed)):
                return None
            if msgspec.json.decode(_decode(header)).get("alg") != "HS256":
                return None
            claims: dict[str, Any] = msgspec.json.decode(_decode(payload))
        except (binascii.Error, ValueError, AttributeError):
            return None
        if claims.get("iss") != ISSUER:
            return None
        if len(self._claims) >= _CACHED:
            self._claims.pop(next(iter(self._claims)))
        self._claims[token] = claims
        return claims

    def _sign(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()

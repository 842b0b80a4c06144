"""Who asks: values for the Authorization header, and how they are renewed. Stdlib only, quick to import.

Credential plugins, which run a program, are in ``exec_plugin``.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Credentials(Protocol):
        """A source of credentials. Methods may block (read a file, run a program) unless :meth:`ready` is true."""

        def ready(self) -> bool:
            """Say whether :meth:`authorization` returns at once."""

        def authorization(self) -> str:
            """Return the value of the Authorization header, empty for none. Raises :class:`CredentialError`."""

        def certificate(self) -> tuple[bytes, bytes] | None:
            """Return a client certificate and key (PEM), if this source has one. Raises as above."""

        def invalidate(self) -> bool:
            """Take note that the server did not accept them (401); return whether new ones may differ."""


__all__ = ["BasicAuth", "CredentialError", "StaticToken", "TokenFile"]


class CredentialError(Exception):
    """Raised when credentials cannot be had; the message says from where and why."""


class StaticToken:
    """A bearer token that never changes."""

    def __init__(self, token: str) -> None:
        _check(token, "the token")
        self._value = f"Bearer {token}"

    def ready(self) -> bool:
        """Return true."""
        return True

    def authorization(self) -> str:
        """Return the token's header value."""
        return self._value

    def certificate(self) -> None:
        """Return None: a token has no certificate."""

    def invalidate(self) -> bool:
        """Return false: there is no other token."""
        return False


class BasicAuth(StaticToken):
    """A user name and a password."""

    def __init__(self, username: str, password: str) -> None:
        import base64

        self._value = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class TokenFile:
    """A bearer token in a file that somebody renews, as the kubelet does. Read again after ``period`` seconds.

    client-go (v0.36) reads it once a minute; more often costs nothing here and shortens a wrong answer. ``fallback``
    is the token until the file can be read.
    """

    def __init__(
        self,
        path: str,
        *,
        fallback: str = "",
        period: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(fallback, "the token")
        self.path = path
        self._period = period
        self._clock = clock
        self._value = f"Bearer {fallback}" if fallback else ""
        self._until = float("-inf")

    def ready(self) -> bool:
        """Return true: reading a small file does not count as blocking."""
        return True

    def authorization(self) -> str:
        """Return the token's header value. A file that has gone keeps its last token, as in client-go."""
        now = self._clock()
        if now >= self._until:
            try:
                with open(self.path, encoding="utf-8") as file:
                    token = file.read().strip()
                if not token:
                    raise ValueError("it is empty")
                _check(token, "it")
                self._value = f"Bearer {token}"
            except (OSError, ValueError) as error:
                if not self._value:
                    raise CredentialError(f"the token in {self.path} cannot be read: {error}") from error
            self._until = now + self._period
        return self._value

    def certificate(self) -> None:
        """Return None: a token has no certificate."""

    def invalidate(self) -> bool:
        """Read the file again next time; return whether that gives another token."""
        before = self._value
        self._until = float("-inf")
        return self.authorization() != before


def _check(token: str, what: str) -> None:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{what} has characters that cannot stand in a header")

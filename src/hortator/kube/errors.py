"""What can go wrong between a program and a Kubernetes API, one class per situation.

An answer that says no is an :class:`ApiError` (its subclasses name the situation and carry the server's
Status); no answer at all is :class:`Unavailable`. What to do about either is the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hortator.apimachinery.status import ApiStatus

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "InternalError",
    "Invalid",
    "InvalidAnswer",
    "KubeError",
    "MethodNotAllowed",
    "NotFound",
    "RequestTooLarge",
    "ServiceUnavailable",
    "StreamClosed",
    "TimedOut",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMediaType",
    "error_from_answer",
    "error_from_status",
]


class KubeError(Exception):
    """The root of everything that this package raises."""


class Unavailable(KubeError):
    """Raised when there was no answer: connection refused or reset, name not found, time-out, silence in a
    watch.

    ``target`` names what was spoken to. The transport's own error is the cause.
    """

    def __init__(self, target: str, problem: str) -> None:
        self.target = target
        self.problem = problem
        super().__init__(f"{target}: {problem}")


class StreamClosed(KubeError):
    """Raised when a conversation (exec, attach, port-forward) ended before it had said how it went."""


class InvalidAnswer(KubeError):
    """Raised when a server answered with success, and with a body that is not what the API promises."""


class ApiError(KubeError):
    """Raised when the server refused; ``status`` is its own account. Subclasses name the situations."""

    def __init__(self, status: ApiStatus, *, retry_after: float | None = None) -> None:
        self.status = status
        #: Seconds after which the server invites a new attempt; None when it did not say.
        self.retry_after = retry_after
        super().__init__(status.message)

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return self.status.code

    @property
    def reason(self) -> str:
        """The machine-readable reason, such as ``NotFound``."""
        return self.status.reason

    @property
    def message(self) -> str:
        """The server's sentence."""
        return self.status.message

    def __str__(self) -> str:
        return self.status.message or f"the server answered {self.status.code} {self.status.reason}".rstrip()


class BadRequest(ApiError):
    """Raised for 400: the server could not make sense of the request."""


class Unauthorized(ApiError):
    """Raised for 401: the server does not know who is asking."""


class Forbidden(ApiError):
    """Raised for 403: not allowed to this user, or refused by admission or a quota."""


class NotFound(ApiError):
    """Raised for 404: no such object, or no such resource."""


class MethodNotAllowed(ApiError):
    """Raised for 405: the resource does not support the verb."""


class AlreadyExists(ApiError):
    """Raised for 409 on create: the name is taken."""


class Conflict(ApiError):
    """Raised for 409 otherwise: a stale version, a failed precondition, or a field of another manager."""


class Expired(ApiError):
    """Raised for 410: the resourceVersion or the continue token is too old; list again."""


class RequestTooLarge(ApiError):
    """Raised for 413: the object is bigger than the server accepts."""


class UnsupportedMediaType(ApiError):
    """Raised for 415: the server does not read this content type for this resource."""


class Invalid(ApiError):
    """Raised for 422: the object breaks a rule; ``status`` names fields and causes."""


class TooManyRequests(ApiError):
    """Raised for 429: come back after ``retry_after`` seconds."""


class InternalError(ApiError):
    """Raised for 500: the server failed."""


class ServiceUnavailable(ApiError):
    """Raised for 503: the server, or an extension that it asked, cannot answer now."""


class TimedOut(ApiError):
    """Raised for 504: the server gave up waiting; the write may or may not have happened."""


_BY_CODE: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    410: Expired,
    413: RequestTooLarge,
    415: UnsupportedMediaType,
    422: Invalid,
    429: TooManyRequests,
    500: InternalError,
    503: ServiceUnavailable,
    504: TimedOut,
}


def error_from_status(document: Mapping[str, Any], *, retry_after: float | None = None) -> ApiError:
    """Return the error that a ``metav1.Status`` document of a failure stands for."""
    return _error(ApiStatus.from_dict(document), retry_after)


def error_from_answer(code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Return the error for an HTTP answer of 400 or above, whoever wrote it.

    A proxy's answer has no Status in it; one is made from the status code and the text.
    """
    after = headers.get("retry-after", "")
    retry_after = float(after) if after.isdigit() else None
    document: Any = None
    if body.lstrip()[:1] == b"{":
        try:
            document = json.loads(body)
        except ValueError:
            document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        # Some proxies leave the code out of the body; then the status line is what counts.
        return _error(ApiStatus.from_dict({**document, "code": document.get("code") or code}), retry_after)
    text = body[:2048].decode("utf-8", "replace").strip()
    return _error(ApiStatus.generic(code, text), retry_after)


def _error(status: ApiStatus, retry_after: float | None) -> ApiError:
    if retry_after is None and status.retry_after:
        retry_after = float(status.retry_after)
    kind = AlreadyExists if status.reason == "AlreadyExists" else _BY_CODE.get(status.code, ApiError)
    return kind(status, retry_after=retry_after)

"""``metav1.Status``: how a Kubernetes API says that something went wrong.

Reasons, codes and sentences follow ``k8s.io/apimachinery/pkg/api/errors`` (v0.36). A server raises
:class:`StatusError`; a client makes an :class:`ApiStatus` from an answer's body. Neither knows of transports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, aggregate, go_quote

__all__ = ["ApiStatus", "StatusError"]


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


#: What a client reports when an answer has a status code but no Status body.
_GENERIC = {
    400: ("BadRequest", "the server rejected our request for an unknown reason"),
    401: ("Unauthorized", "the server has asked for the client to provide credentials"),
    403: ("Forbidden", ""),
    404: ("NotFound", "the server could not find the requested resource"),
    405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    406: ("NotAcceptable", ""),
    409: ("Conflict", "the server reported a conflict"),
    410: ("Gone", ""),
    413: ("RequestEntityTooLarge", ""),
    415: ("UnsupportedMediaType", ""),
    422: ("Invalid", "the server rejected our request due to an error in our request"),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: (
        "Timeout",
        "the server was unable to return a response in the time allotted, "
        "but may still be processing the request",
    ),
}


@dataclass(frozen=True, slots=True)
class ApiStatus:
    """One ``Status`` body. ``kind`` of the details is a resource's plural or a kind, as upstream has it."""

    code: int
    reason: str = ""
    message: str = ""
    status: str = "Failure"
    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[Mapping[str, str], ...] = ()
    #: Seconds after which the client may try again; 0 when nothing is said.
    retry_after: int = 0
    #: Whether ``details`` is sent even when empty (upstream sends an empty object for some errors).
    bare: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the body as JSON has it."""
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": self.status}
        if self.message:
            body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        details: dict[str, Any] = {}
        for key in ("name", "group", "kind", "uid"):
            if value := getattr(self, key):
                details[key] = value
        if self.causes:
            details["causes"] = [dict(cause) for cause in self.causes]
        if self.retry_after:
            details["retryAfterSeconds"] = self.retry_after
        if details or self.bare:
            body["details"] = details
        body["code"] = self.code
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> ApiStatus:
        """Read a ``Status`` body; what is missing or of a wrong type is taken as empty."""
        details = body.get("details")
        details = details if isinstance(details, Mapping) else {}
        causes = details.get("causes")
        code = body.get("code")
        retry = details.get("retryAfterSeconds")

        def text(source: Mapping[str, Any], key: str) -> str:
            value = source.get(key)
            return value if isinstance(value, str) else ""

        return cls(
            code=code if isinstance(code, int) else 500,
            reason=text(body, "reason"),
            message=text(body, "message"),
            status=text(body, "status") or "Failure",
            name=text(details, "name"),
            group=text(details, "group"),
            kind=text(details, "kind"),
            uid=text(details, "uid"),
            causes=tuple(
                {key: str(value) for key, value in cause.items()}
                for cause in (causes if isinstance(causes, list) else ())
                if isinstance(cause, Mapping)
            ),
            retry_after=retry if isinstance(retry, int) else 0,
        )

    @classmethod
    def success(cls, *, name: str = "", group: str = "", kind: str = "", uid: str = "") -> ApiStatus:
        """Return the answer to a request that worked and has no object to show, such as a finished delete."""
        return cls(200, "", "", "Success", name=name, group=group, kind=kind, uid=uid)

    @classmethod
    def generic(cls, code: int, text: str = "", *, retry_after: int = 0) -> ApiStatus:
        """Make a status for an answer that carries none: ``text`` is what the server said, if anything."""
        reason, message = _GENERIC.get(code, ("", ""))
        if not reason:
            reason = "InternalError" if code >= 500 else ""
            if code >= 500:
                message = (
                    f"an error on the server ({go_quote(text)}) has prevented the request from succeeding"
                )
            else:
                message = (
                    f"the server responded with the status code {code} but did not return more information"
                )
        message = message or text
        causes = ({"reason": "UnexpectedServerResponse", "message": text},) if text else ()
        return cls(code, reason, message, causes=causes, retry_after=retry_after)


class StatusError(Exception):
    """A request that is refused, with the ``Status`` to answer it with.

    Arguments called ``resource`` are plurals (``pods``); ``group`` is "" for the core group.
    """

    def __init__(self, status: ApiStatus):
        super().__init__(status.message)
        self.status = status

    @property
    def code(self) -> int:
        """HTTP status code."""
        return self.status.code

    @property
    def reason(self) -> str:
        """Machine-readable reason, such as ``NotFound``."""
        return self.status.reason

    @property
    def message(self) -> str:
        """The sentence for people."""
        return self.status.message

    def __str__(self) -> str:
        return self.status.message

    def to_dict(self) -> dict[str, Any]:
        """Return the ``Status`` body."""
        return self.status.to_dict()

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> StatusError:
        """Make the error from a ``Status`` body."""
        return cls(ApiStatus.from_dict(body))

    @classmethod
    def not_found(cls, resource: str, group: str, name: str) -> StatusError:
        """404: there is no such object."""
        message = f"{_qualified(resource, group)} {go_quote(name)} not found"
        return cls(ApiStatus(404, "NotFound", message, name=name, group=group, kind=resource, bare=True))

    @classmethod
    def already_exists(cls, resource: str, group: str, name: str) -> StatusError:
        """409: an object of this name is there already."""
        message = f"{_qualified(resource, group)} {go_quote(name)} already exists"
        return cls(ApiStatus(409, "AlreadyExists", message, name=name, group=group, kind=resource, bare=True))

    @classmethod
    def generate_name_conflict(
        cls, resource: str, group: str, name: str, retry_after: int = 1
    ) -> StatusError:
        """409: no free name was found for a ``generateName``."""
        message = (
            f"{_qualified(resource, group)} {go_quote(name)} already exists, "
            "the server was not able to generate a unique name for the object"
        )
        return cls(
            ApiStatus(409, "AlreadyExists", message, name=name, group=group, kind=resource, retry_after=1)
        )

    @classmethod
    def conflict(cls, resource: str, group: str, name: str, detail: str) -> StatusError:
        """409: the object has changed, or a precondition does not hold."""
        message = f"Operation cannot be fulfilled on {_qualified(resource, group)} {go_quote(name)}: {detail}"
        return cls(ApiStatus(409, "Conflict", message, name=name, group=group, kind=resource, bare=True))

    @classmethod
    def stale(cls, resource: str, group: str, name: str) -> StatusError:
        """409: an update carries a resourceVersion that is no longer the newest."""
        return cls.conflict(
            resource,
            group,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )

    @classmethod
    def apply_conflict(cls, message: str, causes: Sequence[Mapping[str, str]]) -> StatusError:
        """409: server-side apply would take over fields of other managers."""
        return cls(ApiStatus(409, "Conflict", message, causes=tuple(causes), bare=True))

    @classmethod
    def invalid(cls, kind: str, name: str, errors: Sequence[FieldError], *, group: str = "") -> StatusError:
        """422: the object breaks rules; ``kind`` is the Kind, not the plural."""
        message = f"{_qualified(kind, group)} {go_quote(name)} is invalid"
        if errors:
            message += f": {aggregate(errors)}"
        causes = tuple(error.to_cause() for error in errors)
        return cls(
            ApiStatus(422, "Invalid", message, name=name, group=group, kind=kind, causes=causes, bare=True)
        )

    @classmethod
    def forbidden(cls, resource: str, group: str, name: str, detail: str) -> StatusError:
        """403: the caller may not do this, or an admission rule denies it."""
        if not resource and not group:
            message = f"forbidden: {detail}"
        elif not name:
            message = f"{_qualified(resource, group)} is forbidden: {detail}"
        else:
            message = f"{_qualified(resource, group)} {go_quote(name)} is forbidden: {detail}"
        return cls(ApiStatus(403, "Forbidden", message, name=name, group=group, kind=resource, bare=True))

    @classmethod
    def unauthorized(cls, message: str = "Unauthorized") -> StatusError:
        """401: it is not known who asks."""
        return cls(ApiStatus(401, "Unauthorized", message))

    @classmethod
    def bad_request(cls, message: str) -> StatusError:
        """400: the request cannot be understood."""
        return cls(ApiStatus(400, "BadRequest", message))

    @classmethod
    def unknown_path(cls) -> StatusError:
        """404: nothing is served under this path."""
        return cls(ApiStatus(404, "NotFound", "the server could not find the requested resource", bare=True))

    @classmethod
    def method_not_allowed(cls, resource: str, group: str, action: str) -> StatusError:
        """405: the resource does not have this verb (``action``, such as ``patch``)."""
        message = f"{action} is not supported on resources of kind {go_quote(_qualified(resource, group))}"
        return cls(ApiStatus(405, "MethodNotAllowed", message, group=group, kind=resource, bare=True))

    @classmethod
    def gone(cls, message: str) -> StatusError:
        """410: it was here and has no new address."""
        return cls(ApiStatus(410, "Gone", message))

    @classmethod
    def expired(cls, message: str) -> StatusError:
        """410: a resourceVersion or continue token is too old."""
        return cls(ApiStatus(410, "Expired", message))

    @classmethod
    def not_acceptable(cls, accepted: Sequence[str]) -> StatusError:
        """406: the server cannot answer in a type that the client takes; ``accepted`` are those it can."""
        message = f"only the following media types are accepted: {', '.join(accepted)}"
        return cls(ApiStatus(406, "NotAcceptable", message))

    @classmethod
    def unsupported_media_type(cls, accepted: Sequence[str]) -> StatusError:
        """415: the body's type is not known; ``accepted`` are those that are."""
        message = (
            "the body of the request was in an unknown format - "
            f"accepted media types include: {', '.join(accepted)}"
        )
        return cls(ApiStatus(415, "UnsupportedMediaType", message))

    @classmethod
    def request_entity_too_large(cls, message: str) -> StatusError:
        """413: the body is larger than the server takes."""
        return cls(ApiStatus(413, "RequestEntityTooLarge", f"Request entity too large: {message}"))

    @classmethod
    def timeout(cls, message: str, retry_after: int = 0) -> StatusError:
        """504: not finished in time; it may still happen."""
        return cls(ApiStatus(504, "Timeout", f"Timeout: {message}", retry_after=retry_after, bare=True))

    @classmethod
    def server_timeout(cls, resource: str, group: str, operation: str, retry_after: int = 0) -> StatusError:
        """500: not possible right now; the client should try again."""
        message = (
            f"The {operation} operation against {_qualified(resource, group)} could not be completed "
            "at this time, please try again."
        )
        status = ApiStatus(500, "ServerTimeout", message, name=operation, group=group, kind=resource)
        return cls(replace(status, retry_after=retry_after))

    @classmethod
    def too_many_requests(cls, message: str, retry_after: int = 1) -> StatusError:
        """429: try again after that many seconds."""
        return cls(ApiStatus(429, "TooManyRequests", message, retry_after=retry_after, bare=True))

    @classmethod
    def service_unavailable(cls, message: str) -> StatusError:
        """503: the server cannot serve now."""
        return cls(ApiStatus(503, "ServiceUnavailable", message))

    @classmethod
    def internal(cls, message: str) -> StatusError:
        """500: the server failed."""
        text = f"Internal error occurred: {message}"
        return cls(ApiStatus(500, "InternalError", text, causes=({"message": message},)))

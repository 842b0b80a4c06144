"""How the server calls webhooks: HTTPS to a URL, with the authority that the configuration names.

A webhook behind a Service cannot be reached, because Services have no addresses here: that is an error of the call, and the
webhook's failure policy decides. aiohttp is imported with the first call.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from hortator.apimachinery.fielderrors import go_quote
from hortator.local.dial import dial_failure

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CallFailed", "WebhookClient"]

_MAX_ANSWER = 3 * 1024 * 1024

#: What a client of Kubernetes makes of a status code that comes without a Status.
_STATUS_WORDS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}
#: OpenSSL's codes for a chain that ends in nothing trusted.
_UNKNOWN_AUTHORITY = frozenset((18, 19, 20, 21))


class CallFailed(Exception):
    """Raised when a webhook gave no usable answer; ``str`` says why, without naming the webhook."""


class WebhookClient:
    """Calls webhooks; keeps connections to them. Close it at the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def post(self, config: Mapping[str, Any], body: Any, *, seconds: float) -> Any:
        """Send a review to the webhook of a ``clientConfig`` and return the decoded answer. Raises :class:`CallFailed`."""
        import aiohttp

        service = config.get("service")
        if service is not None:
            where = f"https://{service.get('name')}.{service.get('namespace')}.svc:{service.get('port', 443)}"
            raise CallFailed(
                f'failed to call webhook: Post "{where}{service.get("path") or "/"}": services are not reachable from '
                "this API server; register the webhook by url"
            )
        url = f"{config.get('url') or ''}?timeout={seconds:g}s"
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        context = self._context(config.get("caBundle") or "")
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(
                    url,
                    data=io.BytesIO(msgspec.json.encode(body)),
                    headers={"content-type": "application/json", "accept": "application/json"},
                    ssl=context,
                    allow_redirects=False,
                ) as response,
            ):
                answer = await response.content.read(_MAX_ANSWER)
        except TimeoutError as error:
            raise CallFailed(
                f"failed to call webhook: Post {go_quote(url)}: context deadline exceeded"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f"failed to call webhook: Post {go_quote(url)}: {_unsent(error)}") from error
        kind = response.headers.get("content-type", "")
        if response.status != 200:
            raise CallFailed(f"failed to call webhook: {_refusal(response.status, kind, answer)}")
        if not answer:
            raise CallFailed(
                f"failed to call webhook: 0-length response with status code: 200 and content type: {kind}"
            )
        try:
            return msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            why = f"couldn't get version/kind; json parse error: {error}"
            raise CallFailed(f"failed to call webhook: {why}") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _context(self, bundle: str) -> ssl.SSLContext:
        context = self._contexts.get(bundle)
        if context is None:
            try:
                pem = base64.b64decode(bundle).decode() if bundle else None
                context = ssl.create_default_context(cadata=pem)
            except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
                raise CallFailed(f"failed to call webhook: caBundle cannot be used: {error}") from error
            self._contexts[bundle] = context
        return context


def _unsent(error: Exception) -> str:
    """Say why there is no answer, in the words that people know from other clusters."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        broken = error.certificate_error
        if isinstance(broken, ssl.SSLCertVerificationError):
            unknown = broken.verify_code in _UNKNOWN_AUTHORITY
            why = "certificate signed by unknown authority" if unknown else broken.verify_message
            return f"tls: failed to verify certificate: x509: {why}"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    elif isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        return dial_failure(error.host, error.port or 443, error.os_error)
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error)


def _refusal(status: int, kind: str, body: bytes) -> str:
    """Say what an answer that is no success means: a Status speaks for itself, a text where the code allows."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status" and found.get("message"):
        return str(found["message"])
    text = (
        body[:2048].decode("utf-8", "replace").strip() if kind.startswith("text/") or not kind else "unknown"
    )
    if status >= 500 and status not in _STATUS_WORDS:
        return f"an error on the server ({go_quote(text)}) has prevented the request from succeeding"
    if status in (403, 406, 415):
        return text
    other = f"the server responded with the status code {status} but did not return more information"
    return _STATUS_WORDS.get(status, other)

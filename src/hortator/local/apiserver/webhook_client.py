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

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CallFailed", "WebhookClient"]

_MAX_ANSWER = 3 * 1024 * 1024


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
        url = config.get("url") or ""
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        try:
            context = self._context(config.get("caBundle") or "")
            async with (
                asyncio.timeout(seconds),
                self._session.post(
                    url,
                    data=io.BytesIO(msgspec.json.encode(body)),
                    headers={"content-type": "application/json", "accept": "application/json"},
                    params={"timeout": f"{seconds:g}s"},
                    ssl=context,
                    allow_redirects=False,
                ) as response,
            ):
                answer = await response.content.read(_MAX_ANSWER)
                if response.status != 200:
                    text = answer[:200].decode("utf-8", "replace")
                    raise CallFailed(
                        f"failed to call webhook: the server answered {response.status} {response.reason}: {text}"
                    )
        except TimeoutError as error:
            raise CallFailed(f'failed to call webhook: Post "{url}": context deadline exceeded') from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f'failed to call webhook: Post "{url}": {error}') from error
        try:
            return msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            raise CallFailed(f"received invalid webhook response: {error}") from error

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

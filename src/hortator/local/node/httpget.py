"""One ``httpGet`` of a probe or a lifecycle hook, as the kubelet sends it: no trust asked for, redirects only at home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..dial import dial_failure

__all__ = ["Answer", "HttpFailed", "http_get"]

#: Of an answer's body; more is not read.
_BODY = 10 * 1024
_REDIRECTS = 10
_VERSION = "1.36"


class HttpFailed(Exception):
    """Raised when there is no answer; ``str`` is the sentence, in the words of Go's client."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer: another than that of a redirect, unless it leads to another host."""

    status: int
    body: str


async def http_get(
    spec: Mapping[str, Any], port: int, *, ip: str, purpose: str, seconds: float | None
) -> Answer:
    """Send the request. Raises :class:`HttpFailed`, also when there is no answer in time."""
    import aiohttp
    from yarl import URL

    host = spec.get("host") or ip
    scheme = (spec.get("scheme") or "HTTP").lower()
    path = spec.get("path") or "/"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = URL(f"{scheme}://{address}{path if path.startswith('/') else f'/{path}'}")
    headers, skipped = _headers(spec, purpose)
    text = f'Get "{url}"'
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=False, force_close=True),
            timeout=aiohttp.ClientTimeout(total=seconds),
            skip_auto_headers=skipped,
            auto_decompress=False,
        ) as session:
            for _ in range(_REDIRECTS):
                async with session.get(url, headers=headers, allow_redirects=False) as response:
                    body = (await response.content.read(_BODY)).decode("utf-8", "replace")
                    onward = response.headers.get("location")
                    if response.status not in (301, 302, 303, 307, 308) or not onward:
                        return Answer(response.status, body)
                    following = url.join(URL(onward))
                    if following.host != url.host:
                        return Answer(response.status, body)
                    url = following
    except aiohttp.ClientConnectorError as error:
        raise HttpFailed(f"{text}: {dial_failure(host, port, error.os_error)}") from error
    except TimeoutError as error:
        raise HttpFailed(
            f"{text}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ) from error
    except aiohttp.ServerDisconnectedError as error:
        raise HttpFailed(f"{text}: EOF") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise HttpFailed(f"{text}: {error}") from error
    raise HttpFailed(f"{text}: stopped after {_REDIRECTS} redirects")


def _headers(spec: Mapping[str, Any], purpose: str) -> tuple[list[tuple[str, str]], set[str]]:
    """Return what to send and which of the client's own headers not to."""
    given = [(each["name"], each.get("value", "")) for each in spec.get("httpHeaders") or ()]
    names = {name.lower() for name, _ in given}
    if "user-agent" not in names:
        given.append(("User-Agent", f"kube-{purpose}/{_VERSION}"))
    if "accept" not in names:
        given.append(("Accept", "*/*"))
    # An Accept that is empty is not sent at all.
    sent = [(name, value) for name, value in given if name.lower() != "accept" or value]
    return sent, {"Accept", "Accept-Encoding", "User-Agent"}

"""The transport over HTTP: https, http, or a Unix socket, by aiohttp.

The only module of the package that imports aiohttp, which takes longer than everything else together: import it late.
Addresses, trust and credentials come as an :class:`~hortator.kube.endpoint.Endpoint`.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import ClientWSTimeout, WSMsgType
from yarl import URL

from hortator.kube.credentials import CredentialError, StaticToken
from hortator.kube.endpoint import Endpoint
from hortator.kube.errors import Unauthorized, Unavailable, error_from_answer
from hortator.kube.http import Duplex, Request, Response
from hortator.kube.requests import escape

if TYPE_CHECKING:
    from hortator.kube.credentials import Credentials

__all__ = ["HttpTransport"]

#: Seconds to open a connection; client-go's dialer has 30.
_CONNECT_TIMEOUT = 10.0
_BUFFER = 256 * 1024


class HttpTransport:
    """One API server over HTTP. Connections are opened on demand, kept, and not limited in number.

    Either ``base_url`` with what it needs, or :meth:`to` with an endpoint.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        ssl: tls.SSLContext | None = None,
        socket_path: str | None = None,
        token: str | Credentials | None = None,
    ) -> None:
        credentials = StaticToken(token) if isinstance(token, str) else token
        self._endpoint = Endpoint(base_url, socket_path=socket_path or "", credentials=credentials)
        self._ssl = ssl
        self._session: aiohttp.ClientSession | None = None
        #: Sessions whose client certificate has been replaced; their streams may still run.
        self._retired: list[aiohttp.ClientSession] = []
        self._certificate: tuple[bytes, bytes] | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @classmethod
    def to(cls, endpoint: Endpoint) -> HttpTransport:
        """Return a transport to an endpoint."""
        transport = cls(endpoint.server, socket_path=endpoint.socket_path or None)
        transport._endpoint = endpoint
        return transport

    def __repr__(self) -> str:
        return f"HttpTransport({self._endpoint})"

    async def request(self, request: Request) -> Response:
        """Send a request and read the whole answer. Raises ``Unavailable``."""
        async with await self._send(request) as answer:
            try:
                body = await answer.read()
            except (aiohttp.ClientError, OSError) as error:
                raise self._unavailable(error) from error
            return Response(answer.status, _headers(answer), body)

    async def stream(self, request: Request) -> Response:
        """Send a request; the answer's body comes as it comes. Raises ``Unavailable``."""
        answer = await self._send(request)
        return Response(answer.status, _headers(answer), stream=self._chunks(answer))

    async def connect(self, request: Request, subprotocols: Sequence[str]) -> tuple[Duplex, str]:
        """Open a WebSocket. Raises ``ApiError`` when the server refuses, and ``Unavailable``."""
        try:
            return await self._connect_once(request, subprotocols)
        except Unauthorized:
            if not await self._renew():
                raise
            return await self._connect_once(request, subprotocols)

    async def _connect_once(self, request: Request, subprotocols: Sequence[str]) -> tuple[Duplex, str]:
        session, headers = await self._prepare(request.headers)
        try:
            socket = await session.ws_connect(
                self._url(request),
                method=request.method,
                protocols=tuple(subprotocols),
                headers=headers,
                max_msg_size=0,
                # client-go (v0.36) asks for a sign of life every 5 s; a Unix socket cannot go silent.
                heartbeat=None if self._endpoint.socket_path else 30.0,
                timeout=ClientWSTimeout(ws_close=2.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise Unavailable(str(self._endpoint), f"the upgrade failed: {error.message}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        return _Socket(socket), socket.protocol or ""

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        sessions = [*self._retired, *([self._session] if self._session else [])]
        self._session = None
        self._retired.clear()
        for session in sessions:
            await session.close()

    def _url(self, request: Request) -> URL:
        endpoint = self._endpoint
        scheme = "https" if endpoint.tls and not endpoint.socket_path else "http"
        target = escape(request.path, request.query)
        return URL(f"{scheme}://{endpoint.authority}{endpoint.base_path}{target}", encoded=True)

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        answer = await self._send_once(request)
        if answer.status != 401:
            return answer
        try:
            renewed = await self._renew()
        except Unavailable:
            answer.release()
            raise
        if not renewed:
            return answer
        answer.release()
        return await self._send_once(request)

    async def _renew(self) -> bool:
        """After a 401, nothing was done: say whether there are other credentials to try once more with."""
        credentials = self._endpoint.credentials
        if credentials is None:
            return False
        try:
            return await asyncio.to_thread(credentials.invalidate)
        except CredentialError as error:
            raise Unavailable(str(self._endpoint), str(error)) from error

    async def _send_once(self, request: Request) -> aiohttp.ClientResponse:
        session, headers = await self._prepare(request.headers)
        try:
            return await session.request(
                request.method,
                self._url(request),
                headers=headers,
                data=request.body or None,
                allow_redirects=False,
                server_hostname=self._endpoint.server_name or None,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error

    async def _prepare(self, headers: Mapping[str, str]) -> tuple[aiohttp.ClientSession, Mapping[str, str]]:
        if self._closed:
            raise Unavailable(str(self._endpoint), "the connection is closed")
        credentials = self._endpoint.credentials
        if credentials is not None:
            try:
                if not credentials.ready():
                    await asyncio.to_thread(credentials.authorization)
                value = credentials.authorization()
            except CredentialError as error:
                raise Unavailable(str(self._endpoint), str(error)) from error
            if value and "authorization" not in headers:
                headers = {**headers, "authorization": value}
        return await self._open(), headers

    async def _open(self) -> aiohttp.ClientSession:
        endpoint = self._endpoint
        # A credential plugin may hand out a new client certificate, which only new connections can show.
        certificate = endpoint.credentials.certificate() if endpoint.credentials is not None else None
        if self._session is not None and certificate == self._certificate:
            return self._session
        async with self._opening:
            if self._session is not None and certificate == self._certificate:
                return self._session
            if self._session is not None:
                self._retired.append(self._session)
            self._session = await self._make_session()
            self._certificate = certificate
        return self._session

    async def _make_session(self) -> aiohttp.ClientSession:
        endpoint = self._endpoint
        connector: aiohttp.BaseConnector
        if endpoint.socket_path:
            connector = aiohttp.UnixConnector(endpoint.socket_path, limit=0)
        else:
            context = self._ssl
            if context is None and endpoint.tls:
                context = await asyncio.to_thread(endpoint.ssl_context)
            connector = aiohttp.TCPConnector(limit=0, ssl=context if context is not None else True)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=_refuse_upgrade,
            read_bufsize=_BUFFER,
            # On one machine, compressing costs more than it saves.
            headers={"accept-encoding": "identity"} if endpoint.socket_path else None,
        )

    async def _chunks(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error
        finally:
            # Not release: that would read the rest of an endless answer.
            answer.close()

    def _unavailable(self, error: BaseException) -> Unavailable:
        if isinstance(error, TimeoutError):
            problem = "no answer in time"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            problem = f"the server's certificate is not trusted: {error.certificate_error}"
        elif isinstance(error, aiohttp.ClientConnectorError):
            problem = error.os_error.strerror or str(error.os_error)
        else:
            problem = str(error) or type(error).__name__
        return Unavailable(str(self._endpoint), problem)


async def _refuse_upgrade(answer: aiohttp.ClientResponse) -> None:
    # The only place where the body of a refused upgrade can still be read.
    if "upgrade" in answer.request_info.headers and answer.status != 101:
        raise error_from_answer(answer.status, _headers(answer), await answer.read())


def _headers(answer: aiohttp.ClientResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


class _Socket:
    """A WebSocket as a :class:`~hortator.kube.http.Duplex`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except aiohttp.ClientError as error:
            raise ConnectionResetError(str(error) or "the connection is closed") from error

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        if message.type == WSMsgType.BINARY:
            return bytes(message.data)
        if message.type == WSMsgType.TEXT:
            return str(message.data).encode()
        if message.type == WSMsgType.ERROR:
            raise ConnectionResetError(f"the connection broke: {message.data}")
        return None

    async def close(self) -> None:
        await self._socket.close()

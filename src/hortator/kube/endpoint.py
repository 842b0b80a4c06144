"""Where an API server is, how to know it, and who asks: what a kubeconfig's context comes down to.

Used by the asynchronous and the blocking side alike; stdlib only, quick to import. Reading kubeconfigs is ``config``'s.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from hortator.kube.credentials import Credentials

__all__ = ["Endpoint", "InvalidEndpoint"]


class InvalidEndpoint(ValueError):
    """Raised when an address or a certificate cannot be used; the message says which and why."""


class Endpoint:
    """An API server behind a URL (https, or http), or behind a Unix socket that belongs to this user.

    ``ca`` is PEM text of the authorities that may vouch for the server; empty means those of the system.
    ``certificate`` is PEM text of the client's certificate and key. ``server_name`` replaces the host name in the
    check of the server's certificate; ``insecure`` leaves the check out. Raises :class:`InvalidEndpoint`.
    """

    __slots__ = (
        "base_path",
        "ca",
        "certificate",
        "credentials",
        "host",
        "insecure",
        "port",
        "server",
        "server_name",
        "socket_path",
        "tls",
    )

    def __init__(
        self,
        server: str = "",
        *,
        socket_path: str = "",
        ca: bytes = b"",
        certificate: tuple[bytes, bytes] | None = None,
        insecure: bool = False,
        server_name: str = "",
        credentials: Credentials | None = None,
    ) -> None:
        if not server:
            if not socket_path:
                raise InvalidEndpoint("neither a URL nor a socket of an API server was given")
            server = "http://localhost"
        self.server = server
        self.socket_path = socket_path
        self.tls, self.host, self.port, self.base_path = _split(server)
        self.ca = ca
        self.certificate = certificate
        self.insecure = insecure
        self.server_name = server_name
        self.credentials = credentials

    def __str__(self) -> str:
        return f"unix:{self.socket_path}" if self.socket_path else self.server

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def current_certificate(self) -> tuple[bytes, bytes] | None:
        """Return the client certificate and key to show; may run a credential plugin."""
        if self.certificate is None and self.credentials is not None:
            return self.credentials.certificate()
        return self.certificate

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return what a TLS connection needs; None without TLS. Raises :class:`InvalidEndpoint`."""
        if not self.tls:
            return None
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif self.ca:
                context.load_verify_locations(cadata=self.ca.decode("ascii", "replace"))
            else:
                context.load_default_certs()
        except ssl.SSLError as error:
            raise InvalidEndpoint(f"{self}: the certificate authority cannot be read: {error}") from error
        pair = self.current_certificate()
        if pair is not None:
            _load_pair(context, pair, str(self))
        return context


def _split(server: str) -> tuple[bool, str, int, str]:
    scheme, separator, rest = server.partition("://")
    if not separator:
        scheme, rest = "http", server  # as client-go
    if scheme not in ("http", "https"):
        raise InvalidEndpoint(f"{server!r}: an API server's URL begins with https:// or http://")
    authority, slash, path = rest.partition("/")
    path = (slash + path).partition("?")[0].rstrip("/")
    if "@" in authority:
        raise InvalidEndpoint(f"{server!r}: a user name does not belong into an API server's URL")
    if authority.startswith("["):
        host, bracket, port = authority[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise InvalidEndpoint(f"{server!r}: the IPv6 address cannot be read")
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise InvalidEndpoint(f"{server!r}: the host or the port cannot be read")
    tls = scheme == "https"
    return tls, host, int(port) if port else (443 if tls else 80), path


def _load_pair(context: ssl.SSLContext, pair: tuple[bytes, bytes], what: str) -> None:
    # OpenSSL's wrapper reads files only; an anonymous one keeps the key off every disk.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(pair[0].rstrip() + b"\n" + pair[1])
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidEndpoint(f"{what}: the client certificate or its key cannot be used: {error}") from error
    finally:
        os.close(descriptor)


def _no_password() -> str:
    raise OSError("the key is encrypted")

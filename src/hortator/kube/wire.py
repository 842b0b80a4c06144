"""A blocking connection to an API server: a Unix socket, TCP, or TLS. Stdlib only, quick to import.

Every failure becomes ``Unavailable``. What is said over the connection is ``blocking``'s.
"""

from __future__ import annotations

import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hortator.kube.endpoint import Endpoint
    from hortator.kube.errors import Unavailable

__all__ = ["Wire", "unavailable"]

_PIECE = 256 * 1024


def unavailable(target: object, problem: str) -> Unavailable:
    """Return the error; its module is imported only when there is one."""
    from hortator.kube.errors import Unavailable

    return Unavailable(str(target), problem)


class Wire:
    """One open connection. Raises ``Unavailable`` when it cannot be opened within ``timeout`` seconds."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = 10.0) -> None:
        self._endpoint = endpoint
        self._retry: tuple[type[BaseException], ...] = (BlockingIOError, InterruptedError)
        self.sock = self._connect(timeout)

    def _connect(self, timeout: float) -> socket.socket:
        endpoint = self._endpoint
        # Before the socket is opened: reading certificates or running a plugin is no matter of the network.
        context = None if endpoint.socket_path else endpoint.ssl_context()
        try:
            if endpoint.socket_path:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    sock.settimeout(timeout)
                    sock.connect(endpoint.socket_path)
                except OSError:
                    sock.close()
                    raise
                return sock
            sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if context is None:
                return sock
            import ssl

            self._retry = (*self._retry, ssl.SSLWantReadError, ssl.SSLWantWriteError)
            try:
                return context.wrap_socket(sock, server_hostname=endpoint.server_name or endpoint.host)
            except (OSError, ValueError):
                sock.close()
                raise
        except (OSError, ValueError) as error:
            raise unavailable(endpoint, _problem(error)) from error

    def __str__(self) -> str:
        return str(self._endpoint)

    @property
    def is_local(self) -> bool:
        """Whether the other end is on this machine, so that no network can lose it."""
        return bool(self._endpoint.socket_path)

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self.sock.fileno()

    def pending(self) -> bool:
        """Say whether TLS has decrypted bytes that ``select`` cannot see."""
        pending = getattr(self.sock, "pending", None)
        return pending is not None and pending() > 0

    def alive(self) -> bool:
        """Say whether an idle connection is still good: nothing may have come, an end least of all."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def send(self, data: bytes, *, timeout: float | None) -> None:
        """Send everything, blocking."""
        try:
            self.sock.settimeout(timeout)
            self.sock.sendall(data)
        except OSError as error:
            raise unavailable(self._endpoint, _problem(error)) from error

    def receive(self, *, timeout: float | None) -> bytes:
        """Return some bytes, empty at the end, blocking."""
        try:
            self.sock.settimeout(timeout)
            return self.sock.recv(_PIECE)
        except OSError as error:
            if _is_unclean_end(error):
                return b""
            raise unavailable(self._endpoint, _problem(error)) from error

    def try_send(self, data: bytes | bytearray) -> int:
        """Send what goes without waiting; return how much went."""
        try:
            self.sock.settimeout(0)
            return self.sock.send(data)
        except self._retry:
            return 0
        except OSError as error:
            raise unavailable(self._endpoint, _problem(error)) from error

    def try_receive(self) -> bytes | None:
        """Return what is there without waiting: None for nothing yet, empty for the end."""
        try:
            self.sock.settimeout(0)
            return self.sock.recv(_PIECE)
        except self._retry:
            return None
        except OSError as error:
            if _is_unclean_end(error):
                return b""
            raise unavailable(self._endpoint, _problem(error)) from error

    def close(self, farewell: bytes = b"") -> None:
        """Close the connection; ``farewell`` is sent first if that is possible at once."""
        try:
            if farewell:
                self.sock.settimeout(0)
                self.sock.send(farewell)
        except OSError:
            pass  # the peer has gone already, which is what was wanted
        finally:
            self.sock.close()


def _is_unclean_end(error: OSError) -> bool:
    # Many servers close TLS without saying goodbye; whether the message was complete is known from HTTP.
    return type(error).__name__ in ("SSLEOFError", "SSLZeroReturnError")


def _problem(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    reason = getattr(error, "verify_message", "")
    if reason:
        return f"the server's certificate is not trusted: {reason}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

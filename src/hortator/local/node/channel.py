"""Messages with file descriptors over a Unix stream socket: how the cluster, its zygote and its pods talk.

A message is a JSON object behind a length, and any descriptors travel with its first bytes. Standard library only:
this runs in the zygote and in the first process of every container.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

__all__ = ["AsyncChannel", "Channel", "Message"]

Message = dict[str, Any]

_HEADER = struct.Struct("<IH")
_FD_SIZE = array.array("i").itemsize
_MAX_FDS = 16


class _Decoder:
    """Bytes and descriptors in, messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def read(self, sock: socket.socket) -> bool:
        """Receive once; return False at end-of-file. Raises ``BlockingIOError`` on a quiet non-blocking socket."""
        try:
            data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_LEN(_MAX_FDS * _FD_SIZE))
        except ConnectionError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % _FD_SIZE])
                for fd in fds:
                    os.set_inheritable(fd, False)
                    self._fds.append(fd)
        self._buffer += data
        return bool(data)

    def next(self) -> tuple[Message, list[int]] | None:
        """Return the next whole message, if there is one."""
        if len(self._buffer) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(self._buffer)
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        message: Message = json.loads(bytes(self._buffer[_HEADER.size : end]))
        del self._buffer[:end]
        return message, [self._fds.popleft() for _ in range(count)]


def _encode(message: Message, fds: Sequence[int]) -> bytes:
    # ASCII escapes keep the surrogates by which Python carries bytes that are not UTF-8.
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _HEADER.pack(len(body), len(fds)) + body


def _rights(fds: Sequence[int]) -> list[tuple[int, int, Any]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []


class Channel:
    """The blocking end, for processes without an event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = _Decoder()

    def fileno(self) -> int:
        """Return the socket's descriptor, to poll on."""
        return self._sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay open here. Raises ``OSError`` when the peer has gone."""
        data = _encode(message, fds)
        sent = self._sock.sendmsg([data], _rights(fds))
        if sent < len(data):
            self._sock.sendall(data[sent:])

    def receive(self) -> list[tuple[Message, list[int]]] | None:
        """Wait for bytes, return the messages that they complete (perhaps none); None at end-of-file."""
        if not self._decoder.read(self._sock):
            return None
        messages = []
        while (message := self._decoder.next()) is not None:
            messages.append(message)
        return messages

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class AsyncChannel:
    """The end in the cluster's event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = _Decoder()
        self._sending = asyncio.Lock()

    async def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay open here. Raises ``OSError`` when the peer has gone."""
        data = _encode(message, fds)
        loop = asyncio.get_running_loop()
        async with self._sending:
            while True:
                try:
                    sent = self._sock.sendmsg([data], _rights(fds))
                    break
                except BlockingIOError:
                    await self._ready(loop.add_writer, loop.remove_writer)
            if sent < len(data):
                await loop.sock_sendall(self._sock, data[sent:])

    async def receive(self) -> tuple[Message, list[int]] | None:
        """Return the next message, or None when the peer has gone. For one caller at a time."""
        loop = asyncio.get_running_loop()
        while (message := self._decoder.next()) is None:
            try:
                if not self._decoder.read(self._sock):
                    return None
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)
        return message

    async def _ready(self, add: Any, remove: Any) -> None:
        if self._sock.fileno() < 0:
            raise ConnectionResetError("the channel is closed")
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        add(self._sock, _settle, ready)
        try:
            await ready
        finally:
            if self._sock.fileno() >= 0:
                remove(self._sock)

    def close_writing(self) -> None:
        """Tell the peer that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; a waiting ``receive`` must be cancelled first."""
        if self._sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hortator.kube import websocket as ws


def decode(
    data: bytes, *, masked: bool = False, piece: int = 1 << 30, limit: int = 1 << 20
) -> list[tuple[int, bytes]]:
    decoder = ws.FrameDecoder(masked=masked, limit=limit)
    return [m for at in range(0, len(data), piece) for m in decoder.feed(data[at : at + piece])]


def test_the_key_of_the_rfc() -> None:
    assert ws.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(max_size=200), st.booleans(), st.integers(1, 50))
def test_what_goes_in_comes_out(payload: bytes, masked: bool, piece: int) -> None:
    frame = ws.encode_frame(ws.BINARY, payload, mask=masked)
    assert decode(frame, masked=masked, piece=piece) == [(ws.BINARY, payload)]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_each_kind_of_length(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    assert decode(ws.encode_frame(ws.BINARY, payload, mask=True), masked=True) == [(ws.BINARY, payload)]


def test_fragments_are_joined_around_control_frames() -> None:
    data = b"\x02\x03abc" + b"\x89\x01p" + b"\x00\x01d" + b"\x80\x01e" + b"\x82\x01f"
    assert decode(data, piece=1) == [(ws.PING, b"p"), (ws.BINARY, b"abcde"), (ws.BINARY, b"f")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc2\x00", 1002),  # a reserved bit
        (b"\x83\x00", 1002),  # an unknown kind
        (b"\x80\x00", 1002),  # a continuation of nothing
        (b"\x02\x00\x82\x00", 1002),  # a message inside another
        (b"\x09\x00", 1002),  # a fragmented ping
        (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002),  # a ping that is too long
        (b"\x82\x80\x00\x00\x00\x00", 1002),  # masked by a server
        (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), 1009),  # too big
        (b"\x02\x7e\xff\xff" + b"x" * 65535 + b"\x80\x01x", 1009),  # too big together
    ],
)
def test_violations_are_refused(data: bytes, code: int) -> None:
    with pytest.raises(ws.WebSocketError) as caught:
        decode(data, limit=65535)
    assert caught.value.code == code


def test_the_handshake() -> None:
    key = ws.new_key()
    asked = ws.upgrade_headers(key, ("v5", "v4"))
    assert asked["sec-websocket-protocol"] == "v5, v4"
    answer = {"sec-websocket-accept": ws.accept_key(key), "sec-websocket-protocol": "v4"}
    assert ws.agreed_protocol(answer, key, ("v5", "v4")) == "v4"
    with pytest.raises(ws.WebSocketError, match="handshake"):
        ws.agreed_protocol(answer, ws.new_key(), ("v5", "v4"))
    with pytest.raises(ws.WebSocketError, match="not offered"):
        ws.agreed_protocol(answer, key, ("v5",))

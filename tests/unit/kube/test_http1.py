from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hortator.kube.http1 import BodyDecoder, Head, ProtocolError, encode_request, parse_head


def head(**headers: str) -> Head:
    return Head(200, {name.replace("_", "-"): value for name, value in headers.items()}, keep_alive=True)


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        ("GET", b"", b"GET /a?b=c HTTP/1.1\r\nhost: h\r\n\r\n"),
        ("POST", b"", b"POST /a?b=c HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"),
        ("DELETE", b"xy", b"DELETE /a?b=c HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nxy"),
    ],
)
def test_requests(method: str, body: bytes, expected: bytes) -> None:
    assert encode_request(method, "/a?b=c", {"host": "h"}, body) == expected


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_request("GET", "/", {"authorization": "Bearer x\r\nother: y"})


def test_an_answer_s_head() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nWarning: 1\r\nwarning:  2 \r\n\r\nrest"
    parsed = parse_head(data)
    assert parsed is not None
    found, rest = parsed
    assert (found.status, found.keep_alive, rest) == (200, True, b"rest")
    assert found.headers == {"content-type": "a", "warning": "1, 2"}


def test_an_incomplete_head_waits() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nContent-") is None


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_whether_the_connection_stays(data: bytes, keep_alive: bool) -> None:
    parsed = parse_head(data)
    assert parsed is not None and parsed[0].keep_alive is keep_alive


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"x" * 300_000,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_head(data)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_chunks_survive_any_cutting(chunks: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    wire += b"0\r\ntrailer: x\r\n\r\nnext"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)))))
    decoder = BodyDecoder(head(transfer_encoding="chunked"))
    body = b"".join(decoder.feed(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    assert (body, decoder.finished, decoder.rest) == (b"".join(chunks), True, b"next")


@pytest.mark.parametrize("wire", [b"zz\r\n", b"-1\r\n", b"0x1\r\na\r\n", b"1\r\nabc\r\n", b"\r\n"])
def test_broken_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        BodyDecoder(head(transfer_encoding="chunked")).feed(wire)


def test_a_body_with_a_length() -> None:
    decoder = BodyDecoder(head(content_length="5"))
    assert decoder.feed(b"abc") == b"abc"
    assert decoder.feed(b"defg") == b"de"
    assert (decoder.finished, decoder.rest, decoder.delimited) == (True, b"fg", True)


def test_a_body_up_to_the_end() -> None:
    decoder = BodyDecoder(head())
    assert decoder.feed(b"abc") == b"abc"
    assert not decoder.finished
    decoder.feed_eof()
    assert decoder.finished and not decoder.delimited


@pytest.mark.parametrize("headers", [{"content_length": "5"}, {"transfer_encoding": "chunked"}])
def test_a_connection_that_ends_inside_a_body_is_an_error(headers: dict[str, str]) -> None:
    decoder = BodyDecoder(head(**headers))
    decoder.feed(b"1\r\na")
    with pytest.raises(ProtocolError, match="middle"):
        decoder.feed_eof()


@pytest.mark.parametrize(("status", "method"), [(204, "DELETE"), (304, "GET"), (101, "GET"), (200, "HEAD")])
def test_answers_without_a_body(status: int, method: str) -> None:
    assert BodyDecoder(Head(status, {"content-length": "7"}, keep_alive=True), method=method).finished

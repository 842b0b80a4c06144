from __future__ import annotations

import pytest

from hortator.local.dial import dial_failure


@pytest.mark.parametrize(
    ("host", "error", "sentence"),
    [
        ("127.0.0.1", ConnectionRefusedError(111, "x"), "dial tcp 127.0.0.1:80: connect: connection refused"),
        ("::1", OSError(113, "x"), "dial tcp [::1]:80: connect: no route to host"),
        ("10.0.0.1", TimeoutError(), "dial tcp 10.0.0.1:80: i/o timeout"),
        ("h", OSError("nobody of this name"), "dial tcp h:80: connect: nobody of this name"),
    ],
)
def test_why_a_connection_failed(host: str, error: OSError, sentence: str) -> None:
    assert dial_failure(host, 80, error) == sentence

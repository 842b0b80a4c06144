from __future__ import annotations

import pytest

from hortator.kube.endpoint import Endpoint, InvalidEndpoint


@pytest.mark.parametrize(
    ("server", "parts", "authority"),
    [
        ("https://api.test", (True, "api.test", 443, ""), "api.test"),
        ("https://api.test:6443/", (True, "api.test", 6443, ""), "api.test:6443"),
        ("http://10.0.0.1:8080", (False, "10.0.0.1", 8080, ""), "10.0.0.1:8080"),
        ("https://[fd00::1]:6443/k8s/c-1/", (True, "fd00::1", 6443, "/k8s/c-1"), "[fd00::1]:6443"),
        ("localhost:8080", (False, "localhost", 8080, ""), "localhost:8080"),
    ],
)
def test_urls(server: str, parts: tuple[bool, str, int, str], authority: str) -> None:
    endpoint = Endpoint(server)
    assert (endpoint.tls, endpoint.host, endpoint.port, endpoint.base_path) == parts
    assert (endpoint.authority, str(endpoint)) == (authority, server)


@pytest.mark.parametrize(
    "server",
    [
        "",
        "ftp://x",
        "https://",
        "https://x:y",
        "https://x:0",
        "https://u@x",
        "https://[::1",
        "https://[::1]x",
    ],
)
def test_what_is_no_url(server: str) -> None:
    with pytest.raises(InvalidEndpoint):
        Endpoint(server)


def test_a_socket() -> None:
    endpoint = Endpoint(socket_path="/run/api")
    assert (str(endpoint), endpoint.tls, endpoint.ssl_context()) == ("unix:/run/api", False, None)


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"ca": b"no pem"}, "authority"), ({"certificate": (b"no", b"pem")}, "client certificate")],
)
def test_certificates_that_cannot_be_read(options: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidEndpoint, match=problem):
        Endpoint("https://api.test", **options).ssl_context()  # type: ignore[arg-type]

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from hortator.apimachinery.yaml import dump, load_all
from hortator.kube.config import ConfigError, in_cluster, kubeconfig_paths, load, merge, remove
from hortator.kube.exec_plugin import ExecPlugin


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def config(
    name: str = "a", *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A kubeconfig with one context of one cluster and one user, all of one name."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": "https://api.test:6443"} | (cluster or {})}],
        "users": [{"name": name, "user": {} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
        **more,
    }


def write(path: Path, document: Any) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else dump(document))
    return str(path)


def read(path: Path) -> Any:
    return next(load_all(path.read_bytes()))


@pytest.mark.parametrize(
    ("environ", "paths"),
    [
        ({"HOME": "/h"}, ["/h/.kube/config"]),
        ({"HOME": "/h", "KUBECONFIG": ""}, ["/h/.kube/config"]),
        ({"HOME": "/h", "KUBECONFIG": "/a::b:/a"}, ["/a", "b"]),
    ],
)
def test_which_files(environ: dict[str, str], paths: list[str]) -> None:
    assert kubeconfig_paths(environ) == paths


def test_the_first_file_wins_entry_by_entry(tmp_path: Path) -> None:
    first = config("a", cluster={"server": "https://one"})
    second = config("a", cluster={"server": "https://two", "tls-server-name": "x"}, user={"token": "t"})
    second["contexts"] += [{"name": "b", "context": {"cluster": "a", "user": "a", "namespace": "n"}}]
    second["current-context"] = "b"
    del first["current-context"]
    merged = load([write(tmp_path / "1", first), str(tmp_path / "missing"), write(tmp_path / "2", second)])
    assert merged.current_context == "b"
    assert merged.contexts() == ["a", "b"]
    assert merged.cluster().namespace == "n"
    endpoint = merged.cluster("b").endpoint
    assert (endpoint.server, endpoint.server_name, endpoint.credentials) == ("https://one", "", None)


def test_nothing_there() -> None:
    with pytest.raises(ConfigError, match="no current-context"):
        load([]).cluster()


def test_an_unknown_context_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'x'.*there are: a"):
        load([write(tmp_path / "c", config())]).cluster("x")


def test_inline_data_and_relative_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/ca.pem").write_bytes(b"CA")
    (tmp_path / "sub/key.pem").write_bytes(b"KEY")
    (tmp_path / "sub/token").write_text("secret\n")
    path = write(
        tmp_path / "sub/c",
        config(
            cluster={"certificate-authority": "ca.pem", "tls-server-name": "api"},
            user={
                "client-certificate-data": b64(b"CERT"),
                "client-certificate": "ignored",
                "client-key": "key.pem",
                "tokenFile": "token",
            },
        ),
    )
    endpoint = load([path]).cluster().endpoint
    assert (endpoint.host, endpoint.port, endpoint.ca, endpoint.server_name) == (
        "api.test",
        6443,
        b"CA",
        "api",
    )
    assert endpoint.certificate == (b"CERT", b"KEY")
    assert endpoint.credentials is not None and endpoint.credentials.authorization() == "Bearer secret"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"token": "t", "tokenFile": "/missing"}, "Bearer t"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
    ],
)
def test_credentials(tmp_path: Path, user: dict[str, Any], header: str) -> None:
    credentials = load([write(tmp_path / "c", config(user=user))]).cluster().endpoint.credentials
    assert credentials is not None and credentials.authorization() == header


def test_credentials_are_for_tls_only(tmp_path: Path) -> None:
    path = write(tmp_path / "c", config(cluster={"server": "http://api.test"}, user={"token": "t"}))
    assert load([path]).cluster().endpoint.credentials is None


def test_a_plugin_s_command_is_relative_to_the_file(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\n"
        'printf %s "$KUBERNETES_EXEC_INFO" > "$OUT"\n'
        'echo \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"from-plugin"}}\'\n'
    )
    plugin.chmod(0o755)
    out = tmp_path / "info"
    path = write(
        tmp_path / "c",
        config(
            cluster={
                "certificate-authority-data": b64(b"CA"),
                "extensions": [
                    {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
                ],
            },
            user={
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": "./plugin",
                    "interactiveMode": "Never",
                    "provideClusterInfo": True,
                    "env": [{"name": "OUT", "value": str(out)}],
                }
            },
        ),
    )
    credentials = load([path]).cluster().endpoint.credentials
    assert isinstance(credentials, ExecPlugin)
    assert credentials.authorization() == "Bearer from-plugin"
    assert read(out) == {
        "kind": "ExecCredential",
        "apiVersion": "client.authentication.k8s.io/v1",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "https://api.test:6443",
                "certificate-authority-data": b64(b"CA"),
                "config": {"audience": "x"},
            },
        },
    }


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("a: [", "c:"),
        ("- a", "not one object"),
        ("kind: Pod\napiVersion: v1", "it is a Pod of v1"),
        (config(clusters=[{"cluster": {}}]), r"clusters\[0\] has no name"),
        (config(users={"a": 1}), "users is no list"),
        (config(clusters=[]), "the cluster 'a', which does not exist"),
        (config(cluster={"server": ""}), "has no server"),
        (config(cluster={"server": "ftp://x"}), "begins with https"),
        (config(cluster={"proxy-url": "http://p"}), "behind a proxy"),
        (config(cluster={"certificate-authority-data": "%%"}), "no base64"),
        (config(cluster={"certificate-authority": "none.pem"}), "none.pem cannot be read"),
        (
            config(cluster={"certificate-authority-data": "Q0E=", "insecure-skip-tls-verify": True}),
            "one of them",
        ),
        (config(cluster={"insecure-skip-tls-verify": "yes"}), "neither true nor false"),
        (config(user={"client-certificate-data": "Q0E="}), "no client-key"),
        (config(user={"client-key-data": "Q0E="}), "no client-certificate"),
        (config(user={"act-as": "root"}), "act-as of the user 'a' is not supported"),
        (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (config(user={"token": "a\nb"}), "header"),
        (config(user={"token": 5}), "token is int"),
        (config(user={"exec": {"command": "x", "apiVersion": "v1alpha1"}}), "supported are"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, document: Any, problem: str) -> None:
    path = write(tmp_path / "c", document)
    with pytest.raises(ConfigError, match=problem):
        load([path]).cluster()


def test_in_cluster(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match="token does not exist"):
        in_cluster(environ=environ, directory=str(tmp_path))
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("science\n")
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        in_cluster(environ={}, directory=str(tmp_path))
    found = in_cluster(environ=environ, directory=str(tmp_path))
    assert (found.name, found.namespace, found.server) == ("in-cluster", "science", "https://[fd00::1]:443")
    assert (found.endpoint.host, found.endpoint.ca) == ("fd00::1", b"CA")
    assert found.endpoint.credentials is not None
    assert found.endpoint.credentials.authorization() == "Bearer t"
    local = in_cluster(environ={}, directory=str(tmp_path), socket_path="/run/api")
    assert str(local.endpoint) == "unix:/run/api"


def local(port: int = 1, **more: Any) -> dict[str, Any]:
    """What a cluster on this machine adds."""
    server = {"server": f"https://127.0.0.1:{port}"}
    return config("local", cluster=server, user={"token": "t"}, **more)


def test_merging_into_nothing_makes_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "new/config"
    assert merge(local(), path=str(path)) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    expected = local()
    del expected["current-context"]
    assert read(path) == expected
    assert [entry.name for entry in path.parent.iterdir()] == ["config"]


def test_it_goes_to_the_first_file_that_kubectl_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/one:{tmp_path}/two")
    assert merge(local()) == tmp_path / "one"
    assert load().contexts() == ["local"]
    assert remove("local") is True


def test_merging_and_removing_leave_the_rest_alone(tmp_path: Path) -> None:
    path = tmp_path / "config"
    before = config("mine", preferences={"colors": True}, extensions=[{"name": "x", "extension": {"y": 1}}])
    write(path, before)
    merge(local(), path=str(path))
    merged = load([str(path)])
    assert (merged.current_context, merged.contexts()) == ("mine", ["mine", "local"])
    assert remove("local", path=str(path)) is True
    assert read(path) == before
    assert remove("local", path=str(path)) is False


def test_another_cluster_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write(path, config("local"))
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="has a cluster 'local' already"):
        merge(local(), path=str(path))
    assert path.read_bytes() == content


def test_a_cluster_on_this_machine_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "config"
    merge(local(1), path=str(path))
    merge(local(2), path=str(path))
    assert load([str(path)]).cluster("local").endpoint.port == 2
    assert len(read(path)["users"]) == 1


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    merge(local(), path=str(path))
    before = path.stat().st_ino
    merge(local(), path=str(path))
    assert path.stat().st_ino == before


def test_the_current_context_follows_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write(path, config("mine"))
    merge(local(), path=str(path), set_current="local")
    assert load([str(path)]).current_context == "local"
    remove("local", path=str(path))
    assert load([str(path)]).current_context == ""


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "real"
    write(target, config("mine"))
    link = tmp_path / "link"
    link.symlink_to(target)
    merge(local(), path=str(link))
    assert link.is_symlink() and len(read(target)["contexts"]) == 2


def test_kubectl_s_lock_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    with pytest.raises(ConfigError, match=r"config\.lock is there"):
        merge(local(), path=str(path))
    assert not path.exists()


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("clusters: [")
    with pytest.raises(ConfigError):
        merge(local(), path=str(path))
    assert path.read_text() == "clusters: ["
    assert [entry.name for entry in tmp_path.iterdir()] == ["config"]


def test_removing_from_nothing_makes_nothing(tmp_path: Path) -> None:
    assert remove("local", path=str(tmp_path / "config")) is False
    assert list(tmp_path.iterdir()) == []

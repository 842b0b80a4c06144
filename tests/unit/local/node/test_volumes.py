from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from hortator.local.node.environment import FieldContext
from hortator.local.node.volumes import (
    MountFailed,
    Payload,
    files_of,
    host_path,
    payload_sources,
    sub_path,
    write_payload,
)

CONTEXT = FieldContext(
    pod={"metadata": {"name": "p", "namespace": "ns", "labels": {"a": "b"}}, "spec": {"containers": []}},
    pod_ip="127.64.0.1",
    host_ip="127.0.0.1",
    node_name="local",
    allocatable={},
)
CONFIG = {"data": {"a": "1", "b": "2"}, "binaryData": {"c": base64.b64encode(b"\0").decode()}}


def files(volume: dict[str, Any], obj: dict[str, Any] | None = None) -> dict[str, tuple[bytes, int]]:
    sources = payload_sources(volume)
    assert sources is not None
    found: dict[str, Payload] = {}
    for source in sources:
        found.update(files_of(source, obj, CONTEXT, {}))
    return {path: (payload.data, payload.mode) for path, payload in found.items()}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({"configMap": {"name": "c"}}, {"a": (b"1", 0o644), "b": (b"2", 0o644), "c": (b"\0", 0o644)}),
        (
            {"configMap": {"name": "c", "defaultMode": 0o400, "items": [{"key": "a", "path": "d/e"}]}},
            {"d/e": (b"1", 0o400)},
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "x", "mode": 0o755}]}},
            {"x": (b"1", 0o755)},
        ),
        (
            {
                "projected": {
                    "sources": [
                        {
                            "downwardAPI": {
                                "items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]
                            }
                        }
                    ]
                }
            },
            {"n": (b"p", 0o644)},
        ),
    ],
)
def test_the_files_of_a_volume(volume: dict[str, Any], expected: dict[str, tuple[bytes, int]]) -> None:
    assert files(volume, CONFIG) == expected


def test_secrets_are_decoded() -> None:
    assert files({"secret": {"secretName": "s"}}, {"data": {"k": base64.b64encode(b"v").decode()}}) == {
        "k": (b"v", 0o644)
    }


def test_a_token_is_for_its_owner_only() -> None:
    volume = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    assert files(volume, {"token": "t"}) == {"token": (b"t", 0o600)}


@pytest.mark.parametrize(
    ("volume", "obj", "message"),
    [
        ({"configMap": {"name": "c"}}, None, 'configmap "c" not found'),
        ({"secret": {"secretName": "s"}}, None, 'secret "s" not found'),
        (
            {"configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}},
            CONFIG,
            "configmap references non-existent config key: z",
        ),
        (
            {"projected": {"sources": [{"clusterTrustBundle": {}}]}},
            None,
            "projected source clusterTrustBundle is not supported here",
        ),
    ],
)
def test_what_is_missing_is_named(volume: dict[str, Any], obj: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(MountFailed) as caught:
        files(volume, obj)
    assert str(caught.value) == message


def test_an_optional_object_may_be_missing() -> None:
    assert files({"secret": {"secretName": "s", "optional": True}}) == {}


@pytest.mark.parametrize("kind", ["emptyDir", "hostPath", "nfs"])
def test_other_volumes_are_not_made_of_files(kind: str) -> None:
    assert payload_sources({"name": "v", kind: {}}) is None


def test_a_change_shows_all_of_the_new_or_all_of_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert write_payload(folder, {"a": Payload(b"1", 0o644), "d/b": Payload(b"1", 0o600)}, "one")
    before = (folder / "..data").readlink()
    assert (folder / "a").readlink() == Path("..data/a")
    assert write_payload(folder, {"a": Payload(b"2", 0o644), "c": Payload(b"2", 0o644)}, "two")
    assert (folder / "..data").readlink() != before
    assert not (folder / before).exists()
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("..")) == ["a", "c"]
    assert (folder / "a").read_bytes() == b"2"


def test_the_same_files_are_not_written_again(tmp_path: Path) -> None:
    same = {"a": Payload(b"1", 0o644)}
    write_payload(tmp_path / "v", same, "one")
    assert not write_payload(tmp_path / "v", same, "two")
    assert write_payload(tmp_path / "v", {"a": Payload(b"1", 0o600)}, "three")


@pytest.mark.parametrize("path", ["/etc/passwd", "../out", "a/../../b"])
def test_files_stay_inside_their_volume(tmp_path: Path, path: str) -> None:
    with pytest.raises(MountFailed, match="must stay inside"):
        write_payload(tmp_path / "v", {path: Payload(b"", 0o644)}, "one")


@pytest.mark.parametrize(
    ("kind", "before", "message"),
    [
        ("Directory", None, "is not a directory"),
        ("Directory", "file", "is not a directory"),
        ("File", "directory", "is not a file"),
        ("Socket", "file", "is not a socket"),
        ("FileOrCreate", "directory", "is not a file"),
    ],
)
def test_the_type_of_a_host_path_is_checked(
    tmp_path: Path, kind: str, before: str | None, message: str
) -> None:
    path = tmp_path / "x"
    if before == "file":
        path.touch()
    elif before == "directory":
        path.mkdir()
    with pytest.raises(MountFailed, match=message):
        host_path({"path": str(path), "type": kind})


@pytest.mark.parametrize(
    ("kind", "made"), [("DirectoryOrCreate", "is_dir"), ("FileOrCreate", "is_file"), ("", "is_dir")]
)
def test_a_host_path_is_made_where_its_type_says_so(tmp_path: Path, kind: str, made: str) -> None:
    assert getattr(host_path({"path": str(tmp_path / "x"), "type": kind}), made)()


def test_a_sub_path_is_made_and_must_not_lead_out(tmp_path: Path) -> None:
    assert sub_path(tmp_path, "a/b").is_dir()
    (tmp_path / "link").symlink_to("/etc")
    for bad in ("/etc", "../x", "link"):
        with pytest.raises(MountFailed):
            sub_path(tmp_path, bad)

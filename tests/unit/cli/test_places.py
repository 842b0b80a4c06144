"""Folders and files of a person's own."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hortator.cli.errors import CommandError
from hortator.cli.places import local_places, private_dir, write_private


def test_each_data_folder_has_a_run_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path)[:59])
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.delenv("HORT_DATA_DIR", raising=False)
    usual, other = local_places(), local_places("/elsewhere")
    assert str(usual.data) == "/state/hort/local"
    assert usual.run != other.run
    assert local_places("/elsewhere/../elsewhere") == other


def test_a_relative_xdg_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.delenv("HORT_DATA_DIR", raising=False)
    assert local_places().data == Path.home() / ".local/state/hort/local"


def test_private_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o755)
    assert stat.S_IMODE(private_dir(folder).stat().st_mode) == 0o700
    assert stat.S_IMODE(private_dir(tmp_path / "b" / "c").stat().st_mode) == 0o700


def test_a_link_in_place_of_a_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(CommandError, match="not a folder of yours"):
        private_dir(tmp_path / "link")


def test_private_files_are_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.umask(os.umask(0o000))  # whatever the umask is
    write_private(path, b"old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]

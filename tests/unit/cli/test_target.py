"""Which cluster a command speaks to."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from hortator.cli import settings, target
from hortator.cli.errors import CommandError, Unreachable

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: production
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts:
- {name: production, context: {cluster: c, user: u}}
- {name: lab, context: {cluster: c, user: u, namespace: team}}
"""


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    for name, value in {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HORT_DATA_DIR": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("HORT_CONTEXT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def chosen(**flags: str) -> tuple[str, str]:
    args = argparse.Namespace(**({"context": None, "namespace": None, "data_dir": None} | flags))
    found = target.choose(args)
    return found.name, found.namespace


def test_a_kubeconfigs_current_context_alone_never_chooses() -> None:
    with pytest.raises(Unreachable, match="the local cluster is not running"):
        chosen()


def test_flag_wins_over_environment_over_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.choose_context("production")
    assert chosen() == ("production", "default")
    monkeypatch.setenv("HORT_CONTEXT", "lab")
    assert chosen() == ("lab", "team")
    assert chosen(context="production", namespace="mine") == ("production", "mine")


def test_a_context_that_does_not_exist_is_named() -> None:
    with pytest.raises(CommandError, match="cannot use context nowhere"):
        chosen(context="nowhere")


def test_choosing_keeps_the_other_settings() -> None:
    settings.choose_context("lab")
    path = settings.settings_file()
    path.write_text("# mine\n" + path.read_text() + "other = 1\n")
    settings.choose_context("local")
    assert path.read_text() == '# mine\ncontext = "local"\nother = 1\n'
    assert path.stat().st_mode & 0o777 == 0o600


def test_damaged_settings_are_refused_not_overwritten() -> None:
    settings.choose_context("lab")
    settings.settings_file().write_text("context = \n")
    with pytest.raises(CommandError, match="not valid TOML"):
        settings.choose_context("local")
    assert settings.settings_file().read_text() == "context = \n"

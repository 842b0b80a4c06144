from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hortator.kube.credentials import BasicAuth, CredentialError, StaticToken, TokenFile
from hortator.kube.exec_plugin import ExecPlugin

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


def test_values_that_never_change() -> None:
    assert StaticToken("t").authorization() == "Bearer t"
    assert StaticToken("t").invalidate() is False
    assert BasicAuth("ü", "p").authorization() == "Basic w7w6cA=="


@pytest.mark.parametrize("token", ["a b", "a\nb", "ü", "\x00"])
def test_a_token_that_would_break_the_header(token: str) -> None:
    with pytest.raises(ValueError, match="header"):
        StaticToken(token)


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "token"
    path.write_text("one\n")
    source = TokenFile(str(path), clock=clock.monotonic)
    assert source.authorization() == "Bearer one"
    path.write_text("two")
    clock.seconds = 9
    assert source.authorization() == "Bearer one"
    clock.seconds = 10
    assert source.authorization() == "Bearer two"
    path.write_text("three")
    assert source.invalidate() is True
    assert source.authorization() == "Bearer three"
    assert source.invalidate() is False


@pytest.mark.parametrize("content", [None, "", "a b"])
def test_a_token_file_that_spoils_keeps_the_last_token(tmp_path: Path, content: str | None) -> None:
    clock = Clock()
    path = tmp_path / "token"
    path.write_text("one")
    source = TokenFile(str(path), clock=clock.monotonic)
    source.authorization()
    path.unlink() if content is None else path.write_text(content)
    clock.seconds = 60
    assert source.authorization() == "Bearer one"
    with pytest.raises(CredentialError, match="token"):
        TokenFile(str(path)).authorization()


class Plugin:
    """A program that prints what it is told and counts how often."""

    def __init__(self, folder: Path) -> None:
        self.answer = folder / "answer"
        self.calls = folder / "calls"
        self.info = folder / "info"
        self.program = (
            "import os, sys, pathlib\n"
            f"with open({str(self.calls)!r}, 'a') as f: f.write('x')\n"
            f"pathlib.Path({str(self.info)!r}).write_text(os.environ['KUBERNETES_EXEC_INFO'])\n"
            f"sys.stdout.write(pathlib.Path({str(self.answer)!r}).read_text())\n"
        )

    def gives(self, version: str = V1, kind: str = "ExecCredential", **status: Any) -> None:
        self.answer.write_text(json.dumps({"apiVersion": version, "kind": kind, "status": status}))

    @property
    def count(self) -> int:
        return len(self.calls.read_text()) if self.calls.exists() else 0

    def source(self, clock: Clock, version: str = V1, **more: Any) -> ExecPlugin:
        command = [sys.executable, "-S", "-c", self.program]
        return ExecPlugin(command, api_version=version, interactive_mode="Never", now=clock.now, **more)


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_plugin_runs_once_until_its_answer_expires(plugin: Plugin, version: str) -> None:
    clock = Clock()
    plugin.gives(version, token="one", expirationTimestamp="2030-01-01T00:05:00Z")
    source = plugin.source(clock, version)
    assert not source.ready()
    assert [source.authorization(), source.authorization()] == ["Bearer one"] * 2
    assert (plugin.count, source.ready()) == (1, True)
    assert json.loads(plugin.info.read_text())["apiVersion"] == version
    clock.seconds = 301
    plugin.gives(version, token="two")
    assert not source.ready()
    assert source.authorization() == "Bearer two"
    clock.seconds = 1e8
    assert source.authorization() == "Bearer two"
    assert plugin.count == 2


def test_a_plugin_s_certificate(plugin: Plugin) -> None:
    plugin.gives(clientCertificateData="CERT", clientKeyData="KEY")
    source = plugin.source(Clock())
    assert source.certificate() == (b"CERT", b"KEY")
    assert source.authorization() == ""
    assert plugin.count == 1


def test_a_refused_answer_is_asked_for_again(plugin: Plugin) -> None:
    plugin.gives(token="one")
    source = plugin.source(Clock())
    source.authorization()
    assert source.invalidate() is False
    plugin.gives(token="two")
    assert source.invalidate() is True
    assert source.authorization() == "Bearer two"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("no json", "JSON"),
        ('{"kind":"Pod"}', "ExecCredential"),
        ({"version": V1BETA1, "token": "t"}, "v1beta1"),
        ({}, "neither a token"),
        ({"clientKeyData": "x"}, "only one"),
        ({"token": 5}, "no text"),
        ({"token": "a\nb"}, "header"),
        ({"token": "t", "expirationTimestamp": "soon"}, "no time"),
    ],
)
def test_bad_answers_are_refused(plugin: Plugin, answer: Any, problem: str) -> None:
    if isinstance(answer, str):
        plugin.answer.write_text(answer)
    else:
        plugin.gives(**answer)
    with pytest.raises(CredentialError, match=problem):
        plugin.source(Clock()).authorization()


def test_a_plugin_that_fails(plugin: Plugin) -> None:
    with pytest.raises(CredentialError, match="exit code 1"):
        plugin.source(Clock()).authorization()


def test_a_plugin_that_is_not_there_comes_with_the_hint() -> None:
    source = ExecPlugin(["/no/such"], api_version=V1, install_hint="get it somewhere")
    with pytest.raises(CredentialError, match=r"/no/such cannot be run: No such file.*\nget it somewhere"):
        source.authorization()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (None, "no object"),
        ({"apiVersion": V1}, "command"),
        ({"apiVersion": V1, "command": "x"}, "interactiveMode is missing"),
        ({"apiVersion": V1, "command": "x", "interactiveMode": "Maybe"}, "Maybe"),
        ({"apiVersion": V1BETA1, "command": "x", "args": "y"}, "args"),
        ({"apiVersion": V1BETA1, "command": "x", "env": [{"value": "y"}]}, "env"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}, "v1alpha1"),
    ],
)
def test_bad_settings_are_refused(config: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ExecPlugin.from_config(config)

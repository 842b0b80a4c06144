"""The entry of ``hort``: what is imported, how mistakes are told, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hortator.cli.main import COMMANDS, main


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], ["aiohttp", "asyncio", "msgspec", "yaml", "ssl", "rich"]),
        (["version"], ["aiohttp", "asyncio", "msgspec", "yaml", "ssl"]),
        (["jobs"], ["aiohttp", "asyncio", "cryptography", "rich", "ssl"]),
        (["run", "--", "true"], ["aiohttp", "asyncio", "cryptography", "ssl"]),
    ],
)
def test_commands_import_nothing_heavy(words: list[str], heavy: list[str], tmp_path: object) -> None:
    program = (
        "import sys; from hortator.cli import background, main; "
        "background.start_in_background = lambda *a: sys.exit(0); "
        "code = None\n"
        "try: main.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    env = {"HORT_DATA_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, env=env)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"hort {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["jbos"], "there is no command jbos", "hort jobs"),
        (["run"], "no command was given", "hort run -n 4 -- ./program"),
        (
            ["run", "-n", "four", "--", "true"],
            "argument -n/--ranks/--ntasks: invalid int value: 'four'",
            "hort run --help",
        ),
        (["run", "--mem", "lots", "--", "true"], "--mem lots", ""),
        (["run", "-t", "soon", "--", "true"], "-t soon", ""),
        (["up", "--nodes", "0"], "--nodes 0: must be at least 1", ""),
        (["up", "--port", "70000"], "--port 70000: must be at most 65535", ""),
        (["up", "--memory", "much"], "--memory much", "a size such as 16Gi"),
        (["submit"], "nothing to submit", "hort submit job.yaml, or hort submit -n 4 -- ./program"),
        (["jobs", "--states", "XX"], "--states XX: no state XX", ""),
    ],
)
def test_mistakes_are_told_with_the_next_step(
    words: list[str], what: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {what}")
    assert "Traceback" not in said
    assert not hint or f"try: {hint}" in said


def test_with_json_output_errors_are_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HORT_DATA_DIR", str(tmp_path))
    assert main(["jobs", "-o", "json"]) == 5
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["reason"], error["hint"]) == (5, "Unreachable", "hort up -d")

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from hortator.operator.mpijob import remote_shell
from hortator.operator.mpijob.remote_shell import Deadline, assess, main, parse_arguments, remote_command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["host", "cmd"], ("host", "cmd", True)),
        (["host", "cmd", "a  b", "-x"], ("host", "cmd a  b -x", True)),
        (["-x", "host", "cmd"], ("host", "cmd", True)),
        (["-n", "host", "cmd"], ("host", "cmd", False)),
        (["-o", "ConnectionAttempts=10", "host", "cmd"], ("host", "cmd", True)),
        (["-oBatchMode=yes", "-p22", "host", "cmd"], ("host", "cmd", True)),
        (["-xp", "2222", "host", "cmd"], ("host", "cmd", True)),
        (["-l", "user", "host", "cmd"], ("host", "cmd", True)),
        # rsh takes options behind the host, too.
        (["host", "-n", "cmd", "-n"], ("host", "cmd -n", False)),
        (["host", "-l", "user", "cmd"], ("host", "cmd", True)),
        (["user@host", "cmd"], ("host", "cmd", True)),
        (["--", "host", "cmd"], ("host", "cmd", True)),
        # A value may contain any letter.
        (["-l", "n", "host", "cmd"], ("host", "cmd", True)),
        (["-ln", "host", "cmd"], ("host", "cmd", True)),
    ],
)
def test_arguments(arguments: list[str], expected: tuple[str, str, bool]) -> None:
    assert parse_arguments(arguments) == expected


@pytest.mark.parametrize("arguments", [[], ["host"], ["-x"], ["-p"], ["-p", "22", "host"]])
def test_arguments_without_host_or_command(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, {}) == 255
    assert "usage" in capfd.readouterr().err


@pytest.mark.parametrize("enter", ["", "env PREFIXED=1"])
def test_the_command_runs_in_a_shell_behind_the_workers_prefix(enter: str) -> None:
    line = "a='x  y'; echo \"$a $PREFIXED\"; exit 3"
    environ = {"PATH": "/usr/bin:/bin", **({"HORT_ENTER": enter} if enter else {})}
    done = subprocess.run(remote_command(line), env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"x  y {'1' if enter else ''}\n", 3)


def _pod(phase: str = "Pending", *, node: str = "n", state: Any = None, **status: Any) -> dict[str, Any]:
    statuses = [{"name": "main", "state": state}] if state is not None else []
    return {
        "metadata": {"name": "w"},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


NO_ROOM = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}


@pytest.mark.parametrize(
    ("pod", "state", "why"),
    [
        (_pod("Running", state={"running": {}}), "up", ""),
        (_pod("Running"), "up", ""),
        (_pod("Running", state={"waiting": {"reason": "CrashLoopBackOff"}}), "starting", "CrashLoopBackOff"),
        (_pod("Running", state={"terminated": {"exitCode": 1}}), "starting", "it is Running"),
        (
            _pod(state={"waiting": {"reason": "CreateContainerError", "message": "no such file"}}),
            "starting",
            "CreateContainerError: no such file",
        ),
        (_pod(), "starting", "it is Pending"),
        (_pod(node="", conditions=[NO_ROOM]), "unplaced", "0/1 nodes are available"),
        (_pod(node=""), "unplaced", "it has not been placed on a node"),
        (_pod("Failed", reason="Evicted", message="disk"), "ended", "it has failed (Evicted: disk)"),
        (_pod("Succeeded"), "ended", "it has succeeded"),
        ({"metadata": {"deletionTimestamp": "x"}, "spec": {"nodeName": "n"}}, "ended", "it is being deleted"),
    ],
)
def test_a_workers_state(pod: dict[str, Any], state: str, why: str) -> None:
    assert assess(pod) == (state, why)


def test_time_without_a_node_does_not_count() -> None:
    now = 0.0
    deadline = Deadline(60, clock=lambda: now)
    now = 50.0
    assert deadline.left == 10.0
    deadline.pause()
    now = 5000.0
    assert deadline.left is None
    deadline.resume()
    deadline.resume()
    assert deadline.left == 60.0
    now = 5100.0
    assert deadline.left == 0.0


def test_outside_of_a_pod_it_says_so(tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "namespace").write_text("default")
    assert main(["host", "cmd"], {"HORT_SERVICE_ACCOUNT_DIR": str(tmp_path)}) == remote_shell.FAILED
    assert "not a pod" in capfd.readouterr().err


def test_without_a_service_account_it_says_so(tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["host", "cmd"], {"HORT_SERVICE_ACCOUNT_DIR": str(tmp_path / "none")}) == 255
    assert "service account" in capfd.readouterr().err

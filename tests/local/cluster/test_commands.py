"""The commands that look after the local cluster, as a newcomer types them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support.hort import Hort
from support.staying import Staying, processes, until

Maker = Callable[..., Hort]


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stdout.decode()


def test_up_status_down(new_hort: Maker) -> None:
    hort = new_hort()
    assert said(hort("status", code=3)) == "the local cluster is not running\n"
    assert json.loads(hort("status", "-o", "json", code=3).stdout)["running"] is False
    up = hort("up", "-d", "--cpus", "3", "--memory", "2Gi", "--gpus", "0", "--nodes", "2")
    assert said(up).startswith("the local cluster is ready: 2 nodes of 3 CPUs, pid ")
    status = hort.json("status")
    assert status["running"] and status["nodes"] == 2 and status["data"] == str(hort.home / "data")
    text = said(hort("status"))
    assert [line.split()[:4] for line in text.splitlines()[-2:]] == [
        ["node-1", "True", "3", "2Gi"],
        ["node-2", "True", "3", "2Gi"],
    ]
    assert said(hort("down")) == "the local cluster has stopped\n"
    assert not processes(str(hort.home))
    assert said(hort("down")) == "the local cluster is not running\n"
    assert hort("jobs", code=5).stderr == b"error: the local cluster is not running\n  try: hort up -d\n"


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_what_is_refused_starts_no_cluster(new_hort: Maker, verb: str) -> None:
    hort = new_hort()
    assert b"-n: 0 ranks: must be from 1" in hort(verb, "-n", "0", "--", "true", code=2).stderr
    hort("status", code=3)


def test_up_twice(hort: Hort) -> None:
    pid = hort.json("status")["pid"]
    assert said(hort("up", "-d")) == f"the local cluster is already running (pid {pid})\n"
    assert said(hort("up")) == f"the local cluster is already running (pid {pid})\n"
    other = hort("up", "-d", "--nodes", "7", code=6).stderr.decode()
    assert f"already running (pid {pid})" in other and "hort down, then hort up again" in other
    assert hort.json("status")["pid"] == pid


def test_two_starts_at_once_make_one_cluster(new_hort: Maker) -> None:
    hort = new_hort()
    starts = [hort.start("up", "-d") for _ in range(3)]
    ended = [(*start.communicate(timeout=90), start.returncode) for start in starts]
    pid = hort.json("status")["pid"]
    for stdout, stderr, code in ended:
        assert (code, stderr) == (0, b"") and f"pid {pid}".encode() in stdout, ended


def test_a_port_that_is_taken(new_hort: Maker) -> None:
    hort = new_hort()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = hort("up", "-d", "--port", port, code=6).stderr.decode()
        assert f"port {port} is in use" in error and "cause:" in error and "another --port" in error
        assert hort("up", "--port", port, code=6).stderr.decode().splitlines()[-3:] == error.splitlines()
    hort("up", "-d", "--port", port)
    assert hort.json("status")["port"] == int(port)
    # The next start asks for the same one, so that kubeconfigs stay right, but does not insist.
    hort("down")
    with socket.create_server(("127.0.0.1", int(port))):
        hort("up", "-d")
        assert hort.json("status")["port"] != int(port)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["up", "--port", "70000"], "--port 70000: must be at most 65535"),
        (["up", "--nodes", "0"], "--nodes 0: must be at least 1"),
        (["up", "--cpus", "-1"], "--cpus -1: must be at least 1"),
        (["up", "--nodes", "many"], "argument --nodes: invalid int value: 'many'"),
        (["up", "--memory", "lots"], "--memory lots: this is no size"),
        (["up", "--colour", "red"], "unrecognized arguments: --colour red\n  try: hort up --help"),
        (["kubeconfig", "--merge", "--path"], "not allowed with argument"),
        (["completion", "basic"], "invalid choice: 'basic'"),
        (["context", "use"], "required: name"),
        (["stop"], "there is no command stop"),
    ],
)
def test_words_that_do_not_fit(new_hort: Maker, words: list[str], why: str) -> None:
    hort = new_hort()
    error = hort(*words, code=2).stderr.decode()
    assert error.startswith("error: ") and why in error and "Traceback" not in error
    assert not (hort.home / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_cluster_in_the_foreground_ends_well(new_hort: Maker, number: signal.Signals) -> None:
    hort = new_hort()
    with Staying(hort, "up", "--cpus", "2") as up:
        up.said("the local cluster is ready: 1 node of 2 CPUs; end it with Ctrl-C")
        with Staying(hort, "run", "-n", "2", "--", "sleep", "600") as run:
            run.told("hort: job")
            until(
                lambda: sum(line.startswith("sleep 600") for line in processes(str(hort.home)).values()) == 2,
                "ranks",
            )
            up.process.send_signal(number)
            assert up.end() == 0
            assert run.end() != 0
    assert not processes(str(hort.home))
    assert b"Traceback" not in up.stderr, bytes(up.stderr)
    assert said(hort("status", code=3)) == "the local cluster is not running\n"


def test_the_kubeconfig_is_printed_and_written_apart(hort: Hort) -> None:
    printed = yaml.safe_load(hort("kubeconfig").stdout)
    assert printed["current-context"] == "hort-local"
    path = Path(said(hort("kubeconfig", "--path")).strip())
    assert yaml.safe_load(path.read_text()) == printed
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (hort.home / ".kube").exists()


def test_merging_keeps_what_others_wrote(hort: Hort, tmp_path: Path) -> None:
    hort = Hort(hort.home, env={"HOME": str(tmp_path)})
    path = tmp_path / ".kube" / "config"
    path.parent.mkdir()
    theirs = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "work", "cluster": {"server": "https://work.example"}}],
        "users": [{"name": "me", "user": {"token": "secret", "unknown": {"kept": True}}}],
        "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
        "current-context": "work",
        "preferences": {"colors": True},
    }
    path.write_text(yaml.safe_dump(theirs))
    path.chmod(0o640)
    for _ in range(2):  # merging again changes nothing
        assert "added context hort-local" in said(hort("kubeconfig", "--merge"))
        merged = yaml.safe_load(path.read_text())
        assert [item["name"] for item in merged["contexts"]] == ["work", "hort-local"]
    for key in ("clusters", "users", "contexts"):
        assert merged[key][0] == theirs[key][0]
    assert merged["current-context"] == "work" and merged["preferences"] == {"colors": True}
    assert path.stat().st_mode & 0o777 in (0o600, 0o640)
    listed = {item["name"]: item for item in hort.json("context", "list")}
    assert set(listed) == {"local", "work", "hort-local"} and listed["local"]["chosen"]


def test_a_damaged_kubeconfig_is_left_as_it_is(hort: Hort, tmp_path: Path) -> None:
    path = tmp_path / "config"
    hort = Hort(hort.home, env={"KUBECONFIG": str(path)})
    path.write_text("clusters: [")
    error = hort("kubeconfig", "--merge", code=1).stderr.decode()
    assert str(path) in error and "Traceback" not in error
    assert path.read_text() == "clusters: ["


def test_the_chosen_context_is_the_one_that_is_spoken_to(hort: Hort) -> None:
    config = hort.home / "elsewhere.yaml"
    hort_of = Hort(hort.home, env={"KUBECONFIG": str(config), "XDG_CONFIG_HOME": str(hort.home / "other")})
    made = yaml.safe_load(hort("kubeconfig").stdout)
    made["current-context"] = "hort-local"
    config.write_text(yaml.safe_dump(made))
    config.chmod(0o600)
    assert (
        "the local cluster" in hort_of("run", "--", "true").stderr.decode()
    )  # a current-context never chooses
    assert hort_of("context", "use", "none", code=3).stderr.startswith(b"error: there is no context none")
    hort_of("context", "use", "hort-local")
    assert [item["name"] for item in hort_of.json("context", "list") if item["chosen"]] == ["hort-local"]
    assert hort_of.json("jobs") == hort.json("jobs")
    assert hort_of("run", "--", "true", code=None).returncode != 0  # no image for another cluster
    hort_of("context", "use", "local")
    hort_of("run", "--", "true")


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "--workers"), ("zsh", "--workers"), ("tcsh", "kubeconfig")]
)
def test_completion_scripts_know_the_words(new_hort: Maker, shell: str, words: str) -> None:
    assert words in said(new_hort()("completion", shell))


def test_bash_completes(new_hort: Maker) -> None:
    hort = new_hort()
    script = hort.home / "completion"
    script.write_bytes(hort("completion", "bash").stdout)
    call = '$(complete -p hort | sed "s/.*-F //;s/ .*//")'
    probe = f'source "$0"; COMP_WORDS=(hort ku); COMP_CWORD=1; {call}; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", probe, str(script)], capture_output=True, timeout=60)
    assert done.stdout.split() == [b"kubeconfig"], done


def test_doctor_checks_and_says_what_to_mend(hort: Hort, new_hort: Maker) -> None:
    found = {item["name"]: item for item in hort.json("doctor")}
    assert {"system", "python", "machine", "sandbox", "data folder", "local cluster", "mpi"} <= found.keys()
    assert found["local cluster"]["finding"].startswith("running (pid ")
    alone = new_hort(env={"PATH": "/nowhere"}, python=sys.executable)
    without = alone("doctor", "--mpi", "/nowhere/mpirun", code=None)
    assert b"Traceback" not in without.stderr
    assert said(alone("doctor", code=None)).count("\n") >= 6


def test_version(new_hort: Maker) -> None:
    hort = new_hort()
    text = said(hort("version"))
    assert text.startswith("hort ") and f"Python {sys.version_info[0]}." in text
    assert said(hort("--version")) == text


def test_errors_for_programs_are_json(new_hort: Maker) -> None:
    error = json.loads(new_hort()("jobs", "-o", "json", code=5).stderr)["error"]
    assert error == {"code": 5, "reason": "Unreachable", "message": error["message"], "hint": "hort up -d"}


def test_a_reader_that_has_gone_is_no_error_of_ours(hort: Hort) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = hort.start("completion", "bash", stdout=writing)
    os.close(writing)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (141, b"")

"""What kubectl does with running pods: logs, exec, copy, attach, forward, run."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.kubectl import Kubectl, shell_pod
from support.staying import until

SERVE = f'exec {sys.executable} -c "{{}}"'
ANSWER = (
    "import http.server as h\n"
    "class A(h.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(b'here')\n"
    "s = h.ThreadingHTTPServer(('127.0.0.1', 0), A)\n"
    "print(s.server_port, flush=True)\n"
    "s.serve_forever()\n"
)


@contextlib.contextmanager
def terminal(kubectl: Kubectl, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run kubectl on a terminal of its own; yields the process and the terminal's other side."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = kubectl.start(*words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, pattern: bytes) -> bytes:
    """Read from a terminal until the pattern was seen; fail when it closes before, or says nothing for long."""
    seen = b""
    while not re.search(pattern, seen):
        assert select.select([descriptor], [], [], 40)[0], seen
        try:
            more = os.read(descriptor, 4096)
        except OSError:
            more = b""
        assert more, seen
        seen += more
    return seen


def running(kubectl: Kubectl, name: str = "p", script: str = "exec sleep 600", **fields: Any) -> str:
    kubectl.apply(shell_pod(name, script, **fields))
    kubectl.ready(f"pod/{name}")
    return name


def test_logs_of_a_finished_pod_and_parts_of_them(kubectl: Kubectl) -> None:
    kubectl.apply(
        shell_pod("p", "echo one; echo two; echo three; printf four"),
        shell_pod("q", "echo out; echo err >&2"),
    )
    kubectl.ready("pod/q", "jsonpath={.status.phase}=Succeeded")
    kubectl.ready("pod/p", "jsonpath={.status.phase}=Succeeded")
    assert sorted(kubectl("logs", "q").split()) == ["err", "out"]
    assert kubectl("logs", "p") == "one\ntwo\nthree\nfour"
    assert kubectl("logs", "pod/p", "--tail=1") == "four"
    assert len(kubectl("logs", "p", "--since=1h").split()) == 4
    assert kubectl("logs", "p", "--since-time=2099-01-01T00:00:00Z") == ""
    assert kubectl("logs", "p", "--limit-bytes=3") == "one"
    assert re.match(r"20\d\d-\d\d-\d\dT[\d:.]+Z ", kubectl("logs", "p", "--timestamps", "--tail=1"))
    assert kubectl("logs", "p", "--prefix", "--tail=1") == "[pod/p/main] four"
    assert "container none is not valid for pod p" in kubectl.refused("logs", "p", "-c", "none")


def test_logs_are_followed_to_their_end(kubectl: Kubectl, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    kubectl.apply(shell_pod("p", f"echo first; cat {gate}; echo last"))
    kubectl.ready("pod/p")
    follow = kubectl.start("logs", "-f", "p")
    assert follow.stdout is not None and follow.stdout.readline() == b"first\n"
    gate.write_bytes(b"through the gate\n")
    rest, complaint = follow.communicate(timeout=60)
    assert (rest, complaint, follow.returncode) == (b"through the gate\nlast\n", b"", 0)


def test_logs_of_the_container_before(kubectl: Kubectl, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"if [ -e {mark} ]; then echo second; exec sleep 600; fi; touch {mark}; echo first; exit 1"
    kubectl.apply(shell_pod("p", script, restartPolicy="Always"))
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/p", "--timeout=60s")
    kubectl.ready("pod/p")
    assert kubectl("logs", "p", "--previous") == "first\n"
    assert kubectl("logs", "p") == "second\n"


def test_logs_of_several_containers_and_pods(kubectl: Kubectl) -> None:
    for name in ("a", "b"):
        made = shell_pod(name, f"echo {name}-main", labels={"set": "one"})
        side = {"name": "side", "image": "none", "command": ["echo", f"{name}-side"]}
        made["spec"]["containers"].append(side)
        kubectl.apply(made)
        kubectl.ready(f"pod/{name}", "jsonpath={.status.phase}=Succeeded")
    assert sorted(kubectl("logs", "a", "--all-containers").split()) == ["a-main", "a-side"]
    both = kubectl("logs", "-l", "set=one", "-c", "side", "--prefix").splitlines()
    assert sorted(both) == ["[pod/a/side] a-side", "[pod/b/side] b-side"]


def test_exec_returns_output_streams_and_exit_code(kubectl: Kubectl) -> None:
    running(kubectl)
    done = kubectl.run("exec", "p", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 7")
    assert done.stdout == b"out\n" and b"err\n" in done.stderr and done.returncode == 7
    assert b"exit code 7" in done.stderr
    assert kubectl("exec", "p", "--", "printf", "%s|", "a b", "$HOME", "*") == "a b|$HOME|*|"
    killed = kubectl.run("exec", "p", "--", "/bin/sh", "-c", "kill -9 $$")
    assert killed.returncode == 137
    missing = kubectl.run("exec", "p", "--", "no-such-program")
    assert missing.returncode in (126, 127) and b"no-such-program" in missing.stderr


def test_exec_passes_input_through_byte_for_byte(kubectl: Kubectl) -> None:
    running(kubectl)
    data = os.urandom(3_000_000)
    done = kubectl.run("exec", "-i", "p", "--", "sha256sum", stdin=data)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert kubectl.run("exec", "-i", "p", "--", "cat", stdin=data).stdout == data


def test_exec_on_a_terminal(kubectl: Kubectl) -> None:
    running(kubectl)
    with terminal(kubectl, "exec", "-it", "p", "--", "/bin/sh") as (process, screen):
        # The size comes after the start, as on any cluster.
        os.write(
            screen,
            b"while [ \"$(stty size)\" != '24 100' ]; do sleep 0.1; done; tty | sed s/pts.*/terminal/\n",
        )
        read_until(screen, rb"/dev/terminal\r\n")
        # Once the program itself speaks it is in the foreground, and Ctrl-C is for it.
        os.write(screen, b"sh -c 'echo rea\"\"dy; exec sleep 600'\n")
        read_until(screen, rb"ready\r\n")
        os.write(screen, b"\x03")
        # A shell throws away what it has read when it hears of the signal, so its prompt is waited for.
        read_until(screen, rb"[#$] $")
        os.write(screen, b"echo st''opped\n")
        read_until(screen, rb"stopped\r\n")
        termios.tcsetwinsize(screen, (40, 120))
        process.send_signal(signal.SIGWINCH)
        os.write(screen, b"while [ \"$(stty size)\" != '40 120' ]; do sleep 0.1; done; echo res''ized\n")
        read_until(screen, rb"resized\r\n")
        os.write(screen, b"exit 5\n")
        assert process.wait(60) == 5


def test_exec_where_nothing_runs(kubectl: Kubectl) -> None:
    kubectl.apply(shell_pod("over", "exit 0"))
    kubectl.ready("pod/over", "jsonpath={.status.phase}=Succeeded")
    assert "cannot exec into a container in a completed pod" in kubectl.refused("exec", "over", "--", "true")
    assert "not found" in kubectl.refused("exec", "none", "--", "true")
    running(kubectl)
    assert "none" in kubectl.refused("exec", "p", "-c", "none", "--", "true")


def test_copy_to_a_pod_and_back(kubectl: Kubectl, tmp_path: Path) -> None:
    running(kubectl)
    sent, there, back = tmp_path / "sent", tmp_path / "there", tmp_path / "back"
    (sent / "sub").mkdir(parents=True)
    (sent / "sub" / "file").write_bytes(os.urandom(200_000))
    there.mkdir()
    kubectl("cp", str(sent), f"p:{there}/copy")
    assert (there / "copy" / "sub" / "file").read_bytes() == (sent / "sub" / "file").read_bytes()
    kubectl("cp", f"p:{there}/copy/sub/file", str(back))
    assert back.read_bytes() == (sent / "sub" / "file").read_bytes()


def test_attach_joins_what_runs(kubectl: Kubectl) -> None:
    script = "while read -r line; do echo got $line; [ $line = end ] && exit 0; done"
    running(kubectl, script=script, container={"stdin": True})
    done = kubectl.run("attach", "-i", "p", stdin=b"one\nend\n")
    assert b"got one\ngot end\n" in done.stdout
    kubectl.ready("pod/p", "jsonpath={.status.phase}=Succeeded")


def test_run_shows_the_output_and_the_exit_code(kubectl: Kubectl) -> None:
    words = ("run", "r", "--image=none", "--restart=Never", "--rm", "-i", "--quiet", "--command", "--")
    done = kubectl.run(*words, "/bin/sh", "-c", "cat; exit 3", stdin=b"through\n")
    assert (done.stdout, done.returncode) == (b"through\n", 3), done
    assert "not found" in kubectl.refused("get", "pod", "r")


def test_run_creates_a_pod(kubectl: Kubectl) -> None:
    kubectl("run", "plain", "--image=none", "--labels=a=b", "--env=X=y", "--command", "--", "sleep", "600")
    kubectl.ready("pod/plain")
    assert kubectl("exec", "plain", "--", "printenv", "X") == "y\n"


@pytest.mark.parametrize("through", ["pod/p", "service/s"])
def test_ports_are_forwarded(kubectl: Kubectl, through: str) -> None:
    running(kubectl, script=SERVE.format(ANSWER), labels={"app": "x"})
    follow = kubectl.start("logs", "-f", "p")
    assert follow.stdout is not None
    port = follow.stdout.readline().decode().strip()
    follow.kill()
    follow.communicate()
    ports = [{"port": 80, "targetPort": int(port)}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    kubectl.apply(service | {"spec": {"selector": {"app": "x"}, "ports": ports}})
    forward = kubectl.start("port-forward", through, f":{port if through == 'pod/p' else 80}")
    try:
        assert forward.stdout is not None
        line = forward.stdout.readline().decode()
        found = re.match(r"Forwarding from 127.0.0.1:(\d+) -> ", line)
        assert found, (line, forward.stderr and forward.stderr.read())
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"here"
            connection.close()
    finally:
        forward.kill()
        forward.communicate()


def test_forwarding_to_a_closed_port_says_so(kubectl: Kubectl) -> None:
    running(kubectl)
    forward = kubectl.start("port-forward", "p", ":1")
    try:
        assert forward.stdout is not None and forward.stderr is not None
        found = re.match(rb"Forwarding from 127.0.0.1:(\d+) -> ", forward.stdout.readline())
        assert found
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.request("GET", "/")
            connection.getresponse()
        assert b"error" in forward.stderr.readline().lower()
    finally:
        forward.kill()
        forward.communicate()


def test_debugging_beside_the_containers_and_in_a_copy(kubectl: Kubectl) -> None:
    running(kubectl)
    script = "echo looking; read -r line; echo $line"
    done = kubectl.run(
        "debug", "p", "-i", "--image=none", "-c", "look", "--", "/bin/sh", "-c", script, stdin=b"around\n"
    )
    assert done.returncode == 0, done
    kubectl(
        "wait", "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0", "pod/p"
    )
    assert kubectl("logs", "p", "-c", "look") == "looking\naround\n"
    kubectl("debug", "p", "--copy-to=copy", "--container=main", "--image=none", "--", "sleep", "600")
    kubectl.ready("pod/copy")


def test_old_clients_that_speak_spdy(kubectl: Kubectl) -> None:
    running(kubectl)
    old = kubectl.with_env(KUBECTL_REMOTE_COMMAND_WEBSOCKETS="false", KUBECTL_PORT_FORWARD_WEBSOCKETS="false")
    done = old.run("exec", "-i", "p", "--", "/bin/sh", "-c", "cat; exit 4", stdin=b"x" * 1_000_000)
    assert done.returncode == 4 and done.stdout == b"x" * 1_000_000


def test_logs_of_many_pods_are_followed_together(kubectl: Kubectl, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    for name in ("a", "b"):
        running(kubectl, name, f"echo {name} 1; echo {name} 2; cat {gate} >&2; exit 0", labels={"set": "one"})
    assert sorted(kubectl("logs", "-l", "set=one", "--tail=1").splitlines()) == ["a 2", "b 2"]
    follow = kubectl.start("logs", "-f", "-l", "set=one", "--prefix", "--max-log-requests=2")
    assert follow.stdout is not None
    first = {follow.stdout.readline() for _ in range(4)}
    assert first == {f"[pod/{name}/main] {name} {n}\n".encode() for name in "ab" for n in "12"}
    for _ in range(2):  # each writer lets one reader go, or both
        with contextlib.suppress(OSError):
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    assert follow.communicate(timeout=60)[0] == b"" and follow.returncode == 0
    said = kubectl.refused("logs", "-f", "-l", "set=one", "--max-log-requests=1")
    assert "you are attempting to follow 2 log streams" in said


def test_logs_that_are_not_there(kubectl: Kubectl) -> None:
    running(kubectl, script="echo old; exec sleep 600")
    assert 'previous terminated container "main" in pod "p" not found' in kubectl.refused("logs", "p", "-p")
    assert kubectl("logs", "p", "--since=1h", "--tail=0") == ""
    assert "at most one of `sinceTime` or `sinceSeconds` may be specified" in kubectl.refused(
        "logs", "p", "--since=1s", "--since-time=2026-01-01T00:00:00Z"
    )


def test_exec_goes_on_after_its_input_ended(kubectl: Kubectl) -> None:
    running(kubectl)
    done = kubectl.run("exec", "-i", "p", "--", "/bin/sh", "-c", "cat; echo after; exit 2", stdin=b"in\n")
    assert (done.stdout, done.returncode) == (b"in\nafter\n", 2)


def test_attach_on_a_terminal(kubectl: Kubectl) -> None:
    running(kubectl, script="exec /bin/sh", container={"stdin": True, "tty": True})
    with terminal(kubectl, "attach", "-it", "p") as (process, screen):
        os.write(screen, b"tty | sed s/pts.*/terminal/; echo rea''dy\n")
        read_until(screen, rb"/dev/terminal\r\nready\r\n")
        os.write(screen, b"exit\n")
        assert process.wait(60) == 0
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=0", "pod/p")


def test_copy_of_a_folder_out_of_a_container(kubectl: Kubectl, tmp_path: Path) -> None:
    running(kubectl)
    there, back = tmp_path / "there", tmp_path / "back"
    (there / "sub").mkdir(parents=True)
    (there / "sub" / "a b").write_text("spaced")
    kubectl("cp", f"{kubectl.namespace}/p:{there}", str(back), "-c", "main")
    assert (back / "sub" / "a b").read_text() == "spaced"
    assert "doesn't exist" in kubectl.refused("cp", str(tmp_path / "none"), "p:/tmp/x")


def test_several_ports_are_forwarded_again_and_again(kubectl: Kubectl) -> None:
    serve = f'{sys.executable} -c "{ANSWER}"'
    running(kubectl, script=f"{serve} & {serve} & wait")
    until(lambda: len(kubectl("logs", "p").split()) == 2, "both servers")
    ports = kubectl("logs", "p").split()
    for _ in range(2):  # a forwarding that was left can be taken up again
        forward = kubectl.start("port-forward", "pod/p", *(f":{port}" for port in ports))
        try:
            assert forward.stdout is not None
            stdout = forward.stdout
            for port in ports:
                pattern = re.compile(rf"Forwarding from 127.0.0.1:(\d+) -> {port}".encode())
                found = next(filter(None, map(pattern.match, stdout)))
                connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
                connection.request("GET", "/")
                assert connection.getresponse().read() == b"here"
                connection.close()
        finally:
            forward.kill()
            forward.communicate()


def test_debugging_in_a_changed_copy(kubectl: Kubectl) -> None:
    running(kubectl, labels={"app": "x"})
    kubectl(
        "debug", "p", "--copy-to=other", "--set-image=*=changed", "--share-processes=false", "--keep-labels"
    )
    copy = kubectl.json("get", "pod", "other")
    assert [each["image"] for each in copy["spec"]["containers"]] == ["changed"]
    assert copy["metadata"]["labels"] == {"app": "x"} and copy["spec"]["shareProcessNamespace"] is False
    kubectl("debug", "p", "--image=none", "--target=main", "-c", "aim", "--", "true")
    (added,) = kubectl.json("get", "pod", "p")["spec"]["ephemeralContainers"]
    assert (added["name"], added["targetContainerName"]) == ("aim", "main")
    kubectl(
        "debug", "p", "--copy-to=instead", "--replace", "--same-node", "--image=none", "--", "sleep", "600"
    )
    assert "not found" in kubectl.refused("get", "pod", "p")
    assert kubectl.json("get", "pod", "instead")["spec"]["nodeName"] == "local"

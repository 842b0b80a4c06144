from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hortator.jobs.context import MAX_BYTES, Context, ContextTooLarge, capture, decode, encode
from hortator.jobs.enter import BadContext, merged

NASTY = {
    b"PLAIN": b"x",
    b"LINES": b"a\nb\n\n",
    b"EMPTY": b"",
    b"EQUALS": b"a=b=c",
    b"LATIN": b"\xff\xfe",
    b"BASH_FUNC_ml%%": b"() {  echo\n}",
    b"cwd": b"not a setting",
    b"$(HOME)": b"$(HOME)",
}


def context(environ: dict[bytes, bytes]) -> Context:
    return Context(
        cwd=b"/tmp/\xff dir", umask=0o027, rlimits={"NOFILE": 64, "CORE": -1}, environ=environ, argv=[]
    )


@pytest.mark.parametrize("more", [0, 2000])
def test_what_is_written_is_read_back(more: int) -> None:
    """2,000 variables more are over the size from which the file is packed."""
    given = context({**NASTY, **{b"V%d" % number: b"v" * 50 for number in range(more)}})
    data = encode(given, [b"a", b"", b"\xfe\n"])
    assert data.startswith(b"hort-packed") == bool(more)
    got = decode(data)
    assert (got.cwd, got.umask, got.rlimits) == (given.cwd, given.umask, given.rlimits)
    assert list(got.environ.items()) == list(given.environ.items())
    assert got.argv == [b"a", b"", b"\xfe\n"]


@pytest.mark.parametrize(
    "data", [b"", b"hort-context 2\0\0", b"hort-context 1\0cwd=/", b"hort-context 1\0what=1\0\0"]
)
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadContext):
        decode(data)


def test_what_no_secret_can_hold_is_refused_with_its_size() -> None:
    with pytest.raises(ContextTooLarge) as caught:
        encode(context({b"NOISE": os.urandom(2 * MAX_BYTES).replace(b"\0", b"\1")}))
    assert caught.value.size > MAX_BYTES


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode(context({b"A": b"x\0y"}))


def test_capture_takes_the_surroundings_as_they_were_given(tmp_path: Path) -> None:
    script = (
        "import sys; from hortator.jobs.context import capture, encode;"
        "sys.stdout.buffer.write(encode(capture()))"
    )
    environ = {b"PYTHONPATH": os.fsencode(Path(__file__).parents[3] / "src"), b"LC_ALL": b"", **NASTY}
    shell = ["sh", "-c", 'umask 031; ulimit -Sn 99; exec env "$@"', "sh", sys.executable, "-c", script]
    out = subprocess.run(shell, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, check=True).stdout
    got = decode(out)
    assert (got.cwd, got.umask, got.rlimits["NOFILE"]) == (os.fsencode(tmp_path.resolve()), 0o031, 99)
    assert {name: got.environ.get(name) for name in (b"LATIN", b"LINES", b"LC_ALL")} == {
        name: environ[name] for name in (b"LATIN", b"LINES", b"LC_ALL")
    }
    assert b"LC_CTYPE" not in got.environ


def test_captures_directory_can_be_given(tmp_path: Path) -> None:
    assert capture(cwd=tmp_path).cwd == os.fsencode(tmp_path)


@pytest.mark.parametrize(
    ("name", "caller", "pod", "result"),
    [
        ("HOME", "/home/me", "/", "/home/me"),
        ("HOSTNAME", "laptop", "pi-1-worker-0", "laptop"),
        ("HOSTNAME", None, "pi-1-worker-0", None),
        ("KUBERNETES_SERVICE_HOST", None, "10.0.0.1", None),
        ("SOME_POD_THING", None, "x", None),
        ("HORT_RUN_DIR", None, "/hort/run", "/hort/run"),
        ("HORT_RUN_DIR", "/stale", "/hort/run", "/hort/run"),
        ("HORT_RANK", "3", None, None),
        ("HORT_CONTEXT", "lab", None, "lab"),
        ("PMIX_RANK", "3", None, None),
        ("PMIX_MCA_gds", "hash", None, "hash"),
        ("OMPI_COMM_WORLD_RANK", "3", None, None),
        ("OMPI_MCA_btl", "tcp,self", "^ofi", "tcp,self"),
        ("OMPI_MCA_btl", None, "^ofi", "^ofi"),
        ("PRTE_MCA_plm_ssh_agent", "ssh", "/etc/mpi/agent", "/etc/mpi/agent"),
        ("PRTE_MCA_prte_default_hostfile", "/home/me/hosts", "/etc/mpi/hostfile", "/etc/mpi/hostfile"),
        ("CUDA_VISIBLE_DEVICES", "0", None, "0"),
        ("CUDA_VISIBLE_DEVICES", "0", "2,3", "0"),
    ],
)
def test_who_decides_on_a_variable(
    name: str, caller: str | None, pod: str | None, result: str | None
) -> None:
    key = name.encode()
    got = merged(
        {key: caller.encode()} if caller is not None else {}, {key: pod.encode()} if pod is not None else {}
    )
    assert got.get(key) == (result.encode() if result is not None else None)


def test_gpus_that_the_node_gave_to_the_job_are_the_nodes_to_name() -> None:
    pod = {b"HORT_GPUS_PER_RANK": b"1", b"CUDA_VISIBLE_DEVICES": b"2,3"}
    assert merged({b"CUDA_VISIBLE_DEVICES": b"0"}, pod)[b"CUDA_VISIBLE_DEVICES"] == b"2,3"

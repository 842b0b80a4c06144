from __future__ import annotations

import pytest

from hortator.local.node.rewrite import PathRewriter

REWRITE = PathRewriter({"/data": "/real/a", "/data/sub": "/real/b", "/etc/mpi/": "/real/c"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/data", "/real/a"),
        ("/data/x", "/real/a/x"),
        ("/data/sub/x", "/real/b/x"),
        ("/data/subway", "/real/a/subway"),
        ("/database", "/database"),
        ("/data.old", "/data.old"),
        ("/home/data/x", "/home/data/x"),
        ("./data", "./data"),
        ("--hostfile=/etc/mpi/hostfile", "--hostfile=/real/c/hostfile"),
        ("/data:/etc/mpi:/usr", "/real/a:/real/c:/usr"),
        ("cat /data/x && echo '/data'", "cat /real/a/x && echo '/real/a'"),
        ("file:///data/x", "file:///data/x"),
        ("", ""),
    ],
)
def test_mount_paths_are_replaced_at_path_boundaries(text: str, result: str) -> None:
    assert REWRITE(text) == result


def test_without_mounts_nothing_changes() -> None:
    assert PathRewriter({})("/data /") == "/data /"

from __future__ import annotations

import pytest

from hortator.local.node.sandbox import spread_directories

EXISTING = {
    "/",
    "/etc",
    "/usr",
    "/usr/share",
    "/home",
    "/home/me",
    "/tmp",
    "/dev",
    "/run",
    "/var",
    "/var/tmp",
    "/work",
    "/opt",
}
WRITABLE = {"/home/me", "/tmp", "/var/tmp", "/work"}


@pytest.mark.parametrize("as_root", [False, True])
@pytest.mark.parametrize(
    ("targets", "spread"),
    [
        ([], {"/"}),
        (["/etc"], {"/"}),
        (["/etc/mpi"], {"/", "/etc"}),
        (["/etc/mpi/deep/er"], {"/", "/etc"}),
        (["/data"], {"/"}),
        (["/usr/share/x", "/dev/termination-log"], {"/", "/usr", "/usr/share", "/dev"}),
        (["/home/me/data"], {"/"}),
        (["/tmp/x/y"], {"/"}),
        (["/var/tmp/x"], {"/"}),
        (["/work/new"], {"/"}),
        (["/run/secrets", "/run/secrets/inner"], {"/", "/run"}),
        (["/data", "/data/missing"], {"/"}),
    ],
)
def test_only_system_directories_are_made_anew(targets: list[str], spread: set[str], as_root: bool) -> None:
    assert (
        spread_directories(targets, EXISTING.__contains__, lambda path: as_root or path in WRITABLE) == spread
    )


def test_a_folder_that_cannot_be_written_is_made_anew() -> None:
    assert spread_directories(["/home/other"], EXISTING.__contains__, WRITABLE.__contains__) == {"/", "/home"}

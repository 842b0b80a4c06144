from __future__ import annotations

import pytest

from hortator.jobs.complaints import Complaints

RULE = b"-" * 74 + b"\n"
OPENMPI4_EXIT = (
    RULE
    + b"mpirun detected that one or more processes exited with non-zero status, thus causing\n"
    + b"the job to be terminated. The first process to do so was:\n\n"
    + b"  Process name: [[9586,1],12]\n  Exit code:    3\n"
    + RULE
)
OPENMPI5_EXIT = OPENMPI4_EXIT.replace(b"mpirun", b"prterun").replace(
    b"[[9586,1],12]", b"[prterun-vm-9586@1,12]"
)
SIGNAL = (
    RULE
    + b"prterun noticed that process rank 2 with PID 16627 on node vm exited on\nsignal 9 (Killed).\n"
    + RULE
)
ABORTED = (
    RULE
    + b"Primary job  terminated normally, but 1 process returned\n"
    + b"a non-zero exit code. Per user-direction, the job has been aborted.\n"
    + RULE
)
OTHER = RULE + b"No executable was specified on the prterun command line.\n" + RULE


@pytest.mark.parametrize(
    ("said", "passed", "failed"),
    [
        (b"hort-exit 3 7\n", b"", (3, 7)),
        (b"hort-exit 3 7\nhort-exit 0 143\n", b"", (3, 7)),
        (OPENMPI4_EXIT, b"", (12, 3)),
        (OPENMPI5_EXIT, b"", (12, 3)),
        (SIGNAL, b"", (2, 137)),
        (ABORTED + b"hort-exit 1 3\n" + OPENMPI4_EXIT, b"", (1, 3)),
        (OTHER, OTHER, None),
        (b"words\nhort-exit of mine\nlast", b"words\nhort-exit of mine\nlast\n", None),
        (RULE + b"cut off", RULE + b"cut off\n", None),
        (b" " + OTHER + b"hort-exit 0 14\n" + OPENMPI5_EXIT + b" ", b" " + OTHER, (0, 14)),
        (OTHER[:100] + b"\nhort-exit 2 5\n" + OTHER[100:], OTHER[:100] + b"\n" + OTHER[100:], (2, 5)),
        (RULE + b"x" * 9000 + b"\nmore\n", RULE + b"x" * 9000 + b"\nmore\n", None),
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_complaints_become_facts_and_all_else_passes(
    said: bytes, passed: bytes, failed: tuple[int, int] | None, cut: int
) -> None:
    complaints = Complaints()
    out = (
        b"".join(complaints.feed(said[at : at + cut]) for at in range(0, len(said), cut)) + complaints.close()
    )
    assert (out, complaints.failed) == (passed, failed)


def test_what_prrte_says_of_itself_without_consequence_is_taken_out() -> None:
    complaints = Complaints()
    noise = (
        b"[pi-launcher:00003] WARNING: local probe returned unhandled shell:unknown assuming bash\n"
        b"[pi-launcher:00003] plm:ssh: Warning: setpgid(6,6) failed in parent with errno=Permission denied(13)\n"
    )
    noise += noise.replace(b"plm:ssh", b"plm:rsh")  # Open MPI 4
    assert complaints.feed(noise + b"plm:ssh: a program's own line\n") == b"plm:ssh: a program's own line\n"


def test_a_program_of_another_mpi_is_told_and_taken_out() -> None:
    complaints = Complaints()
    assert complaints.feed(b"before\nhort-stranger\nafter\n") == b"before\nafter\n"
    assert complaints.stranger

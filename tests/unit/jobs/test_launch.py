from __future__ import annotations

import pytest

from hortator.jobs.launch import divide, read_hostfile, told


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.j.ns.svc slots=2\nb.j.ns.svc slots=2\n", [("a.j.ns.svc", 2), ("b.j.ns.svc", 2)]),
        ("a:3\nb:4\n", [("a", 3), ("b", 4)]),
        ("# none\n\na # comment\n  b   slots=1  max_slots=4\n", [("a", 1), ("b", 1)]),
        ("", []),
    ],
)
def test_both_forms_of_hostfile_are_read(text: str, hosts: list[tuple[str, int]]) -> None:
    assert read_hostfile(text) == hosts


@pytest.mark.parametrize(
    ("ranks", "hosts", "counts"),
    [(4, 2, [2, 2]), (5, 2, [2, 3]), (5, 3, [1, 2, 2]), (1, 1, [1]), (2, 3, [0, 1, 1])],
)
def test_ranks_are_divided_evenly(ranks: int, hosts: int, counts: list[int]) -> None:
    names = [f"w{index}" for index in range(hosts)]
    assert divide(ranks, names) == list(zip(names, counts, strict=True))


@pytest.mark.parametrize(
    ("rank", "code", "words"),
    [
        (0, 3, "rank 0 on a exited with code 3"),
        (3, 137, "rank 3 on b was killed by SIGKILL (exit code 137)"),
        (2, 255, "rank 2 on b exited with code 255"),
        (9, 1, "rank 9 exited with code 1"),
    ],
)
def test_the_failed_rank_is_named_with_its_worker(rank: int, code: int, words: str) -> None:
    assert told(rank, code, [("a.job.ns.svc", 2), ("b.job.ns.svc", 2)]) == words

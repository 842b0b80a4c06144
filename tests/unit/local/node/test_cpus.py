from __future__ import annotations

from pathlib import Path

import pytest

from hortator.local.node.cpus import CpuPool, format_cpus, neighbours


@pytest.mark.parametrize(
    ("cpus", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 8], "0-2,8"), ([5, 4, 1], "1,4-5")]
)
def test_cpus_are_written_as_the_kernel_does(cpus: list[int], text: str) -> None:
    assert format_cpus(cpus) == text


def test_pods_own_disjoint_cpus_while_there_are_enough() -> None:
    pool = CpuPool([[0, 1, 2, 3]])
    first, second = pool.take("a", 2), pool.take("b", 2)
    assert first | second == {0, 1, 2, 3}
    assert pool.take("c", 1) == frozenset()
    pool.release("a")
    assert pool.take("c", 1) < first


def test_asking_again_gives_the_same() -> None:
    pool = CpuPool([[0, 1]])
    assert pool.take("a", 1) == pool.take("a", 1)


def test_a_pod_stays_in_the_group_where_it_fits_most_tightly() -> None:
    pool = CpuPool([[0, 1, 2, 3], [4, 5]])
    assert pool.take("a", 2) == {4, 5}
    assert pool.take("b", 3) == {0, 1, 2}


def test_groups_are_mixed_only_when_none_has_room() -> None:
    pool = CpuPool([[0, 1], [2, 3]])
    assert pool.take("a", 3) == {0, 1, 2}


def test_neighbours_follow_numa_nodes_and_keep_siblings_together(tmp_path: Path) -> None:
    for node, text in (("node0", "0-1,4-5\n"), ("node1", "2-3,6-7\n")):
        (tmp_path / "node" / node).mkdir(parents=True)
        (tmp_path / "node" / node / "cpulist").write_text(text)
    for cpu in range(8):
        folder = tmp_path / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    assert neighbours(range(8), tmp_path) == ((0, 4, 1, 5), (2, 6, 3, 7))
    assert neighbours([0, 1, 2], tmp_path) == ((0, 1), (2,))

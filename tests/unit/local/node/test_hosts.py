from __future__ import annotations

from pathlib import Path

from hortator.local.node.addresses import AddressPool
from hortator.local.node.hosts import HostEntry, ServiceEntry, hosts_text, write_in_place

MACHINE = "127.0.0.1 localhost\n"
PODS = [
    HostEntry("ns", "w-0", "127.64.0.1", "w-0", "workers"),
    HostEntry("other", "w-0", "127.64.0.2", "w-0", "workers"),
    HostEntry("ns", "plain", "127.64.0.3", "plain"),
]


def lookup(text: str) -> dict[str, list[str]]:
    """Return name -> addresses, as the resolver reads the file."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split("#")[0].split()
        for name in words[1:]:
            found.setdefault(name, []).append(words[0])
    return found


def test_a_namespace_sees_its_own_short_names_and_others_by_longer_ones() -> None:
    names = lookup(hosts_text(MACHINE, "ns", PODS, []))
    assert names["w-0"] == names["w-0.workers"] == names["w-0.workers.ns.svc.cluster.local"] == ["127.64.0.1"]
    assert names["w-0.workers.other"] == names["w-0.workers.other.svc"] == ["127.64.0.2"]
    assert names["plain"] == ["127.64.0.3"]
    assert names["localhost"] == ["127.0.0.1"]


def test_a_service_is_all_of_its_pods() -> None:
    names = lookup(hosts_text(MACHINE, "ns", PODS, [ServiceEntry("ns", "s", ("127.64.0.1", "127.64.0.3"))]))
    assert names["s"] == names["s.ns.svc"] == ["127.64.0.1", "127.64.0.3"]


def test_a_pod_keeps_its_name_before_a_service_of_the_same() -> None:
    names = lookup(hosts_text(MACHINE, "ns", PODS, [ServiceEntry("ns", "plain", ("127.64.0.1",))]))
    assert names["plain"] == ["127.64.0.3"]


def test_aliases_of_a_pod_come_before_everything_else() -> None:
    aliases = [{"ip": "10.1.2.3", "hostnames": ["db", "plain"]}, {"ip": "10.1.2.4", "hostnames": ["other"]}]
    names = lookup(hosts_text(MACHINE, "ns", PODS, [], aliases))
    assert (names["db"], names["plain"], names["other"]) == (["10.1.2.3"], ["10.1.2.3"], ["10.1.2.4"])
    assert names["w-0"] == ["127.64.0.1"]


def test_the_file_is_changed_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_in_place(path, "longer text\n")
    inode = path.stat().st_ino
    write_in_place(path, "short\n")
    assert (path.read_text(), path.stat().st_ino) == ("short\n", inode)


def test_addresses_are_in_the_loopback_network_each_its_own() -> None:
    pool = AddressPool()
    taken = [pool.take(str(number)) for number in range(1000)]
    assert len(set(taken)) == 1000
    assert all(each.startswith("127.") and each.rsplit(".", 1)[1] not in ("0", "255") for each in taken)
    assert pool.take("5") == taken[5]


def test_an_address_is_not_reused_at_once_but_can_be_asked_for() -> None:
    pool = AddressPool()
    first = pool.take("a")
    pool.release("a")
    assert pool.take("b") != first
    assert pool.take("c", wanted=first) == first
    assert pool.take("d", wanted=first) != first

from hortator.local.scheduler.pods import pod_info
from support.placement import cluster, info, node, pod


def test_sums_follow_pods_that_come_and_go() -> None:
    there = cluster(node("a"))
    one, two = pod(cpu="1", memory="1Gi", on="a", owner="j"), pod(cpu="500m", on="a", owner="j")
    there.place(pod_info(one))
    there.place(pod_info(two))
    assert there.nodes["a"].requested == {"cpu": 1500, "memory": 2**30}
    assert there.nodes["a"].owners == {"j": 2}
    there.remove(one["metadata"]["uid"])
    there.remove(two["metadata"]["uid"])
    assert there.nodes["a"].requested == {"cpu": 0, "memory": 0}
    assert there.nodes["a"].owners == {}


def test_a_pod_is_counted_once() -> None:
    there = cluster(node("a"))
    one = info("x", cpu="1")
    there.assume(one, "a")
    assert there.is_assumed(one.uid)
    there.place(info("x", cpu="1", on="a"))
    assert not there.is_assumed(one.uid)
    assert there.nodes["a"].requested["cpu"] == 1000


def test_pods_may_be_known_before_their_node() -> None:
    there = cluster(pod("x", cpu="1", on="a"))
    there.set_node(node("a"))
    assert there.nodes["a"].requested["cpu"] == 1000
    there.drop_node("a")
    there.set_node(node("a"))
    assert there.nodes["a"].requested["cpu"] == 1000


def test_a_heartbeat_is_no_change() -> None:
    there = cluster(node("a"))
    assert not there.set_node(node("a"))
    assert there.set_node(node("a", cpu="8"))


def test_a_trial_leaves_no_trace() -> None:
    there = cluster(node("a"), pod("x", cpu="1", on="a"))
    here = there.nodes["a"]
    with there.trial(here) as trial:
        trial.remove(next(iter(here.pods.values())))
        trial.add(info("y", cpu="3"))
        assert here.requested["cpu"] == 3000
    assert here.requested["cpu"] == 1000
    assert [one.name for one in here.pods.values()] == ["x"]

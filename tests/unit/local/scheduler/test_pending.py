from hortator.local.scheduler.pending import Pending
from support.placement import info


def names(pending: Pending) -> list[str]:
    found = []
    while (one := pending.take()) is not None:
        found.append(one.name)
    return found


def test_priority_goes_first_then_who_came_first() -> None:
    pending = Pending()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        pending.put(info(name, priority=priority))
    assert names(pending) == ["b", "d", "a", "c"]


def test_a_parked_pod_waits_for_a_change_and_its_backoff() -> None:
    pending = Pending()
    one = info("a")
    pending.put(one)
    pending.take()
    pending.park(one.uid, now=10.0)
    pending.release(10.2)
    assert pending.take() is None
    pending.stir()
    pending.release(10.05)
    assert pending.take() is None
    assert pending.release(10.15) is None
    assert pending.take() is one


def test_the_backoff_doubles_up_to_a_limit() -> None:
    pending = Pending()
    one = info("a")
    pending.put(one)
    waits = []
    for _ in range(9):
        pending.take()
        pending.park(one.uid, now=0.0, stirred=True)
        waits.append(pending.release(0.0))
        pending.release(100.0)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_even_without_a_change_it_is_tried_again_some_day() -> None:
    pending = Pending()
    one = info("a")
    pending.put(one)
    pending.take()
    pending.park(one.uid, now=0.0)
    assert pending.release(0.0) == 300.0
    pending.release(300.0)
    assert pending.take() is one


def test_a_changed_pod_is_tried_at_once() -> None:
    pending = Pending()
    pending.put(info("a"))
    pending.take()
    pending.park("uid-default-a", now=0.0)
    changed = info("a", nodeSelector={"x": "y"})
    pending.put(changed)
    assert pending.take() is changed


def test_a_dropped_pod_is_not_handed_out() -> None:
    pending = Pending()
    pending.put(info("a"))
    pending.put(info("b"))
    pending.drop("uid-default-a")
    assert names(pending) == ["b"]
    assert len(pending) == 1


def test_a_change_lets_the_more_important_go_first() -> None:
    pending = Pending()
    high, low = info("high", priority=9), info("low")
    pending.put(high)
    pending.take()
    pending.park(high.uid, now=0.0)
    pending.put(low)
    pending.stir()
    assert pending.following(5.0) == (high, None)
    assert pending.following(5.0) == (low, None)
    assert pending.following(5.0) == (None, None)


def test_the_time_until_the_next_pod_is_told() -> None:
    pending = Pending()
    pending.put(info("a"))
    pending.take()
    pending.park("uid-default-a", now=0.0, stirred=True)
    assert pending.following(0.0) == (None, 0.1)


def test_a_backoff_lets_nobody_overtake() -> None:
    pending = Pending()
    old, young = info("old"), info("young")
    pending.put(old)
    for _ in range(5):
        pending.take()
        pending.park(old.uid, now=0.0, stirred=True)
        pending.release(100.0)
    pending.take()
    pending.park(old.uid, now=0.0)
    pending.put(young)
    pending.take()
    pending.park(young.uid, now=0.0)
    pending.stir()
    # The young one's time has come, the old one's has not.
    assert names_following(pending, 0.2) == ["old", "young"]


def test_a_newcomer_does_not_overtake_either() -> None:
    pending = Pending()
    pending.put(info("old"))
    pending.take()
    pending.park("uid-default-old", now=0.0)
    pending.stir()
    pending.put(info("new"))
    assert names_following(pending, 0.0) == ["old", "new"]


def test_what_changed_for_nobody_is_not_tried_again() -> None:
    pending = Pending()
    pending.put(info("old"))
    pending.take()
    pending.park("uid-default-old", now=0.0)
    pending.put(info("new"))
    assert names_following(pending, 0.0) == ["new"]


def names_following(pending: Pending, now: float) -> list[str]:
    found = []
    while (one := pending.following(now)[0]) is not None:
        found.append(one.name)
        pending.park(one.uid, now)
    return found

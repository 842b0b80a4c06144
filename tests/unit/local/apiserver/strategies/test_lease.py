from support.strategies import cells, named, refused

LEASES = "leases.coordination.k8s.io"


def test_a_lease_lasts() -> None:
    assert refused(LEASES, named("l", spec={"leaseDurationSeconds": 0, "leaseTransitions": -1})) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ]


def test_the_holder_is_shown() -> None:
    assert cells(LEASES, named("l", spec={"holderIdentity": "me"}))["Holder"] == "me"

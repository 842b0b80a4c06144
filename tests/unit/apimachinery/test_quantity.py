from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hortator.apimachinery.quantity import Format, InvalidQuantity, Quantity, parse


@pytest.mark.parametrize(
    ("text", "canonical", "whole", "milli"),
    [
        ("0", "0", 0, 0),
        ("500m", "500m", 1, 500),
        ("1.5Gi", "1536Mi", 1610612736, 1610612736000),
        ("1024Mi", "1Gi", 1 << 30, 1000 << 30),
        ("0.5", "500m", 1, 500),
        ("1000m", "1", 1, 1000),
        ("5e3", "5e3", 5000, 5000000),
        ("12E3", "12e3", 12000, 12000000),
        ("1E", "1E", 10**18, 10**21),
        ("0.1n", "1n", 1, 1),
        ("0.5Ki", "512", 512, 512000),
        ("1.1Ki", "1126400m", 1127, 1126400),
        ("-1.5", "-1500m", -2, -1500),
        (".5", "500m", 1, 500),
        ("+5", "5", 5, 5000),
        (2, "2", 2, 2000),
        (0.5, "500m", 1, 500),
        (1e-7, "100e-9", 1, 1),
        ("16Ei", "9223372036854775807", 2**63 - 1, (2**63 - 1) * 1000),
    ],
)
def test_parse(text, canonical, whole, milli):
    quantity = parse(text)
    assert (str(quantity), int(quantity), quantity.milli()) == (canonical, whole, milli)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.1.M",
        "1+1.0M",
        "0.1mi",
        "aoeu",
        ".5i",
        "1i",
        "-3.01i",
        "-3.01e-",
        "1e",
        "Mi",
        ".",
        "1e999999999",
        True,
    ],
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(InvalidQuantity):
        parse(text)


def test_equality_and_order_look_at_the_amount():
    assert parse("1Gi") == parse("1024Mi") == parse("1073741824")
    assert parse("999m") < parse("1") <= parse("1000m") < parse("1Ki")
    assert hash(parse("1Ki")) == hash(parse("1024"))


def test_sums_keep_the_family_of_the_left_side_unless_it_is_zero():
    assert str(parse("1Gi") + parse("1Gi")) == "2Gi"
    assert str(parse("1") + parse("1Gi")) == "1073741825"
    assert str(Quantity() + parse("1Gi")) == "1Gi"
    assert str(parse("1") - parse("250m")) == "750m"
    assert str(parse("250m") * 4) == "1"


@given(st.integers(-(10**20), 10**20), st.sampled_from(Format))
def test_canonical_text_means_the_same_amount(nano, shape):
    quantity = Quantity(nano, shape)
    if shape is Format.BINARY and abs(nano) >= 2**63 * 10**9:
        return
    assert parse(str(quantity)) == quantity
    assert quantity.value == Fraction(nano, 10**9)

import pytest

from hortator.apimachinery import fielderrors as fe
from hortator.apimachinery.fielderrors import Path


def test_paths_print_as_upstream_prints_them():
    assert str(Path("spec").child("a", "b").index(0).key("k").child("c")) == "spec.a.b[0][k].c"
    assert str(Path()) == "<nil>"
    assert str(Path().child("a")) == "a"
    assert str(Path().index(1)) == "[1]"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (fe.required("a"), "a: Required value"),
        (fe.required("a", "must be set"), "a: Required value: must be set"),
        (fe.invalid("a", "x\n", "no"), 'a: Invalid value: "x\\n": no'),
        (fe.invalid("a", 1.5, "no"), "a: Invalid value: 1.5: no"),
        (fe.invalid("a", 1e6, "no"), "a: Invalid value: 1e+06: no"),
        (fe.invalid("a", True, "no"), "a: Invalid value: true: no"),
        (fe.invalid("a", None, "no"), "a: Invalid value: null: no"),
        (fe.invalid("a", {"b": "<"}, "no"), 'a: Invalid value: {"b":"\\u003c"}: no'),
        (fe.type_invalid("a", "b", "no"), 'a: Invalid value: "b": no'),
        (fe.not_supported("a", "c", ["b", "a"]), 'a: Unsupported value: "c": supported values: "b", "a"'),
        (fe.forbidden("a", "no"), "a: Forbidden: no"),
        (fe.duplicate("a", "b"), 'a: Duplicate value: "b"'),
        (fe.not_found("a", "b"), 'a: Not found: "b"'),
        (fe.unknown("a"), "a: Invalid value: unknown field"),
        (fe.too_long("a", 1), "a: Too long: may not be more than 1 byte"),
        (fe.too_long("a", 2, "character"), "a: Too long: may not be more than 2 characters"),
        (fe.too_short("a", "", 1), "a: Too short: must be at least 1 character"),
        (fe.too_many("a", 3, 2), "a: Too many: 3: must have at most 2 items"),
        (fe.too_few("a", 0, 1), "a: Too few: 0: must have at least 1 item"),
        (fe.immutable("a", 1), "a: Invalid value: 1: field is immutable"),
        (fe.internal("a", "oops"), "a: Internal error: oops"),
    ],
)
def test_messages(error, text):
    assert str(error) == text


def test_causes_carry_reason_message_and_field():
    assert fe.not_supported(Path("spec").child("a"), "c", ["b"]).to_cause() == {
        "reason": "FieldValueNotSupported",
        "message": 'Unsupported value: "c": supported values: "b"',
        "field": "spec.a",
    }


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('"\\', '"\\"\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x7f", '"\\x00\\x7f"'),
        ("é\U0001f600", '"é\U0001f600"'),
        ("\u200b", '"\\u200b"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_quoting_is_go_s(text, quoted):
    assert fe.go_quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (100000.0, "100000"),
        (1234567.0, "1.234567e+06"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (-2.5, "-2.5"),
        (1e300, "1e+300"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_floats_are_written_as_go_writes_them(value, text):
    assert fe.go_float(value) == text


def test_several_errors_are_listed_once_each():
    one, two = fe.required("a"), fe.required("b")
    assert fe.aggregate([one]) == "a: Required value"
    assert fe.aggregate([one, two, one]) == "[a: Required value, b: Required value]"

import pytest

from hortator.apimachinery.selectors import FieldSelector, InvalidSelector, LabelSelector

LABELS = {"app": "web", "tier": "front", "size": "10", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=api", False),
        ("app!=api", True),
        ("missing!=x", True),
        ("missing=", False),
        ("empty=", True),
        ("empty", True),
        ("!empty", False),
        ("!missing", True),
        ("app in (api, web)", True),
        ("app notin (api, web)", False),
        ("missing notin (x)", True),
        ("missing in ()", False),
        ("empty in ()", True),
        ("size>9", True),
        ("size<9", False),
        ("app>1", False),
        ("app=web,tier=back", False),
        (" app = web , tier in (front) ", True),
        ("in in (in)", False),
        ("app in (web,)", True),
    ],
)
def test_label_selectors(text, matches):
    assert LabelSelector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["a=b", "a==b", "a!=b", "a in (b,c)", "a notin (b)", "!a", "a", "a>3", "a<3", "a=b,c=d"]
)
def test_label_selectors_print_as_they_are_read(text):
    assert str(LabelSelector.parse(text)) == text


def test_requirements_are_sorted_by_key():
    assert str(LabelSelector.parse("c,b=2,a in (z,y)")) == "a in (y,z),b=2,c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x=a||y=b",
            'unable to parse requirement: values[0][x]: Invalid value: "a||y": a valid label must be an',
        ),
        ("x,,y", "found ',', expected: identifier after ','"),
        (",x", "found ',', expected: !, identifier, or 'end of string'"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("x in a", "unable to parse requirement: found 'a' expected: '('"),
        ("x in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("x>a", "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators,"),
        ("a b c", "unable to parse requirement: found 'b'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("-x=a", 'unable to parse requirement: <nil>: Invalid value: "-x": name part must consist of'),
        ("x=a=b", "found '=', expected: ',' or 'end of string'"),
    ],
)
def test_bad_label_selectors(text, message):
    with pytest.raises(InvalidSelector) as error:
        LabelSelector.parse(text)
    assert str(error.value).startswith(message)


def test_selector_objects():
    selector = LabelSelector.from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "missing", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches(LABELS)
    assert str(selector) == "app=web,!missing,tier in (back,front)"


def test_an_absent_selector_matches_nothing_and_an_empty_one_everything():
    assert not LabelSelector.from_object(None).matches(LABELS)
    assert LabelSelector.from_object({}).matches(LABELS)
    assert LabelSelector.from_object({}).matches(None)


def test_an_unknown_operator_is_refused():
    with pytest.raises(InvalidSelector, match='"Near" is not a valid label selector operator'):
        LabelSelector.from_object({"matchExpressions": [{"key": "a", "operator": "Near"}]})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=a", True),
        ("metadata.name==a", True),
        ("metadata.name!=a", False),
        ("spec.nodeName=", True),
        ("metadata.name=a,status.phase!=Running", False),
        ("note=x\\,y\\=z\\\\", True),
    ],
)
def test_field_selectors(text, matches):
    fields = {"metadata.name": "a", "status.phase": "Running", "note": "x,y=z\\"}
    selector = FieldSelector.parse(text)
    assert selector.matches(fields) is matches
    assert FieldSelector.parse(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=b\\c", "invalid field selector: invalid escape sequence: \\c"),
    ],
)
def test_bad_field_selectors(text, message):
    with pytest.raises(InvalidSelector) as error:
        FieldSelector.parse(text)
    assert str(error.value) == message


def test_exact_value_of_a_field():
    selector = FieldSelector.parse("metadata.name=a,spec.x!=b")
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("spec.x") is None

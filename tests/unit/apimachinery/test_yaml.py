import pytest

from hortator.apimachinery.yaml import YamlError, dump, load_all


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000),
        ("1.5", 1.5),
        ("1.0", 1),
        ("012", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("-7", -7),
        ("1:30", "1:30"),
        ("08", 8),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("!!str 1", "1"),
        ("!!float 1", 1),
        ("1.2.3", "1.2.3"),
        ("18446744073709551615", 18446744073709551615),
        ("1e400", "1e400"),
    ],
)
def test_scalars_are_what_kubectl_reads(text, value):
    assert list(load_all(f"a: {text}")) == [{"a": value}]


def test_keys_become_text():
    assert list(load_all("1: a\ntrue: b\n1.5: c\n")) == [{"1": "a", "true": "b", "1.5": "c"}]


def test_documents_are_separate_and_empty_ones_left_out():
    assert list(load_all("a: 1\n---\n# nothing\n---\n[]\n")) == [{"a": 1}, []]


def test_merge_keys_do_not_override():
    text = "base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  x: 3\n"
    assert next(iter(load_all(text)))["use"] == {"x": 3, "z": 2}


def test_json_is_read_as_json():
    assert list(load_all('{"a": "\\ud83d\\ude00"}\n{"b": 1}')) == [{"a": "\U0001f600"}, {"b": 1}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 'f.yaml:4: key "c" already set in map'),
        ('{"a": 1, "a": 2}', 'f.yaml:1: key "a" already set in map'),
        ("a:\n  - *x\n", "f.yaml:2: unknown anchor 'x', or one that contains itself"),
        ("a: &x [*x]", "f.yaml:1: unknown anchor 'x', or one that contains itself"),
        ("a: .inf", "f.yaml:1: .inf is not a value that JSON has"),
        ("a: b: c", "f.yaml:1: mapping values are not allowed in this context"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: the text is not UTF-8"),
        ("[a]: 1", "f.yaml:1: a key must be text, a number or a boolean"),
        ("{[a]: 1}", "f.yaml:1: a key must be text, a number or a boolean"),
        ("a: !!python/object:os.system x", "f.yaml:1: unknown tag tag:yaml.org,2002:python/object:os.system"),
        ("[" * 100_000, "f.yaml:1: nested more than 128 levels deep"),
        ('{"a":' * 100_000, "f.yaml:1: nested more than 128 levels deep"),
    ],
)
def test_errors_name_source_and_line(text, message):
    with pytest.raises(YamlError) as error:
        list(load_all(text, "f.yaml"))
    assert str(error.value) == message


def test_aliases_cannot_explode():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 10)]
    with pytest.raises(YamlError, match="aliases stand for more than 100000 values"):
        list(load_all("\n".join(levels)))


TRICKY = [
    "1e3",
    "yes",
    "012",
    "0o17",
    "1:30",
    "null",
    "~",
    "",
    "y",
    "1_000",
    "08",
    "a: b",
    "# x",
    "2020-01-01",
    ".5",
]


@pytest.mark.parametrize(
    "text", [*TRICKY, "x\ny\n", "x \ny", "\tx\ny", "é", "\U0001f600", "\x07", "<<", "=", "-"]
)
def test_text_survives_writing_and_reading(text):
    assert list(load_all(dump({"a": text, text or "k": [text]}))) == [{"a": text, text or "k": [text]}]


@pytest.mark.parametrize("text", TRICKY[:9])
def test_text_that_looks_like_something_else_is_quoted(text):
    assert dump({"a": text}) == f"a: '{text}'\n"


def test_text_of_several_lines_is_a_block():
    assert dump({"run": "a\nb\n"}) == "run: |\n  a\n  b\n"


def test_shared_values_are_written_twice():
    shared = {"x": 1}
    assert dump({"a": shared, "b": shared}) == "a:\n  x: 1\nb:\n  x: 1\n"

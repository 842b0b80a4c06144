import pytest

from hortator.apimachinery import names
from hortator.apimachinery.fielderrors import Path


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (names.dns1123_label, "a-1"),
        (names.dns1123_label, "0"),
        (names.dns1123_label, "a" * 63),
        (names.dns1123_subdomain, "a.b-c.1"),
        (names.dns1123_subdomain, "a" * 253),
        (names.dns1035_label, "a-1"),
        (names.wildcard_subdomain, "*.example.com"),
        (names.qualified_name, "Name_1.x"),
        (names.qualified_name, "example.com/Name"),
        (names.label_value, ""),
        (names.label_value, "A_b-c.1"),
        (names.c_identifier, "_x1"),
        (names.env_var_name, "my.var-1"),
        (names.env_var_name, "1 odd:name"),
        (names.config_map_key, ".hidden"),
        (names.http_header_name, "X-A"),
        (names.percent, "25%"),
        (names.port_name, "http-2"),
        (names.port_number, 65535),
        (names.path_segment, "system:a"),
    ],
)
def test_good_names(check, text):
    assert check(text) == []


LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("check", "text", "expected"),
    [
        (names.dns1123_label, "A", [LABEL]),
        (names.dns1123_label, "a\n", [LABEL]),
        (names.dns1123_label, "a.b", ["must not contain dots"]),
        (names.dns1123_label, "a" * 64, ["must be no more than 63 characters"]),
        (names.label_value, "a" * 64, ["must be no more than 63 bytes"]),
        (names.qualified_name, "/a", ["prefix part must be non-empty"]),
        (names.config_map_key, "..a", ["must not start with '..'"]),
        (names.config_map_key, "..", ["must not be '..'"]),
        (names.env_var_name, "", ["environment variable name must be non-empty"]),
        (
            names.env_var_name,
            "a=b",
            [
                "a valid environment variable name must consist only of printable ASCII characters other than '='"
            ],
        ),
        (
            names.port_name,
            "-1-",
            ["must contain at least one letter (a-z)", "must not begin or end with a hyphen"],
        ),
        (names.port_name, "a--b", ["must not contain consecutive hyphens"]),
        (names.port_number, 0, ["must be between 1 and 65535, inclusive"]),
        (names.path_segment, "..", ["may not be '..'"]),
        (names.path_segment, "a/b%", ["may not contain '/'", "may not contain '%'"]),
    ],
)
def test_bad_names(check, text, expected):
    assert check(text) == expected


@pytest.mark.parametrize(
    ("check", "text", "count"),
    [
        (names.dns1123_subdomain, "a..b", 1),
        (names.dns1123_subdomain, "a_b", 1),
        (names.dns1123_subdomain, "A" * 254, 2),
        (names.dns1035_label, "1a", 1),
        (names.wildcard_subdomain, "*.*.a", 1),
        (names.qualified_name, "a/b/c", 1),
        (names.qualified_name, "", 2),
        (names.qualified_name, "A/b", 1),
        (names.label_value, "-a", 1),
        (names.c_identifier, "1a", 1),
        (names.http_header_name, "a b", 1),
        (names.percent, "%", 1),
        (names.percent, "1", 1),
    ],
)
def test_bad_names_have_as_many_messages_as_broken_rules(check, text, count):
    assert len(check(text)) == count


def test_labels_are_checked_by_key_and_value():
    errors = names.validate_labels({"a b": "x", "ok": "-"}, Path("metadata").child("labels"))
    assert [(str(error.path), error.value) for error in errors] == [
        ("metadata.labels", "a b"),
        ("metadata.labels", "-"),
    ]


def test_annotations_are_limited_together():
    path = Path("metadata").child("annotations")
    assert names.validate_annotations({"Example.com/UPPER": "x" * 1000}, path) == []
    errors = names.validate_annotations({"a": "x" * (256 * 1024)}, path)
    assert [str(error) for error in errors] == [
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    ]

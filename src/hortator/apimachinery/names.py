"""The grammars of names, labels, keys and ports, with upstream's messages.

Each check returns a list of messages, empty when the text is good. Rules and words are those of
``k8s.io/apimachinery/pkg/util/validation`` (v0.36); lengths are counted in bytes of UTF-8, as there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hortator.apimachinery.fielderrors import FieldError, Path, invalid, too_long

__all__ = [
    "c_identifier",
    "config_map_key",
    "dns1035_label",
    "dns1123_label",
    "dns1123_subdomain",
    "env_var_name",
    "http_header_name",
    "in_range",
    "label_value",
    "path_segment",
    "percent",
    "port_name",
    "port_number",
    "qualified_name",
    "validate_annotations",
    "validate_labels",
    "wildcard_subdomain",
]

LABEL_MAXIMUM = 63
SUBDOMAIN_MAXIMUM = 253
#: All keys and values of an object's annotations together, in bytes.
ANNOTATIONS_MAXIMUM = 256 * 1024


def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)


_LABEL_1123 = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL_1123 + r"(\." + _LABEL_1123 + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_WILDCARD = r"\*\." + _SUBDOMAIN
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

_RE_LABEL_1123 = _pattern(_LABEL_1123)
_RE_SUBDOMAIN = _pattern(_SUBDOMAIN)
_RE_LABEL_1035 = _pattern(_LABEL_1035)
_RE_KEY = _pattern(_KEY)
_RE_VALUE = _pattern(_VALUE)

_LABEL_1123_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_KEY_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
    "which must consist of lower case alphanumeric characters, '-' or '.' "
    "and end with an alphanumeric character"
)


def _regex(text: str, expression: str, *examples: str) -> str:
    if not examples:
        return f"{text} (regex used for validation is '{expression}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{expression}')"


def _length(text: str, maximum: int, unit: str = "characters") -> list[str]:
    if len(text) <= maximum and (text.isascii() or len(text.encode()) <= maximum):
        return []
    return [f"must be no more than {maximum} {unit}"]


def dns1123_label(text: str) -> list[str]:
    """Check a DNS label (RFC 1123): lower case, digits, hyphens, at most 63."""
    errors = _length(text, LABEL_MAXIMUM)
    if not _RE_LABEL_1123.fullmatch(text):
        if _RE_SUBDOMAIN.fullmatch(text):
            errors.append("must not contain dots")
        else:
            errors.append(_regex(_LABEL_1123_TEXT, _LABEL_1123, "my-name", "123-abc"))
    return errors


def dns1123_subdomain(text: str) -> list[str]:
    """Check a DNS subdomain (RFC 1123), which most object names are: labels joined by dots, at most 253."""
    errors = _length(text, SUBDOMAIN_MAXIMUM)
    if not _RE_SUBDOMAIN.fullmatch(text):
        errors.append(_regex(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return errors


def dns1035_label(text: str) -> list[str]:
    """Check a DNS label (RFC 1035), as names of Services are: it starts with a letter."""
    errors = _length(text, LABEL_MAXIMUM)
    if not _RE_LABEL_1035.fullmatch(text):
        errors.append(_regex(_LABEL_1035_TEXT, _LABEL_1035, "my-name", "abc-123"))
    return errors


def wildcard_subdomain(text: str) -> list[str]:
    """Check ``*.`` followed by a DNS subdomain."""
    errors = _length(text, SUBDOMAIN_MAXIMUM)
    if not re.fullmatch(_WILDCARD, text):
        errors.append(_regex(_WILDCARD_TEXT, _WILDCARD, "*.example.com"))
    return errors


def qualified_name(text: str) -> list[str]:
    """Check a key of labels and annotations: an optional subdomain and '/', then a name of at most 63."""
    parts = text.split("/")
    errors: list[str] = []
    if len(parts) > 2:
        rule = _regex(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {rule} {hint}"]
    if len(parts) == 2:
        prefix = parts[0]
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            if len(prefix.encode()) > SUBDOMAIN_MAXIMUM:
                errors.append(f"prefix part must be no more than {SUBDOMAIN_MAXIMUM} bytes")
            if not _RE_SUBDOMAIN.fullmatch(prefix):
                errors.append("prefix part " + _regex(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    name = parts[-1]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name.encode()) > LABEL_MAXIMUM:
        errors.append(f"name part must be no more than {LABEL_MAXIMUM} bytes")
    if not _RE_KEY.fullmatch(name):
        errors.append("name part " + _regex(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc"))
    return errors


def label_value(text: str) -> list[str]:
    """Check the value of a label: empty, or at most 63 of letters, digits, '-', '_' and '.'."""
    errors = _length(text, LABEL_MAXIMUM, "bytes")
    if not _RE_VALUE.fullmatch(text):
        errors.append(_regex(_VALUE_TEXT, _VALUE, "MyValue", "my_value", "12345"))
    return errors


def c_identifier(text: str) -> list[str]:
    """Check an identifier of C."""
    if re.fullmatch(_IDENTIFIER, text):
        return []
    words = (
        "a valid C identifier must start with alphabetic character or '_', "
        "followed by a string of alphanumeric characters or '_'"
    )
    return [_regex(words, _IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def env_var_name(text: str) -> list[str]:
    """Check the name of an environment variable: printable ASCII but '='.

    This is the rule since Kubernetes 1.34 (RelaxedEnvironmentVariableValidation).
    """
    if not text:
        return ["environment variable name must be non-empty"]
    if not text.isascii() or not text.isprintable() or "=" in text:
        return [
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        ]
    return []


def config_map_key(text: str) -> list[str]:
    """Check a key of a ConfigMap or Secret, which becomes a file's name."""
    errors = _length(text, SUBDOMAIN_MAXIMUM)
    if not re.fullmatch(_CONFIG_KEY, text):
        words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(_regex(words, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if text in (".", ".."):
        errors.append(f"must not be '{text}'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def http_header_name(text: str) -> list[str]:
    """Check the name of an HTTP header."""
    if re.fullmatch(_HEADER, text):
        return []
    return [
        _regex("a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name")
    ]


def percent(text: str) -> list[str]:
    """Check a percentage such as ``25%``."""
    if re.fullmatch(_PERCENT, text, re.ASCII):
        return []
    words = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_regex(words, _PERCENT, "1%", "93%")]


def port_name(text: str) -> list[str]:
    """Check the name of a container's port (IANA service name): at most 15."""
    errors = _length(text, 15)
    if not re.fullmatch("[-a-z0-9]+", text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def in_range(number: int, low: int, high: int) -> list[str]:
    """Check that a number lies in a range, both ends included."""
    return [] if low <= number <= high else [f"must be between {low} and {high}, inclusive"]


def port_number(number: int) -> list[str]:
    """Check a port that is not 0."""
    return in_range(number, 1, 65535)


def path_segment(text: str) -> list[str]:
    """Check a name that is only required to fit into a URL's path (RBAC objects, for example)."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in text]


def validate_labels(labels: Mapping[str, str], path: Path) -> list[FieldError]:
    """Check every key and value of a map of labels."""
    errors = []
    for key, value in labels.items():
        errors += [invalid(path, key, message) for message in qualified_name(key)]
        errors += [invalid(path, value, message) for message in label_value(value)]
    return errors


def validate_annotations(annotations: Mapping[str, str], path: Path) -> list[FieldError]:
    """Check the keys of annotations (case does not matter) and their size together (256 KiB)."""
    errors = []
    for key in annotations:
        errors += [invalid(path, key, message) for message in qualified_name(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_MAXIMUM:
        errors.append(too_long(path, ANNOTATIONS_MAXIMUM))
    return errors

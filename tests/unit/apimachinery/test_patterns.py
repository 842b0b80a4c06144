import pytest

from hortator.apimachinery.patterns import InvalidPattern, compile_pattern


def test_patterns_are_go_s():
    assert compile_pattern(r"^\p{Lu}\w+$").search("Éa")
    assert not compile_pattern(r"^a$").search("a\n")


@pytest.mark.parametrize("text", ["(", "(?=a)", r"\1", "a{1001}", "(?P<a>"])
def test_what_re2_cannot_do_is_refused(text):
    with pytest.raises(InvalidPattern):
        compile_pattern(text)

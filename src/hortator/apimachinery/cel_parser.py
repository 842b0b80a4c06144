"""Reading CEL: from text to a tree. Meaning is left to :mod:`hortator.apimachinery.cel`.

The grammar is that of the CEL specification with optional syntax (``a.?b``, ``a[?i]``). Depth is limited, so that
neither reading nor evaluating a tree can exhaust the stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hortator.apimachinery.cel_values import CelError, UInt

__all__ = [
    "Call",
    "Expr",
    "Ident",
    "Index",
    "ListExpr",
    "Literal",
    "MapExpr",
    "Select",
    "parse",
    "syntax_error",
]

MAXIMUM_LENGTH = 64 * 1024
MAXIMUM_DEPTH = 100
#: Brackets inside each other; reading takes several stack frames for each.
MAXIMUM_LEVEL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Expr:
    """A part of an expression. ``at`` is its place in the text, ``size`` the number of parts in it."""

    at: int = 0
    size: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Literal(Expr):
    """A constant."""

    value: Any


@dataclass(frozen=True, slots=True)
class Ident(Expr):
    """A name."""

    name: str


@dataclass(frozen=True, slots=True)
class Select(Expr):
    """``operand.field``, or ``operand.?field``."""

    operand: Expr
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index(Expr):
    """``operand[key]``, or ``operand[?key]``."""

    operand: Expr
    key: Expr
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A function, an operator (its symbol as name), or with ``target`` a method or macro."""

    name: str
    args: tuple[Expr, ...]
    target: Expr | None = None


@dataclass(frozen=True, slots=True)
class ListExpr(Expr):
    """``[a, ?b]``: items, and which of them are optional."""

    items: tuple[Expr, ...]
    optional: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class MapExpr(Expr):
    """``{k: v, ?k: v}``."""

    entries: tuple[tuple[Expr, Expr], ...]
    optional: frozenset[int] = field(default_factory=frozenset)


def syntax_error(text: str, at: int, message: str) -> CelError:
    """Return an error that shows the place, in cel-go's layout."""
    before = text[:at]
    line = before.count("\n") + 1
    column = at - (before.rfind("\n") + 1)
    shown = before[at - column :] + text[at:].partition("\n")[0]
    place = f"ERROR: <input>:{line}:{column + 1}: {message}"
    # Of a very long line only the place is named.
    return CelError(f"{place}\n | {shown}\n | {'.' * column}^" if len(shown) <= 500 else place)


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f]+|//[^\n]*)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"{3}|'{3}|"|'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?|[0-9]+[uU]?)
    |(?P<name>[_a-zA-Z][_a-zA-Z0-9]*|`[-_a-zA-Z0-9./ ]+`)
    |(?P<symbol>\|\||&&|==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE | re.ASCII,
)
_RESERVED = frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "`": "`",
    "?": "?",
}
_ESCAPE = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"`?])|[xX](?P<hex>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2})|(?P<bad>.?))",
    re.DOTALL,
)


def _unescape(text: str, *, binary: bool) -> str | bytes:
    """Replace escapes; in bytes literals ``\\x`` and octals are bytes, in strings code points."""
    out = bytearray()

    def replace(match: re.Match[str]) -> str:
        if match["simple"]:
            return _SIMPLE[match["simple"]]
        if match["bad"] is not None:
            raise ValueError(f"invalid escape \\{match['bad']}")
        digits = match["hex"] or match["short"] or match["long"]
        code = int(digits, 16) if digits else int(match["octal"], 8)
        if binary and (match["short"] or match["long"]):
            raise ValueError("unicode escapes are not allowed in bytes")
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("invalid code point")
        return chr(code)

    if not binary:
        return _ESCAPE.sub(replace, text)
    position = 0
    for match in _ESCAPE.finditer(text):
        out += text[position : match.start()].encode()
        out.append(ord(replace(match)))
        position = match.end()
    return bytes(out + text[position:].encode())


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    value: Any = None


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise syntax_error(
                text, position, f"Syntax error: token recognition error at: '{text[position]}'"
            )
        kind = match.lastgroup or ""
        if kind == "string":
            token = _string(text, match)
            tokens.append(token)
            position = token.value[1]
            continue
        if kind != "space":
            tokens.append(_Token(kind, match.group(), position))
        position = match.end()
    tokens.append(_Token("end", "<EOF>", len(text)))
    return tokens


def _string(text: str, match: re.Match[str]) -> _Token:
    opening = match.group()
    prefix = opening.rstrip("\"'").lower()
    quote = opening[len(prefix) :]
    position = match.end()
    while not text.startswith(quote, position):
        if position >= len(text) or (len(quote) == 1 and text[position] == "\n"):
            raise syntax_error(text, match.start(), "Syntax error: unterminated string literal")
        position += 2 if text[position] == "\\" and "r" not in prefix else 1
    body = text[match.end() : position]
    binary = "b" in prefix
    if "r" in prefix:
        value: str | bytes = body.encode() if binary else body
    else:
        try:
            value = _unescape(body, binary=binary)
        except ValueError as error:
            raise syntax_error(text, match.start(), f"Syntax error: {error}") from error
    return _Token("string", body, match.start(), (value, position + len(quote)))


_STRENGTH = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}


class _Parser:
    def __init__(self, text: str):
        self.text = text
        self.tokens = _tokens(text)
        self.position = 0
        self.level = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def accept(self, symbol: str) -> bool:
        if self.token.kind == "symbol" and self.token.text == symbol:
            self.position += 1
            return True
        return False

    def expect(self, symbol: str) -> None:
        if not self.accept(symbol):
            raise self.error(f"Syntax error: mismatched input '{self.token.text}' expecting '{symbol}'")

    def error(self, message: str, at: int | None = None) -> CelError:
        return syntax_error(self.text, self.token.at if at is None else at, message)

    def sized(self, at: int, *parts: Expr) -> dict[str, Any]:
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > MAXIMUM_DEPTH:
            raise self.error(f"Syntax error: expression recursion limit exceeded: {MAXIMUM_DEPTH}", at)
        return {"at": at, "size": 1 + sum(part.size for part in parts), "depth": depth}

    def call(self, at: int, name: str, *args: Expr) -> Call:
        return Call(name, args, **self.sized(at, *args))

    def expression(self) -> Expr:
        self.level += 1
        if self.level > MAXIMUM_LEVEL:
            raise self.error(f"Syntax error: expression recursion limit exceeded: {MAXIMUM_LEVEL}")
        condition = self.binary(1)
        if self.token.text == "?" and self.token.kind == "symbol":
            at = self.take().at
            chosen = self.binary(1)
            self.expect(":")
            condition = self.call(at, "?:", condition, chosen, self.expression())
        self.level -= 1
        return condition

    def binary(self, lowest: int) -> Expr:
        """Read operators that bind at least as tightly as ``lowest``. Chains of ``||`` or ``&&`` are one call."""
        left = self.unary()
        while True:
            token = self.token
            strength = _STRENGTH.get(token.text) if token.kind in ("symbol", "name") else None
            if strength is None or strength < lowest:
                return left
            self.position += 1
            parts = [left, self.binary(strength + 1)]
            while token.text in ("||", "&&") and self.accept(token.text):
                parts.append(self.binary(strength + 1))
            left = self.call(token.at, token.text, *parts)

    def unary(self) -> Expr:
        operators = []
        while self.token.kind == "symbol" and self.token.text in ("!", "-"):
            operators.append(self.take())
        if operators and operators[-1].text == "-" and self.token.kind == "number":
            sign = operators.pop()
            operand = self.postfix(self.number(self.take(), negative=True, at=sign.at))
        else:
            operand = self.postfix(self.primary())
        for operator in reversed(operators):
            name = "!" if operator.text == "!" else "neg"
            operand = self.call(operator.at, name, operand)
        return operand

    def postfix(self, operand: Expr) -> Expr:
        while self.token.kind == "symbol":
            at = self.token.at
            if self.accept("."):
                optional = self.accept("?")
                if self.token.kind != "name":
                    raise self.error(f"Syntax error: no viable alternative at input '.{self.token.text}'")
                name = self.take().text.strip("`")
                if not optional and self.accept("("):
                    args = self.arguments()
                    operand = Call(name, args, operand, **self.sized(at, operand, *args))
                else:
                    operand = Select(operand, name, optional, **self.sized(at, operand))
            elif self.accept("["):
                optional = self.accept("?")
                key = self.expression()
                self.expect("]")
                operand = Index(operand, key, optional, **self.sized(at, operand, key))
            else:
                break
        return operand

    def arguments(self) -> tuple[Expr, ...]:
        args: list[Expr] = []
        if self.accept(")"):
            return ()
        while True:
            args.append(self.expression())
            if self.accept(")"):
                return tuple(args)
            self.expect(",")

    def primary(self) -> Expr:
        token = self.take()
        if token.kind == "number":
            return self.number(token, negative=False, at=token.at)
        if token.kind == "string":
            return Literal(token.value[0], at=token.at)
        if token.kind == "name" or (token.text == "." and self.token.kind == "name"):
            name = token.text if token.kind == "name" else self.take().text
            return self.named(name, token.at)
        if token.kind == "symbol" and token.text == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if token.kind == "symbol" and token.text == "[":
            return self.list(token.at)
        if token.kind == "symbol" and token.text == "{":
            return self.map(token.at)
        raise self.error(f"Syntax error: mismatched input '{token.text}'", token.at)

    def named(self, name: str, at: int) -> Expr:
        constants = {"true": True, "false": False, "null": None}
        if name in constants:
            return Literal(constants[name], at=at)
        if name in _RESERVED or name == "in":
            raise self.error(f"reserved identifier: {name}", at)
        if self.accept("("):
            args = self.arguments()
            return Call(name, args, **self.sized(at, *args))
        return Ident(name, at=at)

    def list(self, at: int) -> Expr:
        items: list[Expr] = []
        optional = set()
        while not self.accept("]"):
            if self.accept("?"):
                optional.add(len(items))
            items.append(self.expression())
            if not self.accept(","):
                self.expect("]")
                break
        return ListExpr(tuple(items), frozenset(optional), **self.sized(at, *items))

    def map(self, at: int) -> Expr:
        entries: list[tuple[Expr, Expr]] = []
        optional = set()
        while not self.accept("}"):
            if self.accept("?"):
                optional.add(len(entries))
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression()))
            if not self.accept(","):
                self.expect("}")
                break
        parts = [part for entry in entries for part in entry]
        return MapExpr(tuple(entries), frozenset(optional), **self.sized(at, *parts))

    def number(self, token: _Token, *, negative: bool, at: int) -> Literal:
        text = token.text.lower()
        sign = -1 if negative else 1
        hexadecimal = text.startswith("0x")
        if not hexadecimal and ("." in text or "e" in text):
            return Literal(sign * float(text), at=at)
        unsigned = text.endswith("u")
        value = sign * int(text.removesuffix("u"), 16 if hexadecimal else 10) if len(text) < 64 else 2**64
        if unsigned:
            if not 0 <= value < 2**64 or negative:
                raise self.error("Syntax error: invalid uint literal", at)
            return Literal(UInt(value), at=at)
        if not -(2**63) <= value < 2**63:
            raise self.error("Syntax error: invalid int literal", at)
        return Literal(value, at=at)


def parse(text: str) -> Expr:
    """Read an expression. Raises CelError that shows the place."""
    if len(text) > MAXIMUM_LENGTH:
        raise CelError(f"expression code point size exceeds limit: size: {len(text)}, limit {MAXIMUM_LENGTH}")
    parser = _Parser(text)
    expression = parser.expression()
    if parser.token.kind != "end":
        raise parser.error(f"Syntax error: extraneous input '{parser.token.text}' expecting <EOF>")
    return expression

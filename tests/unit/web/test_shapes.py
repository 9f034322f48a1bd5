"""Python and the page say the same: web/src/data/types.ts and the Structs that are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from cutaway.web.data import shapes

TYPES = Path(__file__).resolve().parents[3] / "web" / "src" / "data" / "types.ts"
TOKEN = re.compile(r'\s*(?:/\*.*?\*/|//[^\n]*)|\s*([A-Za-z_]\w*|"[^"]*"|\d+|\[\]|[{}<>\[\]|;:,()=])', re.DOTALL)
PLAIN = {"string": "string", "number": "number", "boolean": "boolean", "unknown": "unknown", "null": "null"}


class Reader:
    """Reads TypeScript's interfaces and aliases, as far as types.ts uses it, into a normal form.

    Normal form: a name of a plain type, `("list", T)`, `("tuple", …)`, `("record", K, V)`, `("union", frozenset)`,
    `("literal", x)`, or `("object", {field: T})`.
    """

    def __init__(self, text: str) -> None:
        self.tokens = [match[1] for match in TOKEN.finditer(text) if match[1]]
        self.at = 0
        self.aliases: dict[str, Any] = {}
        self.interfaces: dict[str, Any] = {}

    def read(self) -> Reader:
        while self.at < len(self.tokens):
            assert self.take() == "export"
            kind, name = self.take(), self.take()
            if kind == "type":
                self.expect("=")
                self.aliases[name] = self.union()
                self.expect(";")
            else:
                assert kind == "interface"
                self.interfaces[name] = self.object()
        return self

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self) -> str:
        return self.tokens[self.at]

    def expect(self, token: str) -> None:
        assert self.take() == token, self.tokens[self.at - 8 : self.at + 3]

    def union(self) -> Any:
        if self.peek() == "|":
            self.take()
        members = [self.postfix()]
        while self.peek() == "|":
            self.take()
            members.append(self.postfix())
        return union(members)

    def postfix(self) -> Any:
        found = self.primary()
        while self.peek() == "[]":
            self.take()
            found = ("list", found)
        return found

    def primary(self) -> Any:
        token = self.peek()
        if token == "{":
            return self.object()
        self.take()
        if token == "(":
            inner = self.union()
            self.expect(")")
            return inner
        if token == "[":
            members = [self.union()]
            while self.peek() == ",":
                self.take()
                members.append(self.union())
            self.expect("]")
            return ("tuple", *members)
        if token == "Record":
            self.expect("<")
            key = self.union()
            self.expect(",")
            value = self.union()
            self.expect(">")
            return ("record", key, value)
        if token[0] in '"0123456789':
            return ("literal", token.strip('"'))
        return PLAIN.get(token) or self.aliases.get(token) or ("named", token)

    def object(self) -> Any:
        self.expect("{")
        fields: dict[str, Any] = {}
        while self.peek() != "}":
            name = self.take()
            self.expect(":")
            fields[name] = self.union()
            if self.peek() == ";":
                self.take()
        self.expect("}")
        return ("object", fields)


def union(members: list[Any]) -> Any:
    flat: list[Any] = []
    for member in members:
        flat += member[1] if isinstance(member, tuple) and member[0] == "union" else [member]
    once = [each for number, each in enumerate(flat) if each not in flat[:number]]
    return once[0] if len(once) == 1 else ("union", sorted(once, key=repr))


def normal(found: Any) -> Any:
    """A type as msgspec sees it, in the reader's normal form."""
    if isinstance(found, inspect.StructType):
        return ("object", {field.encode_name: normal(field.type) for field in found.fields})
    if isinstance(found, inspect.UnionType):
        return union([normal(each) for each in found.types])
    if isinstance(found, inspect.ListType):
        return ("list", normal(found.item_type))
    if isinstance(found, inspect.TupleType):
        return ("tuple", *map(normal, found.item_types))
    if isinstance(found, inspect.DictType):
        return ("record", normal(found.key_type), normal(found.value_type))
    if isinstance(found, inspect.LiteralType):
        return union([("literal", str(value)) for value in found.values])
    names = {inspect.StrType: "string", inspect.BoolType: "boolean", inspect.AnyType: "unknown"}
    names |= {inspect.NoneType: "null", inspect.IntType: "number", inspect.FloatType: "number"}
    return names[type(found)]


def resolved(found: Any, interfaces: dict[str, Any]) -> Any:
    """With interfaces in the place of their names."""
    if isinstance(found, tuple):
        if found[0] == "named":
            return resolved(interfaces[found[1]], interfaces)
        if found[0] == "object":
            return ("object", {name: resolved(each, interfaces) for name, each in found[1].items()})
        if found[0] == "union":
            return union([resolved(each, interfaces) for each in found[1]])
        return (found[0], *(resolved(each, interfaces) if found[0] != "literal" else each for each in found[1:]))
    return found


@pytest.fixture(name="page", scope="module")
def _page() -> Reader:
    return Reader(TYPES.read_text()).read()


def parts(found: Any) -> Iterator[str]:
    """Names of the interfaces within a type."""
    if isinstance(found, tuple) and found[0] == "named":
        yield found[1]
    elif isinstance(found, tuple) and found[0] == "object":
        yield from (name for each in found[1].values() for name in parts(each))
    elif isinstance(found, tuple):
        yield from (name for each in found[1:] for name in parts(each))
    elif isinstance(found, list):
        yield from (name for each in found for name in parts(each))


ROOTS = [
    "Problem", "Index", "Overview", "Steps", "Graph", "Snapshot", "Layers", "Text", "Difference", "Ways", "PieceWays",
    "SearchTable", "Comparison",
]  # fmt: skip


@pytest.mark.parametrize("name", ROOTS)
def test_a_resource_is_what_the_page_expects(page: Reader, name: str) -> None:
    sent = inspect.type_info(getattr(shapes, name))
    assert normal(sent) == resolved(page.interfaces[name], page.interfaces)


def test_every_interface_is_part_of_a_resource(page: Reader) -> None:
    known = set(ROOTS)
    waiting = list(ROOTS)
    while waiting:
        for name in parts(page.interfaces[waiting.pop()]):
            if name not in known:
                known.add(name)
                waiting.append(name)
    assert known == set(page.interfaces)


class Inner(msgspec.Struct):
    c: str


class Outer(msgspec.Struct):
    a: list[int | str]
    b: Inner | None


def test_what_differs_is_seen() -> None:
    text = 'export type Size = number | string;\nexport interface A { a: Size[]; b: { c: "x" | "y" } | null; }'
    read = Reader(text).read()
    wanted = resolved(read.interfaces["A"], read.interfaces)
    found = normal(inspect.type_info(Outer))
    assert found[1]["a"] == wanted[1]["a"]
    assert found[1]["b"] != wanted[1]["b"]

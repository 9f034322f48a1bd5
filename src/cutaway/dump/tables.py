"""Node tables: decoded, and checked so that everything that reads them can trust their references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cutaway.dump.manifest import check_schema
from cutaway.dump.schema import Node, NodeTable
from cutaway.errors import DumpError


def decode_table(content: bytes, path: str) -> tuple[NodeTable, dict[str, Any]]:
    """A node table, as types and as plain JSON values.

    Args:
        content: the file.
        path: its name, for errors.

    Raises:
        SchemaError: it was written by a newer Cutaway.
        DumpError: it is no node table, or refers to something that is not in it.
    """
    try:
        plain = msgspec.json.decode(content)
        if isinstance(plain, dict) and isinstance(plain.get("schema"), int):
            check_schema(plain["schema"])
        table = msgspec.convert(plain, NodeTable)
        problem = next(table_problems(table), "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem, table, plain = str(error), NodeTable(nodes=[]), {}
    if problem:
        raise DumpError(f"{path!r} is no node table", problem, "run `cutaway verify` to see what else is wrong")
    return table, plain


def table_problems(table: NodeTable) -> Iterator[str]:
    """What a node table refers to and does not have, in words; nothing for a sound one."""
    ids: set[int] = set()
    for node in table.nodes:
        if node.id in ids:
            yield f"two nodes have the id {node.id}"
        yield from (f"node {node.name!r} {problem}" for problem in _node_problems(node, table, ids))
        ids.add(node.id)
    for name, inner in table.graphs.items():
        yield from (f"in graph {name!r}: {problem}" for problem in table_problems(inner))


def _node_problems(node: Node, table: NodeTable, before: set[int]) -> Iterator[str]:
    if node.layer is not None and not 0 <= node.layer < len(table.layers):
        yield f"is in layer {node.layer}, which the table does not have"
    if node.source is not None and not 0 <= node.source < len(table.sources):
        yield f"comes from source {node.source}, which the table does not have"
    for value in (*node.args, *node.kwargs.values()):
        yield from _value_problems(value, before)


def _value_problems(value: Any, before: set[int]) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _value_problems(each, before)
    elif isinstance(value, dict):
        yield from _tagged_problems(value, before)


LISTS = {"tuple": None, "slice": 3, "dict": None}


def _tagged_problems(value: dict[str, Any], before: set[int]) -> Iterator[str]:
    """An argument that is a JSON object has one key, which says what it is."""
    if len(value) != 1:
        yield f"has an argument with the keys {sorted(value)}"
        return
    [(tag, inner)] = value.items()
    if tag == "node":
        if not isinstance(inner, int) or inner not in before:
            yield f"refers to node {inner}, which does not come before it"
    elif tag in LISTS:
        pairs = tag != "dict" or (isinstance(inner, list) and all(_is_pair(each) for each in inner))
        if not isinstance(inner, list) or LISTS[tag] not in (None, len(inner)) or not pairs:
            yield f"has a malformed {tag} among its arguments"
            return
        yield from _value_problems(inner, before)
    elif not isinstance(inner, str):
        yield f"has an argument {tag} that is no text"


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2

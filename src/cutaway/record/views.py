"""Views that AOTAutograd makes anew: whose they are.

When a tensor is written to, functionalization (torch/_subclasses/functional_tensor.py) makes the views of it again
where they are next read, as a part of the node that reads them: after ``q, k = x.split(...)`` and a write into ``x``,
``norm(q)`` is traced as ``split(new_x)``, ``getitem``, ``norm``, all of them noted as the norm's. The line of the
model that they stem from is that of the first split. It is found by walking up both graphs together, from a node that
is known: here the views that stand between it and what was written, there those that stood between the same two.

What a view itself makes, when it is the one that reads, is its own, and not another view that it happens to look like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.layers.words import short_name
from cutaway.record.values import node_value

Row = Mapping[str, Any]
Known = Mapping[fx.Node, tuple[int, ...]]

_VIEWS = (
    "alias", "as_strided", "chunk", "contiguous", "detach", "diagonal", "expand", "expand_as", "flatten", "getitem",
    "mT", "movedim", "narrow", "permute", "reshape", "select", "slice", "split", "split_with_sizes", "squeeze",
    "swapaxes", "swapdims", "t", "tensor_split", "to", "transpose", "unbind", "unflatten", "unfold", "unsqueeze",
    "view", "view_as", "view_as_complex", "view_as_real",
)  # fmt: skip
"""What makes views before the trace; some of these may copy, so that places, sizes and strides must fit as well."""
_THEMSELVES = ("contiguous", "flatten", "to")
"""What gives back the very tensor that it takes when there is nothing to do: no view, and nothing to make anew."""
_TYPE = ("dtype", "shape", "stride", "offset", "device")


def made_anew(graph: fx.Graph, known: Known, rows: Sequence[Row]) -> dict[fx.Node, int]:
    """Views of a traced graph that were made anew -> the view before the trace that they are.

    Args:
        graph: the traced graph.
        known: node -> ids before the trace, as far as they are noted.
        rows: the node table from before the trace.
    """
    found: dict[fx.Node, int] = {}
    told = dict(known)  # as noted; for views that were found to be made anew, what they are
    results = _results(graph, known, rows)
    for node in graph.nodes:
        origin = known.get(node, ())
        if len(origin) != 1 or node in found:
            continue
        for start in _starts(node, results):
            chain = list(_views_up(start, told, origin))
            if chain:
                new = _aligned(chain, told, rows, origin[0])
                found.update(new)
                told.update({view: (number,) for view, number in new.items()})
    return found


def _results(graph: fx.Graph, known: Known, rows: Sequence[Row]) -> set[fx.Node]:
    """The nodes that are what a view itself makes: the last that is noted as it, if that is of its type.

    Where that was not kept, because nobody reads it, the last one is another view, and read by what takes that one.
    """
    last = {origin[0]: node for node in graph.nodes if len(origin := known.get(node, ())) == 1}
    return {
        node
        for number, node in last.items()
        if _is_view(rows[number])
        and _fits(node_value(node), rows[number])
        and all(_takes(reader, number, rows) for user in node.users for reader in known.get(user, ()))
    }


def _takes(reader: int, number: int, rows: Sequence[Row]) -> bool:
    """Whether something takes a value, or a view of it."""
    taken = _references(rows[reader])
    return reader == number or number in taken or any(number in _rows_up(each, rows)[0] for each in taken)


def _starts(node: fx.Node, results: set[fx.Node]) -> list[fx.Node]:
    """Where to begin to walk up: views that are read, which the reader's own result is not."""
    if node in results:
        return node.all_input_nodes[:1]
    return [node] if torch_internals.is_view(node.target) else list(node.all_input_nodes)


def _views_up(node: fx.Node, known: Known, origin: tuple[int, ...]) -> Iterator[fx.Node]:
    """From a node upwards, the views that are noted as the reader's, or not at all."""
    while torch_internals.is_view(node.target) and known.get(node, origin) == origin and node.all_input_nodes:
        yield node
        node = node.all_input_nodes[0]


def _aligned(chain: Sequence[fx.Node], known: Known, rows: Sequence[Row], reader: int) -> dict[fx.Node, int]:
    """The chain's nodes and what they are, for that input of the reader whose views fit; empty when none does.

    What the chain begins at is one of those views or what they are views of; else a write to that. Where an input of
    the reader begins there without any write, no other one is asked: it may take the same tensor once more.
    """
    begin = chain[-1].all_input_nodes[0]
    base = known.get(begin, ())
    best: dict[fx.Node, int] = {}
    if reader in base:  # parts of what the reader itself makes
        return best
    ways = [_rows_up(number, rows) for number in _references(rows[reader])]
    exact = [way for way in ways if way[1] in base or any(view in base for view in way[0])]
    written = [way for way in ways if any(_writes(writer, way[1], rows) for writer in base)]
    for views, root in exact or written:
        place = next((index for index, view in enumerate(views) if view in base), None)
        left = views[:place]
        if place is None and not _is_whole(begin, rows[root]):
            # of a result with several values the chain begins at one: views are of that
            left = left[:-1] if left and root in base and _fits(node_value(begin), rows[left[-1]]) else []
        matched = _matched(chain, left, rows)
        best = matched if len(matched) > len(best) else best
    return best


def _is_whole(node: fx.Node, row: Row) -> bool:
    """Whether a node is all that a row is, not one of its values."""
    return row.get("outputs") is None or isinstance(node_value(node), (list, tuple))


def _writes(number: int, root: int, rows: Sequence[Row]) -> bool:
    """Whether a node takes a tensor, or a view of it: only one that writes to it can be what views of it begin at."""
    return any(_rows_up(taken, rows)[1] == root for taken in _references(rows[number]))


def _rows_up(number: int, rows: Sequence[Row]) -> tuple[list[int], int]:
    """The views that a value was made through, from itself upwards, and what they are views of."""
    views: list[int] = []
    while _is_view(rows[number]):
        inputs = _references(rows[number])
        if not inputs:
            break
        if not _is_itself(rows[number], rows[inputs[0]]):
            views.append(number)
        number = inputs[0]
    return views, number


def _is_view(row: Row) -> bool:
    return row["op"].startswith("call_") and short_name(row["target"]) in _VIEWS


def _is_itself(row: Row, taken: Row) -> bool:
    """Whether what a call gives back is the tensor that it takes."""
    return short_name(row["target"]) in _THEMSELVES and all(row.get(key) == taken.get(key) for key in _TYPE)


def _references(row: Row) -> list[int]:
    found: list[int] = []
    open_values: list[Any] = [row.get("kwargs") or {}, *reversed(row.get("args") or ())]
    while open_values:
        value = open_values.pop()
        if isinstance(value, dict) and isinstance(value.get("node"), int):
            found.append(value["node"])
        elif isinstance(value, dict):
            open_values += value.values()
        elif isinstance(value, list):
            open_values += reversed(value)
    return found


def _matched(chain: Sequence[fx.Node], views: Sequence[int], rows: Sequence[Row]) -> dict[fx.Node, int]:
    """From what was written to down to the reader: each node and the first view left that it is, or leads to."""
    left = list(reversed(views))
    found: dict[fx.Node, int] = {}
    on_the_way: list[fx.Node] = []
    for node in reversed(chain):
        on_the_way.append(node)
        place = next((index for index, view in enumerate(left) if _fits(node_value(node), rows[view])), None)
        if place is not None:
            found.update(dict.fromkeys(on_the_way, left[place]))
            left, on_the_way = left[place + 1 :], []
    return found


def _fits(value: Any, row: Row) -> bool:
    """Whether a value is at the place, and of the sizes and strides, that a row says; symbolic ones fit any."""
    outputs = row.get("outputs")
    if isinstance(value, (list, tuple)):
        return outputs is not None and len(outputs) == len(value) and all(map(_fits, value, outputs))
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or row.get("shape") is None:
        return False
    mine = [*value.shape, *value.stride(), value.storage_offset()]
    theirs = [*row["shape"], *row.get("stride", ()), row.get("offset", 0)]
    return len(mine) == len(theirs) and all(
        a == b for a, b in zip(mine, theirs, strict=True) if isinstance(a, int) and isinstance(b, int)
    )

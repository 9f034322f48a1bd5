"""Why a query found nothing: a term that no node fits, or terms that no node fits together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from cutaway.dump.query.fields import dtypes, op_names
from cutaway.dump.query.glob import glob
from cutaway.dump.query.parse import WORD, Term
from cutaway.dump.query.search import search
from cutaway.dump.query.view import View, views
from cutaway.dump.reader import Dump
from cutaway.dump.schema import Node
from cutaway.errors import DumpError
from cutaway.record.layers.words import short_dtype


@dataclass(frozen=True)
class Miss:
    """What one term of a query finds by itself.

    Attributes:
        term: the term, as if it were not negated.
        nodes: how many nodes it finds.
        near: when that is none: what there is that comes nearest.
        idle: passes that it means and that changed nothing.
    """

    term: Term
    nodes: int
    near: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def misses(dump: Dump, terms: Sequence[Term]) -> list[Miss]:
    """What each term of a query that found nothing finds by itself."""
    found: list[Miss] = []
    for term in terms:
        alone = replace(term, negated=False)
        nodes = len(search(dump, [alone]).hits)
        if nodes:
            found.append(Miss(alone, nodes))
            continue
        known = {name.lower(): name for name in _known(dump, term.field) if name}
        near = [known[name] for value in term.values for name in get_close_matches(value.lower(), known, 3, 0.5)]
        found.append(Miss(alone, 0, tuple(dict.fromkeys(near))[:3], _idle(dump, alone)))
    return found


def _idle(dump: Dump, term: Term) -> tuple[str, ...]:
    if term.field != "pass":
        return ()
    names = (step.pass_name or "" for compilation in dump for step in compilation.passes if not step.changed)
    return tuple(dict.fromkeys(name for name in names if any(glob(value)(name) for value in term.values)))


def _known(dump: Dump, field: str) -> Iterator[str]:
    """What there is of a field in a dump."""
    if field == "kernel":
        yield from (kernel for code in dump.codes.values() for kernel in code.kernels)
    elif field == "pass":
        yield from (step.pass_name or "" for compilation in dump for step in compilation.passes)
    elif field in ("op", "dtype", "device", "provider", WORD):
        yield from _of_nodes(dump, field)
    else:
        yield from (name for view in views(dump) for name in _of_view(view, field))


def _of_view(view: View, field: str) -> Iterable[str]:
    snapshot = view.snapshot
    if field == "layer":
        return view.layers
    if field == "stage":
        return (snapshot.stage, view.stage)
    own = {"piece": view.piece, "range": snapshot.range, "phase": snapshot.phase, "compilation": snapshot.compilation}
    return filter(None, [own.get(field)])


def _of_nodes(dump: Dump, field: str) -> Iterator[str]:
    seen: set[str] = set()
    for snapshot in dump.snapshots.values():
        yield from snapshot.providers.values() if field == "provider" else ()
        if snapshot.graph in seen:
            continue
        seen.add(snapshot.graph)
        try:
            nodes = dump.table(snapshot.owner)[0].nodes
        except DumpError:
            continue
        for node in nodes:
            yield from _of_node(node, field)


def _of_node(node: Node, field: str) -> Iterator[str]:
    if field == "dtype":
        yield from (name for dtype in dtypes(node) for name in (dtype, short_dtype(dtype)))
    elif field == "device":
        yield node.device or ""
    elif field == "provider":
        yield node.provider or ""
    else:
        for name in op_names(node):
            yield from (name, name.removesuffix(".default").rpartition(".")[2])

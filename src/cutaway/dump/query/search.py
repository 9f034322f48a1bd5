"""Nodes that a query finds, at every stage of a dump."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cutaway.dump.query.fields import FIELDS, NodeTest, PlaceTest, ViewTest
from cutaway.dump.query.glob import glob
from cutaway.dump.query.kernels import Kernels
from cutaway.dump.query.parse import WORD, Term, parse
from cutaway.dump.query.passes import touched
from cutaway.dump.query.view import View, views
from cutaway.dump.reader import Dump
from cutaway.dump.schema import Node, NodeTable, Source
from cutaway.errors import DumpError, UsageError

MOST = 1_000_000
"""Nodes that are found, and graphs that are looked at under the layers of each piece that they stand for."""


@dataclass(frozen=True)
class Hit:
    """A node that was found, in one graph.

    Attributes:
        view: the graph, and the piece under whose layers it is seen.
        node: the node.
        table: the table that the node is in: the view's, or that of a graph inside it.
        graph: where that is, as attribute names with dots; empty for the view's own.
    """

    view: View
    node: Node
    table: NodeTable = field(repr=False)
    graph: str = ""

    @property
    def selector(self) -> str:
        """`SELECTOR:NODE`, what `cutaway lineage` takes."""
        name = f"{self.graph}.{self.node.name}" if self.graph else self.node.name
        return f"{self.view.snapshot.selector}:{name}"

    @property
    def layers(self) -> tuple[str, ...]:
        """Its layers as "fqn: class", outermost first; empty when unknown."""
        return self.view.path(self.node, self.table)

    @property
    def layer(self) -> str:
        """The fqn of its innermost layer; empty when unknown or when it is the model itself."""
        return self.layers[-1].rpartition(": ")[0] if self.layers else ""

    @property
    def source(self) -> Source | None:
        """The line of Python that it comes from; None when unknown."""
        return self.table.source(self.node)


@dataclass(frozen=True)
class Found:
    """What a query found.

    Attributes:
        terms: the query.
        hits: the nodes, in the order of recording; those of a repeated piece after those of the piece it was
            compiled with.
        views: every graph that the query could have found nodes in: with its stage, piece, range and so on.
        unread: graphs that are not in the dump, or broken, and why.
    """

    terms: Sequence[Term]
    hits: list[Hit]
    views: list[View]
    unread: dict[str, str]


def find_nodes(dump: Dump, query: str, stage: str | None = None) -> Found:
    """Find nodes by what they are, in every graph of a dump.

    Args:
        dump: the dump.
        query: terms that must all hold, such as `op:rms_norm layer:*.mlp -dtype:bf16`; see `parse`. `FIELDS` says
            what can be asked.
        stage: look at this stage only, as with the term `stage:…`.

    Raises:
        UsageError: the query cannot be understood, or finds more than a million nodes.

    >>> [(hit.selector, hit.layer) for hit in find_nodes(dump, "op:rms_norm layer:*.1.* stage:captured").hits]
    [('backbone/captured:rms_norm_1', 'layers.1.input_layernorm'), ...]
    """
    terms = parse(query, [name for name in FIELDS if name != WORD])
    if stage is not None:
        terms.append(Term("stage", (stage,)))
    return search(dump, terms)


def search(dump: Dump, terms: Sequence[Term]) -> Found:
    """As `find_nodes`, for terms that are read already."""
    tests = _Tests(dump, terms)
    looked = [view for view in _bounded(views(dump)) if all(test(view) for test in tests.view)]
    hits: list[Hit] = []
    unread: dict[str, str] = {}
    candidates: dict[str, list[tuple[str, NodeTable, Node]]] = {}
    for view in looked:
        graph = view.snapshot.graph
        try:
            if graph not in candidates:
                candidates[graph] = list(_candidates(view.table, tests.node))
            hits += [
                Hit(view, node, table, inner)
                for inner, table, node in candidates[graph]
                if all(test(node, table, view) for test in tests.place)
            ]
        except DumpError as error:
            unread[view.snapshot.selector] = str(error)
        if len(hits) > MOST:
            query = " ".join(map(str, terms))
            why = "each is kept for every layer, stage and range that has it"
            raise UsageError(f"{query!r} finds more than a million nodes", why, "add a term such as stage:post_grad")
    return Found(terms, hits, looked, unread)


def _bounded(some: Iterator[View]) -> Iterator[View]:
    """Views, but no more than a compile can have. Raises DumpError."""
    yield from islice(some, MOST)
    if next(some, None) is not None:
        raise DumpError("the dump has more than a million graphs", "no compile has", "run `cutaway verify` on it")


def _candidates(table: NodeTable, tests: Sequence[NodeTest], inner: str = "") -> Iterator[tuple[str, NodeTable, Node]]:
    """The nodes of a table and of the graphs in it that pass; where they are, their table, and they."""
    for node in table.nodes:
        if all(test(node, table) for test in tests):
            yield inner, table, node
    for name, graph in table.graphs.items():
        yield from _candidates(graph, tests, f"{inner}.{name}" if inner else name)


class _Tests:
    """The tests that a query's terms ask for, by what they need."""

    def __init__(self, dump: Dump, terms: Sequence[Term]) -> None:
        self.view: list[ViewTest] = []
        self.node: list[NodeTest] = []
        self.place: list[PlaceTest] = []
        self._dump = dump
        for term in terms:
            self._add(term)

    def _add(self, term: Term) -> None:
        field = FIELDS[term.field]
        wanted = not term.negated
        if field.view is not None:
            of_view = list(map(field.view, term.values))
            self.view.append(lambda view: any(test(view) for test in of_view) is wanted)
        elif field.node is not None:
            of_node = list(map(field.node, term.values))
            self.node.append(lambda node, table: any(test(node, table) for test in of_node) is wanted)
        else:
            make = field.place or {"kernel": self._kernel, "pass": self._pass}[term.field]
            of_place = list(map(make, term.values))
            self.place.append(lambda node, table, view: any(test(node, table, view) for test in of_place) is wanted)

    def _kernel(self, value: str) -> PlaceTest:
        kernels, glob_matches = Kernels(self._dump), glob(value)
        known: dict[str, frozenset[str]] = {}

        def matches(call: str) -> bool:
            """Whether it is a call of such a kernel: the second one of `cpp_fused_0` is `cpp_fused_0#2`."""
            return glob_matches(call) or glob_matches(call.partition("#")[0])

        def names(view: View) -> frozenset[str]:
            """The nodes in such kernels."""
            if view.snapshot.selector not in known:
                of_nodes = kernels.of(view.snapshot).items()
                known[view.snapshot.selector] = frozenset(name for name, those in of_nodes if any(map(matches, those)))
            return known[view.snapshot.selector]

        return lambda node, table, view: node.name in names(view) and table is view.table

    def _pass(self, value: str) -> PlaceTest:
        ids = touched(self._dump, glob(value))
        return lambda node, table, view: node.id in ids.get(view.snapshot.selector, ()) and table is view.table

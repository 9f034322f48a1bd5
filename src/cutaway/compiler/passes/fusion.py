"""Patterns, and what is put in the place of what they match: the ground that fusions stand on.

The patterns are torch's (torch/_inductor/pattern_matcher.py), written down as expressions, so that they can be held
against a graph by others, too. What an expression cannot say, such as that two shapes are equal, is asked of a match,
and answered with the reason why not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.graph import meta_of
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.ops import registry


@dataclass(frozen=True)
class Match:
    """What a pattern was found in.

    Attributes:
        graph: that it was found in.
        nodes: all of the pattern, as they stand in the graph.
        root: the last of them.
        values: what the pattern's names stand for.
    """

    graph: fx.Graph
    nodes: tuple[fx.Node, ...]
    root: fx.Node
    values: dict[str, Any]

    def calls(self, target: Any) -> fx.Node:
        """The one node of the pattern that calls this."""
        (found,) = [node for node in self.nodes if node.target is target]
        return found


@dataclass(frozen=True)
class Fusion:
    """One pattern.

    Attributes:
        name: what reports call it.
        expression: makes the pattern, an expression of torch's pattern matcher; names (``KeywordArg``) in it become
            the values of a match.
        replace: rewrites the graph where it matched.
        why_not: why a match must not be rewritten, in a few words; empty when it may be.
    """

    name: str
    expression: Callable[[], Any]
    replace: Callable[[Match], None]
    why_not: Callable[[Match], str]


@dataclass(frozen=True)
class FusionPass(InductorPass):
    """Puts one operator in the place of several, wherever one of its patterns matches.

    Reports ``matches``, and how many there are of each pattern, by its name; and the note ``refused``: last node of a
    match that was left -> why.
    """

    def fusions(self) -> Sequence[Fusion]:
        """The patterns, the first tried first. Those whose operators nobody registered are left out."""
        raise NotImplementedError

    def __call__(self, graph: fx.Graph) -> None:
        report = get_pass_context().report
        matcher = torch_internals.pattern_matcher()
        patterns = matcher.PatternMatcherPass(self.name)
        refused: dict[str, str] = {}
        counted = {fusion.name: 0 for fusion in self.fusions()}

        def register(fusion: Fusion) -> None:
            def may_be_rewritten(found: Any) -> bool:
                match = _match(found)
                why = fusion.why_not(match)
                if why:
                    refused[match.root.name] = why
                return not why

            def rewrite(found: Any, *_: Any, **__: Any) -> None:
                fusion.replace(_match(found))
                counted[fusion.name] += 1

            matcher.register_graph_pattern(fusion.expression(), may_be_rewritten, pass_dict=patterns)(rewrite)

        for fusion in self.fusions():
            register(fusion)
        matcher.compute_mutation_region_ids(graph)  # passes before may have put in what writes
        patterns.apply(graph)
        for name, number in counted.items():
            report.count(name, number)
        report.count("matches", sum(counted.values()))
        if refused:
            report.note("refused", dict(sorted(refused.items())))


def _match(found: Any) -> Match:
    nodes = tuple(sorted(found.nodes))
    return Match(nodes[-1].graph, nodes, found.output_node(), found.kwargs)


def are_registered(*names: str) -> bool:
    """Whether there are ops of these names; they come with ``cutaway.ops.library``, which nobody need import."""
    return all(name in registry for name in names)


def place_for(match: Match, first: fx.Node, readers: Sequence[fx.Node]) -> tuple[fx.Node, str]:
    """Before which node a new one can stand that returns what a match's first node and its last return.

    Args:
        match: where a pattern was found.
        first: the node of it whose result others read, too.
        readers: them.

    Returns:
        ``first``, when everything is there by then that the pattern reads; else the root, when nobody reads the first
        result before that. And why neither, empty when one of them will do.
    """
    given = [value for value in match.values.values() if isinstance(value, fx.Node)]
    late = next((node for node in given if not node < first), None)
    if late is None:
        return first, ""
    early = next((node for node in readers if node < match.root), None)
    why = f"{late.name} is computed after {first.name}, which {early.name} reads before" if early is not None else ""
    return match.root, why


def part(graph: fx.Graph, made: fx.Node, index: int, replaced: Sequence[fx.Node], value: Any) -> fx.Node:
    """One of several results of a new node, in the place of nodes that are going."""
    node = graph.call_function(operator.getitem, (made, index))
    node.meta = meta_of(replaced, value)
    return node


def parts_of(node: fx.Node, index: int | None = None) -> list[fx.Node]:
    """The nodes that take a result out of several; of one index, or all."""
    taken = [user for user in node.users if user.target is operator.getitem]
    return [user for user in taken if index is None or user.args[1] == index]

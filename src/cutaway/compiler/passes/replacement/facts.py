"""What is known of the symbols in some sizes, told so that other symbols of which the same is known give the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from cutaway import torch_internals


@dataclass(frozen=True)
class Known:
    """What is known of some expressions and of the symbols in them.

    Attributes:
        key: the facts, with symbols as numbers.
        symbols: the symbols that the numbers stand for: those in the expressions, as they first appear, then those
            that a fact joins to them.
        renamed: an expression with numbers for symbols, as the facts have them.
    """

    key: Hashable
    symbols: tuple[Any, ...]
    renamed: Callable[[Any], Any]


class Facts:
    """Facts of one ShapeEnv, as they are when this is made.

    Facts that join symbols (guards, asserts, what divides what, equalities) are followed from symbol to symbol: torch
    reasons from all of them.

    Args:
        shape_env: whose.
    """

    def __init__(self, shape_env: Any) -> None:
        self.shape_env = shape_env
        self._found: dict[tuple[Any, ...], Known | None] = {}
        self._relations: list[tuple[Any, ...]] | None = None

    def about(self, sizes: Sequence[Any]) -> Known | None:
        """What is known of these expressions; None when it cannot be told (example values are taken for true)."""
        named: dict[Any, None] = {}
        for size in sizes:
            named.update(dict.fromkeys(torch_internals.free_symbols(self._equal(size))))
        first = tuple(named)
        if first not in self._found:
            self._found[first] = self._known(first)
        return self._found[first]

    def _equal(self, expr: Any) -> Any:
        return torch_internals.with_equalities(self.shape_env, expr)

    def _known(self, first: tuple[Any, ...]) -> Known | None:
        settings = torch_internals.settings_of_shapes(self.shape_env)
        if settings is None:
            return None
        symbols, relations = self._joined(first)
        numbers = tuple(torch_internals.numbered(symbol, number) for number, symbol in enumerate(symbols))

        def renamed(expr: Any) -> Any:
            return torch_internals.renamed(self._equal(expr), symbols, numbers)

        own = tuple(torch_internals.own_facts(self.shape_env, symbol) for symbol in symbols)
        joint = frozenset(_renamed(relation, symbols, numbers) for relation in relations)
        return Known((settings, numbers, own, joint), symbols, renamed)

    def _joined(self, first: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        """All symbols that facts join to the first, and those facts.

        The order in which the facts were learnt does not number the symbols, but where they look alike.
        """
        symbols = list(first)
        taken: list[tuple[Any, ...]] = []
        left = self._all_relations()
        while True:
            reached = set(symbols)
            near = [one for one in left if any(symbol in reached for symbol in _symbols_in(one))]
            if not near:
                return tuple(symbols), taken
            left = [one for one in left if one not in near]
            taken += near
            if any(symbol not in reached for one in near for symbol in _symbols_in(one)):
                near.sort(key=lambda one: _without_names(one, symbols))
                further = dict.fromkeys(symbol for one in near for symbol in _symbols_in(one))
                symbols += [symbol for symbol in further if symbol not in reached]

    def _all_relations(self) -> list[tuple[Any, ...]]:
        if self._relations is None:
            self._relations = list(dict.fromkeys(torch_internals.relations(self.shape_env)))
        return self._relations


def _symbols_in(relation: tuple[Any, ...]) -> tuple[Any, ...]:
    expressions = [part for part in relation if torch_internals.is_expression(part)]
    return tuple(dict.fromkeys(symbol for expr in expressions for symbol in torch_internals.free_symbols(expr)))


def _without_names(relation: tuple[Any, ...], known: Sequence[Any]) -> str:
    """A fact as text, with numbers for known symbols and one name for all others: by it, facts are ordered."""
    symbols = _symbols_in(relation)
    places = {symbol: place for place, symbol in enumerate(known)}
    blank = tuple(torch_internals.numbered(symbol, places.get(symbol, len(places))) for symbol in symbols)
    return str(_renamed(relation, symbols, blank))


def _renamed(relation: tuple[Any, ...], before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        torch_internals.renamed(part, before, after) if torch_internals.is_expression(part) else part
        for part in relation
    )

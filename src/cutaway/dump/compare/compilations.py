"""One compilation of either run: its pieces, its ranges, their stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from cutaway.dump.compare.course import Course, compare_steps
from cutaway.dump.compare.figures import FiguresPair
from cutaway.dump.compare.parts import Parts
from cutaway.dump.compare.pieces import RangePair, match_pieces, match_ranges
from cutaway.dump.compare.texts import TextPair, TextReader, compare_texts
from cutaway.dump.compilation import Compilation, Piece


@dataclass(frozen=True)
class Compiled:
    """A piece for one range, in both runs.

    Attributes:
        ranges: the ranges; their names may differ.
        course: the graphs that it went through.
        texts: the code that it became.
    """

    ranges: RangePair
    course: Course
    texts: TextPair


@dataclass(frozen=True)
class PieceGroup:
    """Pieces that are equal in either run, and what became of them.

    Attributes:
        a, b: their names, in model order; of the same length unless one of them is empty.
        whole: the graph as it was split off.
        compiled: for each pair of ranges that both were compiled for.
        only_a, only_b: ranges that it was compiled for in one run alone.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    whole: Course
    compiled: tuple[Compiled, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether all graphs are the same."""
        graphs = self.whole.same and all(each.course.same for each in self.compiled)
        return graphs and bool(self.a) and bool(self.b) and not self.only_a and not self.only_b

    @property
    def same_ends(self) -> bool:
        """Whether the last graphs are the same, however they came about."""
        return all(each.course.last is None or each.course.last.same for each in self.compiled)

    @property
    def same_texts(self) -> bool:
        """Whether all generated code is the same."""
        both = bool(self.a) and bool(self.b) and not self.only_a and not self.only_b
        return both and all(each.texts.same for each in self.compiled)


@dataclass(frozen=True)
class CompilationPair:
    """A compilation of either run; None where one has no such compilation.

    Attributes:
        a, b: the compilations.
        whole: the graph before it was split, or all of it when it was not.
        ranges: which range of one run is compared with which of the other.
        pieces: those that are equal together.
        figures: what compiling came to: all of it, then each range, then each range of each piece. Pieces that are
            equal are told together, and their nodes and kernels count once.
    """

    a: Compilation | None
    b: Compilation | None
    whole: Compiled
    ranges: tuple[RangePair, ...] = ()
    pieces: tuple[PieceGroup, ...] = ()
    figures: tuple[FiguresPair, ...] = ()

    @property
    def name(self) -> str:
        """Its name; in the second run, where they differ."""
        compilation = self.b or self.a
        return compilation.name if compilation else ""

    @cached_property
    def same(self) -> bool:
        """Whether all graphs are the same."""
        both = self.a is not None and self.b is not None
        return both and self.whole.course.same and all(group.same for group in self.pieces)

    @cached_property
    def same_texts(self) -> bool:
        """Whether all generated code is the same."""
        both = self.a is not None and self.b is not None
        return both and self.whole.texts.same and all(group.same_texts for group in self.pieces)


def match_compilations(
    a: Sequence[Compilation], b: Sequence[Compilation]
) -> list[tuple[Compilation | None, Compilation | None]]:
    """The compilations of two runs: by name, then by what was captured, then by function and model."""
    left, right = list(a), list(b)
    pairs: list[tuple[Compilation | None, Compilation | None]] = []
    for key in (_name, _captured, _function):
        known = {key(each): each for each in reversed(right) if key(each) is not None}
        for one in [each for each in left if key(each) in known]:
            other = known.pop(key(one), None)
            if other is not None:
                pairs.append((one, other))
                left.remove(one)
                right.remove(other)
    order = {id(each): place for place, each in enumerate(a)}
    pairs.sort(key=lambda pair: order[id(pair[0])])
    return [*pairs, *((one, None) for one in left), *((None, one) for one in right)]


def _name(compilation: Compilation) -> object:
    return compilation.name


def _captured(compilation: Compilation) -> object:
    return next((snapshot.graph for snapshot in compilation.snapshots), None)


def _function(compilation: Compilation) -> object:
    started = compilation.started
    return (started.function, started.model, started.recompile) if started and started.function else None


class Comparer:
    """Compares compilations; what is the same in many pieces is looked at once."""

    def __init__(self) -> None:
        self._reader = TextReader()
        self._compiled: dict[object, Compiled] = {}

    def pair(self, a: Compilation | None, b: Compilation | None) -> CompilationPair:
        """Two compilations, or one that has no counterpart."""
        ours, theirs = Parts(a), Parts(b)
        whole = self._compare((ours, theirs), (None, None), RangePair(None, None))
        all_of_it = FiguresPair(RangePair(None, None), ours.figures if a else None, theirs.figures if b else None)
        if a is None or b is None:
            return CompilationPair(a, b, whole, figures=(all_of_it,))
        ranges = match_ranges(ours.ranges, theirs.ranges)
        groups: dict[object, PieceGroup] = {}
        matched = match_pieces(a, b, (self._texts_of(ours), self._texts_of(theirs)))
        for one, other in matched:
            group = self._group((ours, theirs), one, other, ranges)
            key = (bool(group.a), bool(group.b), group.only_a, group.only_b, id(group.whole), *map(id, group.compiled))
            before = groups.get(key)
            groups[key] = group if before is None else replace(group, a=before.a + group.a, b=before.b + group.b)
        figures = [all_of_it, *_figures((ours, theirs), (ours.pieces, theirs.pieces), ranges)]
        for names in _equal(matched):
            several = _figures((ours, theirs), names, ranges)
            figures += [replace(each, pieces_a=names[0], pieces_b=names[1]) for each in several]
        return CompilationPair(a, b, whole, tuple(ranges), tuple(groups.values()), tuple(figures))

    def _texts_of(self, parts: Parts) -> Callable[[Piece], frozenset[str]]:
        def texts(piece: Piece) -> frozenset[str]:
            places = [parts.place(piece.name, name) for name in parts.ranges]
            found = (self._reader.texts(parts.codes(place)) for place in places)
            return frozenset(each.wrapper for each in found if each.wrapper is not None)

        return texts

    def _group(
        self, parts: tuple[Parts, Parts], a: Piece | None, b: Piece | None, ranges: Sequence[RangePair]
    ) -> PieceGroup:
        """One pair of pieces."""
        names = (a.name if a else None, b.name if b else None)
        whole = self._compare(parts, names, RangePair(None, None))
        compiled: list[Compiled] = []
        only_a: list[str] = []
        only_b: list[str] = []
        for pair in ranges:
            in_a, in_b = parts[0].has(names[0], pair.a), parts[1].has(names[1], pair.b)
            if in_a and in_b:
                compiled.append(self._compare(parts, names, pair))
            elif in_a and pair.a is not None:
                only_a.append(pair.a)
            elif in_b and pair.b is not None:
                only_b.append(pair.b)
        mine, theirs = ((name,) if name else () for name in names)
        return PieceGroup(mine, theirs, whole.course, tuple(compiled), tuple(only_a), tuple(only_b))

    def _compare(self, parts: tuple[Parts, Parts], names: tuple[str | None, str | None], ranges: RangePair) -> Compiled:
        places = parts[0].place(names[0], ranges.a), parts[1].place(names[1], ranges.b)
        known = (ranges, *(part.identity(place) for part, place in zip(parts, places, strict=True)))
        if known not in self._compiled:
            steps = [part.steps(place) for part, place in zip(parts, places, strict=True)]
            texts = [self._reader.texts(part.codes(place)) for part, place in zip(parts, places, strict=True)]
            self._compiled[known] = Compiled(ranges, compare_steps(*steps), compare_texts(*texts))
        return self._compiled[known]


def _equal(pairs: Sequence[tuple[Piece | None, Piece | None]]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Names of the pieces of either run, those together that are equal in both as they were split off."""
    found: dict[tuple[str | None, ...], tuple[list[str], list[str]]] = {}
    for pair in pairs:
        key = tuple(piece.same_as or piece.name if piece else None for piece in pair)
        for names, piece in zip(found.setdefault(key, ([], [])), pair, strict=True):
            names += [piece.name] if piece else []
    return [(tuple(a), tuple(b)) for a, b in found.values()]


def _figures(
    parts: tuple[Parts, Parts], names: tuple[Sequence[str], Sequence[str]], ranges: Sequence[RangePair]
) -> tuple[FiguresPair, ...]:
    """What compiling pieces came to, for each range that either run compiled any of them for."""
    found = [
        FiguresPair(pair, parts[0].figures_of(names[0], pair.a), parts[1].figures_of(names[1], pair.b))
        for pair in ranges
    ]
    return tuple(pair for pair in found if pair.a or pair.b)

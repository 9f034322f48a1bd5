"""Two processes compared, with what opens each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from cutaway.dump import Dump
from cutaway.dump.compare import CompilationPair, Course, PieceGroup, Setting, StepPair, compare, difference, verdict
from cutaway.dump.compare.course import Step
from cutaway.web.data import shapes
from cutaway.web.data.process import Process
from cutaway.web.data.words import cut


def comparison(a: Process, b: Process) -> shapes.Comparison:
    """Compare what two processes compiled, graph by graph.

    Args:
        a, b: what was recorded of either.
    """
    found = compare(a.dump, b.dump)
    settings = [each for each in (*found.versions, *found.configuration) if not each.of_a_run]
    words = _Words()
    return shapes.Comparison(
        a=_title(a.dump),
        b=_title(b.dump),
        equal=found.same_graphs,
        summary=[verdict(found), *map(cut, found.notes)],
        settings=[_setting(each) for each in settings],
        totals=[shapes.TotalPair(each.name, each.a, each.b) for each in found.totals],
        compilations=[_compilation(pair, words) for pair in found.compilations],
    )


def _title(dump: Dump) -> shapes.ComparedProcess:
    models = [compilation.model for compilation in dump if compilation.model]
    title = " · ".join([*(cut(model, 200) for model in models[:1]), dump.run, dump.process])
    return shapes.ComparedProcess(dump.run, dump.process, title)


def _setting(setting: Setting) -> shapes.SettingPair:
    a = None if setting.only == "b" else _value(setting.a)
    b = None if setting.only == "a" else _value(setting.b)
    return shapes.SettingPair(cut(setting.name, 400), a, b)


def _value(value: Any) -> str:
    return cut(value if isinstance(value, str) else str(value), 2000)


class _Words:
    """In what graphs differ; of the same two graphs it is found once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, str | None], str] = {}

    def of(self, pair: StepPair) -> str:
        key = (pair.a.graph if pair.a else None, pair.b.graph if pair.b else None)
        if key not in self._known:
            self._known[key] = cut(difference(pair))
        return self._known[key]


def _compilation(pair: CompilationPair, words: _Words) -> shapes.ComparedCompilation:
    pieces = [_piece(None, None, None, pair.whole.course, words)] if pair.whole.course.pairs else []
    for group in pair.pieces:
        pieces += _group(group, words)
    return shapes.ComparedCompilation(
        name=pair.name,
        a=pair.a.name if pair.a else None,
        b=pair.b.name if pair.b else None,
        same=pair.same,
        text=_text(pair),
        pieces=pieces,
    )


def _text(pair: CompilationPair) -> str:
    if pair.a is None or pair.b is None:
        return f"only in {'B' if pair.a is None else 'A'}"
    if pair.same:
        return "the same graphs and code" if pair.same_texts else "the same graphs, other code"
    odd = [group for group in pair.pieces if not group.same]
    count = sum(max(len(group.a), len(group.b)) for group in odd)
    parts = [] if pair.whole.course.same else ["the whole graph"]
    parts += [f"{count} piece{'' if count == 1 else 's'}"] if count else []
    return f"{' and '.join(parts)} differ" if len(parts) > 1 or count > 1 else f"{' and '.join(parts)} differs"


def _group(group: PieceGroup, words: _Words) -> Iterator[shapes.ComparedPiece]:
    """Equal pieces, each for itself, for each of its ranges."""
    for a, b in zip_longest(group.a, group.b):
        if group.whole.pairs:
            yield _piece(a, b, None, group.whole, words)
        for each in group.compiled:
            names = [name for name in (each.ranges.a, each.ranges.b) if name]
            yield _piece(a, b, " | ".join(dict.fromkeys(names)), each.course, words)
        for only, side in ((group.only_a, "A"), (group.only_b, "B")):
            for name in only:
                parting = shapes.Parting(f"compiled for {name} in {side} only", None, None)
                yield shapes.ComparedPiece(a, b, name, False, parting, [])


def _piece(a: str | None, b: str | None, name: str | None, course: Course, words: _Words) -> shapes.ComparedPiece:
    return shapes.ComparedPiece(a, b, name, course.same, _parting(course, words), _steps(course.pairs))


def _parting(course: Course, words: _Words) -> shapes.Parting | None:
    if not course.spans:
        return None
    span = course.spans[0]
    pair = span.both or span.pairs[0]
    text = words.of(pair) if span.both else f"only in {'B' if pair.a is None else 'A'}"
    return shapes.Parting(f"{pair.name}: {text}", _selector(pair.a), _selector(pair.b))


def _steps(pairs: Sequence[StepPair]) -> list[shapes.ComparedStep]:
    return [shapes.ComparedStep(pair.name, _selector(pair.a), _selector(pair.b), pair.same) for pair in pairs]


def _selector(step: Step | None) -> str | None:
    return step.snapshot.selector if step is not None and step.snapshot is not None else None

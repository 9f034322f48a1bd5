"""What `cutaway compare --json` prints; its shape is part of the interface (docs/dump-format.md)."""

from __future__ import annotations

from typing import Any

from cutaway.dump import Dump
from cutaway.dump.compare import (
    Comparison,
    CompilationPair,
    Compiled,
    Course,
    Figures,
    FiguresPair,
    PieceGroup,
    Setting,
    Span,
    Step,
    difference,
)

Shape = dict[str, Any]


def comparison_shape(found: Comparison) -> Shape:
    """Two processes compared, as JSON values."""
    return {
        "a": _dump(found.a),
        "b": _dump(found.b),
        "same": {"graphs": found.same_graphs, "kernels": found.same_kernels, "count": found.same_counts},
        "notes": found.notes,
        "versions": [_setting(setting) for setting in found.versions],
        "configuration": [_setting(setting) for setting in found.configuration],
        "totals": [{"name": total.name, "a": total.a, "b": total.b} for total in found.totals],
        "compilations": [_compilation(pair) for pair in found.compilations],
    }


def _dump(dump: Dump) -> Shape:
    return {"path": str(dump.path), "run": dump.run, "process": dump.process}


def _setting(setting: Setting) -> Shape:
    names = {"name": setting.name, "a": setting.a, "b": setting.b}
    return {**names, "only": setting.only, "of_a_run": setting.of_a_run}


def _compilation(pair: CompilationPair) -> Shape:
    return {
        "a": pair.a.name if pair.a else None,
        "b": pair.b.name if pair.b else None,
        "same": pair.same,
        "ranges": [{"a": each.a, "b": each.b} for each in pair.ranges],
        "whole": _compiled(pair.whole),
        "pieces": [_group(group) for group in pair.pieces],
        "figures": [_figures(each) for each in pair.figures],
    }


def _group(group: PieceGroup) -> Shape:
    return {
        "a": group.a,
        "b": group.b,
        "same": group.same,
        "only_a": group.only_a,
        "only_b": group.only_b,
        "whole": _course(group.whole),
        "compiled": [_compiled(each) for each in group.compiled],
    }


def _figures(pair: FiguresPair) -> Shape:
    ranges = {"range_a": pair.ranges.a, "range_b": pair.ranges.b}
    pieces = {"pieces_a": pair.pieces_a, "pieces_b": pair.pieces_b}
    return {**pieces, **ranges, "a": _figures_of(pair.a), "b": _figures_of(pair.b), "notable": pair.notable}


def _figures_of(figures: Figures | None) -> Shape | None:
    if figures is None:
        return None
    times = {"seconds": figures.seconds, "by_piece": figures.by_piece}
    return {"nodes": figures.nodes, "kernels": figures.kernels, **times}


def _compiled(compiled: Compiled) -> Shape:
    texts = compiled.texts
    return {
        "range_a": compiled.ranges.a,
        "range_b": compiled.ranges.b,
        **_course(compiled.course),
        "kernels": {
            "same": texts.same,
            "a": list(texts.a.kernels),
            "b": list(texts.b.kernels),
            "only_a": texts.only_a,
            "only_b": texts.only_b,
            "unread": texts.unread,
        },
    }


def _course(course: Course) -> Shape:
    return {
        "same": course.same,
        "steps": [{"a": _step(pair.a), "b": _step(pair.b), "same": pair.same} for pair in course.pairs],
        "spans": [_span(span) for span in course.spans],
    }


def _step(step: Step | None) -> Shape | None:
    if step is None:
        return None
    selector = step.snapshot.selector if step.snapshot else None
    return {"name": step.name, "pass": step.is_pass, "changed": step.changed, "graph": step.graph, "selector": selector}


def _span(span: Span) -> Shape:
    return {
        "first": span.pairs[0].name,
        "last": span.pairs[-1].name,
        "next": span.next.name if span.next else None,
        "difference": difference(span.both) if span.both else None,
    }

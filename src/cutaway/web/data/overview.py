"""One process at a glance: what was compiled, and what to look at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import Any, TypeGuard

import msgspec

from cutaway.dump import Code, Compilation, Dump, Piece, Snapshot, schema
from cutaway.dump.compilation import Step
from cutaway.dump.diff.result import op_counts
from cutaway.dump.fold import fold_ranges, fold_ranks
from cutaway.dump.query.labels import label
from cutaway.errors import DumpError
from cutaway.record.layers.words import blocks
from cutaway.web.data import shapes
from cutaway.web.data.facts import facts
from cutaway.web.data.findings import findings
from cutaway.web.data.process import Process
from cutaway.web.data.words import cut, cut_or_none

MOST = 12
"""So many operators of a piece are named."""
MOST_LAYERS = 2000
"""So many layers of a piece are looked at for its label."""


def overview(process: Process) -> shapes.Overview:
    """What one process recorded.

    Args:
        process: what was recorded.
    """
    dump = process.dump
    context, notes = _context(dump)
    info = dump.info
    versions = {"cutaway": info.cutaway, "torch": info.torch, "python": info.python} if info else {}
    named = context.get("versions")
    versions |= {str(name): str(value) for name, value in named.items()} if isinstance(named, dict) else {}
    models = [compilation.model for compilation in dump if compilation.model]
    failures = [*dump.errors, *(error for compilation in dump for error in compilation.errors)]
    ranks = rank_names(dump)
    return shapes.Overview(
        run=dump.run,
        process=dump.process,
        model=cut(models[0]) if models else None,
        versions=versions,
        argv=[cut(word) for word in info.argv] if info else [],
        facts=facts(context),
        context=context,
        complete=dump.complete,
        notes=[*dump.notes, *notes],
        errors=[shapes.RecordingError(cut(e.where), cut(e.error), cut(e.traceback, 20_000)) for e in failures],
        findings=findings(process, ranks),
        compilations=[_Compilation(process, compilation).summary() for compilation in dump],
        ranks=ranks,
        totals=_totals(dump),
    )


def rank_names(dump: Dump) -> list[shapes.ProcessName]:
    """The processes of the run, those that compiled the same together; each by itself where one cannot be read."""
    try:
        return [shapes.ProcessName(same.shown, list(same.others)) for same in fold_ranks(dump)]
    except DumpError:
        return [shapes.ProcessName(name, []) for name in dump.processes]


def _context(dump: Dump) -> tuple[dict[str, Any], list[str]]:
    try:
        return dump.context, []
    except DumpError as error:
        return {}, [str(error)]


def _totals(dump: Dump) -> shapes.Totals:
    first: dict[str | None, int] = {}
    for snapshot in dump.snapshots.values():
        first.setdefault(snapshot.compilation, snapshot.node_count)
    steps = [*dump.snapshots.values(), *dump.codes.values()]
    return shapes.Totals(
        nodes=sum(first.values()),
        graphs=len({snapshot.graph for snapshot in dump.snapshots.values()}),
        kernels=sum(code.kind == "kernel" for code in dump.codes.values()),
        files_bytes=sum(file.bytes for step in steps for file in step.files),
    )


class _Compilation:
    """Summarises one compilation."""

    def __init__(self, process: Process, compilation: Compilation) -> None:
        self._process = process
        self._compilation = compilation
        self._seconds: dict[tuple[str | None, str | None], float] = {}
        self._ranges: dict[str, list[shapes.RangeSummary]] = {}
        self._ops: dict[str, list[tuple[str, int]]] = {}
        for metric in compilation.metrics:
            seconds = metric.values.get("seconds")
            if metric.kind == "compile_time" and _is_number(seconds):
                place = (metric.piece, metric.range)
                self._seconds[place] = self._seconds.get(place, 0.0) + seconds

    def summary(self) -> shapes.CompilationSummary:
        compilation = self._compilation
        started = compilation.started
        asked: dict[str, Counter[str]] = {}
        for cache in compilation.caches:
            asked.setdefault(cache.kind, Counter())[cache.result] += 1
        return shapes.CompilationSummary(
            name=compilation.name,
            function=cut_or_none(compilation.function),
            file=cut_or_none(started.file) if started else None,
            line=started.line if started else None,
            model=cut_or_none(compilation.model),
            recompile=started.recompile if started else 0,
            reason=[cut(text) for text in started.reason] if started else [],
            finished=compilation.finished,
            failed=cut_or_none(compilation.failed, 20_000),
            times=_times(compilation.metrics),
            caches=[shapes.CacheCount(kind, dict(results)) for kind, results in asked.items()],
            nodes=next((snapshot.node_count for snapshot in compilation.snapshots), 0),
            pieces=self._pieces(),
            whole=[step.selector for step in compilation.steps if step.piece is None and not isinstance(step, Code)],
        )

    def _pieces(self) -> list[shapes.PieceSummary]:
        kinds: dict[str, int] = {}
        found: list[shapes.PieceSummary] = []
        for piece in self._process.pieces(self._compilation):
            same_as = piece.same_as
            kind = kinds.setdefault(same_as or piece.name, len(kinds))
            ranges = self._ranges_of(piece)
            layers = piece.layers
            snapshots = piece.snapshots
            found.append(
                shapes.PieceSummary(
                    name=piece.name,
                    same_as=same_as,
                    kind=kind,
                    compiled=bool(ranges),
                    label=cut(label(blocks(layers[:MOST_LAYERS])), 200),
                    layers=layers,
                    nodes=snapshots[0].node_count if snapshots else 0,
                    ranges=ranges,
                    ops=self._ops_of(snapshots[0]) if snapshots else [],
                )
            )
        return found

    def _ranges_of(self, piece: Piece) -> list[shapes.RangeSummary]:
        """The ranges of a piece: its own, then those in which an equal one was compiled for it."""
        own = [self._range(piece, same.shown, same.others) for same in fold_ranges(piece)]
        self._ranges[piece.name] = own
        mine = set(piece.ranges)
        others: dict[str, None] = {}
        for leader, compile_range, _ in self._process.trail.stand_ins(self._compilation.name, piece.name):
            if compile_range is not None and compile_range not in mine:
                others[leader] = None
        for leader in others:
            own = own + [kept for each in self._ranges.get(leader, []) if (kept := _without(each, mine))]
        return own

    def _range(self, piece: Piece, name: str, others: Sequence[str]) -> shapes.RangeSummary:
        steps = [step for step in piece.steps if step.range == name]
        seconds = [self._seconds.get((piece.name, each)) for each in (name, *others)]
        known = [each for each in seconds if each is not None]
        return shapes.RangeSummary(
            name=name,
            same=list(others),
            seconds=round(sum(known), 4) if known else None,
            cached=bool(steps) and all(_is_cached(step) for step in steps),
            kernels=sum(isinstance(step, Code) and step.kind == "kernel" for step in steps),
        )

    def _ops_of(self, snapshot: Snapshot) -> list[tuple[str, int]]:
        if snapshot.graph not in self._ops:
            try:
                counts = op_counts(self._process.dump.table(snapshot.owner)[0])
            except DumpError:
                counts = Counter[str]()
            self._ops[snapshot.graph] = [(cut(name, 200), count) for name, count in counts.most_common(MOST)]
        return self._ops[snapshot.graph]


def _without(of: shapes.RangeSummary, names: Set[str]) -> shapes.RangeSummary | None:
    """Ranges that went through the same graphs, without some of them; None when none is left."""
    kept = [name for name in (of.name, *of.same) if name not in names]
    return msgspec.structs.replace(of, name=kept[0], same=kept[1:]) if kept else None


def _is_cached(step: Step) -> bool:
    return step.cached


_TIMES = {
    "seconds": ("compile", 1.0),
    "entire_frame_compile_time_s": ("whole frame", 1.0),
    "backend_compile_time_s": ("backend", 1.0),
    "inductor_compile_time_s": ("Inductor", 1.0),
    "code_gen_time_s": ("code generation", 1.0),
    "triton_compile_time_us": ("kernels' compilers", 1e-6),
    "pre_grad_pass_time_us": ("pre-grad passes", 1e-6),
    "joint_graph_pass_time_us": ("joint passes", 1e-6),
    "post_grad_pass_time_us": ("post-grad passes", 1e-6),
    "hook_ms": ("recording", 1e-3),
    "render_ms": ("recording", 1e-3),
}
"""Name in a metric -> what it is the time of, and its unit in seconds. torch has many more names for the same times."""


def _times(metrics: Sequence[schema.Metric]) -> list[shapes.Time]:
    """Times of a compilation: what the engine said of it as a whole, then of its pieces and of recording together."""
    sums: dict[str, float] = {}
    for metric in metrics:
        if metric.kind not in ("compile_time", "hooks"):
            continue
        for key, (name, unit) in _TIMES.items():
            value = metric.values.get(key)
            if _is_number(value) and value >= 0:
                name = "pieces" if metric.piece is not None and metric.kind == "compile_time" else name
                sums[name] = sums.get(name, 0.0) + unit * value
    largest = sorted(sums.items(), key=lambda pair: -pair[1])
    return [shapes.Time(name, round(seconds, 4)) for name, seconds in largest if seconds > 0]


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

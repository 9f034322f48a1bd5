"""The compile as a timeline, for Perfetto and chrome://tracing.

A process of the trace is a rank, a thread is a compilation: the compilation encloses its pieces, a piece its passes;
pieces that were compiled at the same time have threads of their own. What has no length (a graph that was recorded, a
cache that was asked, an error) is a mark. The format is the "JSON Object Format" of the Trace Event Format: times in
microseconds from the first event on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cutaway.dump import Compilation, Dump, Snapshot


@dataclass
class _Slice:
    """Something that took time.

    Attributes:
        begin, end: seconds since the epoch.
    """

    name: str
    kind: str
    begin: float
    end: float
    args: dict[str, Any] = field(default_factory=dict[str, Any])
    inside: list[_Slice] = field(default_factory=list["_Slice"])


def chrome_trace(dumps: Mapping[str, Dump]) -> dict[str, Any]:
    """A trace of the processes of a run, as plain values.

    Args:
        dumps: name of the process -> what it recorded.
    """
    times = [step.time for dump in dumps.values() for each in dump for step in each.steps]
    times += [dump.info.time for dump in dumps.values() if dump.info is not None]
    events: list[dict[str, Any]] = []
    for pid, (name, dump) in enumerate(dumps.items(), start=1):
        events.append(_named("process_name", name, pid, 0))
        events += _process(dump, pid, min(times, default=0.0))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _process(dump: Dump, pid: int, start: float) -> Iterator[dict[str, Any]]:
    thread = 0
    for compilation in dump:
        first = thread + 1
        for number, lane in enumerate(_lanes(compilation)):
            thread += 1
            name = compilation.name if number == 0 else f"{compilation.name} (at the same time, {number + 1})"
            yield _named("thread_name", name, pid, thread)
            yield from (_slice(each, pid, thread, start) for each in nested(lane))
        yield from _marks(compilation, pid, first, start)


def _lanes(compilation: Compilation) -> list[list[_Slice]]:
    """What stands on each thread; the compilation itself, and passes of no piece, on the first."""
    whole, pieces, loose = _slices(compilation)
    lanes: list[list[_Slice]] = []
    for piece in pieces:
        lane = next((lane for lane in lanes if lane[-1].end <= piece.begin), None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(piece)
    flat = [[each for piece in lane for each in (piece, *piece.inside)] for lane in lanes] or [[]]
    flat[0] = [whole, *loose, *flat[0]]
    return flat


def nested(slices: Iterable[_Slice]) -> list[_Slice]:
    """Slices of one thread so that any two of them nest or follow each other; a viewer draws no others.

    What ends a little late, because an event is written a little after what it tells of, is cut.
    """
    found: list[_Slice] = []
    around: list[_Slice] = []
    for each in sorted(slices, key=lambda each: (each.begin, -each.end)):
        while around and around[-1].end <= each.begin:
            around.pop()
        end = min([each.end, *(outer.end for outer in around)])
        cut = replace(each, end=end)
        found.append(cut)
        around.append(cut)
    return found


def _slices(compilation: Compilation) -> tuple[_Slice, list[_Slice], list[_Slice]]:
    """The compilation; its pieces with their passes, in order; and passes of no piece."""
    pieces: dict[tuple[str | None, str | None], _Slice] = {}
    for metric in compilation.metrics:
        seconds = metric.values.get("seconds")
        if metric.kind != "compile_time" or metric.piece is None or not isinstance(seconds, (int, float)):
            continue
        name = " ".join(filter(None, (metric.piece, metric.range)))
        pieces[metric.piece, metric.range] = _Slice(name, "piece", metric.time - max(seconds, 0), metric.time)
    loose: list[_Slice] = []
    for ran in compilation.passes:
        if ran.ms is None:
            continue
        args = {"changed": ran.changed, "nodes": ran.node_count, "ops": ran.ops_delta, **ran.counts}
        name = ran.selector.rpartition("/")[2]
        took = _Slice(name, "pass", ran.time - max(ran.ms, 0) / 1000, ran.time, args)
        home = pieces.get((ran.piece, ran.range))
        (home.inside if home is not None else loose).append(took)
    for piece in pieces.values():
        piece.begin = min([piece.begin, *(each.begin for each in piece.inside)])
        piece.end = max([piece.end, *(each.end for each in piece.inside)])
    inside = [*pieces.values(), *loose]
    times = [step.time for step in compilation.steps]
    times += [compilation.started.time] if compilation.started is not None else []
    begin = min([*times, *(each.begin for each in inside)], default=0.0)
    end = max([*times, *(each.end for each in inside)], default=begin)
    args = {"function": compilation.function, "model": compilation.model, "reason": compilation.failed}
    known = {key: value for key, value in args.items() if value}
    whole = _Slice(compilation.name, "compilation", begin, end, known)
    return whole, sorted(pieces.values(), key=lambda each: (each.begin, -each.end)), loose


def _marks(compilation: Compilation, pid: int, thread: int, start: float) -> Iterator[dict[str, Any]]:
    for step in compilation.steps:
        if isinstance(step, Snapshot) and step.changed:
            args = {"nodes": step.node_count, "graph": step.graph}
            yield _mark(step.selector, "graph", step.time, args, pid, thread, start)
    for asked in compilation.caches:
        args = {"key": asked.key, "piece": asked.piece, "range": asked.range}
        yield _mark(f"{asked.kind} {asked.result}", "cache", asked.time, args, pid, thread, start)
    for error in compilation.errors:
        yield _mark(error.where, "error", error.time, {"error": error.error}, pid, thread, start)


def _slice(each: _Slice, pid: int, thread: int, start: float) -> dict[str, Any]:
    begin, end = _micro(each.begin - start), _micro(each.end - start)
    return {
        "ph": "X", "name": each.name, "cat": each.kind, "ts": begin, "dur": end - begin, "pid": pid, "tid": thread,
        "args": each.args,
    }  # fmt: skip


def _mark(
    name: str, kind: str, time: float, args: Mapping[str, Any], pid: int, thread: int, start: float
) -> dict[str, Any]:
    known = {key: value for key, value in args.items() if value is not None}
    return {
        "ph": "i", "s": "t", "name": name, "cat": kind, "ts": _micro(time - start), "pid": pid, "tid": thread,
        "args": known,
    }  # fmt: skip


def _named(kind: str, name: str, pid: int, thread: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": thread, "args": {"name": name}}


def _micro(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1_000_000)

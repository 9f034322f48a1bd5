"""What `cutaway ls --json` prints; its shape is part of the interface (docs/dump-format.md)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cutaway.dump import Code, Compilation, Dump, Snapshot
from cutaway.dump.compilation import Step
from cutaway.dump.fold import fold_pieces, fold_ranges, fold_ranks
from cutaway.explain.shapes import uncaptured


def dump_shape(dump: Dump, wanted: frozenset[str] | None) -> dict[str, Any]:
    """A dump as JSON values.

    Args:
        dump: what to list.
        wanted: list only the steps with these selectors; None for all.
    """
    info = dump.info
    return {
        "path": str(dump.path),
        "run": dump.run,
        "runs": dump.runs,
        "process": dump.process,
        "processes": [{"name": same.shown, "same": same.others} for same in fold_ranks(dump)],
        "complete": dump.complete,
        "notes": dump.notes,
        "errors": dump.errors,
        "versions": {"cutaway": info.cutaway, "torch": info.torch, "python": info.python} if info else {},
        "argv": info.argv if info else [],
        "uncaptured": [asdict(each) for each in uncaptured(dump)],
        "compilations": [_compilation(compilation, wanted) for compilation in dump],
    }


def _compilation(compilation: Compilation, wanted: frozenset[str] | None) -> dict[str, Any]:
    started = compilation.started
    return {
        "name": compilation.name,
        "function": compilation.function,
        "file": started.file if started else None,
        "line": started.line if started else None,
        "model": compilation.model,
        "compile_id": started.compile_id if started else None,
        "recompile": started.recompile if started else 0,
        "reason": started.reason if started else [],
        "finished": compilation.finished,
        "failed": compilation.failed,
        "restarted_as": compilation.restarted_as,
        "pieces": _pieces(compilation),
        "steps": [_step(step) for step in compilation.steps if wanted is None or step.selector in wanted],
        "caches": compilation.caches,
        "metrics": compilation.metrics,
        "errors": compilation.errors,
    }


def _pieces(compilation: Compilation) -> list[dict[str, Any]]:
    same = {group.shown: group.others for group in fold_pieces(compilation)}
    return [
        {
            "name": piece.name,
            "same_as": piece.same_as,
            "same": same.get(piece.name, ()),
            "layers": piece.layers,
            "ranges": [{"name": group.shown, "same": group.others} for group in fold_ranges(piece)],
        }
        for piece in compilation.pieces
    ]


def _step(step: Step) -> dict[str, Any]:
    common = {
        "selector": step.selector,
        "event": "snapshot" if isinstance(step, Snapshot) else "code" if isinstance(step, Code) else "pass",
        "stage": step.kind if isinstance(step, Code) else step.stage,
        "phase": step.phase,
        "piece": step.piece,
        "range": step.range,
    }
    if isinstance(step, Code):
        return {**common, "files": step.files, "same_as": step.same_as, "cached": step.cached}
    graph = {
        "pass": step.pass_name,
        "changed": step.changed,
        "nodes": step.node_count,
        "ops_delta": step.ops_delta,
        "ms": step.ms,
    }
    if not isinstance(step, Snapshot):
        return {**common, **graph, "counts": step.counts, "notes": step.notes}
    more = {"graph": step.graph, "files": step.files, "same_as": step.same_as, "cached": step.cached}
    return {**common, **graph, **more, "coverage": step.coverage}

"""The steps of a compilation, one after another."""

from __future__ import annotations

from typing import Literal

from cutaway.dump import Code, Snapshot, schema
from cutaway.stages import STAGES
from cutaway.web.data import shapes
from cutaway.web.data.process import Process, leaf


def steps(process: Process, name: str) -> shapes.Steps:
    """What was recorded of a compilation, in that order; a pass and the graph after it are one step.

    Args:
        process: what was recorded.
        name: the compilation.

    Raises:
        SelectorError: there is no such compilation.
    """
    compilation = process.compilation(name)
    found: list[shapes.Step] = []
    ran = {step.selector: step for step in compilation.passes}
    taken = {step.selector for step in compilation.snapshots}
    for step in compilation.steps:
        if isinstance(step, Snapshot):
            found.append(_snapshot(process, step, ran.get(step.selector)))
        elif isinstance(step, Code):
            found.append(_code(step))
        elif step.selector not in taken:
            found.append(_pass(process, step))
    named = {step.stage for step in found}
    words = {stage.name: shapes.StageWords(stage.title, stage.sentence) for stage in STAGES if stage.name in named}
    return shapes.Steps(name, found, words)


def _snapshot(process: Process, step: Snapshot, ran: schema.PassRan | None) -> shapes.Step:
    found = _graph_step("snapshot", step, process.before(step))
    found.graph, found.same_as = step.graph, step.same_as
    found.counts, found.notes = (ran.counts, ran.notes) if ran is not None else ({}, {})
    found.coverage = step.coverage
    found.files = [file.path for file in step.files]
    return found


def _pass(process: Process, step: schema.PassRan) -> shapes.Step:
    found = _graph_step("pass", step, process.left_by(step))
    found.counts, found.notes = step.counts, step.notes
    return found


def _graph_step(
    kind: Literal["snapshot", "pass"], step: Snapshot | schema.PassRan, before: Snapshot | None
) -> shapes.Step:
    """What a graph and a pass that left it as it was have in common."""
    return shapes.Step(
        kind=kind,
        selector=step.selector,
        name=leaf(step),
        stage=step.stage,
        phase=step.phase,
        pass_name=step.pass_name,
        piece=step.piece,
        range=step.range,
        changed=step.changed,
        nodes=step.node_count,
        ops_delta=step.ops_delta,
        ms=step.ms,
        graph=None,
        same_as=None,
        before=before.selector if before is not None else None,
        cached=step.cached,
        code=None,
        counts={},
        notes={},
        coverage={},
        files=[],
        seq=step.seq,
    )


def _code(step: Code) -> shapes.Step:
    return shapes.Step(
        kind="code",
        selector=step.selector,
        name=leaf(step),
        stage=step.kind,
        phase=step.phase,
        pass_name=None,
        piece=step.piece,
        range=step.range,
        changed=False,
        nodes=None,
        ops_delta={},
        ms=None,
        graph=None,
        same_as=step.same_as,
        before=None,
        cached=step.cached,
        code=step.kind,
        counts={},
        notes={},
        coverage={},
        files=[file.path for file in step.files],
        seq=step.seq,
    )

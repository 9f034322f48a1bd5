"""The steps of a compilation, one after another."""

from __future__ import annotations

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
    before = process.before(step)
    return shapes.Step(
        kind="snapshot",
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
        graph=step.graph,
        same_as=step.same_as,
        before=before.selector if before is not None else None,
        cached=step.cached,
        code=None,
        counts=ran.counts if ran is not None else {},
        notes=ran.notes if ran is not None else {},
        coverage=step.coverage,
        files=[file.path for file in step.files],
        seq=step.seq,
    )


def _pass(process: Process, step: schema.PassRan) -> shapes.Step:
    before = process.left_by(step)
    return shapes.Step(
        kind="pass",
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
        counts=step.counts,
        notes=step.notes,
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

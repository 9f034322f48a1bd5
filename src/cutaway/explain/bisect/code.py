"""Inductor's code, where all graphs of a piece are right: at which node it is wrong, and in which kernel."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from cutaway.errors import CutawayError, ReplayError
from cutaway.explain.bisect.errand import run_errand
from cutaway.explain.bisect.finding import Finding, listed
from cutaway.explain.bisect.reproduced import Shown, generated_by, reproduced, request_for, with_file
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.bisect.trials import REPLAY, Trials
from cutaway.explain.reproducer import Made, checked
from cutaway.explain.switches import Place, Switches
from cutaway.replay.job import Answer
from cutaway.replay.result import Replayed

FRESH, HERE = "in a process of its own", "in the process of the engine, not in a fresh one"


def wrong_code(trials: Trials, finding: Finding, stages: Stages, event: Event, seen: Seen) -> Finding:
    """What is known of it.

    Args:
        trials: of the search.
        finding: that the piece computes something else.
        stages: its graphs, all of which are right.
        event: what the hands told of the piece.
        seen: all that they told.
    """
    finding = finding.with_evidence(f"every graph up to {stages.last.selector} computes what the captured one does")
    finding = replace(finding, stage=f"{stages.last.selector.rpartition('/')[0]}/output_code")
    trials.progress.begin("the last graph against its code", REPLAY)
    made: Made | None = None
    where = FRESH
    try:
        wrong = stages.compiled()
        if wrong is None and trials.budget.allows(trials.took):
            where = HERE
            wrong, made = _errand(trials, finding, stages, event)
    except CutawayError as error:
        trials.progress.end("it cannot be compiled by itself")
        found = finding.without(f"the last graph cannot be compiled by itself: {error}")
        return _as_it_ran(trials, found, stages, event, seen)
    if wrong is None:
        trials.progress.end("it is right when compiled by itself", False)
        found = finding.without("the last graph, compiled by itself, is right: what differs is how it was compiled")
        return _as_it_ran(trials, found, stages, event, seen)
    trials.progress.end("it parts", True)
    found = _placed(finding.with_evidence(f"the last graph, compiled {where}, computes something else"), stages, wrong)
    if where == FRESH:
        return reproduced(trials, found, Shown("compiled", stages, [stages.last], [found.node]))
    try:
        made = checked(made or Made(why="the process ended before one was made"))
        return with_file(found, made, Shown("compiled", stages, [stages.last]))
    except ReplayError:
        return _as_it_ran(trials, found, stages, event, seen)


def _placed(finding: Finding, stages: Stages, wrong: Replayed) -> Finding:
    """At the node from which on the code parts from its graph, and in the kernel that computes it."""
    spot = wrong.part
    if spot is None or spot.after is None:
        return finding.without("at which node its code parts from it")
    kernels = stages.kernels_of(spot.after.name)
    found = replace(finding.at_node(spot.after), kernel=kernels[0] if len(kernels) == 1 else None)
    return found.without(f"which of the kernels {listed(kernels)} it is") if len(kernels) > 1 else found


def _as_it_ran(trials: Trials, finding: Finding, stages: Stages, event: Event, seen: Seen) -> Finding:
    """With the code of the whole piece, as it ran, against its graph."""
    code = generated_by(stages, seen, event)
    return reproduced(trials, finding, Shown("code", stages, [stages.captured], code=code))


def _errand(trials: Trials, finding: Finding, stages: Stages, event: Event) -> tuple[Replayed | None, Made | None]:
    """Compile the last graph within the engine's process, where an operator or a lowering may be another.

    Where that parts, it is made smaller there, too.
    """
    job = stages.errand()
    request = request_for(trials, finding, Shown("compiled", stages, [stages.last]))
    place = Place(event["piece"], event["range"])
    step = f"the last graph of {place} compiled by itself, in the engine's process"
    seen = run_errand(trials, place, step, Switches(compare=(place,)), request, job)
    done, made = seen.first("errand"), seen.first("made")
    if done is None:
        raise ReplayError("the engine's process ended before it had compiled the graph")
    answer = msgspec.convert(done["answer"], Answer)
    if answer.problem is not None:
        raise ReplayError("the graph cannot be compiled in the engine's process", answer.problem.error)
    found = stages.told(job, answer)
    small = None if made is None else msgspec.convert(made["made"], Made)
    return (found if found.outcome == "apart" else None), small

"""A value that is overwritten: by which piece, whether a pass made it so, and the graphs that show it."""

from __future__ import annotations

from dataclasses import replace

from cutaway.dump.reader import Dump
from cutaway.errors import CutawayError
from cutaway.explain.bisect.finding import Finding, listed
from cutaway.explain.bisect.recorded import which_pass
from cutaway.explain.bisect.reproduced import Shown, generated_by, reproduced
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.stages import Stage, Stages
from cutaway.explain.bisect.trials import REPLAY, Trials
from cutaway.explain.switches import Place, Switches


def overwritten(trials: Trials, event: Event, seen: Seen, dump: Dump | None) -> Finding:
    """What is known of it.

    Args:
        trials: of the search.
        event: what the hands told.
        seen: all that they told.
        dump: of the trial.
    """
    places = seen.places("overwrote")
    told = f"{event['piece']} writes to {event['value']}, which {listed(event['used_by'])} reads after it"
    finding = Finding.of_call(
        trials.part,
        "overwritten",
        event,
        f"{told}; its eager graph leaves it as it is",
        node=event.get("argument"),
        others=tuple(str(one) for one in places if one != Place(event["piece"], event["range"])),
    )
    stages, stage, why = _stage(trials, finding, event, dump)
    if stage is not None and stage.snapshot.pass_name is not None:
        name = stage.snapshot.pass_name
        found = replace(finding, stage=stage.snapshot.selector, pass_name=name)
        found = trials.confirm(found, Switches(passes_off=(name,)), f"without the pass {name}")
        if found.confidence != "confirmed":
            found = replace(finding, evidence=found.evidence, unknown=found.unknown)
    else:
        found = which_pass(trials, finding, dump) or finding
    if found.confidence != "confirmed":
        found = trials.confirm(found, Switches(eager=places), f"with {listed(list(map(str, places)))} run eagerly")
    if stages is None:
        return found.without(f"a reproducer: {why}")
    if stage is not None:
        return reproduced(trials, found, Shown("overwritten", stages, [stage.before, stage.snapshot]))
    code = generated_by(stages, seen, event)
    return reproduced(trials, found, Shown("code", stages, [stages.captured], code=code))


def _stage(
    trials: Trials, finding: Finding, event: Event, dump: Dump | None
) -> tuple[Stages | None, Stage | None, str]:
    """The graphs of the piece, and the first that overwrites; or why that is not known."""
    if dump is None or not event.get("inputs"):
        return None, None, "there is no recording of the graphs with their inputs"
    if not trials.budget.allows(REPLAY):
        return None, None, "there was no time left"
    trials.progress.begin(f"the stages of {finding.place}, one against the other", REPLAY)
    try:
        stages = Stages(dump, event, min(120.0, max(20.0, trials.budget.left)), least=1)
        stage = stages.first_wrong()
    except CutawayError as error:
        trials.progress.end("they cannot be replayed")
        return None, None, str(error)
    told = "none of them overwrites it" if stage is None else f"{stage.snapshot.selector} is the first that does"
    trials.progress.end(told, stage is not None)
    return stages, stage, ""

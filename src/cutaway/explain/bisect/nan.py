"""NaN that is made of numbers, by an eager graph."""

from __future__ import annotations

from cutaway.dump.reader import Dump
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.reproduced import Shown, out_of_stages, reproduced
from cutaway.explain.bisect.seen import Event
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.bisect.trials import Trials


def made_of_numbers(trials: Trials, event: Event, dump: Dump | None) -> Finding:
    """What is known of it.

    Args:
        trials: of the search.
        event: what the hands told.
        dump: of the trial.
    """
    node = event.get("node")
    in_float64 = "so it does in float64" if event.get("in_float64") else "in float64 it does not: an overflow"
    infinite = event.get("infinite")
    told = f"the eager graph of {event['piece']} makes NaN of numbers at {node}; {in_float64}"
    more = (f"it comes of infinities, of which the first are in {infinite}",) if infinite else ()
    facts = {name: event.get(name) for name in ("node", "code", "layer", "source")}
    finding = Finding.of_call(trials.part, "nan", event, told, *more, **facts)
    if node is None:
        return finding

    def make(stages: Stages) -> Finding:
        at = stages.name_of(event.get("number"))
        return reproduced(trials, finding, Shown("nan", stages, [stages.captured], [at]))

    return out_of_stages(finding, dump, event, make)

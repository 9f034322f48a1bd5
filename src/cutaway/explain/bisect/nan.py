"""NaN that is made of numbers, by an eager graph."""

from __future__ import annotations

from cutaway.dump.reader import Dump
from cutaway.errors import CutawayError
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.reproduced import reproduced
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
    finding = Finding(
        trials.part,
        "nan",
        event["piece"],
        event["range"] or None,
        node=node,
        code=event.get("code"),
        layer=event.get("layer"),
        source=event.get("source"),
        confidence="likely",
        evidence=(
            f"the eager graph of {event['piece']} makes NaN of numbers at {node}; {in_float64}",
            *((f"it comes of infinities, of which the first are in {infinite}",) if infinite else ()),
        ),
    )
    if dump is None or node is None:
        return finding
    try:
        stages = Stages(dump, event)
    except CutawayError as error:
        return finding.without(f"a reproducer: {error}")
    return reproduced(trials, finding, "nan", stages, [stages.captured], [stages.name_of(event.get("number"))])

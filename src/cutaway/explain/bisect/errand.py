"""A trial in whose process something is done that shows there alone: a graph compiled by itself, and made smaller."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from cutaway.explain.bisect.seen import Seen
from cutaway.explain.bisect.trials import Trials
from cutaway.explain.reproducer import Request
from cutaway.explain.switches import Errand, Place, Switches
from cutaway.replay.job import Job

_MOST = 20.0
"""Seconds that a graph is made smaller for within the engine's process: each smaller one is compiled."""


def run_errand(
    trials: Trials, place: Place, step: str, switches: Switches, request: Request, job: Job | None = None
) -> Seen:
    """Run a trial with an errand; what its hands told.

    Args:
        trials: of the search.
        place: the piece that does it.
        step: what it is for, in words.
        switches: what else is off or watched.
        request: what a reproducer is to be made of.
        job: what is replayed before; None where its code ends the process.
    """
    request.seconds = min(request.seconds, _MOST)
    name = f"{place.piece}_{place.range or 'all'}"
    asked, replayed = (trials.folder / f"{kind}_{name}.json" for kind in ("request", "errand"))
    asked.write_bytes(msgspec.json.encode(request))
    if job is not None:
        replayed.write_bytes(msgspec.json.encode(job))
    errand = Errand(place, str(replayed) if job is not None else "", str(asked))
    observation = trials.observe(step, replace(switches, errands=(errand,)))
    for one in (asked, replayed):
        one.unlink(missing_ok=True)
    return Seen.of(observation.folder)

"""Inside of a part: which piece and range, stage and pass, node, provider, kernel.

One trial compares every piece with its own eager graph on the real inputs that reach it; the graphs that it recorded
are then replayed stage by stage, without the engine. What is found is switched off in a last trial: the fault must go.
"""

from __future__ import annotations

from cutaway.dump.reader import Dump
from cutaway.explain.bisect.crash import crashed
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.nan import made_of_numbers
from cutaway.explain.bisect.overwritten import overwritten
from cutaway.explain.bisect.parted import parted
from cutaway.explain.bisect.passed import passed
from cutaway.explain.bisect.recorded import importable, recording_of
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.slow import too_slow
from cutaway.explain.bisect.trials import Trials
from cutaway.explain.budget import Budget
from cutaway.explain.progress import Progress
from cutaway.explain.switches import EVERYWHERE, Switches
from cutaway.explain.trial import Judge, Observation, Slow, Trial

FINDINGS = ("passed", "overwrote", "parted", "nan")


def inside(
    trial: Trial,
    judge: Judge,
    part: str,
    budget: Budget,
    progress: Progress,
    repeats: int = 1,
    slow: Slow | None = None,
) -> Finding:
    """Look for the place of a fault inside of a part.

    Args:
        trial: runs the subject.
        judge: says whether the fault is there.
        part: the rung of the ladder at which the fault goes (`PARTS`).
        budget: what may be spent; what was found by then is returned.
        progress: told of every step.
        repeats: for a fault that comes and goes, how many trials in a row must be right for it to be gone; else 1.
        slow: the fault is that it is slow, to start or to run: then nothing is compared.

    Returns:
        What is known; what could not be found out is in `Finding.unknown`.
    """
    trials = Trials(trial, judge, part, budget, progress, repeats)
    if slow is not None:
        return too_slow(trials, slow)
    asked = Switches(compare=(EVERYWHERE,), fresh=(EVERYWHERE,) if part == "caches" else ())
    observation = trials.observe("every piece against its eager graph", asked, record=True)
    for _ in range(repeats - 1):
        if judge.faulty(observation) or not budget.allows(trials.took):
            break
        observation = trials.observe("every piece against its eager graph, again", asked, record=True)
    if observation.outcome == "unusable":
        return Finding(part, unknown=(f"the trial could not be made: {observation.why}",))
    trials.folder = observation.folder
    seen = Seen.of(observation.folder)
    dump, why = recording_of(observation)
    with importable(dump):
        return _found(trials, observation, seen, dump, why)


def _found(trials: Trials, observation: Observation, seen: Seen, dump: Dump | None, why: str) -> Finding:
    if observation.outcome in ("crash", "timeout"):
        return crashed(trials, observation, seen, dump)
    first = next((event for event in seen.events if event["event"] in FINDINGS), None)
    if first is None:
        return _nothing(trials, observation, seen)
    trials.progress.learn(_heard(first))
    if first["event"] == "passed":
        return passed(trials, first, seen)
    if first["event"] == "overwrote":
        return overwritten(trials, first, seen, dump)
    if first["event"] == "nan":
        return made_of_numbers(trials, first, dump)
    found = parted(trials, first, seen, dump)
    return found.without(why) if why else found


def _nothing(trials: Trials, observation: Observation, seen: Seen) -> Finding:
    """No piece is wrong by itself."""
    part, compared = trials.part, seen.compared
    told = f"each of {compared} pieces and ranges computes what its eager graph does, and overwrites nothing"
    is_faulty = trials.judge.faulty(observation)
    if not compared:
        return Finding(part, unknown=("no piece was called that could be compared",))
    if not is_faulty:
        why = "the fault went when pieces were watched: it depends on timing, on memory or on chance"
        return Finding(part, evidence=(told,), unknown=(why,))
    if part == "caches":
        other = "with empty caches the fault goes: the graph that was loaded is not this model's"
        return Finding(part, "other graph", confidence="likely", evidence=(told, other))
    return Finding(part, evidence=(told,), unknown=("what stands between and around the pieces is at fault",))


def _heard(event: Event) -> str:
    words = {
        "passed": "is passed another value than the split graph says",
        "overwrote": "overwrites what is read later",
        "parted": "computes something else than its eager graph",
        "nan": "makes NaN of numbers, as its eager graph does",
    }
    return f"{event['piece'] or 'the model'} {words[event['event']]}"

"""A piece that computes something else than its eager graph: by which stage, pass, node, or artifact."""

from __future__ import annotations

from dataclasses import replace

from cutaway.dump.reader import Dump
from cutaway.errors import CutawayError
from cutaway.explain.bisect.at_stage import at_stage
from cutaway.explain.bisect.code import wrong_code
from cutaway.explain.bisect.finding import Finding, listed
from cutaway.explain.bisect.recorded import which_pass
from cutaway.explain.bisect.reproduced import Shown, generated_by, out_of_stages, reproduced
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.bisect.trials import REPLAY, Trials
from cutaway.explain.switches import Place, Switches


def parted(trials: Trials, event: Event, seen: Seen, dump: Dump | None) -> Finding:
    """What is known of it.

    Args:
        trials: of the search.
        event: what the hands told.
        seen: all that they told.
        dump: of the trial.
    """
    place = Place(event["piece"], event["range"])
    others = [str(one) for one in seen.places("parted") if one != place]
    finding = Finding.of_call(trials.part, "numbers", event, *_errors(event), others=tuple(others))
    fresh = next((one for one in seen.all("fresh") if Place(one["piece"], one["range"]) == place), None)
    if fresh is not None and fresh.get("is_apart") is False:
        return _stale(trials, _with_factor(finding, fresh), event, seen, dump)
    if trials.repeats > 1:
        finding = finding.without(
            "which node it is: a replay need not show what comes and goes; nor would a reproducer"
        )
        return which_pass(trials, finding, dump) or _confirmed(trials, finding, seen)
    if dump is not None and trials.budget.allows(REPLAY):
        finding = _stages(trials, finding, dump, event, seen)
    return _confirmed(trials, finding, seen)


def _stale(trials: Trials, finding: Finding, event: Event, seen: Seen, dump: Dump | None) -> Finding:
    """What a cache gave is wrong, and what is compiled now is not."""
    told = f"{finding.place} compiled anew, with no cache, computes what its eager graph does"
    finding = replace(finding, kind="stale artifact", confidence="confirmed").with_evidence(told)

    def make(stages: Stages) -> Finding:
        code = generated_by(stages, seen, event)
        # What was compiled anew is right, up to its last graph; that one needs no operator of an engine's.
        found = reproduced(trials, finding, Shown("code", stages, [stages.last], code=code))
        if found.reproducer is None and stages.last is not stages.captured:
            found = reproduced(trials, finding, Shown("code", stages, [stages.captured], code=code))
        return found

    return out_of_stages(finding, dump, event, make)


def _with_factor(finding: Finding, fresh: Event) -> Finding:
    """With what the key of the artifact may lack: all that the user's code reads when the piece is compiled anew."""
    reads: list[Event] = fresh.get("reads") or []
    if not reads:
        told = "which factor its key lacks, if any: no code of yours reads a variable or a file when it is compiled"
        return finding.without(told)
    for one in reads:
        name = one.get("variable") or one["file"]
        what = f"the file {name}" if "file" in one else f"the variable {name}, {_state(one)}"
        finding = finding.with_evidence(f"its compile reads {what}, at {one['at']}: the key may lack it")
    finding = finding.without("what that was when the artifact was stored: nothing in the cache says so")
    return replace(finding, factor=reads[0].get("variable") or reads[0]["file"]) if len(reads) == 1 else finding


def _state(read: Event) -> str:
    return "which is set now" if read["is_set"] else "which is not set now"


def _stages(trials: Trials, finding: Finding, dump: Dump, event: Event, seen: Seen) -> Finding:
    trials.progress.begin(f"the stages of {finding.place}, one against the other", REPLAY)
    try:
        stages = Stages(dump, event, min(120.0, max(20.0, trials.budget.left)))
        stage = stages.first_wrong()
    except CutawayError as error:
        trials.progress.end("they cannot be replayed")
        return finding.without(f"the stages of {finding.place} cannot be replayed: {error}")
    if stage is None:
        trials.progress.end("all of them are right", False)
        return wrong_code(trials, finding, stages, event, seen)
    trials.progress.end(f"{stage.snapshot.selector} is the first that is wrong", True)
    spot = stage.spot
    nodes = [one.name if one is not None else None for one in ((spot.before, spot.after) if spot else ())]
    shown = Shown("pair", stages, [stage.before, stage.snapshot], nodes)
    return reproduced(trials, at_stage(finding, stage), shown)


def _confirmed(trials: Trials, finding: Finding, seen: Seen) -> Finding:
    """Without what was found the fault must go."""
    if finding.provider is not None and finding.op is not None:
        op = finding.op
        return trials.confirm(finding, Switches(providers={op: ("native",)}), f"with {op} native")
    if finding.pass_name is not None:
        asked = Switches(passes_off=(finding.pass_name,))
        told = trials.confirm(finding, asked, f"without the pass {finding.pass_name}")
        if told.confidence == "confirmed" or not trials.budget.allows(trials.took):
            return told
        finding = told
    places = seen.places("parted")
    return trials.confirm(finding, Switches(eager=places), f"with {listed(list(map(str, places)))} run eagerly")


def _errors(event: Event) -> list[str]:
    """How far a piece's values are off."""
    told: list[str] = []
    for name, value in event["values"].items():
        compared = value["comparison"]
        off = compared.get("absolute")
        size = f"by up to {off:.3g}" if isinstance(off, float) else "in kind, or by no finite number"
        told.append(f"{name} of {event['piece']} differs {size} ({compared['differing']} of {compared['elements']})")
        if value["compiled_error"] is not None:
            ours, theirs = value["compiled_error"], value["eager_error"]
            told.append(f"from float64 it is {ours:.3g} off, the eager graph {theirs:.3g}")
    return told[:6]

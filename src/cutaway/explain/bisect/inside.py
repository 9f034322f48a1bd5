"""Inside of a part: which piece and range, stage and pass, node, provider, kernel.

One trial compares every piece with its own eager graph on the real inputs that reach it; the graphs that it recorded
are then replayed stage by stage, without the engine. What is found is switched off in a last trial: the fault must go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import CutawayError, ReplayError
from cutaway.explain.bisect.at_stage import at_stage
from cutaway.explain.bisect.crash import crash
from cutaway.explain.bisect.finding import Finding, listed
from cutaway.explain.bisect.recorded import custom_passes, importable, recording_of
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.slow import slow_pass, slow_piece
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.budget import Budget
from cutaway.explain.progress import Progress
from cutaway.explain.reproducer import Request, make_reproducer
from cutaway.explain.reproducer.job import Fault
from cutaway.explain.switches import EVERYWHERE, Errand, Place, Switches
from cutaway.explain.trial import Judge, Observation, Setting, Trial, before
from cutaway.replay.job import Answer
from cutaway.replay.result import Replayed

REPLAY = 30.0
"""Seconds that a search through the stages of a piece must at least have."""

MOST_PASSES = 4
"""So many are tried one by one."""

FINDINGS = ("passed", "overwrote", "parted", "nan")


def inside(trial: Trial, judge: Judge, part: str, budget: Budget, progress: Progress, repeats: int = 1) -> Finding:
    """Look for the place of a fault inside of a part.

    Args:
        trial: runs the subject.
        judge: says whether the fault is there.
        part: the rung of the ladder at which the fault goes (`PARTS`).
        budget: what may be spent; what was found by then is returned.
        progress: told of every step.
        repeats: for a fault that comes and goes, how many trials in a row must be right for it to be gone; else 1.

    Returns:
        What is known; what could not be found out is in `Finding.unknown`.
    """
    return Search(trial, judge, part, budget, progress, repeats).run()


@dataclass
class Search:
    """One search.

    Attributes:
        trial, judge, part, budget, progress, repeats: as in `inside`.
        took: seconds of the longest trial so far.
        folder: where a reproducer goes: that of the first trial.
    """

    trial: Trial
    judge: Judge
    part: str
    budget: Budget
    progress: Progress
    repeats: int = 1
    took: float = field(default=0.0, init=False)
    folder: Path = field(default=Path(), init=False)

    def run(self) -> Finding:
        """Search."""
        asked = Switches(compare=(EVERYWHERE,), fresh=(EVERYWHERE,) if self.part == "caches" else ())
        observation = self._observe("every piece against its eager graph", asked, record=True)
        for _ in range(self.repeats - 1):
            if self.judge.faulty(observation) or not self.budget.allows(self.took):
                break
            observation = self._observe("every piece against its eager graph, again", asked, record=True)
        if observation.outcome == "unusable":
            return Finding(self.part, unknown=(f"the trial could not be made: {observation.why}",))
        self.folder = observation.folder
        seen = Seen.of(observation.folder)
        dump, why = recording_of(observation)
        with importable(dump):
            return self._found(observation, seen, dump, why)

    def _found(self, observation: Observation, seen: Seen, dump: Dump | None, why: str) -> Finding:
        if observation.outcome in ("crash", "timeout"):
            return self._crashed(observation, seen, dump)
        first = next((event for event in seen.events if event["event"] in FINDINGS), None)
        if first is None:
            return self._nothing(observation, seen, dump)
        self.progress.learn(_heard(first))
        found = {
            "passed": self._passed,
            "overwrote": self._overwrote,
            "parted": self._parted,
            "nan": self._nan,
        }[first["event"]](first, seen, dump)
        return found.without(why) if why and first["event"] == "parted" else found

    # -- what was seen ------------------------------------------------------------------------------------

    def _passed(self, event: Event, seen: Seen, dump: Dump | None) -> Finding:
        given = f"it is given {event['given']}" if event.get("given") else "it is given a value that no piece returned"
        return Finding(
            self.part,
            "arguments",
            event["piece"] or None,
            node=event.get("argument"),
            confidence="likely",
            evidence=(
                f"the split graph passes {event['expected']} to {event['piece'] or 'the caller'} "
                f"at place {event['position']}, and {given}",
            ),
        )

    def _overwrote(self, event: Event, seen: Seen, dump: Dump | None) -> Finding:
        places = seen.places("overwrote")
        finding = Finding(
            self.part,
            "overwritten",
            event["piece"],
            event["range"] or None,
            node=event.get("argument"),
            confidence="likely",
            evidence=(
                f"{event['piece']} writes to {event['value']}, which {listed(event['used_by'])} "
                "reads after it; its eager graph leaves it as it is",
            ),
            others=tuple(str(one) for one in places if one != Place(event["piece"], event["range"])),
        )
        by_pass = self._which_pass(finding, dump)
        if by_pass is not None:
            return by_pass
        return self._confirm(finding, Switches(eager=places), f"with {listed(list(map(str, places)))} run eagerly")

    def _nan(self, event: Event, seen: Seen, dump: Dump | None) -> Finding:
        node = event.get("node")
        in_float64 = "so it does in float64" if event.get("in_float64") else "in float64 it does not: an overflow"
        infinite = event.get("infinite")
        finding = Finding(
            self.part,
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
        return self._reproduced(finding, "nan", stages, [stages.captured], [stages.name_of(event.get("number"))])

    def _parted(self, event: Event, seen: Seen, dump: Dump | None) -> Finding:
        place = Place(event["piece"], event["range"])
        others = [str(one) for one in seen.places("parted") if one != place]
        finding = Finding(
            self.part,
            "numbers",
            event["piece"],
            event["range"] or None,
            evidence=tuple(_errors(event)),
            others=tuple(others),
            confidence="likely",
        )
        fresh = next((one for one in seen.all("fresh") if Place(one["piece"], one["range"]) == place), None)
        if fresh is not None and fresh.get("is_apart") is False:
            told = f"{place} compiled anew, with no cache, computes what its eager graph does"
            return replace(finding, kind="stale artifact", confidence="confirmed").with_evidence(told)
        if self.repeats > 1:
            finding = finding.without("which node it is: a replay need not show what comes and goes")
            return self._which_pass(finding, dump) or self._confirmed(finding, seen)
        if dump is not None and self.budget.allows(REPLAY):
            finding = self._stages(finding, dump, event)
        return self._confirmed(finding, seen)

    def _nothing(self, observation: Observation, seen: Seen, dump: Dump | None) -> Finding:
        compared = seen.compared
        told = f"each of {compared} pieces and ranges computes what its eager graph does, and overwrites nothing"
        if observation.took is not None and self.judge.faulty(observation):
            found = slow_pass(self.part, dump, observation.took) if dump is not None else None
            if found is not None:
                return self._confirm(found, Switches(passes_off=(found.pass_name or "",)))
            timed = self._observe("pieces and their eager graphs, timed", Switches(times=(EVERYWHERE,)))
            found = slow_piece(self.part, Seen.of(timed.folder))
            if found is not None:
                return self._confirm(found, Switches(eager=(Place(found.piece or "*", found.range or "*"),)))
            return Finding(self.part, evidence=(told,), unknown=("which pass or piece it goes to: none alone",))
        if not compared:
            return Finding(self.part, unknown=("no piece was called that could be compared",))
        if not self.judge.faulty(observation):
            return Finding(
                self.part,
                evidence=(told,),
                unknown=("the fault went when pieces were watched: it depends on timing, on memory or on chance",),
            )
        if self.part == "caches":
            return Finding(
                self.part,
                "other graph",
                confidence="likely",
                evidence=(told, "with empty caches the fault goes: the graph that was loaded is not this model's"),
            )
        return Finding(self.part, evidence=(told,), unknown=("what stands between and around the pieces is at fault",))

    def _crashed(self, observation: Observation, seen: Seen, dump: Dump | None) -> Finding:
        found = crash(self.part, observation, seen, dump)
        self.progress.learn(found.sentence())
        if found.pass_name is not None:
            return self._confirm(found, Switches(passes_off=(found.pass_name,)), f"without the pass {found.pass_name}")
        last = seen.last()
        if found.piece is not None and last is not None and last["event"] == "call" and last.get("step") == "compiled":
            return self._confirm(found, Switches(eager=(Place(found.piece),)), f"with {found.piece} run eagerly")
        return found

    # -- the stages of a piece ----------------------------------------------------------------------------

    def _stages(self, finding: Finding, dump: Dump, event: Event) -> Finding:
        self.progress.begin(f"the stages of {finding.place}, one against the other", REPLAY)
        try:
            stages = Stages(dump, event, min(120.0, max(20.0, self.budget.left)))
            stage = stages.first_wrong()
        except CutawayError as error:
            self.progress.end("they cannot be replayed")
            return finding.without(f"the stages of {finding.place} cannot be replayed: {error}")
        if stage is None:
            self.progress.end("all of them are right", False)
            return self._code(finding, stages, event)
        self.progress.end(f"{stage.snapshot.selector} is the first that is wrong", True)
        spot = stage.spot
        nodes = [one.name if one is not None else None for one in ((spot.before, spot.after) if spot else ())]
        return self._reproduced(at_stage(finding, stage), "pair", stages, [stage.before, stage.snapshot], nodes)

    def _code(self, finding: Finding, stages: Stages, event: Event) -> Finding:
        """All graphs are right: it is Inductor's code."""
        finding = finding.with_evidence(f"every graph up to {stages.last.selector} computes what the captured one does")
        finding = replace(finding, stage=f"{stages.last.selector.rpartition('/')[0]}/output_code")
        self.progress.begin("the last graph against its code", REPLAY)
        try:
            wrong = stages.compiled()
            where = "in a process of its own"
            if wrong is None and self.budget.allows(self.took):
                where = "in the process of the engine, not in a fresh one"
                wrong = self._errand(stages, event)
        except CutawayError as error:
            self.progress.end("it cannot be compiled by itself")
            return finding.without(f"the last graph cannot be compiled by itself: {error}")
        if wrong is None:
            self.progress.end("it is right when compiled by itself", False)
            return finding.without("the last graph, compiled by itself, is right: what differs is how it was compiled")
        self.progress.end("it parts", True)
        finding = finding.with_evidence(f"the last graph, compiled {where}, computes something else")
        spot = wrong.part
        if spot is None or spot.after is None:
            return finding.without("at which node its code parts from it")
        kernels = stages.kernels_of(spot.after.name)
        found = replace(finding.at_node(spot.after), kernel=kernels[0] if len(kernels) == 1 else None)
        if len(kernels) > 1:
            found = found.without(f"which of the kernels {listed(kernels)} it is")
        if where.startswith("in the process of the engine"):
            return found.without("a reproducer: the fault does not show outside of the engine's process")
        return self._reproduced(found, "compiled", stages, [stages.last], [spot.after.name])

    def _reproduced(
        self,
        finding: Finding,
        fault: Fault,
        stages: Stages,
        graphs: Sequence[Snapshot],
        nodes: Sequence[str | None],
    ) -> Finding:
        """With a file that shows the fault, if one can be made."""
        if not self.budget.allows(2 * REPLAY):
            return finding.without("a reproducer: there was no time left")
        self.progress.begin("a reproducer", REPLAY)
        try:
            request = Request(
                fault=fault,
                graphs=[stages.graph_of(one) for one in graphs],
                output=str(self.folder / "reproducer.py"),
                nodes=list(nodes),
                header=[finding.sentence(), *(one.selector for one in graphs)],
                seconds=min(45.0, self.budget.left / 4),
            )
            made = make_reproducer(request, min(150.0, max(REPLAY, self.budget.left / 2)))
        except CutawayError as error:
            self.progress.end("none that shows the fault")
            return finding.without(f"a reproducer: {error}")
        self.progress.end(f"{made.nodes} of {made.nodes_before} nodes", True)
        told = f"{made.nodes} of {made.nodes_before} nodes show it in a process of their own"
        return replace(finding, reproducer=Path(made.path)).with_evidence(told)

    def _errand(self, stages: Stages, event: Event) -> Replayed | None:
        """Compile the last graph within the engine's process, where an operator or a lowering may be another."""
        job = stages.errand()
        path = stages.dump.path / f"errand_{event['piece']}_{event['range'] or 'all'}.json"
        path.write_bytes(msgspec.json.encode(job))
        place = Place(event["piece"], event["range"])
        asked = Switches(compare=(place,), errands=(Errand(place, str(path)),))
        observation = self._observe(f"the last graph of {place} compiled by itself, in the engine's process", asked)
        done = Seen.of(observation.folder).first("errand")
        if done is None:
            raise ReplayError("the engine's process ended before it had compiled the graph")
        answer = msgspec.convert(done["answer"], Answer)
        if answer.problem is not None:
            raise ReplayError("the graph cannot be compiled in the engine's process", answer.problem.error)
        found = stages.told(job, answer)
        return found if found.outcome == "apart" else None

    def _which_pass(self, finding: Finding, dump: Dump | None) -> Finding | None:
        """The custom pass without which the fault goes, of those that changed the piece; None when it is none."""
        if self.part != "passes" or dump is None:
            return None
        for name in custom_passes(dump, finding.piece)[:MOST_PASSES]:
            told = self._confirm(
                replace(finding, pass_name=name), Switches(passes_off=(name,)), f"without the pass {name}"
            )
            if told.confidence == "confirmed":
                return told
        return None

    # -- to be sure ---------------------------------------------------------------------------------------

    def _confirmed(self, finding: Finding, seen: Seen) -> Finding:
        """Without what was found the fault must go."""
        if finding.provider is not None and finding.op is not None:
            op = finding.op
            return self._confirm(finding, Switches(providers={op: ("native",)}), f"with {op} native")
        if finding.pass_name is not None:
            asked = Switches(passes_off=(finding.pass_name,))
            told = self._confirm(finding, asked, f"without the pass {finding.pass_name}")
            if told.confidence == "confirmed" or not self.budget.allows(self.took):
                return told
            finding = told
        places = seen.places("parted")
        return self._confirm(finding, Switches(eager=places), f"with {listed(list(map(str, places)))} run eagerly")

    def _confirm(self, finding: Finding, switches: Switches, how: str = "without it") -> Finding:
        if not self.budget.allows(self.took):
            return finding.without(f"whether the fault goes {how}: there was no time left")
        for count in range(self.repeats):
            if count and not self.budget.allows(self.took):
                return finding.without(f"whether the fault goes {how}: there was no time left to be sure")
            observation = self._observe(how, switches)
            if observation.outcome == "unusable":
                return finding.without(f"whether the fault goes {how}: {observation.why}")
            if self.judge.faulty(observation):
                return _still_there(finding, switches, how, Seen.of(observation.folder))
        return replace(finding, confidence="confirmed").with_evidence(f"{how}, the fault is gone")

    def _observe(self, step: str, switches: Switches, record: bool = False) -> Observation:
        setting: Setting = replace(before(self.part), switches=switches, record=record)
        self.progress.begin(step, self.took or None)
        observation = self.trial.observe(setting)
        self.took = max(self.took, observation.seconds)
        is_fault = None if observation.outcome == "unusable" else self.judge.faulty(observation)
        self.progress.end(observation.why or self.judge.why(observation), is_fault)
        return observation


def _still_there(finding: Finding, switches: Switches, how: str, seen: Seen) -> Finding:
    """Switched off, and the fault is there: it is not what was switched off, if it was."""
    ran = {event["name"] for event in seen.all("pass") if not event["off"]}
    if ran.intersection(switches.passes_off):
        return finding.with_evidence(
            f"the pass {finding.pass_name} cannot be switched off: nothing compiles without it"
        )
    if finding.kind == "slow":
        finding = replace(finding, kind="unknown", piece=None, range=None)
    if finding.kind in ("crash", "unknown"):
        finding = replace(finding, pass_name=None, kernel=None, confidence="unknown")
    return finding.with_evidence(f"{how}, the fault is still there")


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


def _heard(event: Event) -> str:
    words = {
        "passed": "is passed another value than the split graph says",
        "overwrote": "overwrites what is read later",
        "parted": "computes something else than its eager graph",
        "nan": "makes NaN of numbers, as its eager graph does",
    }
    return f"{event['piece'] or 'the model'} {words[event['event']]}"

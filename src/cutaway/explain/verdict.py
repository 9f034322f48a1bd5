"""What a search found, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutaway.explain.progress import SEEN
from cutaway.explain.rung import Climbed, Rung
from cutaway.explain.trial import PARTS
from cutaway.explain.workaround import workaround

if TYPE_CHECKING:
    from cutaway.explain.bisect import Finding


@dataclass(frozen=True)
class Verdict:
    """What a search found.

    Attributes:
        subject: what was searched, as a command line or in words.
        climbed: the ladder.
        finding: inside of the part; None when nobody looked, or nothing is known.
        stopped: why it was stopped before its end: "interrupted", "out of time", or empty.
        problem: why nobody could look inside, where that was so.
        compilers: that the subject may be compiled by: "vllm", "cutaway", "torch".
        skipped: rungs that change nothing here, and why.
        folder: of the search.
        dump, report, reproducer: what to attach.
        resume: the command that goes on; empty when there is nothing to go on with.
        seconds: how long it took; trials of an earlier run of the same search are not counted.
        trials: how many were run.
    """

    subject: str
    climbed: Climbed
    finding: Finding | None = None
    stopped: str = ""
    problem: str = ""
    compilers: tuple[str, ...] = ("torch",)
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    folder: Path | None = None
    dump: Path | None = None
    report: Path | None = None
    reproducer: Path | None = None
    resume: str = ""
    seconds: float = 0.0
    trials: int = 0

    @property
    def outcome(self) -> str:
        """``found``, ``own`` (the model's own), ``none``, ``between``, ``unknown``."""
        return self.climbed.outcome

    @property
    def part(self) -> str | None:
        """The part at fault: ``cuda_graphs``, ``caches``, ``passes``, ``inductor``, ``compile`` or ``eager``."""
        return self.climbed.part if self.outcome == "found" else None

    @property
    def is_fault(self) -> bool:
        """Whether there is one, wherever it lies."""
        return self.outcome != "none"

    @property
    def workaround(self) -> str:
        """What to set meanwhile; empty where nothing helps."""
        if self.climbed.part is None or self.outcome not in ("found", "between"):
            return ""
        part = self.climbed.between[-1] if self.outcome == "between" else self.climbed.part
        found = self.finding
        return workaround(
            self.compilers, part, found and found.pass_name, found.op if found and found.provider else None
        )

    def sentence(self) -> str:
        """The answer, in one sentence."""
        climbed = self.climbed
        if climbed.outcome == "own":
            return f"The fault is the model's own: it is there in eager too, where nothing is compiled ({climbed.why})."
        if climbed.outcome == "none":
            top = climbed.rungs[0]
            count = len(top.trials)
            return f"No fault was seen in {count} trial{'s' if count > 1 else ''} with everything on ({climbed.why})."
        if climbed.outcome == "between":
            names = [PARTS[part] for part in climbed.between]
            return f"The fault is in {', '.join(names[:-1])} or {names[-1]}: it could not be told which."
        if climbed.outcome == "unknown" or climbed.part is None:
            seen = any(rung.faulty for rung in climbed.rungs)
            return "The fault was seen, and not yet placed." if seen else "Nothing is known yet."
        slow = climbed.judge is not None and climbed.judge.slow
        if self.finding is not None and self.finding.kind == "announced":
            return f"At fault: the fake implementation of {self.finding.op}, or what the operator returns."
        if climbed.part == "eager" and self.finding is not None and self.finding.provider:
            return f"At fault: the implementation {self.finding.provider} of {self.finding.op}."
        return f"{'Most of the time goes to' if slow else 'At fault:'} {PARTS[climbed.part]}."

    def lines(self) -> list[str]:
        """All of it, as text."""
        found = [self.sentence(), ""]
        found += self._ladder()
        if self.outcome == "found":
            found += ["", f"How sure: {self._sure()}"]
        found += self._inside()
        found += self._next()
        return found

    def _ladder(self) -> list[str]:
        rungs = [rung for rung in self.climbed.rungs if rung.trials]
        width = max((len(rung.name) for rung in rungs), default=0)
        found: list[str] = []
        last = ""
        for rung in rungs:
            words = "the same" if rung.words == last and len(last) > 20 else rung.words
            last = rung.words
            found.append(f"  {rung.name.ljust(width)}  {_seen(rung).ljust(12)}  {words}")
        return found + [f"  {PARTS[part].ljust(width)}  not tried     {why}" for part, why in self.skipped.items()]

    def _sure(self) -> str:
        climbed = self.climbed
        rung = next(one for one in climbed.rungs if one.part == climbed.part)
        seen = sum(one.faulty for one in climbed.rungs)
        told = f"the fault was there in {seen} trial{_s(seen)} above this rung, and gone in {rung.right} at it"
        if climbed.warm:
            told += "; it shows on a warm start only"
        if climbed.rate < 1:
            told += (
                f". It comes and goes ({climbed.rate:.0%} of the calls); that it stayed away by chance has "
                f"a probability of {climbed.chance:.1%}"
            )
        if self.finding is not None and self.finding.confidence == "confirmed":
            told += "; without what is named below it goes"
        return told + "."

    def _inside(self) -> list[str]:
        found = self.finding
        if found is None:
            return ["", f"Inside of it: {self.problem}"] if self.problem else []
        # The sentence goes on with what the rows below say one by one.
        lines = ["", f"Inside of it: {found.sentence().partition(': ')[0]}."]
        rows = {
            "layer": found.layer, "source": found.source, "piece": found.place or None, "pass": found.pass_name,
            "node": found.code or found.node,
            "provider": f"{found.provider} of {found.op}" if found.provider else None, "kernel": found.kernel,
            "factor": found.factor,
            "sure": {"confirmed": "confirmed: without it the fault goes", "likely": "likely: seen, not tried without",
                     "unknown": None}[found.confidence],
            "also in": ", ".join(found.others) or None,
        }  # fmt: skip
        lines += [f"  {name.ljust(8)}  {text}" for name, text in rows.items() if text]
        lines += [f"  seen      {sentence}" for sentence in found.evidence]
        lines += [f"  not known {sentence}" for sentence in found.unknown]
        return lines

    def _next(self) -> list[str]:
        lines: list[str] = []
        if self.finding is not None and self.finding.kind == "announced":
            how = "sizes, dtype and strides as they are returned; torch.library.opcheck tells where they differ"
            lines += ["", f"Cure: let register_fake of {self.finding.op} announce {how}"]
        if self.workaround:
            lines += ["", f"Meanwhile: {self.workaround}"]
        if self.reproducer is not None:
            lines += ["", f"Reproducer: python {self.reproducer}"]
        attached = [str(path) for path in (self.report, self.dump, self.reproducer) if path is not None]
        if attached and self.is_fault:
            lines += ["", f"Attach: {', '.join(attached)}"]
        if self.stopped:
            lines += ["", f"It was stopped: {self.stopped}." + (f" Go on with: {self.resume}" if self.resume else "")]
        return lines

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        climbed = self.climbed
        return {
            "subject": self.subject,
            "outcome": self.outcome,
            "part": self.part,
            "between": list(climbed.between),
            "sentence": self.sentence(),
            "fault": next((rung.words for rung in climbed.rungs if rung.faulty), None),
            "rungs": [_plain(rung) for rung in climbed.rungs if rung.trials],
            "skipped": self.skipped,
            "warm_only": climbed.warm,
            "rate": climbed.rate,
            "chance": climbed.chance if self.outcome == "found" else None,
            "finding": self.finding.plain() if self.finding is not None else None,
            "problem": self.problem or None,
            "workaround": self.workaround or None,
            "stopped": self.stopped or None,
            "resume": self.resume or None,
            "folder": _text(self.folder),
            "dump": _text(self.dump),
            "report": _text(self.report),
            "reproducer": _text(self.reproducer),
            "trials": self.trials,
            "seconds": round(self.seconds, 1),
        }


def _seen(rung: Rung) -> str:
    if rung.is_unusable:
        return "not usable"
    if rung.faulty and rung.right:
        return f"fault {rung.faulty} of {rung.faulty + rung.right}"
    partly = next((said for _, said in rung.trials if said.faulty and said.times < said.rounds), None)
    if partly is not None:
        return f"fault {partly.times} of {partly.rounds}"
    count = len(rung.trials)
    return SEEN[bool(rung.faulty)] + (f" ×{count}" if count > 1 else "")


def _plain(rung: Rung) -> dict[str, Any]:
    return {
        "part": rung.part,
        "name": rung.name,
        "faulty": rung.faulty,
        "right": rung.right,
        "trials": len(rung.trials),
        "words": rung.words,
        "seconds": [round(found.seconds, 2) for found, _ in rung.trials],
        "took": [found.took for found, _ in rung.trials],
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def report_of(verdict: Verdict, facts: Sequence[tuple[str, str]]) -> str:
    """The report to attach, as Markdown.

    Args:
        verdict: what was found.
        facts: versions, the command line and such: name and text.
    """
    rows = "\n".join(f"| {name} | {text} |" for name, text in facts)
    body = "\n".join(verdict.lines())
    return f"# cutaway isolate\n\n| | |\n|---|---|\n{rows}\n\n```\n{body}\n```\n"

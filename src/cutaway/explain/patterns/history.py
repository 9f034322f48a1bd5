"""Where passes ran, as a dump tells it, and why one did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cutaway.dump.compilation import Compilation
from cutaway.dump.reader import Dump
from cutaway.dump.schema import PassRan
from cutaway.explain.patterns.graphs import plain_name
from cutaway.explain.vllm_passes import VLLM_PASSES

Where = tuple[str, str | None, str | None]
"""Compilation, piece, range."""

NOT_CONFIGURED = "no pass of that name was configured"


@dataclass(frozen=True)
class Absence:
    """Where a pass did not run.

    Attributes:
        places: pieces and ranges, as selectors.
        reason: why, as far as the dump tells.
    """

    places: tuple[str, ...]
    reason: str


@dataclass
class PassRuns:
    """The runs of one pass.

    Attributes:
        name: as the recording calls it.
        runs: how often it ran.
        changed: in how many of them it changed the graph.
        counts: what it counted, in all of them together.
        refused: what its own checks said no to: `SELECTOR:NODE` -> why.
    """

    name: str
    runs: int = 0
    changed: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass
class History:
    """Of one pass, or of all.

    Attributes:
        passes: those that ran.
        absent: where one that was asked for did not run.
        never: passes that the engine has and that ran nowhere -> why; only when all were asked for.
    """

    passes: list[PassRuns]
    absent: list[Absence] = field(default_factory=list)
    never: dict[str, str] = field(default_factory=dict)


def passes_of(dump: Dump) -> History:
    """All passes of a dump, and those of its engine that did not run."""
    ran = [each for compilation in dump for each in compilation.passes]
    known = {plain_name(each.pass_name or "") for each in ran}
    unseen = [name for name in VLLM_PASSES if plain_name(name) not in known]
    never = {name: _why_never(name, dump) for name in unseen} if vllm_passes(dump) else {}
    off = [part.removeprefix("pass:") for part in _off(dump) if part.startswith("pass:")]
    never |= {name: f"it was switched off: off=['pass:{name}']" for name in off}
    return History(_gathered(ran), never={name: why for name, why in never.items() if why})


def history_of(dump: Dump, names: Iterable[str], skipped: Sequence[str] = ()) -> History:
    """Where a pass ran.

    Args:
        dump: that is asked.
        names: by what it may be called.
        skipped: compile ranges for which the pass itself says that it does not apply.
    """
    wanted = {plain_name(name) for name in names}
    ran = [each for compilation in dump for each in compilation.passes if plain_name(each.pass_name or "") in wanted]
    there = {(each.compilation, each.piece, each.range) for each in ran}
    reasons: dict[str, list[str]] = {}
    for compilation in dump:
        for place in _compiled(compilation):
            if place not in there:
                why = _why_not_here(place, names, dump, compilation, skipped, bool(ran))
                reasons.setdefault(why, []).append(
                    "/".join(filter(None, (place[0], place[1], f"range_{place[2]}" if place[2] else "")))
                )
    return History(_gathered(ran), [Absence(tuple(places), why) for why, places in reasons.items()])


def _gathered(ran: Sequence[PassRan]) -> list[PassRuns]:
    found: dict[str, PassRuns] = {}
    for each in ran:
        known = found.setdefault(each.pass_name or "?", PassRuns(each.pass_name or "?"))
        known.runs += 1
        known.changed += each.changed
        for name, number in each.counts.items():
            known.counts[name] = known.counts.get(name, 0) + number
        refused = each.notes.get("refused")
        if isinstance(refused, dict):
            known.refused |= {f"{each.selector}:{node}": str(why) for node, why in refused.items()}
    return list(found.values())


def _compiled(compilation: Compilation) -> list[Where]:
    """Pieces and ranges that were compiled, or that a cache served."""
    steps = [
        step for step in compilation.steps if isinstance(step, PassRan) or getattr(step, "kind", "") == "output_code"
    ]
    return list(dict.fromkeys((compilation.name, step.piece, step.range) for step in steps))


def _why_not_here(
    place: Where, names: Iterable[str], dump: Dump, compilation: Compilation, skipped: Sequence[str], elsewhere: bool
) -> str:
    if place[2] is not None and place[2] in skipped:
        return f"it says of itself that it does not apply to the range {place[2]}"
    here = [step for step in compilation.steps if (compilation.name, step.piece, step.range) == place]
    if not any(isinstance(step, PassRan) for step in here):
        return "a cache served this piece, and the recording of its compile is not in the dump"
    why = next(filter(None, (_why_never(name, dump) for name in names)), "")
    if why and not elsewhere:
        return why
    off = _switched_off(names, dump)
    return off or ("it ran for other ranges only" if elsewhere else NOT_CONFIGURED)


def _why_never(name: str, dump: Dump) -> str:
    """Why vLLM does not make a pass of its own; empty when that is not known."""
    known = next((VLLM_PASSES[one] for one in VLLM_PASSES if plain_name(one) == plain_name(name)), None)
    config = vllm_passes(dump)
    if known is None or config is None:
        return ""
    values = {flag: config.get(flag) for flag in known.flags if flag in config}
    if values and not any(values.values()):
        said = " and ".join(f"pass_config.{flag}={value}" for flag, value in values.items())
        return f"{said}: vLLM does not make it"
    if known.backend:
        return f"vLLM makes it for models of the {known.backend} backend only"
    return f"vLLM makes it on {known.devices} only" if known.devices else ""


def vllm_passes(dump: Dump) -> dict[str, Any] | None:
    """vLLM's pass configuration; None when the dump is not of vLLM."""
    found: Any = dump.context
    for key in ("configuration", "vllm", "compilation_config", "pass_config"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _off(dump: Dump) -> list[str]:
    """The parts of our compiler that were switched off."""
    found: Any = dump.context
    for key in ("configuration", "cutaway", "off"):
        found = found.get(key) if isinstance(found, dict) else None
    return [str(part) for part in found] if isinstance(found, list) else []


def _switched_off(names: Iterable[str], dump: Dump) -> str:
    off = _off(dump)
    for name in names:
        if f"pass:{name}" in off:
            return f"it was switched off: off=['pass:{name}']"
    return "passes were switched off: off=['passes']" if "passes" in off else ""

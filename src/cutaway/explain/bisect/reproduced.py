"""A finding with a file that shows the fault, if one can be made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import CutawayError
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.bisect.trials import REPLAY, Trials
from cutaway.explain.reproducer import GeneratedCode, Made, Request, make_reproducer
from cutaway.explain.reproducer.job import Fault

MOST = 45.0
"""Seconds that a graph is made smaller for."""


@dataclass(frozen=True)
class Shown:
    """What a reproducer is to show, and by what.

    Attributes:
        fault: what the file shows.
        stages: the graphs of the piece, with the inputs that were kept.
        graphs: of these, what it holds.
        nodes: for each graph, where the fault was found.
        code: that was generated for it; or why that is not known.
    """

    fault: Fault
    stages: Stages
    graphs: Sequence[Snapshot]
    nodes: Sequence[str | None] = ()
    code: GeneratedCode | str | None = None


def reproduced(trials: Trials, finding: Finding, shown: Shown) -> Finding:
    """With a file that shows the fault, if one can be made.

    Args:
        trials: of the search.
        finding: what was found.
        shown: what the file is to show.
    """
    if isinstance(shown.code, str):
        return finding.without(f"a reproducer: {shown.code}")
    if not trials.budget.allows(2 * REPLAY):
        return finding.without("a reproducer: there was no time left")
    trials.progress.begin("a reproducer", REPLAY)
    try:
        made = make_reproducer(request_for(trials, finding, shown), min(150.0, max(REPLAY, trials.budget.left / 2)))
    except CutawayError as error:
        trials.progress.end("none that shows the fault")
        return finding.without(f"a reproducer: {error}")
    trials.progress.end(f"{made.nodes} of {made.nodes_before} nodes", True)
    return with_file(finding, made, shown)


def out_of_stages(
    finding: Finding, dump: Dump | None, event: Event, make: Callable[[Stages], Finding], least: int = 1
) -> Finding:
    """What is made of the graphs of a piece; where the dump has none, the finding without a reproducer.

    Args:
        finding: what was found.
        dump: of the trial, if there is one.
        event: of the piece, with its inputs.
        make: makes it.
        least: how many graphs there must be.
    """
    if dump is None:
        return finding
    try:
        stages = Stages(dump, event, least=least)
    except CutawayError as error:
        return finding.without(f"a reproducer: {error}")
    return make(stages)


def request_for(trials: Trials, finding: Finding, shown: Shown) -> Request:
    """What a reproducer is to be made of; as `reproduced`. Raises ReplayError."""
    return Request(
        fault=shown.fault,
        graphs=[shown.stages.graph_of(one) for one in shown.graphs],
        output=str(trials.folder / "reproducer.py"),
        nodes=list(shown.nodes),
        header=[finding.sentence(), *(one.selector for one in shown.graphs)],
        seconds=min(MOST, trials.budget.left / 4),
        code=shown.code if isinstance(shown.code, GeneratedCode) else None,
    )


def with_file(finding: Finding, made: Made, shown: Shown) -> Finding:
    """With the file that was made; a node that shows the fault alone is where it is, unless that is known."""
    verb, whose = ("shows", "its") if made.nodes == 1 else ("show", "their")
    told = f"{made.nodes} of {made.nodes_before} nodes {verb} it in a process of {whose} own"
    found = replace(finding, reproducer=Path(made.path)).with_evidence(told)
    table = shown.graphs[-1].table
    alone = [node for node in table.nodes if made.names == [node.name]]
    return found.at_table(table, alone[0]) if alone and finding.node is None else found


def generated_by(stages: Stages, seen: Seen, event: Event) -> GeneratedCode | str:
    """The code that ran for a piece, as the hands saw it; or why it is not known.

    Args:
        stages: the graphs of the piece.
        seen: what the hands told.
        event: of the piece, with what its outputs are of what the code returns, where that is known.
    """
    ran = next(
        (one for one in seen.all("code") if (one["piece"], one["range"]) == (event["piece"], event["range"])), None
    )
    if ran is None:
        return "no code in Python was seen to run for the piece"
    known = event.get("code") or {}
    args = known.get("args") or ran.get("args")
    if args is None:
        return "the code is passed a value that is no input of the piece"
    if set(ran.get("constants", ())) - set(known.get("constants") or ()):
        return "the code holds tensors that were not kept"
    path = ran["path"]
    if path is None:
        text = stages.output_code()
        if text is None:
            return "the text of the code was neither kept nor recorded"
        path = str(seen.folder / "output_code.py")
        Path(path).write_text(text)
    return msgspec.convert(
        {"path": path, "args": args, "results": known.get("results") or [], "constants": known.get("constants") or {}},
        GeneratedCode,
    )

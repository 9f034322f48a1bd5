"""A piece that is passed another value than the split graph says: wrong stitching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cutaway.errors import ReplayError
from cutaway.explain.bisect.finding import Finding, listed
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.trials import REPLAY, Trials
from cutaway.explain.reproducer import Made, checked
from cutaway.explain.reproducer.stitching import write_stitching
from cutaway.explain.switches import Place, Switches


def passed(trials: Trials, event: Event, seen: Seen) -> Finding:
    """What is known of it, confirmed by a trial in which it is passed what the split graph says.

    Args:
        trials: of the search.
        event: what the hands told.
        seen: all that they told.
    """
    given = f"it is given {event['given']}" if event.get("given") else "it is given a value that no piece returned"
    told = (
        f"the split graph passes {event['expected']} to {event['piece'] or 'the caller'} at place {event['position']}"
    )
    finding = Finding.of_call(trials.part, "arguments", event, f"{told}, and {given}", node=event.get("argument"))
    pieces = dict.fromkeys(one["piece"] for one in seen.all("passed"))
    switches = Switches(restored=tuple(Place(piece) for piece in pieces))
    finding = trials.confirm(finding, switches, f"with {_listed(pieces)} passed what the split graph says")
    facts = next((one["stitching"] for one in seen.all("passed") if one.get("stitching")), None)
    if facts is None:
        return finding.without("a reproducer: the code that passes it on was not seen")
    return _with_file(trials, finding, facts)


def _listed(pieces: Iterable[str]) -> str:
    return listed([piece or "the caller" for piece in pieces])


def _with_file(trials: Trials, finding: Finding, facts: Mapping[str, Any]) -> Finding:
    """With the code that passes it on as a file."""
    trials.progress.begin("a reproducer", REPLAY)
    path = trials.folder / "reproducer.py"
    try:
        left = write_stitching(path, [finding.sentence(), *finding.evidence[:1]], facts)
        checked(Made(path=str(path)))
    except ReplayError as error:
        trials.progress.end("none that shows the fault")
        return finding.without(f"a reproducer: {error}")
    trials.progress.end(f"{left} pieces before the call", True)
    told = f"the code shows it by itself, with stand-ins for the {left} pieces that lead to the call"
    return replace(finding, reproducer=Path(path)).with_evidence(told)

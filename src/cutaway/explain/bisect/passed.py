"""A piece that is passed another value than the split graph says: wrong stitching."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cutaway.errors import ReplayError
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.trials import REPLAY, Trials
from cutaway.explain.reproducer import Made, checked
from cutaway.explain.reproducer.stitching import write_stitching


def passed(trials: Trials, event: Event, seen: Seen) -> Finding:
    """What is known of it, with the code that passes it on as a file.

    Args:
        trials: of the search.
        event: what the hands told.
        seen: all that they told.
    """
    given = f"it is given {event['given']}" if event.get("given") else "it is given a value that no piece returned"
    finding = Finding(
        trials.part,
        "arguments",
        event["piece"] or None,
        node=event.get("argument"),
        confidence="likely",
        evidence=(
            f"the split graph passes {event['expected']} to {event['piece'] or 'the caller'} "
            f"at place {event['position']}, and {given}",
        ),
    )
    facts = next((one["stitching"] for one in seen.all("passed") if one.get("stitching")), None)
    if facts is None:
        return finding.without("a reproducer: the code that passes it on was not seen")
    trials.progress.begin("a reproducer", REPLAY)
    path = trials.folder / "reproducer.py"
    try:
        left = write_stitching(path, [finding.sentence(), *finding.evidence], facts)
        checked(Made(path=str(path)))
    except ReplayError as error:
        trials.progress.end("none that shows the fault")
        return finding.without(f"a reproducer: {error}")
    trials.progress.end(f"{left} pieces before the call", True)
    told = f"the code shows it by itself, with stand-ins for the {left} pieces that lead to the call"
    return replace(finding, reproducer=Path(path)).with_evidence(told)

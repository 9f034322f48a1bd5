"""Which pass or which piece the time goes to."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from cutaway.dump.reader import Dump
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.seen import Seen
from cutaway.explain.bisect.trials import Trials
from cutaway.explain.switches import EVERYWHERE, Place, Switches

SHARE = 0.4
LEAST = 0.3
"""A pass stands out when it takes this share of the time of all passes, and so many seconds. Whether it is at fault, a
trial without it tells."""

CALLS = 3
"""A piece is judged by so many calls at least, without the first."""

SLOWER = 2.0
"""A piece is at fault when what was compiled takes so many times as long as its eager graph."""


def slow(trials: Trials, took: float, dump: Dump | None, told: str) -> Finding:
    """Where the time goes.

    Args:
        trials: of the search.
        took: seconds that were too long.
        dump: of the trial.
        told: what is known of the pieces' values.
    """
    found = slow_pass(trials.part, dump, took) if dump is not None else None
    if found is not None:
        found = trials.confirm(found, Switches(passes_off=(found.pass_name or "",)))
        return found.without(
            "a reproducer: what is slow is the pass itself; the dump has the graphs before and after it"
        )
    timed = trials.observe("pieces and their eager graphs, timed", Switches(times=(EVERYWHERE,)))
    found = slow_piece(trials.part, Seen.of(timed.folder))
    if found is not None:
        found = trials.confirm(found, Switches(eager=(Place(found.piece or "*", found.range or "*"),)))
        return found.without("a reproducer: how long a piece takes depends on the machine; its code is in the dump")
    return Finding(trials.part, evidence=(told,), unknown=("which pass or piece it goes to: none alone",))


def slow_pass(part: str, dump: Dump, took: float) -> Finding | None:
    """The pass that takes most of a compile's time; None when none stands out.

    Args:
        part: the rung at which the fault goes.
        dump: of a compile that was too slow.
        took: seconds that were too long.
    """
    spent: dict[str, float] = defaultdict(float)
    runs: dict[str, int] = defaultdict(int)
    for compilation in dump:
        for ran in compilation.passes:
            if ran.pass_name and ran.ms:
                spent[ran.pass_name] += ran.ms / 1000
                runs[ran.pass_name] += 1
    ordered = sorted(spent, key=lambda name: spent[name], reverse=True)
    if not ordered or spent[ordered[0]] < max(LEAST, SHARE * sum(spent.values())):
        return None
    name = ordered[0]
    told = f"{name} took {spent[name]:.2f} s in {runs[name]} runs, of {took:.2f} s in all"
    more = f"next is {ordered[1]} with {spent[ordered[1]]:.2f} s" if len(ordered) > 1 else ""
    return Finding(part, "slow", pass_name=name, confidence="likely", evidence=tuple(filter(None, (told, more))))


def slow_piece(part: str, seen: Seen) -> Finding | None:
    """The piece whose compiled code is slower than its eager graph; None when there is none.

    The first call of each is left out: it loads and warms up.
    """
    times: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for event in seen.all("time"):
        times[event["piece"], event["range"]].append((event["compiled"], event["eager"]))
    found: list[tuple[float, Finding]] = []
    for (piece, span), pairs in times.items():
        calls = pairs[1:]
        if len(calls) < CALLS:
            continue
        compiled, eager = median(one for one, _ in calls), median(one for _, one in calls)
        if compiled > SLOWER * eager:
            told = f"a call of {piece} takes {compiled * 1e3:.2f} ms, its eager graph {eager * 1e3:.2f} ms"
            lost = sum(one - other for one, other in calls)
            found.append((lost, Finding(part, "slow", piece, span or None, confidence="likely", evidence=(told,))))
    return max(found, key=lambda one: one[0])[1] if found else None

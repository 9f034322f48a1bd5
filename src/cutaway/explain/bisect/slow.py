"""Which pass or which piece the time goes to."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from cutaway.dump.reader import Dump
from cutaway.explain.bisect.crash import crashed
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.recorded import recording_of
from cutaway.explain.bisect.seen import Seen
from cutaway.explain.bisect.trials import Trials
from cutaway.explain.switches import EVERYWHERE, Place, Switches
from cutaway.explain.trial import Slow

SHARE = 0.4
LEAST = 0.3
"""A pass stands out when it takes this share of the time of all passes, and so many seconds. Whether it is at fault, a
trial without it tells."""

PASSES = Switches(compare_calls=0)
"""Each pass is announced before it begins, so that one that does not end is known; nothing is compared or changed."""

EACH_PIECE = Switches(times=(EVERYWHERE,))
"""The calls of each piece are timed, beside those of its eager graph."""

CALLS = 3
"""A piece is judged by so many calls at least, without the first."""

SLOWER = 2.0
"""A piece is at fault when what was compiled takes so many times as long as its eager graph."""


def too_slow(trials: Trials, asked: Slow) -> Finding:
    """Where the time goes. What is computed plays no part in it: nothing is compared.

    Args:
        trials: of the search.
        asked: which time is too long.
    """
    passes, pieces = _may_be(trials.part, asked, trials.trial.kind)
    if not passes and not pieces:
        return Finding(trials.part, unknown=("which pass or piece it goes to: it goes where none of them does more",))
    step = " and ".join([*(["passes"] if passes else []), *(["pieces beside their eager graphs"] if pieces else [])])
    observation = trials.observe(f"{step}, timed", EACH_PIECE if pieces else PASSES, record=passes)
    trials.folder = observation.folder
    seen = Seen.of(observation.folder)
    dump, why = recording_of(observation) if passes else (None, "")
    if observation.outcome in ("crash", "timeout"):
        return crashed(trials, observation, seen, dump)
    found = slow_pass(trials.part, dump, observation.took) if dump is not None else None
    if found is not None:
        found = trials.confirm(found, Switches(passes_off=(found.pass_name or "",)))
        return found.without(
            "a reproducer: what is slow is the pass itself; the dump has the graphs before and after it"
        )
    found = slow_piece(trials.part, seen) if pieces else None
    if found is not None:
        found = trials.confirm(found, Switches(eager=(Place(found.piece or "*", found.range or "*"),)))
        return found.without("a reproducer: how long a piece takes depends on the machine; its code is in the dump")
    found = Finding(trials.part, unknown=("which pass or piece it goes to: none alone",))
    return found.without(why) if why else found


def _may_be(part: str, asked: Slow, kind: str) -> tuple[bool, bool]:
    """Whether a pass or a piece can be what is slow.

    Passes run while it starts, and code runs afterwards; of a program it is not known when it has started. Where the
    time is gone with CUDA graphs, with the caches or with the capture, all passes were still there.
    """
    is_both = kind == "program"
    passes = (is_both or asked == "start") and part in ("passes", "inductor")
    pieces = (is_both or asked == "run") and part in ("caches", "passes", "inductor", "eager")
    return passes, pieces


def slow_pass(part: str, dump: Dump, took: float | None) -> Finding | None:
    """The pass that takes most of a compile's time; None when none stands out.

    Args:
        part: the rung at which the fault goes.
        dump: of a compile that was too slow.
        took: seconds that were too long, if it is known how many.
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
    told = f"{name} took {spent[name]:.2f} s in {runs[name]} runs" + (f", of {took:.2f} s in all" if took else "")
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

"""What `cutaway why pattern` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.output import Styled, aligned
from cutaway.explain.patterns import Explained, Finding, History, PassRuns
from cutaway.record.layers.words import short_target

_SHOWN = 8
"""So many near misses, and passes that never ran, are shown."""
_TIMES = "\N{MULTIPLICATION SIGN}"


def pattern_lines(found: Explained, everything: bool) -> Iterator[list[Styled]]:
    """Where a pattern matched, then where it nearly did."""
    count = _counted(len(found.patterns), "pattern")
    yield [(found.asked, "bold"), (f" · {count} · looked for in {_counted(len(found.graphs), 'graph')}: ", "")]
    yield [(f"  {', '.join(found.graphs[:3])}{_more(len(found.graphs) - 3)}", "dim")]
    yield from _history(found.history)
    yield from _own_code(found)
    matches, misses = found.matches, found.misses
    if matches:
        yield [("", "")]
        yield [("matches", "bold green")]
        yield from _findings(matches, len(matches))
        if found.history.passes and not any(each.changed for each in found.history.passes):
            text = "the pass ran and changed nothing, though its patterns match here: it was another version of it"
            yield [("  note: ", "yellow"), (text, "")]
    if misses:
        yield [("", "")]
        yield [("near misses, nearest first", "bold red")]
        yield from _findings(misses, len(misses) if everything else _SHOWN)
        if len(misses) > _SHOWN and not everything:
            yield [(f"  and {_counted(len(misses) - _SHOWN, 'other')}, farther off (--all shows them)", "dim")]
    if found.patterns and not found.findings:
        yield [("", "")]
        yield [("no part of any pattern is in these graphs", "bold red")]
        for pattern in found.patterns[:_SHOWN]:
            yield [(f"  {pattern.name}: {', '.join(pattern.calls)}", "")]
    if found.unknown:
        yield [("", "")]
        names = ", ".join(found.unknown[:6])
        yield [(f"operators that nothing here registers, so that no pattern can match them: {names}", "dim")]


def passes_lines(history: History, everything: bool) -> Iterator[list[Styled]]:
    """The passes of a dump; those that changed nothing after those that did."""
    if not history.passes:
        yield [("no pass ran in what was recorded: a cache served it, or nothing was compiled", "yellow")]
        return
    passes = sorted(history.passes, key=lambda each: not each.changed)
    shown = passes if everything else [each for each in passes if each.changed or each.counts or each.refused]
    yield [
        (f"{_counted(len(passes), 'pass')} ran", "bold"),
        (f", {sum(bool(p.changed) for p in passes)} changed a graph", ""),
    ]
    for columns in aligned([_pass_row(each) for each in shown], right=(1,)):
        yield [(f"  {'  '.join(columns)}".rstrip(), "")]
    for each in shown:
        for node, why in each.refused.items():
            yield [(f"  {each.name} left {node}: {why}", "")]
    if len(shown) < len(passes):
        yield [(f"  {_counted(len(passes) - len(shown), 'pass')} changed nothing anywhere (--all lists them)", "dim")]
    if history.never:
        yield [("", "")]
        yield [("never ran", "bold")]
        for columns in aligned([[name, why] for name, why in history.never.items()]):
            yield [(f"  {'  '.join(columns)}", "")]


def _pass_row(each: PassRuns) -> list[str]:
    counts = ", ".join(f"{number} {name}" for name, number in each.counts.items() if number)
    return [each.name, f"{each.changed} of {each.runs}", "changed a graph" + (f" · {counts}" if counts else "")]


def _history(history: History) -> Iterator[list[Styled]]:
    for each in history.passes:
        changed = f"changed the graph in {each.changed}" if each.changed else "never changed a graph"
        yield [(f"  {each.name} ran {_counted(each.runs, 'time')} in the recorded compile, {changed}", "")]
        for node, why in each.refused.items():
            yield [(f"    its own check left {node}: {why}", "")]
    for absence in history.absent:
        places = absence.places
        where = "anywhere" if not history.passes else f"in {', '.join(places[:3])}{_more(len(places) - 3)}"
        yield [("  it did not run ", "yellow"), (f"{where}: {absence.reason}", "")]


def _own_code(found: Explained) -> Iterator[list[Styled]]:
    if not found.ran:
        return
    yield [("  it has no patterns: it walks the graph by code of its own, which was run here:", "")]
    for ran in found.ran:
        what = ran.problem or ("changes the graph" if ran.changed else "leaves the graph as it is")
        yield [(f"    {found.graphs[ran.graph]}: {what}", "")]


def _findings(findings: Sequence[Finding], most: int) -> Iterator[list[Styled]]:
    for finding in findings[:most]:
        first = finding.places[0]
        share = "" if finding.matched else f"{finding.got} of {finding.of} operators fit · "
        layer = f"{finding.where}: {first.cls}" if first.cls and finding.where else finding.where or first.cls or "?"
        source = f"  {first.source.rpartition('/')[2]}" if first.source else ""
        yield [(f"  {share}{finding.count}{_TIMES} {short_target(finding.op)}", "bold"), (f"  {layer}{source}", "")]
        for reason in finding.reasons:
            place = f"  ({reason.place.rpartition('/')[2]})" if reason.place else ""
            yield [(f"      {reason.kind}: ", "red"), (f"{reason.text}{place}", "")]
        yield [(f"      {' · '.join(_facts(finding))}", "dim")]


def _facts(finding: Finding) -> Iterator[str]:
    yield finding.patterns[0] + (f" and {_counted(len(finding.patterns) - 1, 'other')}" if finding.patterns[1:] else "")
    if finding.farther:
        yield f"{_counted(finding.farther, 'other pattern')} got no farther"
    if finding.ranges:
        yield f"{'ranges' if len(finding.ranges) > 1 else 'range'} {', '.join(finding.ranges)}"
    yield finding.places[0].selector


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""

"""The short form of `cutaway ls`: a recording on one screen, whatever the number of layers, ranges and functions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from cutaway.cli.ls_head import dump_remarks, head_lines, origin, recompile, remarks, some, title
from cutaway.cli.ls_table import compilation_lines
from cutaway.cli.output import Styled
from cutaway.dump import Compilation, Dump, Snapshot, schema
from cutaway.dump.compare.figures import Times
from cutaway.dump.overview import Overview, overview
from cutaway.explain.shapes import breaks_of
from cutaway.record.layers.words import spans

Line = list[Styled]
TALL = 30
"""Lines of a screen: several compilations are shown in full when they fit."""
REMARKS = 6
BRIEF = 12
FEW = 3
"""How many of these are shown; the others are counted."""
SAID = 300
"""Characters of a remark, which may be a compiler's own, and go on for pages."""


def overview_lines(dump: Dump, asked: str, width: int) -> Iterator[Line]:
    """A dump at a glance: what to look at first, then what was compiled, identical parts once.

    Args:
        dump: what to list.
        asked: how to name the dump in a command.
        width: columns that a line should not exceed.
    """
    head = [_cut(line, width) if i else line for i, line in enumerate(head_lines(dump))]
    head += [_cut(line, max(width, SAID)) for line in _shortened(_remarks(dump, asked), asked)]
    compilations = [*dump]
    seen = {each.name: overview(each) for each in compilations}
    full = {each.name: [*_full(each, seen[each.name], width)] for each in compilations}
    room = TALL - len(head) - 3
    chosen = _chosen(compilations, seen, full, room)
    yield from head
    for each in chosen:
        yield []
        yield from full[each.name]
    rest = [each for each in compilations if each not in chosen]
    if rest:
        most = max(room - sum(len(full[each.name]) + 1 for each in chosen) - 2, FEW) if chosen else BRIEF
        yield []
        yield from (_cut(line, width) for line in _brief(rest, seen, most))
    yield []
    yield from _hints(chosen or compilations, seen, asked, alone=len(compilations) == 1)


def _remarks(dump: Dump, asked: str) -> Iterator[Line]:
    """What somebody should look at, of all compilations; what says the same of several of them is said once."""
    yield from dump_remarks(dump)
    said: dict[Styled, list[str]] = {}
    again: dict[object, list[Compilation]] = {}
    broken: set[object] = set()
    for each in dump:
        for remark in remarks(each):
            said.setdefault(remark, []).append(each.name)
        if each.started is not None and each.started.recompile:
            again.setdefault(_function(each), []).append(each)
        broken |= {(one.place, one.reason) for one in breaks_of(each)}
    for (text, style), names in said.items():
        yield [(f"{some(names)}: ", ""), (text, style)]
    for group in again.values():
        if len(group) == 1:
            yield [(f"{group[0].name}: ", ""), *recompile(group[0])]
    several = [len(group) for group in again.values() if len(group) > 1]
    if several:
        functions = f"{len(several)} functions were" if len(several) > 1 else "a function was"
        yield [(f"{functions} compiled anew {sum(several)} times: `cutaway why shape {asked}` says why", "yellow")]
    if broken:
        breaks = f"{len(broken)} graph breaks" if len(broken) > 1 else "1 graph break"
        yield [(f"{breaks}: `cutaway why shape {asked}` says where, and why", "yellow")]


def _shortened(lines: Iterator[Line], asked: str) -> list[Line]:
    found = [*lines]
    if len(found) <= REMARKS:
        return found
    more = f"and {len(found) - REMARKS + 1} more such lines: `cutaway ls {asked} --all`"
    return [*found[: REMARKS - 1], [(more, "yellow")]]


def _full(compilation: Compilation, found: Overview, width: int) -> Iterator[Line]:
    head = title(compilation)
    seconds = Times(compilation).whole
    if seconds is not None:
        head.append((f" · compiled in {seconds:.1f} s", ""))
    yield _cut(head, width)
    for text, style in origin(compilation):
        yield _cut([(f"  {text}", style)], width)
    yield from compilation_lines(found, width)


def _chosen(
    compilations: Sequence[Compilation], seen: Mapping[str, Overview], full: Mapping[str, list[Line]], room: int
) -> list[Compilation]:
    """Those that are shown in full: all where they fit, or the one that is most of it: a model among functions."""
    if len(compilations) < 2 or sum(len(full[each.name]) + 1 for each in compilations) <= room:
        return [*compilations]
    largest, second = sorted(compilations, key=_size, reverse=True)[:2]
    stands_out = bool(seen[largest.name].kinds) or _size(largest) >= 2 * _size(second)
    return [largest] if stands_out else []


def _size(compilation: Compilation) -> int:
    """Nodes of the largest graph in it."""
    return max((step.node_count for step in compilation.snapshots), default=0)


def _brief(compilations: Sequence[Compilation], seen: Mapping[str, Overview], most: int) -> Iterator[Line]:
    """A line for each function that was compiled, with its recompiles."""
    groups = _groups(compilations)
    yield [("also compiled:" if len(compilations) < len(seen) else "compiled:", "dim")]
    shown = groups if len(groups) <= most else groups[: most - 1]
    for group in shown:
        head = title(group[0])
        if len(group) > 1:
            head[0] = (f"{group[0].name} \N{MULTIPLICATION SIGN}{len(group)}", "bold")
        yield [("  ", ""), *head, (f" · {_figures(group, seen)}", "")]
    if len(groups) > len(shown):
        left = groups[len(shown) :]
        yield [(f"  and {sum(len(group) for group in left)} more, of {len(left)} functions", "dim")]


def _groups(compilations: Sequence[Compilation]) -> list[list[Compilation]]:
    groups: dict[object, list[Compilation]] = {}
    for each in compilations:
        groups.setdefault(_function(each), []).append(each)
    return list(groups.values())


def _function(compilation: Compilation) -> object:
    """What makes two compilations those of one function."""
    started = compilation.started
    return (started.function, started.file, started.line, started.model) if started else compilation.name


def _figures(group: Sequence[Compilation], seen: Mapping[str, Overview]) -> str:
    """`4,6–8 nodes captured, 5 kernels`."""
    sizes = sorted({snapshots[0].node_count for each in group if (snapshots := each.snapshots)})
    kernels = sum(_kernels(seen[each.name]) for each in group)
    restarted = sum(each.restarted_as is not None for each in group)
    parts = [
        f"{spans(sizes)} nodes captured" if sizes else "",
        f"{kernels} kernel{'s' if kernels > 1 else ''}" if kernels else "no code",
        f"{restarted} given up by Dynamo" if restarted else "",
    ]
    return ", ".join(part for part in parts if part)


def _kernels(found: Overview) -> int:
    return sum((column.kernels or 0) * len(column.folders) for column in found.columns)


def _hints(
    compilations: Sequence[Compilation], seen: Mapping[str, Overview], asked: str, alone: bool
) -> Iterator[Line]:
    """How to see more: what is left out here, and a graph, with commands that can be typed as they stand."""
    kinds = [kind for each in compilations for kind in seen[each.name].kinds if kind.ranges]
    most = max(kinds, key=lambda kind: len(kind.names), default=None)
    deeper = most.names[0] if most else compilations[0].name if compilations else ""
    part = f"one by one: cutaway ls {asked} {shlex.quote(deeper)} · " if deeper else ""
    yield [(f"{part}everything: cutaway ls {asked} --all", "dim")]
    step = next((step for each in compilations if (step := _telling(each, seen[each.name]))), None)
    if step is not None:
        short = step.selector.partition("/")[2] if alone else step.selector
        command = "diff" if step.pass_name else "show"
        yield [(f"a column and a row are a selector: cutaway {command} {asked} {shlex.quote(short)}", "dim")]


def _telling(compilation: Compilation, found: Overview) -> Snapshot | None:
    """The graph to look at first: after the pass that changed most, in the pieces that there are most of."""
    steps = {step.selector: step for step in compilation.snapshots}
    columns = sorted(found.columns, key=lambda column: -len(column.pieces))
    for column in columns[:1]:
        known = [
            (step.pass_name is not None, _weight(step), step)
            for leaf in column.cells
            if (step := steps.get(f"{compilation.name}/{column.path(leaf)}")) is not None and step.changed
        ]
        if known:
            return max(known, key=lambda each: each[:2])[2]
    return next(iter(compilation.snapshots), None)


def _weight(step: schema.GraphStep) -> int:
    """How many operators came and went."""
    return sum(abs(count) for count in step.ops_delta.values())


def _cut(line: Line, width: int) -> Line:
    """A line that fits; what is too long loses its end."""
    found: Line = []
    for text, style in line:
        left = width - sum(len(part) for part, _ in found)
        if len(text) > left:
            return [*found, (text[: max(left - 1, 0)] + "…", style)]
        found.append((text, style))
    return found

"""How `cutaway lineage` says things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cutaway.dump.lineage import KernelCall, Line, StepNode, Way

MOST = 6
"""So many names are listed in one place."""
LONG = 72
"""A line of code is cut to this."""


def line_text(line: Line) -> str:
    """`qwen3.py:162 in forward: q, k, v = ...`."""
    return f"{line.short} in {line.function or '?'}: {code_text(line)}".rstrip(": ")


def code_text(line: Line) -> str:
    """The line of code, cut when it is long."""
    return line.code if len(line.code) <= LONG else f"{line.code[: LONG - 1]}…"


def called_in(call: KernelCall) -> str:
    """`called in backbone/90.output_code.py:315`."""
    file, lines = call.file or call.selector, [str(line) for line in call.lines]
    if len(lines) == 1:
        return f"called in {file}:{lines[0]}"
    some_of = f"in one of the lines {', '.join(lines)}" if lines else "in which line is unknown"
    return f"called in {file}, {some_of}"


def calls_text(call: KernelCall, last: Sequence[StepNode]) -> str:
    """Where a kernel is called, and what of some nodes of the last graph it computes."""
    computed = {node.name for node in call.nodes}
    part = names_text(call.nodes) if any(node.name not in computed for node in last) else ""
    others = f"with {counted(len(call.others), 'other node')}" if call.others else ""
    what = " ".join(text for text in (f"computes {part}" if part else "", others) if text)
    return f"{called_in(call)}{f'; {what}' if what else ''}"


def end_of(way: Way) -> str:
    """Why nothing computes a way's nodes; empty when that is not known."""
    removed = list(dict.fromkeys(gone.leaf for gone in way.gone if gone.by_pass))
    dropped = list(dict.fromkeys(gone.leaf for gone in way.gone if not gone.by_pass))
    doubt = "" if all(gone.certain for gone in way.gone) else " (or became something whose origin is unknown)"
    if removed:
        return f"removed by {some(removed)}{doubt}"
    if dropped:
        return f"not in {some(dropped)} any more{doubt}"
    pieces = [end.split("/")[-2] for end in way.ends if end.endswith("/piece")]
    if pieces:
        return f"{some(pieces)} runs as it is, uncompiled"
    if way.ends and way.made_in:
        return "an input, which is computed where it is made"
    return "a view, memory to write to, or a result put in place" if way.ends else ""


def names_text(nodes: Iterable[StepNode]) -> str:
    return some([node.name for node in nodes])


def some(names: Iterable[str]) -> str:
    """Names as a list, cut short."""
    names = list(names)
    if len(names) <= MOST:
        return ", ".join(names)
    return f"{', '.join(names[: MOST - 1])} and {len(names) - MOST + 1} more"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

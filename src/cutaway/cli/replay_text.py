"""What a replay found, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from cutaway.cli.output import Styled, aligned
from cutaway.dump.diff.result import MINUS
from cutaway.replay import Comparison, NodeRef, Replayed, Result, Spot, Value

Text = list[Styled]

_SHOWN = 12
"""So many results, and nodes between, are shown."""
_OUTCOMES = {
    "same": "the same: every result, bit for bit",
    "close": "the same within tolerance",
    "apart": "not the same",
    "nothing": "nothing could be compared",
}


def replay_lines(found: Replayed) -> Iterator[Text]:
    """The answer of `cutaway replay`."""
    against = f" against {found.against}" if found.against is not None else ""
    yield [(f"{found.name}{against}", "bold")]
    yield [(f"  {_how(found)}", "dim")]
    for note in found.notes:
        yield [(f"  note: {note}", "dim")]
    if found.against is None:
        yield from _outputs(found.runs[0].outputs)
        return
    yield [("", "")]
    yield [(_verdict(found), "red bold" if found.outcome in ("apart", "nothing") else "green bold")]
    yield from _results(found.results)
    yield from _where(found)


def _how(found: Replayed) -> str:
    sizes = " ".join(f"{name}={size}" for name, size in found.sizes.items()) or "fixed sizes"
    count = len(found.recorded)
    recorded = f"{count} of {found.inputs} inputs as recorded, others" if count else "inputs"
    parts = [sizes, f"{recorded} of seed {found.seed}"]
    if count == found.inputs:
        parts[1] = "inputs as recorded"
    parts.append(f"{_count(found.runs[0].nodes)} nodes")
    if found.against is not None and len(found.runs) > 1 and found.runs[1].nodes:
        parts[2] = f"{_count(found.runs[1].nodes)} nodes against {_count(found.runs[0].nodes)}"
    if found.compared:
        total = sum(found.compared.values())
        parts.append(f"{_count(total)} compared")
    return " · ".join(parts)


def _verdict(found: Replayed) -> str:
    parted = [result for result in found.results if not result.fine]
    text = _OUTCOMES[found.outcome]
    if found.outcome == "apart":
        text += f": {len(parted)} of {len(found.results)} results part beyond tolerance"
    elif any(result.is_random for result in found.results):
        text += ", but for what is random"
    unwritten = sum(result.comparison.verdict == "unwritten" for result in found.results)
    if unwritten:
        text += f" ({unwritten} of {len(found.results)} only memory that nobody has written to)"
    return text


def _outputs(outputs: Sequence[Value]) -> Iterator[Text]:
    rows = [
        [
            f"  output {place}",
            output.type or output.text,
            "" if output.total is None else f"sum {output.total:.6g}",
            output.digest,
            _unwritten(output.unwritten),
        ]
        for place, output in enumerate(outputs)
    ]
    for row in aligned(rows):
        yield [("  ".join(row).rstrip(), "")]


def _unwritten(count: int) -> str:
    return f"{_count(count)} elements were never written" if count else ""


def _results(results: Sequence[Result]) -> Iterator[Text]:
    """Those that are not simply the same."""
    told = [result for result in results if result.comparison.verdict != "same" or result.comparison.strides]
    for result in told[:_SHOWN]:
        name = f"output {result.index}" if result.index is not None else "input after the run"
        label = f"  {name} ({result.name})" if result.name is not None else f"  {name}"
        style = "" if result.fine else "red"
        yield [(f"{label}  {_in_words(result.comparison)}{' (random)' if result.is_random else ''}", style)]
    if len(told) > _SHOWN:
        yield [(f"  and {len(told) - _SHOWN} more", "dim")]


def _where(found: Replayed) -> Iterator[Text]:
    part, differ = found.part, found.differ
    if part is not None:
        yield [("", "")]
        yield from _spot("they part beyond tolerance at", part)
        yield from _method(found)
    if differ is not None and (part is None or differ.after != part.after):
        yield [("", "")]
        yield from _spot("they differ at all first at", differ)
    if found.elsewhere is not None:
        yield [("", "")]
        yield from _spot("the results are fine, and yet a node between computes something else", found.elsewhere)


def _method(found: Replayed) -> Iterator[Text]:
    if found.method == "outputs":
        yield [("    seen with every node as a result of the compiled graph", "dim")]
    elif found.method == "prefixes":
        yield [
            ("    seen with the compiled graph cut off after this node; with every node as a result it is fine", "dim")
        ]
    elif found.against == "compiled":
        yield [("    no node could be told: made a result by itself, each is fine", "dim")]


def _spot(title: str, spot: Spot) -> Iterator[Text]:
    yield [(f"{title}:", "bold")]
    for nodes, sign in ((spot.between[0], MINUS), (spot.between[1], "+")):
        if nodes and spot.after is not None:
            names = ", ".join(node.name for node in nodes[:_SHOWN]) + (", …" if len(nodes) > _SHOWN else "")
            yield [(f"    {sign} (not compared, before it: {names})", "dim")]
    if spot.after is None:
        yield from _untold(spot)
        return
    places = [_place(node) for node in (spot.before, spot.after) if node is not None]
    for place in dict.fromkeys(places):
        yield [(f"  {place}", "cyan")]
    if spot.before is not None:
        if spot.before.line == spot.after.line:
            yield [(f"      {spot.after.line}", "")]
        else:
            yield [(f"    {MINUS} {spot.before.line or spot.before.name}", "red")]
            yield [(f"    + {spot.after.line or spot.after.name}", "green")]
    if spot.comparison is not None:
        yield [(f"      {_in_words(spot.comparison)}", "")]


def _untold(spot: Spot) -> Iterator[Text]:
    nodes = spot.between[1]
    if not nodes:
        yield [("  no node was compared on the way to these results", "dim")]
        return
    yield [("  one of these, of which none has a counterpart:", "dim")]
    for node in nodes[:_SHOWN]:
        yield [(f"    + {node.line}", "green")]
    if len(nodes) > _SHOWN:
        yield [(f"      and {len(nodes) - _SHOWN} more", "dim")]


def _place(node: NodeRef) -> str:
    layer = node.layer or ("layer unknown" if node.source is not None else node.where)
    if node.source is None:
        return layer
    return f"{layer}    {PurePath(node.source.file).name}:{node.source.line}    {node.source.code}".rstrip()


def _in_words(comparison: Comparison) -> str:
    one, other = comparison.types
    types = one if one == other else f"{one} against {other}"
    if comparison.verdict in ("kind", "skipped"):
        return f"{types}  {comparison.why}" if comparison.why else types
    strides = f", strides {comparison.strides[0]} against {comparison.strides[1]}" if comparison.strides else ""
    if comparison.verdict in ("same", "unwritten"):
        said = "the same" if comparison.verdict == "same" else "never written to"
        return f"{types}  {said}{strides}"
    counts = f"{_count(comparison.differing)} of {_count(comparison.elements)} elements differ"
    if 0 < comparison.beyond < comparison.differing:
        counts += f", {_count(comparison.beyond)} beyond tolerance"
    return f"{types}  {counts}{_largest(comparison)}{strides}"


def _largest(comparison: Comparison) -> str:
    errors = [
        f"{comparison.absolute:.3g} absolute" if comparison.absolute is not None else "",
        f"{comparison.relative:.3g} relative" if comparison.relative is not None else "",
        f"{_count(comparison.ulp)} ulp" if comparison.ulp is not None else "",
    ]
    largest = ", ".join(error for error in errors if error)
    text = f"; up to {largest}" if largest else ""
    if comparison.at is not None and comparison.values is not None:
        where = f" at {comparison.at}" if comparison.at else ""
        text += f"; worst{where}: {comparison.values[0]} against {comparison.values[1]}"
    return text


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**6 else f"{number:.2g}"

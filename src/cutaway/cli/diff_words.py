"""The words of a diff: what was compared, where a rewrite was found, and where not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cutaway.dump.diff.course import chain
from cutaway.dump.diff.result import ARROW, TIMES, Absent, Diff, Inside, Rewrite
from cutaway.dump.diff.select import Compared
from cutaway.dump.query.labels import label
from cutaway.dump.snapshot import Snapshot
from cutaway.record.layers.words import block, commas, short_target

FACTS = ("dtype", "shape", "stride", "offset", "device", "value", "provider")
MODEL = "the model itself"
MOST = 6
"""So many names are listed one by one."""


def title(compared: Compared) -> str:
    """What was compared with what."""
    if compared.diff is None:
        return " · ".join(dict.fromkeys(name.rpartition("/")[2] for name in compared.idle))
    diff = compared.diff
    before, after = _common([part.before for part in diff.parts]), _common([part.after for part in diff.parts])
    compilations = [diff.before.compilation or "?", diff.after.compilation or "?"]
    elsewhere = diff.before.dump is diff.after.dump and compilations[0] != compilations[1]
    where = [f" {ARROW} ".join(compilations) if elsewhere else diff.after.compilation or ""]
    pieces = list(dict.fromkeys(part.piece for part in diff.parts if part.piece is not None))
    if len(pieces) == 1:
        where.append(pieces[0])
    elif pieces:
        where.append(f"{len(pieces)} pieces")
    ranges = {diff.before.range, diff.after.range}
    if len(ranges) == 1 and compared.ranges:
        where.append(f"range {', '.join(compared.ranges)}")
    return f"{' · '.join(part for part in where if part)} · {_against(diff, before, after)}"


def _against(diff: Diff, before: str, after: str) -> str:
    """The two things that are compared, by what they do not have in common."""
    if diff.before.dump is not diff.after.dump:
        names = _processes(diff)
        same = before == after
        return f"{after} · {names[0]} {ARROW} {names[1]}" if same else f"{names[0]} {before} {ARROW} {names[1]} {after}"
    if diff.before.range != diff.after.range and before == after:
        return f"{after} · range {diff.before.range or 'none'} {ARROW} {diff.after.range or 'none'}"
    if diff.before.piece != diff.after.piece and before == after:
        return f"{after} · {diff.before.piece} {ARROW} {diff.after.piece}"
    if diff.before.compilation != diff.after.compilation and before == after:
        return after
    return f"{before} {ARROW} {after}"


def _processes(diff: Diff) -> tuple[str, str]:
    """The two processes, by what their paths do not have in common."""
    old, new = diff.before.dump.path.parts, diff.after.dump.path.parts
    while len(old) > 1 and len(new) > 1 and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    while len(old) > 1 and len(new) > 1 and old[0] == new[0]:
        old, new = old[1:], new[1:]
    return "/".join(old), "/".join(new)


def _common(snapshots: Sequence[Snapshot]) -> str:
    """The step that snapshots of several pieces are of."""
    names = list(dict.fromkeys(snapshot.selector.rpartition("/")[2] for snapshot in snapshots))
    return names[0] if len(names) == 1 else "the graph before"


def notes(compared: Compared) -> Iterator[str]:
    """What one should know about a comparison."""
    if compared.alike:
        yield f"the same but for sizes in range {', '.join(compared.alike)}"
    if compared.diff is None:
        return
    if compared.idle:
        pieces = [name.split("/")[1] for name in compared.idle if name.count("/") > 1]
        yield f"changed nothing in {_some(list(dict.fromkeys(pieces)) or list(compared.idle))}"
    structural = [part for part in compared.diff.parts if not part.recorded]
    if structural:
        related = any(chain(part.before, part.after) or chain(part.after, part.before) for part in structural)
        why = "the dump does not tell" if related else "neither graph comes from the other"
        yield f"which node is which was found by structure: {why}"


def renamed_text(rewrites: Sequence[Rewrite]) -> str:
    """Operators that only have another name, in one line."""
    counts: Counter[str] = Counter()
    for rewrite in rewrites:
        change = rewrite.places[0].changes[0]
        old, new = short_target(change.old), short_target(change.new)
        counts[f"{old if old != new else change.old} {ARROW} {new if old != new else change.new}"] += rewrite.count
    texts = [f"{text} {TIMES}{count}" if count > 1 else text for text, count in counts.most_common()]
    return f"the same under another name: {', '.join(texts)}"


def layers_text(rewrite: Rewrite) -> tuple[str, str]:
    """The layers where a rewrite was found, as one name, and their class."""
    places = rewrite.places
    widths = {len(place.layers) for place in places}
    if widths == {0}:
        inputs = set(rewrite.before or rewrite.after) <= {"input"}
        return ("inputs" if inputs else "output" if "output" in rewrite.before else "layer unknown"), ""
    if len(widths) == 1 and widths != {1} and not places[0].layer:
        spanned = [label(place.layers[at] for place in places) or MODEL for at in range(min(widths))]
        return " + ".join(spanned[:MOST]) + (f" and {len(spanned) - MOST} more" if len(spanned) > MOST else ""), ""
    named = [place.layer for place in places if place.layer]
    return label(named) if named else rewrite.cls or MODEL, rewrite.cls if named else ""


def inside_text(inside: Inside) -> str:
    """`×32  inside of cond, true_graph_0  in layers.0–31.mlp`."""
    often = f"{TIMES}{inside.count}  " if inside.count > 1 else ""
    names = f" {ARROW} ".join(dict.fromkeys(inside.names))
    node = inside.nodes[1] if inside.nodes[1] != inside.operator and inside.count == 1 else ""
    where = label(inside.layers)
    return (
        f"{often}inside of {inside.operator}{f' ({node})' if node else ''}, {names}{f'  in {where}' if where else ''}"
    )


def shown_text(rewrite: Rewrite) -> str:
    """The place that is shown of several."""
    place = rewrite.places[0]
    return block(place.layers[0]) if place.layers and place.layers[0] else "the first"


def absent_text(absent: Absent) -> str:
    """`not in layers.0: no quant_fp8 there`."""
    return f"not in {label(block(layer) for layer in absent.layers)}: {absent.reason}"


def change_texts(rewrite: Rewrite) -> list[str]:
    """In what nodes that stayed differ: `dtype: bfloat16 → float32`; arguments are shown with the nodes."""
    changes = [change for change in rewrite.places[0].changes if change.what in FACTS]
    texts = dict.fromkeys(f"{change.what}: {_value(change.old)} {ARROW} {_value(change.new)}" for change in changes)
    return list(texts)[:MOST]


def _value(value: Any) -> str:
    return f"[{commas(value)}]" if isinstance(value, list) else str(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")

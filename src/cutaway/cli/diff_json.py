"""`cutaway diff --json`: a stable shape, documented in docs/dump-format.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cutaway.dump.diff.result import Diff, Inside, Part, Place, Rewrite
from cutaway.dump.diff.select import Compared
from cutaway.dump.diff.shown import Pictures, Text


def diff_json(found: Sequence[Compared]) -> dict[str, Any]:
    """All that a diff says, as plain values."""
    return {
        "equal": all(each.is_empty for each in found),
        "comparisons": [_compared(each) for each in found],
    }


def _compared(compared: Compared) -> dict[str, Any]:
    diff = compared.diff
    facts = {
        "ranges": compared.ranges,
        "alike": compared.alike,
        "idle": compared.idle,
        "equal": compared.is_empty,
    }
    return facts | (_diff(diff) if diff is not None else _NOTHING)


_NOTHING: dict[str, Any] = {
    "summary": "",
    "nodes": None,
    "ops_delta": {},
    "sizes": [],
    "pairs": [],
    "rewrites": [],
    "inside": [],
}


def _diff(diff: Diff) -> dict[str, Any]:
    pictures = Pictures(diff.parts)
    return {
        "summary": diff.summary,
        "nodes": diff.nodes,
        "ops_delta": diff.ops_delta,
        "sizes": diff.sizes,
        "pairs": [_part(part) for part in diff.parts],
        "rewrites": [_rewrite(rewrite, pictures) for rewrite in diff.rewrites],
        "inside": [_inside(each) for each in diff.inside],
    }


def _inside(inside: Inside) -> dict[str, Any]:
    pictures = Pictures(inside.diff.parts)
    return {
        "operator": inside.operator,
        "nodes": inside.nodes,
        "graphs": inside.names,
        "layers": inside.layers,
        "count": inside.count,
        "rewrites": [_rewrite(rewrite, pictures) for rewrite in inside.diff.rewrites],
        "inside": [_inside(each) for each in inside.diff.inside],
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "before": part.before.selector,
        "after": part.after.selector,
        "piece": part.piece,
        "recorded": part.recorded,
        "nodes": [len(table.nodes) for table in part.tables],
    }


def _rewrite(rewrite: Rewrite, pictures: Pictures) -> dict[str, Any]:
    place = rewrite.places[0]
    return {
        "kind": rewrite.kind,
        "text": rewrite.text,
        "before": rewrite.before,
        "after": rewrite.after,
        "what": rewrite.what,
        "class": rewrite.cls or None,
        "providers": rewrite.providers,
        "types": rewrite.types,
        "passes": rewrite.passes,
        "count": rewrite.count,
        "layers": rewrite.layers,
        "absent": rewrite.absent,
        "places": [_place(each) for each in rewrite.places],
        "shown": {
            "before": [_text(pictures.text(place, 0, id_)) for id_ in place.before],
            "after": [_text(pictures.text(place, 1, id_)) for id_ in place.after],
        },
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "pair": place.part,
        "layer": place.layer,
        "layers": place.layers,
        "before": place.before,
        "after": place.after,
        "changes": place.changes,
        "uses": [{"user": user, "before": old, "after": new} for user, old, new in place.uses],
    }


def _text(text: Text) -> dict[str, Any]:
    return {
        "name": text.name,
        "text": text.right,
        "type": text.type or None,
        "source": text.source or None,
        "provider": text.provider or None,
    }

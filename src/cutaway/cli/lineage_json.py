"""What `cutaway lineage --json` prints; its shape is part of the interface (docs/dump-format.md)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cutaway.dump.lineage import Lineage, Member, Step, Way


def lineage_shape(found: Lineage) -> dict[str, Any]:
    """A lineage as JSON values."""
    return {
        "asked": found.asked,
        "kind": found.kind,
        "notes": found.notes,
        "coverage": asdict(found.coverage),
        "groups": [
            {**_member(group.shown), "members": [_place(member) for member in group.members]} for group in found.groups
        ],
    }


def _member(member: Member) -> dict[str, Any]:
    return {"title": member.title, "ways": [_way(way) for way in member.ways]}


def _place(member: Member) -> dict[str, Any]:
    return {
        "title": member.title,
        "layers": list(dict.fromkeys(layer for way in member.ways for layer in way.layers)),
        "starts": [way.start for way in member.ways],
        "captured": list(dict.fromkeys(node.name for way in member.ways for node in way.captured)),
        "kernels": list(dict.fromkeys(call.name for way in member.ways for call in way.kernels)),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "selector": step.selector,
        "leaf": step.leaf,
        "stage": step.stage,
        "phase": step.phase,
        "piece": step.piece,
        "range": step.range,
        "compiled_with": step.compiled_with,
        "nodes": [asdict(node) for node in step.nodes],
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "compilation": way.compilation,
        "start": way.start,
        "nodes": [asdict(node) for node in way.nodes],
        "sources": [asdict(line) for line in way.lines],
        "layers": way.layers,
        "captured": [
            {
                "name": node.name,
                "operator": node.operator,
                "type": node.type,
                "layers": node.layers,
                "source": None if node.line is None else node.line.short,
            }
            for node in way.captured
        ],
        "steps": [_step(step) for step in way.steps],
        "kernels": [{"call": call.name, **asdict(call)} for call in way.kernels],
        "gone": [asdict(gone) for gone in way.gone],
        "ends": way.ends,
        "unknown": way.unknown,
        "made_in": [_step(step) for step in way.made_in],
        "taken_by": [_step(step) for step in way.taken_by],
    }

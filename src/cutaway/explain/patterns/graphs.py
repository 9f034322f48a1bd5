"""Which graphs of a dump a pass saw, or would have seen."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cutaway.dump.compilation import Compilation
from cutaway.dump.query.view import View, views
from cutaway.dump.reader import Dump
from cutaway.dump.select import matching
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import SelectorError, UsageError
from cutaway.explain.patterns.job import Graph

_STAGES = {
    "joint_graph": "before_joint", "pad_mm": "before_joint", "fuse_attention": "before_joint",
    "misc_patterns": "before_joint", "pre_grad": "before_pre_grad", "split_cat": "before_pre_grad",
}  # fmt: skip
_REST = re.compile(r"_|pass$")


def plain_name(name: str) -> str:
    """A pass's name without what spellings differ in: ``AddRMSNormFusionPass``, ``add_rmsnorm_fusion_pass``."""
    return _REST.sub("", name.lower().replace("_", "")).removesuffix("pass")


@dataclass
class Seen:
    """One graph, wherever a dump has it.

    Attributes:
        snapshot: the first that has it.
        views: it under the layers of each piece and range that has it.
    """

    snapshot: Snapshot
    views: list[View] = field(default_factory=list)

    def graph(self) -> Graph:
        """As the child takes it. Raises DumpError."""
        snapshot = self.snapshot
        ranges = dict.fromkeys(view.snapshot.range for view in self.views if view.snapshot.range)
        dump = snapshot.dump
        assert isinstance(dump, Dump)
        return Graph(snapshot.selector, dump.table(snapshot.owner)[1], _modules(snapshot.raw), list(ranges))


def choose_graphs(dump: Dump, asked: str, selector: str | None) -> list[Seen]:
    """The graphs to hold a pattern against, each once.

    Args:
        dump: that they are in.
        asked: the pattern, as the user named it.
        selector: the graphs that the user named; None for those that the pass saw: before the run of it that the dump
            has, or else where passes of its kind run.

    Raises:
        SelectorError: the selector names no graph.
        UsageError: the dump has no graph of that stage.
    """
    if selector is not None:
        known = list(dump.snapshots)
        names = matching(selector, known)
        if not names:
            dump.find(selector)  # says what is near
            raise SelectorError(f"{selector!r} is no graph", "patterns are looked for in graphs", "name a snapshot")
        chosen = [dump.snapshots[name] for name in names]
    else:
        chosen = [snapshot for compilation in dump for snapshot in _seen_by(compilation, asked)]
    if not chosen:
        stages = ", ".join(dict.fromkeys(snapshot.stage for snapshot in dump.snapshots.values())) or "none at all"
        raise UsageError(
            "this dump has no graph as that pass sees it", f"it has {stages}", "name a graph of another stage with --at"
        )
    return _gathered(dump, chosen)


def _seen_by(compilation: Compilation, asked: str) -> list[Snapshot]:
    """The graph before the pass in each piece and range; where it did not run, the one where passes like it begin."""
    wanted = plain_name(re.split(r"[.:]", asked)[-1])
    runs = {
        (ran.piece, ran.range): ran for ran in reversed(compilation.passes) if plain_name(ran.pass_name or "") == wanted
    }
    tracks: dict[tuple[str | None, str | None], list[Snapshot]] = {}
    for snapshot in compilation.snapshots:
        tracks.setdefault((snapshot.piece, snapshot.range), []).append(snapshot)
    found: list[Snapshot] = []
    for place, snapshots in tracks.items():
        ran = runs.get(place)
        if ran is not None:
            before = [each for each in snapshots if each.seq < ran.seq and each.selector != ran.selector]
            found += before[-1:]
        else:
            found += _by_stage(compilation, snapshots, asked)
    return found


def _by_stage(compilation: Compilation, snapshots: Sequence[Snapshot], asked: str) -> list[Snapshot]:
    module = asked.partition(":")[0].rpartition(".")[2]
    stage = _STAGES.get(module, "before_post_grad")
    if stage == "before_post_grad" and "_inductor" not in asked:
        place = snapshots[0].piece, snapshots[0].range
        custom = [
            ran.seq for ran in compilation.passes
            if (ran.piece, ran.range) == place and ran.stage == "custom_pass" and ran.phase is not None
        ]  # fmt: skip
        before = [each for each in snapshots if custom and each.seq < min(custom) and each.stage != "custom_pass"]
        if before:
            return before[-1:]
    return [each for each in snapshots if each.stage == stage][-1:]


def _gathered(dump: Dump, chosen: Sequence[Snapshot]) -> list[Seen]:
    names = {snapshot.selector for snapshot in chosen}
    found: dict[str, Seen] = {}
    for view in views(dump):
        if view.snapshot.selector in names:
            found.setdefault(view.snapshot.graph, Seen(view.snapshot)).views.append(view)
    return list(found.values())


def _modules(raw: str) -> list[str]:
    """The modules that a raw file imports, read as text: those that register its operators."""
    try:
        body = ast.parse(raw).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    return [name for name in names if name.partition(".")[0] not in ("sys", "torch")]

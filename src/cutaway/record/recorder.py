"""Turns the graphs that the hooks see, and the passes that change them, into files and events.

The hooks call :meth:`Recorder.graph`, :meth:`Recorder.ran` and :meth:`Recorder.code` (and ``cache`` and ``metric`` of
the session); each finds out where in the compile it is (``context.where``), writes what is new and appends one line
to the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeVar

from torch import fx

from cutaway.record import texts
from cutaway.record.compilation import Compilation, Scope, Track, remember
from cutaway.record.context import Host, Where, where
from cutaway.record.fingerprint import fingerprint
from cutaway.record.frozen import Frozen, freeze, same
from cutaway.record.nodes import Table, TableBuilder
from cutaway.record.origins import Origin, find_origins
from cutaway.record.pass_run import PassRun
from cutaway.record.run import SCHEMA
from cutaway.record.runnable import Runnable
from cutaway.record.summary import coverage, layers_of, op_counts, ops_delta
from cutaway.record.text_recorder import TextRecorder

_Answer = TypeVar("_Answer")
PARTS = ("piece", "after_split")  # not the graph before, changed, but parts of it


class Recorder(TextRecorder):
    """Records the compiles of this process. Made by ``cutaway.record``; see there for what a user may ask."""

    def _reset(self) -> None:
        super()._reset()
        self._piece_fingerprints: dict[int, tuple[fx.GraphModule, str]] = {}
        self._builder = TableBuilder(self.host.library_files)

    def join(self, host: Host) -> None:
        super().join(host)
        self._builder.library_files = host.library_files

    # -- graphs -----------------------------------------------------------------------------------------

    def graph(
        self,
        stage: str,
        gm: fx.GraphModule,
        *,
        after: PassRun | None = None,
        origins: dict[fx.Node, Origin] | None = None,
        made: tuple[Table, str] | None = None,
        frozen: Frozen | None = None,
    ) -> None:
        """Record a graph at a stage.

        Args:
            stage: a name from ``cutaway.stages``.
            gm: the graph as it is now; only read.
            after: the pass that left the graph so.
            origins: where the nodes come from, when the caller knows better than the previous snapshot tells.
            made: the graph's node table and fingerprint, when the caller has made them already.
            frozen: the graph as it is now, when the caller has frozen it already.
        """
        place = where()
        compilation = self.current(gm)
        if not self.accepts(compilation, stage, after.name if after else None, place):
            return
        started = perf_counter()
        scope = compilation.scope(place.piece, place.range)
        phase = "split" if stage == "after_split" else scope.phase
        previous = scope.previous(phase)
        frozen = frozen or freeze(gm.graph)
        if previous is not None and origins is None and same(previous.remembered.frozen, frozen):
            self._again(compilation, scope, gm, previous, stage, place)
            scope.hook_seconds += perf_counter() - started
            return
        if origins is None:
            origins = find_origins(gm, previous.remembered if previous else None, scope.changes)
        looked = perf_counter()
        scope.hook_seconds += looked - started
        if made is None:
            table = self.table(gm, origins, captured=stage == "captured")
            made = table, fingerprint(table)
        self._snapshot(compilation, scope, gm, frozen, made, self._facts(stage, scope, place, after), previous)
        scope.render_seconds += perf_counter() - looked

    def table(self, gm: fx.GraphModule, origins: dict[fx.Node, Origin], captured: bool = False) -> Table:
        """The node table of a graph of the compilation on this thread."""
        return self._builder.build(gm, origins, self.current(gm).root_class, captured)

    def _facts(self, stage: str, scope: Scope, place: Where, after: PassRun | None) -> dict[str, Any]:
        """What an event says of where and when a graph was seen."""
        return {
            "selector": self.selector(scope, after.leaf if after else stage),
            "stage": stage,
            "phase": scope.phase,
            "pass": after.name if after else None,
            "number": after.number if after else None,
            "piece": place.piece,
            "range": place.range,
            "ms": round(after.ms, 3) if after else None,
            "donated_inputs": self._ask(self.host.donated_inputs, otherwise=[]),
            "providers": dict(after.providers) if after and after.providers is not None else None,
            "cached": False,
        }

    def _snapshot(
        self,
        compilation: Compilation,
        scope: Scope,
        gm: fx.GraphModule,
        frozen: Frozen,
        made: tuple[Table, str],
        facts: dict[str, Any],
        previous: Track | None,
    ) -> None:
        table, graph = made
        counts = op_counts(table)
        whole = facts["stage"] not in PARTS
        before = previous.fingerprint if previous is not None else None
        facts |= {
            "graph": graph,
            "changed": before is not None and whole and before != graph,
            "nodes": len(table["nodes"]),
            "ops_delta": ops_delta(previous.counts, counts) if previous and whole else {},
            "files": [],
            "same_as": self.stored.graphs.get(graph),
            "layers": layers_of(table),
            "providers": self._foretold(gm) if facts["providers"] is None else facts["providers"],
            "coverage": coverage(table),
        }
        if facts["same_as"] is None:
            facts["files"] = self._store(compilation, scope, gm, table, facts)
        elif not whole or (before != graph and before != self.stored.before.get(graph)):
            facts["from"] = [row.get("from") for row in table["nodes"]]
        track = remember(gm, frozen, table, graph, counts, facts)
        self.row(compilation, scope, "snapshot", facts)
        # Only what was announced may be named by what comes later.
        if facts["files"]:
            self.stored.keep_graph(graph, facts["selector"], before)
        scope.tracks["split" if facts["stage"] == "after_split" else scope.phase] = track
        if scope.changes is not None and scope.changes.gm is gm:
            scope.changes.clear()
        scope.snapshots += 1

    def _again(
        self, compilation: Compilation, scope: Scope, gm: fx.GraphModule, previous: Track, stage: str, place: Where
    ) -> None:
        """A stage that found the graph as the last one left it: the same facts under another name."""
        facts = previous.facts | self._facts(stage, scope, place, None)
        facts |= {
            "changed": False,
            "ops_delta": {},
            "files": [],
            "same_as": self.stored.graphs.get(previous.fingerprint),
            "providers": self._foretold(gm),
            "coverage": previous.facts["coverage"] | {"origin": 100.0},  # each node is that of before
        }
        facts.pop("from", None)
        scope.tracks[scope.phase] = replace(previous, facts=facts)
        scope.snapshots += 1
        self.row(compilation, scope, "snapshot", facts)

    def _store(
        self, compilation: Compilation, scope: Scope, gm: fx.GraphModule, table: Table, facts: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Write a graph's three files; returns their manifest entries (empty when the dump is full)."""
        host = self.host
        leaf = facts["selector"].rsplit("/", 1)[1]
        stem = f"{scope.file_folder}/{scope.next_number()}.{leaf}"
        header = texts.header(compilation, facts, table)
        runnable = Runnable(host.engine_ops, self._piece_fingerprint, host.make_input, host.module_that_registers)
        title = texts.title(compilation, facts, table)
        raw, trace = runnable.render(gm, header), texts.layers(table, title, header, facts["providers"])
        return self.open().write_graph(
            stem, facts["graph"], raw, trace, texts.node_table(facts["graph"], table, SCHEMA)
        )

    def _foretold(self, gm: fx.GraphModule) -> dict[str, str]:
        """The provider that each node of the host's IR will be lowered to."""

        def providers() -> dict[str, str]:
            found = {node.name: self.host.provider(node) for node in gm.graph.nodes if node.op == "call_function"}
            return {name: provider for name, provider in found.items() if provider is not None}

        return self._ask(providers, otherwise={})

    def _ask(self, question: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
        """What the host answers. That it could not is told, and costs this answer, not the graph that it is about."""
        try:
            return question()
        except Exception as error:  # noqa: BLE001  (a host asks its engine, which may ask its users)
            self.failed(f"asking the host for {getattr(question, '__name__', 'something')}", error)
            return otherwise

    def _piece_fingerprint(self, gm: fx.GraphModule) -> str | None:
        known = self._piece_fingerprints.get(id(gm))
        return known[1] if known is not None and known[0] is gm else None

    def note_piece(self, gm: fx.GraphModule, graph: str) -> None:
        """Remember a piece's fingerprint, so that equal pieces become one class of the raw stitching graph."""
        self._piece_fingerprints[id(gm)] = (gm, graph)

    # -- passes -----------------------------------------------------------------------------------------

    def ran(
        self, stage: str, gm: fx.GraphModule, run: PassRun, changed: bool, frozen: Frozen, whole: bool = True
    ) -> None:
        """A pass ran and left the graph ``frozen``: an event always, a snapshot when that is not recorded already.

        ``whole`` is False for a pass on a graph nested in the one that is being recorded.
        """
        place = where()
        compilation = self.current(gm)
        if not self.accepts(compilation, stage, run.name, place):
            return
        scope = compilation.scope(place.piece, place.range)
        previous = scope.previous(scope.phase)
        before = previous.counts if previous else {}
        if run.providers is not None and previous is not None:
            for finding in run.surprises(previous):
                self.finding(finding)
        if changed and whole and not (previous is not None and same(previous.remembered.frozen, frozen)):
            self.graph(stage, gm, after=run, frozen=frozen)
        latest = scope.previous(scope.phase) if whole else None
        facts: dict[str, Any] = {
            "selector": scope.path(run.leaf),
            "stage": stage,
            "phase": scope.phase,
            "pass": run.name,
            "number": run.number,
            "piece": place.piece,
            "range": place.range,
            "changed": changed,
            "nodes": len(gm.graph.nodes),
            "ops_delta": ops_delta(before, latest.counts) if changed and latest is not None else {},
            "ms": round(run.ms, 3),
            "counts": dict(run.counts),
            "notes": dict(run.notes),
        }
        self.row(compilation, scope, "pass", facts)

    def finding(self, values: dict[str, Any]) -> None:
        """Something that somebody should look at, about the compile on this thread."""
        place = where()
        self.current().findings.append({**values, "piece": place.piece, "range": place.range})
        self.metric("finding", values)

    def finish(self, compilation: Compilation) -> None:
        """A compile is over: conclude it, and let its graphs go."""
        self._piece_fingerprints.clear()
        self._builder.forget()
        super().finish(compilation)

"""Turns the graphs and texts that the hooks see into files and events.

The hooks call :meth:`Recorder.graph`, :meth:`Recorder.ran` and :meth:`Recorder.code` (and ``cache`` and ``metric`` of
the session); each finds out where in the compile it is (``context.where``), writes what is new and appends one line
to the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from torch import fx

from cutaway.record import output_code, sizes, texts
from cutaway.record.compilation import Compilation, Scope, Track, remember
from cutaway.record.context import Host, Where, where
from cutaway.record.fingerprint import fingerprint
from cutaway.record.nodes import Table, TableBuilder
from cutaway.record.origins import Frozen, Origin, find_origins, freeze, same
from cutaway.record.pass_run import PassRun
from cutaway.record.run import SCHEMA
from cutaway.record.runnable import Runnable
from cutaway.record.session import Session
from cutaway.record.stored import Stored
from cutaway.record.summary import coverage, layers_of, op_counts, ops_delta

PARTS = ("piece", "after_split")  # not the graph before, changed, but parts of it


class Recorder(Session):
    """Records the compiles of this process. Made by ``cutaway.record``; see there for what a user may ask."""

    def _reset(self) -> None:
        super()._reset()
        self.stored = Stored()
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
            "donated_inputs": self.host.donated_inputs(),
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
            "providers": self._providers(gm) if facts["providers"] is None else facts["providers"],
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
            "providers": self._providers(gm),
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

    def _providers(self, gm: fx.GraphModule) -> dict[str, str]:
        found = {node.name: self.host.provider(node) for node in gm.graph.nodes if node.op == "call_function"}
        return {name: provider for name, provider in found.items() if provider is not None}

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

    # -- generated text ---------------------------------------------------------------------------------

    def code(
        self,
        kind: str,
        text: str,
        *,
        leaf: str,
        file: str,
        cached: bool = False,
        kernels: Mapping[str, list[str]] | None = None,
        cache_key: str | None = None,
    ) -> None:
        """Record generated text of the scope on this thread; text that is there already is named, not written.

        Args:
            kind: ``output_code``, ``kernel``, ``execution_code``, ``patterns``, ``post_grad_text`` or
                ``aot_graph_text``.
            text: what to write.
            leaf: last part of the selector.
            file: file name in the scope's folder.
            cached: whether it came out of a cache (a warm start).
            kernels: call of a kernel (``output_code.calls``) -> names of the last graph's nodes in it.
            cache_key: the key of Inductor's cache, when it is known.
        """
        place = where()
        compilation = self.current()
        scope = compilation.scope(place.piece, place.range)
        if self.accepts(compilation, "output_code" if kind in texts.GRAPH_TEXTS else kind, None, place):
            more = {"kernels": dict(kernels or {}), "cached": cached, "cache_key": cache_key}
            self._text(compilation, scope, kind, text, leaf, f"{scope.file_folder}/{file}", more)

    def _text(
        self,
        compilation: Compilation,
        scope: Scope,
        kind: str,
        text: str,
        leaf: str,
        file: str,
        more: dict[str, Any],
    ) -> None:
        started = perf_counter()
        place = where()
        digest = output_code.digest(text)
        same_as = self.stored.texts.get(digest)
        facts: dict[str, Any] = {
            "kind": kind,
            "selector": self.selector(scope, leaf),
            "phase": scope.phase,
            "piece": place.piece,
            "range": place.range,
            "same_as": same_as,
            **more,
        }
        header = texts.code_header(compilation, facts, file)
        entry = None if same_as else self.open().write("code", file, header + text)
        facts["files"] = [entry] if entry else []
        self.row(compilation, scope, "code", facts)
        if entry is not None:
            self.stored.texts[digest] = facts["selector"]
        scope.render_seconds += perf_counter() - started

    def finish(self, compilation: Compilation) -> None:
        """A compile is over: say what was learnt of sizes and what recording cost, and let its graphs go."""
        text = "" if compilation.finished else sizes.describe(compilation)
        if text and self.accepts(compilation, "guards", None, Where()):
            root = compilation.root
            root.phase = None
            more: dict[str, Any] = {"kernels": {}, "cached": False, "cache_key": None}
            self._text(compilation, root, "guards", text, "guards", f"{root.folder}/98.guards.txt", more)
        compilation.shape_env = None
        self._piece_fingerprints.clear()
        self._builder.forget()
        super().finish(compilation)

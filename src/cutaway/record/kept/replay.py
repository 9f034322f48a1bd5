"""Writes kept rows again: the same events, selectors, files and numbers as if it were compiled now.

Nothing of a row's names is taken over as it stands. A file's place follows from the scope, which numbers its files as
it always does; whether a graph is stored here already is asked anew. So the same program makes the same tree from a
cache, and what is kept cannot write anywhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cutaway.record import texts
from cutaway.record.compilation import Compilation, Scope, Track, safe_name
from cutaway.record.context import Where
from cutaway.record.kept.collect import Row
from cutaway.record.kept.file import Kept, RefusedError
from cutaway.record.layers.words import blocks
from cutaway.record.origins import Remembered
from cutaway.record.output_code import digest
from cutaway.record.recorder import PARTS, Recorder
from cutaway.record.summary import op_counts

_GRAPH = re.compile(r"[0-9a-f]{32}")
_LONGEST_NAME = 240  # bytes
_OF_A_STEP = {"phase": str | None, "piece": str | None, "range": str | None}
_OF_A_GRAPH = {"stage": str, "changed": bool, "nodes": int, "ops_delta": dict, "ms": float | int | None}
_FACTS: dict[str, dict[str, Any]] = {
    "snapshot": {**_OF_A_STEP, **_OF_A_GRAPH, "graph": str, "layers": list, "donated_inputs": list, "providers": dict},
    "pass": {**_OF_A_STEP, **_OF_A_GRAPH, "pass": str, "counts": dict},
    "code": {**_OF_A_STEP, "kind": str, "kernels": dict},
    "metric": {"kind": str, "values": dict, "piece": str | None, "range": str | None},
}
"""For each event that is kept, its facts that what reads them back relies on."""


def check(kept: Kept) -> None:
    """Raises RefusedError when rows or files are not as they are written: whatever made them, no event follows."""
    try:
        for row in kept.rows:
            _check(row, kept.texts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"it is damaged ({type(error).__name__}: {error})") from error


def _check(row: Row, contents: Mapping[str, bytes]) -> None:
    event, facts = row["event"], row["facts"]
    for name, kind in _FACTS[event].items():
        if not isinstance(facts[name], kind):
            raise TypeError(f"{name} of a {event}")
    if event == "metric":
        return
    if not row["leaf"] or not all(isinstance(name, str) for name in (row["leaf"], *row["scope"])):
        raise TypeError("a name that is none")
    if event == "pass":
        return
    if not isinstance(row["titled"], str) or not all(isinstance(name, str) for name in facts.get("layers", ())):
        raise TypeError("a name that is none")
    if event == "code" and not (_is_below(row["file"]) and row["files"].keys() == {"code"}):
        raise ValueError(f"a file {row['file']!r}")
    if event == "snapshot":
        if not _GRAPH.fullmatch(facts["graph"]) or row["files"].keys() != {"raw", "layers", "nodes"}:
            raise ValueError(f"a graph {facts['graph']!r}")
        op_counts(json.loads(contents[row["files"]["nodes"]]))
    for name in row["files"].values():
        contents[name].decode()


def _is_below(file: str) -> bool:
    """Whether a file's name stays below the folder that it is joined to."""
    parts = file.split("/")
    return "\\" not in file and all(0 < len(part.encode()) <= _LONGEST_NAME and part[0] != "." for part in parts)


class Replay:
    """Writes rows of one kept recording.

    Args:
        recorder: where to.
        kept: what; it was checked.
        compilation: whose the rows are now.
        base: the scope that they stand below.
        said: what every event says besides: that it was read back, and where from.
        place: for an artifact, the piece and range that it is for now.
        layers: layers that the artifact was recorded for -> those that it is for now.
    """

    def __init__(
        self,
        recorder: Recorder,
        kept: Kept,
        compilation: Compilation,
        base: Scope,
        said: Mapping[str, Any],
        place: Where | None = None,
        layers: Mapping[str, str] | None = None,
    ) -> None:
        self.recorder = recorder
        self.kept = kept
        self.compilation = compilation
        self.base = base
        self.said = dict(said)
        if place is not None:
            self.said |= {"piece": place.piece, "range": place.range}
        self.layers = dict(layers or {})

    def write(self, rows: Iterable[Row]) -> None:
        """Write these of its rows, in order; those that the recording does not want are left out."""
        writers: dict[str, Callable[[Row, Scope, dict[str, Any]], None]] = {
            "snapshot": self._snapshot,
            "pass": self._pass,
            "code": self._code,
        }
        for row in rows:
            facts = {**row["facts"], **self.said}
            if row["event"] == "metric":
                self._metric(row, facts)
                continue
            scope = self._scope(row["scope"])
            scope.phase = facts["phase"]
            stage = facts["stage"] if row["event"] != "code" else _stage_of_code(facts["kind"])
            place = Where(piece=facts["piece"], range=facts["range"])
            if self.recorder.accepts(self.compilation, stage, facts.get("pass"), place):
                writers[row["event"]](row, scope, facts)

    def _scope(self, names: Iterable[str]) -> Scope:
        scope = self.base
        for name in map(safe_name, names):
            parent, scope = scope, scope.child(name, number=not name.startswith(("range_", "graph_")))
            if name.startswith("graph_"):
                parent.newest, parent.graphs = scope, parent.graphs + 1
        return scope

    def _snapshot(self, row: Row, scope: Scope, facts: dict[str, Any]) -> None:
        recorder, graph = self.recorder, facts["graph"]
        whole = facts["stage"] not in PARTS
        key = "split" if facts["stage"] == "after_split" else scope.phase
        previous = scope.previous(key)
        before = previous.fingerprint if previous is not None else None
        table = json.loads(self.kept.texts[row["files"]["nodes"]])
        facts |= {
            "selector": recorder.selector(scope, row["leaf"]),
            "layers": [self.layers.get(layer, layer) for layer in facts["layers"]],
            "same_as": recorder.stored.graphs.get(graph),
            "files": [],
        }
        if facts["same_as"] is None:
            stem = f"{scope.file_folder}/{scope.next_number()}.{facts['selector'].rsplit('/', 1)[1]}"
            facts["files"] = self._store(row, stem, graph, facts["selector"])
        elif before != graph and "from" not in facts and (not whole or before != recorder.stored.before.get(graph)):
            facts["from"] = [node.get("from") for node in table["nodes"]]
        recorder.row(self.compilation, scope, "snapshot", facts)
        if facts["files"]:
            recorder.stored.keep_graph(graph, facts["selector"], before)
        scope.tracks[key] = Track(Remembered(), graph, op_counts(table), facts)
        if facts["stage"] == "piece":
            self._know_piece(graph, facts)

    def _store(self, row: Row, stem: str, graph: str, selector: str) -> list[dict[str, Any]]:
        raw, layers = self._text(row, "raw", selector), self._text(row, "layers", selector)
        table = self.kept.texts[row["files"]["nodes"]].decode()
        return self.recorder.open().write_graph(stem, graph, raw, layers, table)

    def _text(self, row: Row, kind: str, selector: str) -> str:
        """A file's content; its title says where it stands now."""
        text = self.kept.texts[row["files"][kind]].decode()
        if row["titled"] == selector:
            return text
        title, newline, rest = text.partition("\n")
        (old_name, _, old), (name, _, new) = row["titled"].partition("/"), selector.partition("/")
        title = title.replace(row["titled"], selector).replace(f"# {old} ", f"# {new} ")
        return title.replace(f" · {old_name} · ", f" · {name} · ") + newline + rest

    def _know_piece(self, graph: str, facts: Mapping[str, Any]) -> None:
        """What the recording of a split would have noted of a piece (``split.py``)."""
        known = self.compilation.equal_pieces
        pieces = self.compilation.root.children
        tracks = {name: scope.tracks.get(None) for name, scope in pieces.items()}
        equal = [name for name, track in tracks.items() if track is not None and track.fingerprint == graph]
        known.update({name: [other for other in equal if other != name] for name in equal})
        self.compilation.piece_layers[facts["piece"]] = texts.some(blocks(facts["layers"]))

    def _pass(self, row: Row, scope: Scope, facts: dict[str, Any]) -> None:
        facts["selector"] = scope.path(row["leaf"])
        self.recorder.row(self.compilation, scope, "pass", facts)

    def _code(self, row: Row, scope: Scope, facts: dict[str, Any]) -> None:
        recorder = self.recorder
        selector = recorder.selector(scope, row["leaf"])
        text = self._text(row, "code", selector)
        found = digest(texts.code_body(text))
        file = f"{scope.file_folder}/{row['file']}"
        facts |= {"selector": selector, "same_as": recorder.stored.texts.get(found), "files": []}
        if facts["same_as"] is None:
            entry = recorder.open().write("code", file, text)
            facts["files"] = [entry] if entry is not None else []
        recorder.row(self.compilation, scope, "code", facts)
        if facts["files"]:
            recorder.stored.texts[found] = selector
        if facts["kind"] == "output_code":
            recorder.stored.keep_artifact(scope.selector, scope.phase, found)

    def _metric(self, row: Row, facts: dict[str, Any]) -> None:
        if self.recorder.settings.filters.accept("metrics", None, None):
            self.recorder.metric_row(self.compilation, facts)


def _stage_of_code(kind: str) -> str:
    return "output_code" if kind in texts.GRAPH_TEXTS else kind

"""Every resource, on small dumps that are made as the recorder makes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dump_maker import DumpMaker, make_dump, manifest
from fused_dump import PASS, fused_dump
from hypothesis import given, settings
from hypothesis import strategies as st
from table_maker import TableMaker

from cutaway.dump import load
from cutaway.dump.diff import diff
from cutaway.errors import DumpError, SelectorError, UsageError
from cutaway.web.data import Library, shapes

Get = Callable[[str], Any]
LOWERING = "backbone/piece_02/range_8_8/post_grad.2.VllmIRLoweringPass"


class TestIndex:
    def test_the_newest_run_is_first_and_shown(self, root: Path) -> None:
        index = Library(root).index()
        assert [run.name for run in index.runs] == ["run_002", "run_001"]
        assert (index.run, index.process, index.title, index.live) == ("run_002", "rank_0_dp_0", "dump", False)

    def test_processes_that_compiled_the_same_are_together_once_the_run_was_opened(self, root: Path) -> None:
        library = Library(root)
        assert [each.name for each in library.index().runs[1].processes] == ["rank_0_dp_0", "rank_1_dp_0"]
        library.get("run_001/rank_0_dp_0/overview")
        assert library.index().runs[1].processes == [shapes.ProcessName("rank_0_dp_0", ["rank_1_dp_0"])]

    @pytest.mark.parametrize("below", ["", "run_002", "run_002/rank_1_dp_0"])
    def test_any_folder_of_a_dump_will_do(self, root: Path, below: str) -> None:
        library = Library(root / below)
        index = library.index()
        assert index.runs[0].name == "run_002"
        found = library.get(f"{index.run}/{index.process}/overview")
        assert isinstance(found, shapes.Overview)
        assert (found.run, found.process) == (index.run, below.partition("/")[2] or "rank_0_dp_0")

    def test_a_newer_run_may_lack_the_process_that_was_asked_for(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ranks=2)
        library = Library(root, rank="rank_1_dp_0")
        assert library.index().process == "rank_1_dp_0"
        make_dump(tmp_path / "more")
        (tmp_path / "more" / "run_001").rename(root / "run_002")
        index = library.index()
        assert (index.run, index.process) == ("run_001", "rank_1_dp_0")
        assert [run.name for run in index.runs] == ["run_002", "run_001"]

    def test_a_process_folder_is_relative(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(root / "run_001" / "rank_0_dp_0")
        found = Library(".").get("run_001/rank_0_dp_0/diff/" + LOWERING)
        assert isinstance(found, shapes.Difference)
        assert (found.after.run, found.after.process) == ("run_001", "rank_0_dp_0")


class TestOverview:
    def test_what_was_compiled(self, get: Get) -> None:
        found = get("overview")
        assert (found.model, found.argv, found.complete) == ("Qwen3Model", ["serve.py", "--model", "tiny"], True)
        assert [each.name for each in found.compilations] == ["backbone", "backbone.2"]
        assert found.versions["torch"] == "2.13.0"
        assert found.ranks == [shapes.ProcessName("rank_0_dp_0", ["rank_1_dp_0"])]

    def test_pieces_that_are_the_same_have_one_kind(self, get: Get) -> None:
        pieces = get("overview").compilations[0].pieces
        assert [(piece.name, piece.same_as, piece.kind) for piece in pieces] == [
            ("piece_00", None, 0),
            ("piece_02", None, 1),
            ("piece_04", "piece_02", 1),
            ("piece_06", "piece_02", 1),
        ]
        assert [piece.label for piece in pieces] == [
            "embed_tokens, layers.0, norm",
            "layers.0–1",
            "layers.1–2",
            "layers.2–3",
        ]

    def test_ranges_of_a_repeated_piece_are_those_it_was_compiled_with(self, get: Get) -> None:
        first, _, repeated, _ = (piece.ranges for piece in get("overview").compilations[0].pieces)
        assert first == []
        assert [(each.name, each.same, each.kernels) for each in repeated] == [("1_4096", ["8_8"], 1)]

    def test_a_splitting_piece_runs_as_it_is(self, traced: Get) -> None:
        pieces = traced("overview").compilations[0].pieces
        assert [piece.name for piece in pieces if piece.compiled] == ["piece_02", "piece_04"]

    def test_totals_are_those_of_the_dump(self, get: Get, root: Path) -> None:
        dump = load(root)
        totals = get("overview").totals
        assert totals.graphs == len({snapshot.graph for snapshot in dump.snapshots.values()})
        assert totals.nodes == dump.find("backbone/captured").node_count + dump.find("backbone.2/captured").node_count
        assert totals.kernels == 2

    def test_times_of_torch_and_of_the_engine(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        maker.compilation("one")
        values = {"entire_frame_compile_time_s": 1.5, "duration_us": 1.5e6, "start_time_us": 1.7e15, "gc_time_us": True}
        maker.event("metric", "one", kind="compile_time", values=values, piece=None, range=None)
        for piece in ("piece_00", "piece_02"):
            maker.event("metric", "one", kind="compile_time", values={"seconds": 1}, piece=piece, range="8_8")
        maker.event("metric", "one", kind="hooks", values={"hook_ms": 1, "render_ms": 9}, piece=None, range=None)
        times = Library(tmp_path).get("run_001/rank_0_dp_0/overview").compilations[0].times  # pyright: ignore
        assert times == [shapes.Time("pieces", 2), shapes.Time("whole frame", 1.5), shapes.Time("recording", 0.01)]


class TestSteps:
    def test_a_pass_and_its_graph_are_one_step(self, get: Get) -> None:
        steps = get("steps/backbone").steps
        assert [step.kind for step in steps if step.selector == LOWERING] == ["snapshot"]
        assert len({step.selector for step in steps}) == len(steps)

    def test_they_are_in_the_order_of_recording(self, get: Get) -> None:
        steps = get("steps/backbone").steps
        assert all(a.seq < b.seq for a, b in pairwise(steps))

    def test_a_pass_that_changed_nothing_has_the_graph_before_it(self, get: Get) -> None:
        [idle] = [
            s for s in get("steps/backbone").steps if s.name == "post_grad.0.NoOpEliminationPass" and s.range == "8_8"
        ]
        assert (idle.kind, idle.changed, idle.before) == ("pass", False, "backbone/piece_02/range_8_8/before_post_grad")

    def test_no_such_compilation(self, get: Get) -> None:
        with pytest.raises(SelectorError, match="backbones"):
            get("steps/backbones")


class TestGraph:
    def test_nodes(self, get: Get) -> None:
        fingerprint = next(step.graph for step in get("steps/backbone").steps if step.selector == LOWERING)
        graph = get(f"graph/{fingerprint}")
        *_, norm, output = graph.nodes
        assert (norm.short, norm.text, norm.provider) == ("fused_norm", "vllm.fused_norm(mm, 1e-06)", "native")
        assert norm.inputs == [2]
        assert graph.layers[norm.layer][-1] == "layers.1: Qwen3DecoderLayer"
        assert (output.op, output.inputs) == ("output", [3])

    def test_bytes_go_by_hints(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        maker.compilation("one")
        table = TableMaker({"": "M"})
        x = table.input("x", ["s72", 256])
        table.output(table.call("aten.mul.Tensor", [x, x], "", shape=["2*s72", 3], dtype="bfloat16"))
        symbols = {"s72": {"min": 2, "max": None, "hint": 10, "source": None}}
        maker.snapshot("one/captured", "captured", table.table() | {"symbols": symbols}, "one/00")
        library = Library(tmp_path)
        fingerprint = load(tmp_path).find("one/captured").graph
        graph = library.get(f"run_001/rank_0_dp_0/graph/{fingerprint}")
        assert [node.bytes for node in graph.nodes] == [10 * 256 * 4, 20 * 3 * 2, None]

    def test_what_is_a_snapshots_own(self, traced: Get) -> None:
        found = traced("snapshot/backbone/piece_02/range_8_8/post_grad.0.FusePass")
        assert found.before == "backbone/piece_02/range_8_8/aot_forward"
        assert found.origins == [[0], [1], [2], [3, 4], []]
        last = traced("snapshot/backbone/piece_02/range_8_8/post_grad")
        assert last.kernels == {"1": ["extern_kernels.mm"], "2": ["cpp_fused_neg_0"], "3": ["cpp_fused_neg_0"]}

    def test_a_repeated_piece_has_layers_of_its_own(self, get: Get) -> None:
        found = get("snapshot/backbone/piece_04/piece")
        assert found.layer_map == {"layers.0": "layers.1", "layers.0.mlp": "layers.1.mlp", "layers.1": "layers.2"}

    def test_no_such_graph(self, get: Get) -> None:
        with pytest.raises(SelectorError, match="no graph 'abc'"):
            get("graph/abc")


class TestLayers:
    def test_rows_say_what_the_text_says(self, get: Get, root: Path) -> None:
        for selector in ("backbone/captured", "backbone/piece_04/piece", LOWERING):
            rows = get(f"layers/{selector}").rows
            text = load(root).find(selector).render_layers()
            written = [line.split("  ")[0] for line in text.splitlines() if not line.startswith("#")]
            stripped = [line.strip() for line in text.splitlines() if not line.startswith("#")]
            assert len(written) == len(rows)
            for line, row in zip(stripped, rows, strict=True):
                assert line.startswith(f"{row.mark} {row.text}".strip())
                assert row.type in line

    def test_a_row_stands_for_the_nodes_of_layers_that_are_not_shown(self, get: Get, root: Path) -> None:
        rows = get("layers/backbone/captured").rows
        [fold] = [row for row in rows if row.times > 1]
        assert (fold.fqn, fold.cls, fold.times) == ("layers.0–3", "Qwen3DecoderLayer", 4)
        table = load(root).find("backbone/captured").table
        inside = {n.id for n in table.nodes if any("layers." in part for part in table.layer(n))}
        assert set(fold.nodes) == inside
        for row in takewhile(lambda row: row.depth > fold.depth, rows[rows.index(fold) + 1 :]):
            if row.kind == "node" and not row.mark:
                names = {table.nodes[id_].target for id_ in row.nodes}
                assert (len(row.nodes) in (3, 4), len(names)) == (True, 1)  # one node of layers.0 is another

    def test_every_node_is_in_a_row(self, get: Get, root: Path) -> None:
        for selector in ("backbone/captured", LOWERING):
            rows = get(f"layers/{selector}").rows
            ids = {node.id for node in load(root).find(selector).table.nodes}
            assert {id_ for row in rows for id_ in row.nodes} == ids

    def test_an_idle_pass_shows_the_graph_that_it_left(self, get: Get) -> None:
        found = get("layers/backbone/piece_02/range_8_8/post_grad.0.NoOpEliminationPass")
        assert found.selector == "backbone/piece_02/range_8_8/before_post_grad"


class TestText:
    def test_raw_and_code(self, get: Get) -> None:
        raw = get("text/raw/backbone/captured")
        assert (raw.language, raw.path, raw.text.splitlines()[1]) == (
            "python",
            "backbone/00.captured.py",
            "import torch",
        )
        kernel = get("text/code/backbone/piece_02/range_8_8/kernels/cpp_fused_norm_0")
        assert (kernel.language, kernel.text) == ("cpp", 'extern "C" void kernel() {}\n')

    def test_calls_of_kernels_are_marked(self, traced: Get) -> None:
        found = traced("text/code/backbone/piece_02/range_8_8/output_code")
        lines = found.text.splitlines()
        assert [(mark.kind, mark.name, mark.nodes) for mark in found.marks] == [
            ("kernel", "extern_kernels.mm", ["mm"]),
            ("kernel", "cpp_fused_neg_0", ["neg", "div_norm"]),
        ]
        assert all(mark.name in lines[mark.line - 1] for mark in found.marks)
        assert found.marks[1].selector == "backbone/piece_02/range_8_8/kernels/cpp_fused_neg_0"

    def test_the_code_of_a_graph(self, get: Get) -> None:
        assert get(f"text/code/{LOWERING}").selector == "backbone/piece_02/range_8_8/output_code"

    def test_pieces_are_marked_in_stitching_code(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ended=False)
        maker = DumpMaker.__new__(DumpMaker)
        maker.folder = root / "run_001" / "rank_0_dp_0"
        maker.seq = len(manifest(maker.folder))
        text = "def run(x):\n    # piece_00 · embed_tokens\n    a = f(x)\n    # piece_99 · not there\n    b = g(a)\n"
        maker.code("backbone/more_code", "execution_code", "backbone/98.py", text)
        found = Library(root).get("run_001/rank_0_dp_0/text/code/backbone/more_code")
        assert [(mark.line, mark.end, mark.name, mark.selector) for mark in found.marks] == [
            (2, 3, "piece_00", "backbone/piece_00/piece"),
            (4, 5, "piece_99", None),
        ]

    def test_no_such_kind(self, get: Get) -> None:
        with pytest.raises(UsageError, match="There are raw and code"):
            get("text/cooked/backbone/captured")


class TestDifference:
    def test_what_a_pass_changed(self, get: Get) -> None:
        found = get(f"diff/{LOWERING}")
        assert (found.summary, found.equal) == ("5 nodes, rms_norm −1, fused_norm +1", False)
        assert [(each.kind, each.text, each.count) for each in found.rewrites] == [
            ("replaced", "rms_norm → fused_norm", 1)
        ]
        assert (found.removed, found.added, found.kept) == ([3], [3], {"0": 0, "1": 1, "2": 2, "4": 4})
        [row] = [row for row in found.rows if row.kind == "replaced"]
        assert row.rewrite == 0
        assert (row.before.text, row.before.nodes) == ("rms_norm = ir.rms_norm(mm, 1e-06)", [3])
        assert (row.after.text, row.after.nodes) == ("fused_norm = vllm.fused_norm(mm, 1e-06)", [3])

    def test_an_idle_pass_changed_nothing(self, get: Get) -> None:
        found = get("diff/backbone/piece_02/range_8_8/post_grad.0.NoOpEliminationPass")
        assert (found.equal, found.rewrites, found.removed, found.added) == (True, [], [], [])
        assert {row.kind for row in found.rows} <= {"same", "layer", "note"}

    def test_from_one_stage_to_another(self, get: Get) -> None:
        here = "backbone/piece_02/range_8_8"
        there, back = get(f"diff/{here}/before_post_grad..{LOWERING}"), get(f"diff/{LOWERING}..{here}/before_post_grad")
        assert (there.removed, there.added) == (back.added, back.removed) == ([3], [3])

    def test_of_two_processes(self, get: Get) -> None:
        found = get(f"between/{LOWERING}../run_001/rank_1_dp_0/{LOWERING}")
        assert found.equal
        assert (found.before.run, found.after.run, found.after.process) == ("run_002", "run_001", "rank_1_dp_0")

    def test_the_first_graph_has_none_before_it(self, get: Get) -> None:
        with pytest.raises(UsageError, match="first graph"):
            get("diff/backbone/captured")

    def test_layers_are_folded_where_the_same_happened(self, tmp_path: Path) -> None:
        fused_dump(tmp_path / "dump", layers=8, odd={0: "missing"})
        found = Library(tmp_path / "dump").get(f"run_001/rank_0_dp_0/diff/{PASS}")
        folds = [row for row in found.rows if row.after is not None and row.after.times > 1]
        assert [(row.after.fqn, row.after.times, row.before.times) for row in folds] == [("layers.1–7", 7, 7)]
        replaced = [row for row in found.rows if row.kind == "replaced"]
        assert [(len(row.before.nodes), len(row.after.nodes)) for row in replaced] == [(7, 7)]
        assert found.rewrites[0].absent[0].layers == ["layers.0.input_layernorm"]


def rewritten(layers: int, odd: dict[int, str], root: Path) -> shapes.Difference:
    fused_dump(root, layers=layers, odd=odd)
    found = Library(root).get(f"run_001/rank_0_dp_0/diff/{PASS}")
    assert isinstance(found, shapes.Difference)
    return found


class TestBeside:
    @settings(max_examples=25, deadline=None)
    @given(
        layers=st.integers(1, 6),
        odd=st.dictionaries(st.integers(0, 5), st.sampled_from(["missing", "constant"]), max_size=3),
    )
    def test_both_graphs_are_there_whole(
        self, layers: int, odd: dict[int, str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        root = tmp_path_factory.mktemp("beside") / "dump"
        found = rewritten(layers, {layer: why for layer, why in odd.items() if layer < layers}, root)
        dump = load(root)
        before, after = dump.find("backbone/before_post_grad"), dump.find(PASS)
        part = diff(before, after).parts[0]
        for side, snapshot in (("before", before), ("after", after)):
            rows = [row for each in found.rows if (row := getattr(each, side)) is not None]
            assert {id_ for row in rows for id_ in row.nodes} == {node.id for node in snapshot.table.nodes}
        for row in found.rows:
            if row.kind == "same" and row.before is not None and row.after is not None:
                assert {part.matching.after[id_] for id_ in row.before.nodes} == set(row.after.nodes)
            if row.kind in ("removed", "replaced") and row.before is not None:
                assert set(row.before.nodes) <= set(found.removed)
            if row.kind in ("added", "replaced") and row.after is not None:
                assert set(row.after.nodes) <= set(found.added)

    def test_the_order_after_is_kept(self, tmp_path: Path) -> None:
        found = rewritten(1, {}, tmp_path / "dump")
        shown = [row.after.nodes[0] for row in found.rows if row.after is not None and row.after.kind == "node"]
        assert shown == sorted(shown)


class TestWays:
    def test_lines_lead_to_roots_and_roots_to_pieces(self, traced: Get) -> None:
        found = traced("lineage/backbone")
        assert found.first == "backbone/captured"
        assert {line: len(roots) for line, roots in found.lines.items()} == {"0": 3, "1": 3, "2": 3, "3": 3}
        mm = [root for root, pieces in found.pieces.items() if pieces == ["piece_02"]]
        assert mm == ["3", "4", "5"]
        assert found.coverage == shapes.Coverage(3, 3)

    def test_a_fused_node_has_all_its_roots(self, traced: Get) -> None:
        found = traced("lineage/backbone/piece_02")
        [last] = [each for each in found.snapshots if each.selector.endswith("range_8_8/post_grad")]
        assert [last.sets[index] for index in last.roots] == [[2], [3], [4], [4, 5], []]
        [call] = [each for each in found.calls if each.kernel == "cpp_fused_neg_0" and each.range == "8_8"]
        assert call.nodes == [2, 3]
        assert call.kernel_code == "backbone/piece_02/range_8_8/kernels/cpp_fused_neg_0"
        assert len(call.lines) == 1

    def test_a_repeated_piece_has_roots_of_its_own(self, traced: Get) -> None:
        found = traced("lineage/backbone/piece_04")
        assert (found.compiled_with, found.layer_map["layers.0"]) == ("piece_02", "layers.1")
        [last] = [each for each in found.snapshots if each.selector.endswith("range_8_8/post_grad")]
        assert [last.sets[index] for index in last.roots] == [[6], [7], [8], [8, 9], []]
        assert {call.kernel for call in found.calls} == {"extern_kernels.mm", "cpp_fused_neg_0"}

    def test_no_such_piece(self, traced: Get) -> None:
        with pytest.raises(SelectorError, match="piece_99"):
            traced("lineage/backbone/piece_99")


class TestSearch:
    def test_every_node_of_every_graph_once(self, get: Get, root: Path) -> None:
        found = get("search")
        dump = load(root)
        tables = {snapshot.graph: snapshot.owner.table for snapshot in dump.snapshots.values()}
        assert [each.graph for each in found.graphs] == list(tables)
        assert len(found.columns.node) == sum(len(table.nodes) for table in tables.values())
        assert {len(column) for column in msgspec.structs.astuple(found.columns)} == {len(found.columns.node)}
        for number, each in enumerate(found.columns.node):
            node = tables[found.graphs[found.columns.graph[number]].graph].nodes[each]
            assert found.strings[found.columns.name[number]] == node.name
        assert sum(len(each.selectors) for each in found.graphs) == len(dump.snapshots)

    def test_a_node_knows_its_layer_provider_and_kernel(self, get: Get) -> None:
        found = get("search")
        rows = list(zip(*msgspec.structs.astuple(found.columns), strict=True))
        names = shapes.SearchColumns.__struct_fields__
        texts = [
            {n: found.strings[i] if i >= 0 else "" for n, i in zip(names[2:], row[2:], strict=True)} for row in rows
        ]
        [fused] = [each for each in texts if each["name"] == "fused_norm"]
        assert (fused["layer"], fused["cls"], fused["provider"]) == ("layers.1", "Qwen3DecoderLayer", "native")
        assert (fused["op"], fused["kernel"], fused["dtype"]) == ("vllm.fused_norm", "cpp_fused_norm_0", "float32")


class TestComparison:
    def test_the_same(self, get: Get) -> None:
        found = get("compare/run_002/rank_1_dp_0")
        assert found.equal
        assert found.summary[0] == "The same graphs at every stage, and the same kernels."
        assert all(piece.same for compilation in found.compilations for piece in compilation.pieces)

    def test_where_they_part(self, tmp_path: Path) -> None:
        for run, odd in (("run_001", {}), ("run_002", {2: "missing"})):
            fused_dump(tmp_path / run, layers=4, odd=odd)
            (tmp_path / run / "run_001").rename(tmp_path / f"_{run}")
            (tmp_path / run).rmdir()
            (tmp_path / f"_{run}").rename(tmp_path / run)
        found = Library(tmp_path).get("run_001/rank_0_dp_0/compare/run_002/rank_0_dp_0")
        assert not found.equal
        [piece] = found.compilations[0].pieces
        assert (piece.a, piece.b, piece.range) == (None, None, None)
        assert piece.parts_at.a == piece.parts_at.b == "backbone/before_post_grad"
        assert "quant_fp8 −1" in piece.parts_at.text


class TestPaths:
    def test_every_path_that_is_named_can_be_asked_for(self, root: Path) -> None:
        library = Library(root)
        paths = list(library.paths("run_001", "rank_0_dp_0"))
        assert len(paths) == len(set(paths)) > 60
        for path in paths:
            msgspec.json.encode(library.get(path))

    @pytest.mark.parametrize(
        "path", ["", "nothing", "run_001/rank_0_dp_0", "run_001/rank_0_dp_0/secrets", "run_001/rank_9/overview",
                 "run_009/rank_0_dp_0/overview", "../run_001/rank_0_dp_0/overview", "run_001/../overview"],
    )  # fmt: skip
    def test_what_is_not_there(self, root: Path, path: str) -> None:
        with pytest.raises(SelectorError):
            Library(root).get(path)


def test_one_resource_on_the_command_line(root: Path) -> None:
    command = [sys.executable, "-m", "cutaway.web.data", str(root)]
    index = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    path = f"{index['run']}/{index['process']}/diff/{LOWERING}"
    found = json.loads(subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout)
    assert found["summary"] == "5 nodes, rms_norm −1, fused_norm +1"
    wrong = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: there is no resource 'nothing'.")


class TestReadingOn:
    def test_steps_appear(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump")
        process = root / "run_001" / "rank_0_dp_0"
        lines = (process / "manifest.jsonl").read_text().splitlines(keepends=True)
        (process / "manifest.jsonl").write_text("".join(lines[:6]))
        library = Library(root)
        get = lambda path: library.get(f"run_001/rank_0_dp_0/{path}")  # noqa: E731
        seen = len(get("steps/backbone").steps)
        assert not library.read_on()
        for at in range(6, len(lines)):
            with (process / "manifest.jsonl").open("a") as file:
                half = len(lines[at]) // 2
                file.write(lines[at][:half])
                file.flush()
                assert not library.read_on()
                file.write(lines[at][half:])
            assert library.read_on()
            assert len(get("steps/backbone").steps) >= seen
        whole = Library(root)
        for path in ("overview", "steps/backbone", "search", "lineage/backbone"):
            assert msgspec.json.encode(get(path)) == msgspec.json.encode(whole.get(f"run_001/rank_0_dp_0/{path}"))

    def test_a_last_line_without_an_end_is_taken_once(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump")
        path = root / "run_001" / "rank_0_dp_0" / "manifest.jsonl"
        content = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(content[:10]).rstrip(b"\n"))
        dump = load(root)
        path.write_bytes(b"".join(content))
        assert dump.read_on() == len(content) - 10
        whole = load(root)
        assert (dump.complete, dump.notes, dump.selectors) == (True, whole.notes, whole.selectors)

    def test_a_manifest_that_was_replaced_is_read_anew(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump")
        library = Library(root)
        library.get("run_001/rank_0_dp_0/overview")
        path = root / "run_001" / "rank_0_dp_0" / "manifest.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
        assert library.read_on()
        assert [step.name for step in library.get("run_001/rank_0_dp_0/steps/backbone").steps] == ["captured"]

    def test_a_manifest_that_breaks_keeps_what_was_read(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump")
        library = Library(root)
        library.get("run_001/rank_0_dp_0/overview")
        with (root / "run_001" / "rank_0_dp_0" / "manifest.jsonl").open("a") as file:
            file.write('{"event": "snapshot", "seq": "x"}\n{}\n')
        assert library.read_on()
        assert not library.read_on()
        found = library.get("run_001/rank_0_dp_0/overview")
        assert any("is broken in line" in note for note in found.notes)
        assert len(found.compilations) == 2

    def test_what_cannot_be_shown_any_more_is_a_problem(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ended=False)
        library = Library(root)
        library.get("run_001/rank_0_dp_0/overview")
        with (root / "run_001" / "rank_0_dp_0" / "manifest.jsonl").open("a") as file:
            file.write(json.dumps({"event": "compilation", "seq": 99, "time": 1, "compilation": "x" * 10_000}) + "\n")
        assert library.read_on()
        with pytest.raises(DumpError, match="a name of 10000 characters"):
            library.get("run_001/rank_0_dp_0/overview")
        assert not library.read_on()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    root = make_dump(tmp_path / "dump")
    for path in (root / "run_001" / "rank_0_dp_0" / "nodes").iterdir():
        path.unlink()
    library = Library(root)
    with pytest.raises(DumpError, match="is missing"):
        library.get("run_001/rank_0_dp_0/layers/backbone/captured")
    assert isinstance(library.get("run_001/rank_0_dp_0/overview"), shapes.Overview)
    assert library.get("run_001/rank_0_dp_0/search") == shapes.SearchTable([], [], shapes.SearchColumns(*[[]] * 13))

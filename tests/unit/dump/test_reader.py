"""Reading dumps: what is found, and what is said when something is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, make_dump, make_process, manifest, piece
from effort import steps
from table_maker import decoder

import cutaway
from cutaway.dump import Code, Dump, Snapshot, load
from cutaway.dump.fold import Same, fold_pieces, fold_ranges, fold_ranks
from cutaway.errors import CutawayError, DumpError, SchemaError, SelectorError, UsageError

LAST = "backbone/piece_02/range_8_8/post_grad"


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    return make_dump(tmp_path / "dump")


@pytest.fixture(name="process")
def _process(root: Path) -> Path:
    return root / "run_001" / "rank_0_dp_0"


def edit(process: Path, number: int, **changes: Any) -> None:
    """Change one event of a manifest."""
    events = manifest(process)
    events[number].update(changes)
    text = "".join(json.dumps(event) + "\n" for event in events)
    (process / "manifest.jsonl").write_text(text, encoding="utf-8")


class TestWhere:
    @pytest.mark.parametrize("below", ["", "run_001", "run_001/rank_0_dp_0"])
    def test_root_run_or_process(self, root: Path, below: str) -> None:
        dump = load(root / below)
        assert (dump.run, dump.process) == ("run_001", "rank_0_dp_0")

    def test_the_newest_run_and_the_first_rank(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", runs=2, ranks=2)
        (root / "run_002").rename(root / "run_010")
        dump = load(root)
        assert (dump.run, dump.process) == ("run_010", "rank_0_dp_0")
        assert dump.runs == ("run_001", "run_010")
        assert dump.processes == ("rank_0_dp_0", "rank_1_dp_0")

    def test_another_run_and_rank(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", runs=2, ranks=2)
        dump = load(root, run="run_001", rank="rank_1_dp_0")
        assert dump.path == root / "run_001" / "rank_1_dp_0"
        assert dump.info is not None
        assert dump.info.rank == 1

    def test_a_run_that_is_not_there(self, root: Path) -> None:
        with pytest.raises(SelectorError, match="no run 'run_007'") as error:
            load(root, run="run_007")
        assert error.value.candidates == ("run_001",)

    def test_a_run_above_the_dump_is_no_run(self, root: Path) -> None:
        with pytest.raises(SelectorError):
            load(root, run="..")

    def test_a_choice_below_a_single_process(self, process: Path) -> None:
        assert load(process, run="run_001", rank="rank_0_dp_0").process == "rank_0_dp_0"
        with pytest.raises(UsageError, match="is a single process"):
            load(process, rank="rank_1_dp_0")
        with pytest.raises(UsageError, match="is a single run"):
            load(process.parent, run="run_002")

    def test_no_such_folder(self, root: Path) -> None:
        with pytest.raises(DumpError, match=r"no dump at .*Did you mean .*dump"):
            load(root.with_name("dumb"))

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DumpError, match="is not a dump"):
            load(tmp_path)

    def test_a_folder_with_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "manifest.json").write_text("{}")
        with pytest.raises(DumpError, match=r"No manifest\.jsonl lies in it"):
            load(tmp_path)

    def test_a_file(self, process: Path) -> None:
        with pytest.raises(DumpError, match="is a file"):
            load(process / "manifest.jsonl")

    def test_the_public_name(self, root: Path) -> None:
        assert isinstance(cutaway.load(root), Dump)


class TestWhatIsInIt:
    def test_compilations(self, root: Path) -> None:
        dump = load(root)
        assert [compilation.name for compilation in dump] == ["backbone", "backbone.2"]
        assert dump["backbone.2"].started is not None
        assert dump["backbone.2"].started.reason == ["x.size(0) == 4"]
        assert dump["backbone"].model == "Qwen3Model"
        assert dump["backbone"].finished
        assert dump.complete

    def test_a_compilation_that_is_not_there(self, root: Path) -> None:
        with pytest.raises(SelectorError, match="Did you mean backbone"):
            load(root)["backbon"]

    def test_pieces_and_ranges(self, root: Path) -> None:
        backbone = load(root)["backbone"]
        assert [piece.name for piece in backbone.pieces] == ["piece_00", "piece_02", "piece_04", "piece_06"]
        assert backbone.piece(2).ranges == ["1_4096", "8_8"]
        assert backbone.piece("piece_04").same_as == "piece_02"
        assert backbone.piece(2).same_as is None
        assert [snapshot.stage for snapshot in backbone.piece(2).snapshots[:3]] == [
            "piece",
            "before_post_grad",
            "custom_pass",
        ]
        assert len(backbone.piece(2).passes) == 6
        assert len(backbone.piece(2).codes) == 4

    def test_a_piece_that_is_not_there(self, root: Path) -> None:
        with pytest.raises(SelectorError, match="has no piece 3"):
            load(root)["backbone"].piece(3)

    def test_other_events(self, root: Path) -> None:
        backbone = load(root)["backbone"]
        assert [cache.result for cache in backbone.caches] == ["miss", "store", "miss", "store"]
        assert backbone.metrics[0].values == {"seconds": 1.5}
        assert backbone.errors[0].error == "ValueError: no"

    def test_a_snapshot_has_all_its_facts(self, root: Path) -> None:
        snapshot = load(root).snapshots["backbone/piece_02/range_1_4096/post_grad.2.VllmIRLoweringPass"]
        assert snapshot.pass_name == "VllmIRLoweringPass"
        assert (snapshot.number, snapshot.ms, snapshot.changed) == (2, 1.25, True)
        assert snapshot.ops_delta == {"rms_norm": -1, "fused_norm": 1}
        assert snapshot.providers == {"fused_norm": "native"}
        assert (snapshot.piece, snapshot.range) == ("piece_02", "1_4096")
        assert snapshot.node_count == len(snapshot.nodes) == 5

    def test_text_and_table(self, root: Path) -> None:
        snapshot = load(root).snapshots["backbone/captured"]
        assert snapshot.raw == "# backbone/captured\nimport torch\n"
        assert "layers.0–3: Qwen3DecoderLayer" in snapshot.layers_text
        node = next(node for node in snapshot.nodes if node.name == "embedding")
        assert snapshot.table.layer(node) == ("Qwen3Model", "embed_tokens: VocabParallelEmbedding")
        source = snapshot.table.source(node)
        assert source is not None
        assert source.line == 402

    def test_a_graph_stored_earlier_is_read_from_there(self, root: Path) -> None:
        snapshot = load(root).snapshots["backbone/before_split"]
        assert snapshot.files == []
        assert snapshot.owner.selector == "backbone/captured"
        assert snapshot.raw == "# backbone/captured\nimport torch\n"
        assert snapshot.layer_map == {}
        assert "# the same graph as backbone/captured" in snapshot.layers_text

    def test_a_repeated_piece_has_its_own_layers(self, root: Path) -> None:
        snapshot = load(root).snapshots["backbone/piece_06/piece"]
        assert snapshot.layer_map == {
            "layers.0": "layers.2",
            "layers.0.mlp": "layers.2.mlp",
            "layers.1": "layers.3",
        }
        assert "  layers.3: Qwen3DecoderLayer\n" in snapshot.layers_text
        assert [
            "Qwen3Model",
            "layers.2: Qwen3DecoderLayer",
            "layers.2.mlp: Qwen3MLP",
        ] in snapshot.table.layers

    def test_layers_that_do_not_correspond_are_not_renamed(self, process: Path) -> None:
        number = next(
            i for i, event in enumerate(manifest(process)) if event.get("selector") == "backbone/piece_06/piece"
        )
        edit(process, number, layers=["layers.2", "norm", "layers.3"])
        assert load(process).snapshots["backbone/piece_06/piece"].layer_map == {}

    def test_context(self, root: Path) -> None:
        assert load(root).context == {"versions": {"torch": "2.13.0"}}

    def test_code_of_a_graph(self, root: Path) -> None:
        dump = load(root)
        assert dump.code_of(dump.snapshots[LAST]).selector == "backbone/piece_02/range_8_8/output_code"
        assert dump.code_of(dump.snapshots["backbone/captured"]).kind == "execution_code"
        with pytest.raises(SelectorError, match="ambiguous"):
            dump.code_of(dump.snapshots["backbone/piece_06/piece"])
        with pytest.raises(SelectorError, match="no code was recorded"):
            dump.code_of(dump.snapshots["backbone.2/captured"])


class TestFolding:
    def test_pieces(self, root: Path) -> None:
        assert fold_pieces(load(root)["backbone"]) == [
            Same("piece_00", ()),
            Same("piece_02", ("piece_04", "piece_06")),
        ]

    def test_ranges(self, root: Path) -> None:
        assert fold_ranges(load(root)["backbone"].piece(2)) == [Same("1_4096", ("8_8",))]

    def test_ranks(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ranks=2)
        make_process(root / "run_001" / "rank_2_dp_0", rank=2, layers=3)
        assert fold_ranks(load(root)) == [Same("rank_0_dp_0", ("rank_1_dp_0",)), Same("rank_2_dp_0", ())]


class TestFind:
    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ("backbone/captured", "backbone/captured"),
            ("range_8_8/post_grad", LAST),
            ("piece_02/range_8_8/post_grad", LAST),
            ("backbone.2", "backbone.2/captured"),
            ("piece_04", "backbone/piece_04/piece"),
            ("range_8_8/lowering", "backbone/piece_02/range_8_8/post_grad.2.VllmIRLoweringPass"),
            ("backbone/range_8_8/output_code", "backbone/piece_02/range_8_8/output_code"),
            ("execution", "backbone/execution_code"),
            ("/backbone/captured/", "backbone/captured"),
        ],
    )
    def test_any_unambiguous_part(self, root: Path, wanted: str, found: str) -> None:
        assert load(root).find(wanted).selector == found

    def test_kinds(self, root: Path) -> None:
        dump = load(root)
        assert isinstance(dump.find("backbone/captured"), Snapshot)
        code = dump.find("execution_code")
        assert isinstance(code, Code)
        assert code.text == "def run(): ...\n"

    def test_ambiguous(self, root: Path) -> None:
        with pytest.raises(SelectorError, match="ambiguous: it fits 2 selectors") as error:
            load(root).find("post_grad")
        assert error.value.candidates == ("backbone/piece_02/range_1_4096/post_grad", LAST)

    @pytest.mark.parametrize(
        ("wanted", "near"),
        [("backbone/captrued", "backbone/captured"), ("execution_cod3", "backbone/execution_code")],
    )
    def test_a_slip_of_the_pen(self, root: Path, wanted: str, near: str) -> None:
        with pytest.raises(SelectorError, match="Did you mean") as error:
            load(root).find(wanted)
        assert near in error.value.candidates

    @pytest.mark.parametrize("wanted", ["", "/", "quite something else"])
    def test_nothing_like_it(self, root: Path, wanted: str) -> None:
        with pytest.raises(SelectorError, match="cutaway ls"):
            load(root).find(wanted)

    def test_a_pass_that_changed_nothing(self, root: Path) -> None:
        with pytest.raises(SelectorError, match="The graph stayed as it was") as error:
            load(root).find("range_8_8/post_grad.0.NoOpEliminationPass")
        assert error.value.candidates == ("backbone/piece_02/range_8_8/before_post_grad",)

    def test_a_stage_of_a_repeated_piece(self, root: Path) -> None:
        with pytest.raises(SelectorError, match="piece_04 is the same graph as piece_02") as error:
            load(root).find("piece_04/range_8_8/post_grad")
        assert error.value.candidates == ("piece_02/range_8_8/post_grad",)


class TestDamage:
    def test_a_torn_last_line_is_a_note(self, process: Path) -> None:
        path = process / "manifest.jsonl"
        path.write_bytes(path.read_bytes() + b'{"seq": 99, "ti')
        dump = load(process)
        assert dump.complete
        assert any("torn" in note for note in dump.notes)

    def test_a_manifest_cut_anywhere_can_be_read(self, process: Path) -> None:
        """What kill -9 leaves behind: every prefix of a manifest is a dump, if an incomplete one."""
        path = process / "manifest.jsonl"
        content = path.read_bytes()
        for length in range(0, len(content), 97):
            path.write_bytes(content[:length])
            dump = load(process)
            assert not dump.complete
            for snapshot in dump.snapshots.values():
                assert snapshot.owner.table.nodes

    def test_a_process_that_did_not_end(self, tmp_path: Path) -> None:
        dump = load(make_dump(tmp_path / "dump", ended=False))
        assert not dump.complete
        assert any("incomplete" in note for note in dump.notes)

    def test_a_broken_line_in_the_middle(self, process: Path) -> None:
        path = process / "manifest.jsonl"
        lines = path.read_bytes().split(b"\n")
        lines[4] = lines[4][: len(lines[4]) // 2]
        path.write_bytes(b"\n".join(lines))
        with pytest.raises(DumpError, match=r"manifest\.jsonl is broken in line 5"):
            load(process)

    def test_a_known_event_of_the_wrong_shape(self, process: Path) -> None:
        edit(process, 3, nodes="many")
        with pytest.raises(DumpError, match=r"line 4\. Expected `int`, got `str`"):
            load(process)

    def test_bytes_that_are_no_text(self, process: Path) -> None:
        path = process / "manifest.jsonl"
        path.write_bytes(b'\xff\xfe{"event": "run"}\n' + path.read_bytes())
        with pytest.raises(DumpError, match="line 1"):
            load(process)

    def test_a_newer_schema(self, process: Path) -> None:
        edit(process, 0, schema=2)
        with pytest.raises(SchemaError, match=r"newer Cutaway\. It has schema 2, this one reads up to 1\. Upgrade"):
            load(process)

    def test_a_newer_schema_whose_run_event_changed(self, process: Path) -> None:
        edit(process, 0, schema=7, argv="a text")
        with pytest.raises(SchemaError, match="It has schema 7"):
            load(process)

    def test_a_newer_node_table(self, process: Path) -> None:
        self.change_table(process, schema=2)
        with pytest.raises(SchemaError):
            _ = load(process).snapshots["backbone/captured"].table

    def test_unknown_keys_and_events_are_tolerated(self, process: Path) -> None:
        edit(process, 2, colour="blue")
        dump = load(process)
        assert dump.notes == ["1 event is of a kind that this Cutaway does not know"]

    def test_a_missing_file(self, process: Path) -> None:
        (process / "backbone/00.captured.py").unlink()
        with pytest.raises(DumpError, match=r"'backbone/00.captured.py' is missing"):
            _ = load(process).snapshots["backbone/captured"].raw

    def test_files_that_were_left_out(self, process: Path) -> None:
        edit(process, 2, files=[])
        dump = load(process)
        for selector in ("backbone/captured", "backbone/before_split"):
            with pytest.raises(DumpError, match="is not in this dump"):
                _ = dump.snapshots[selector].raw

    def test_only_the_layers_text_left_out(self, process: Path) -> None:
        files = manifest(process)[2]["files"]
        edit(process, 2, files=[file for file in files if file["kind"] != "layers"])
        assert "layers.0–3" in load(process).snapshots["backbone/captured"].layers_text

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"layer": 99}, "is in layer 99"),
            ({"source": -1}, "comes from source -1"),
            ({"args": [{"node": 10_000}]}, "refers to node 10000"),
            ({"args": [{"node": [1]}]}, "refers to node"),
            ({"args": [{"tuple": 3}]}, "malformed tuple"),
            ({"args": [{"slice": [1]}]}, "malformed slice"),
            ({"args": [{"dict": [1]}]}, "malformed dict"),
            ({"args": [{"sym": 3}]}, "an argument sym that is no text"),
            ({"args": [{"a": 1, "b": 2}]}, "the keys"),
            ({"id": 0}, "Two nodes have the id 0"),
            ({"name": 3}, "Expected `str`, got `int`"),
        ],
    )
    def test_a_table_that_refers_to_nothing(self, process: Path, change: dict[str, Any], why: str) -> None:
        path = self.table_path(process)
        table = json.loads(path.read_text())
        table["nodes"][-2].update(change)
        path.write_text(json.dumps(table))
        with pytest.raises(DumpError, match=why):
            _ = load(process).snapshots["backbone/captured"].table

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
    def test_no_table_at_all(self, process: Path, content: bytes) -> None:
        self.table_path(process).write_bytes(content)
        with pytest.raises(DumpError, match="is no node table"):
            _ = load(process).snapshots["backbone/captured"].table

    def table_path(self, process: Path) -> Path:
        return process / manifest(process)[2]["files"][2]["path"]

    def change_table(self, process: Path, **changes: Any) -> None:
        path = self.table_path(process)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class TestUntrusted:
    @pytest.mark.parametrize("path", ["../../secret", "/etc/hostname", "a/../../../secret", "", "a\0b", "..\\secret"])
    def test_paths_that_lead_out(self, process: Path, path: str) -> None:
        (process.parent.parent / "secret").write_text("secret")
        self.point(process, path)
        with pytest.raises(DumpError, match="must lie inside it"):
            _ = load(process).snapshots["backbone/captured"].raw

    def test_a_link_that_leads_out(self, process: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        (process / "link").symlink_to(tmp_path / "secret")
        self.point(process, "link")
        with pytest.raises(DumpError, match="leads out of the dump"):
            _ = load(process).snapshots["backbone/captured"].raw

    def test_a_folder_that_is_a_link_out(self, root: Path, tmp_path: Path) -> None:
        make_process(tmp_path / "elsewhere")
        (root / "run_001" / "rank_1_dp_0").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DumpError, match="leads out of the dump"):
            load(root, rank="rank_1_dp_0")

    def test_a_manifest_that_is_a_link_out(self, process: Path, tmp_path: Path) -> None:
        path = process / "manifest.jsonl"
        path.rename(tmp_path / "manifest.jsonl")
        path.symlink_to(tmp_path / "manifest.jsonl")
        with pytest.raises(DumpError, match="leads out of the dump"):
            load(process)

    def test_a_pipe_is_not_read(self, process: Path) -> None:
        os.mkfifo(process / "pipe")
        self.point(process, "pipe")
        with pytest.raises(DumpError, match="no ordinary file"):
            _ = load(process).snapshots["backbone/captured"].raw

    def point(self, process: Path, path: str) -> None:
        [raw, *others] = manifest(process)[2]["files"]
        edit(process, 2, files=[{**raw, "path": path}, *others])


def test_a_large_manifest_is_read_at_once_and_graphs_are_not(tmp_path: Path) -> None:
    """80 layers, as if every piece had been compiled for two ranges with 15 passes each."""
    maker = DumpMaker(tmp_path / "process")
    maker.compilation("backbone")
    names = [f"piece_{i:03d}" for i in range(161)]
    whole = decoder(80)
    maker.snapshot("backbone/captured", "captured", whole, "backbone/00.captured")
    for i, name in enumerate(names):
        maker.snapshot(f"backbone/{name}/piece", "piece", piece(i), f"backbone/{name}/00.piece")
        for compile_range in ("1_4096", "8_8"):
            for number in range(15):
                maker.ran(f"backbone/{name}/range_{compile_range}/post_grad.{number}.SomePass", "custom_pass", 5)
    for table in (tmp_path / "process" / "nodes").iterdir():
        table.unlink()
    assert len(load(tmp_path / "process")["backbone"].pieces) == 161
    events = len(manifest(tmp_path / "process"))
    assert steps(lambda: load(tmp_path / "process")["backbone"].pieces) / events < 150  # 84


def test_every_error_is_a_cutaway_error() -> None:
    for error in (DumpError, SchemaError, SelectorError, UsageError):
        assert issubclass(error, CutawayError)
    assert issubclass(SchemaError, DumpError)
    assert issubclass(SelectorError, DumpError)
    assert str(DumpError("what", "why", "cure")) == "what. Why. Cure."
    assert str(DumpError("what")) == "what."


def test_a_warm_start_has_only_code_and_is_folded_by_it(tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "process")
    first: dict[str, str] = {}
    for name, text in (("piece_00", "a"), ("piece_02", "b"), ("piece_04", "b")):
        for compile_range in ("1_16", "17_4096"):
            selector = f"backbone/{name}/range_{compile_range}/output_code"
            same = {"same_as": first[text], "files": []} if text in first else {}
            maker.code(selector, "output_code", f"{name}/{compile_range}.py", text, cached=True, **same)
            first.setdefault(text, selector)
    backbone = load(tmp_path / "process")["backbone"]
    assert fold_pieces(backbone) == [Same("piece_00", ()), Same("piece_02", ("piece_04",))]
    assert fold_ranges(backbone.piece(2)) == [Same("1_16", ("17_4096",))]
    assert backbone.piece(4).codes[0].text == "b"

"""Lineage on a small dump whose origins are all known: both ways, across the split, under a repeated piece's layers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from dump_maker import make_process, manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_maker import FILE, LINES, make_lineage_dump

from cutaway.dump import Dump, load
from cutaway.dump.diff import predecessor
from cutaway.dump.lineage import Lineage, Step, Way, lineage, node_at
from cutaway.dump.lineage.calls import call_lines
from cutaway.dump.lineage.trail import Trail
from cutaway.errors import CutawayError, DumpError, SelectorError


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lineage") / "process"
    make_lineage_dump(folder)
    return folder


@pytest.fixture(name="dump")
def _dump(process: Path) -> Dump:
    return load(process)


def lines(found: Lineage | Way) -> set[int]:
    return {line.line for line in (found.sources if isinstance(found, Lineage) else found.lines)}


def layers(found: Lineage | Way) -> set[str]:
    return {layer.rpartition(": ")[0] for layer in found.layers}


class TestBack:
    def test_a_fusion_keeps_all_its_lines_and_layers(self, dump: Dump) -> None:
        found = lineage(dump, "piece_02/range_8_8/post_grad:div_norm")
        way = found.groups[0].shown.ways[0]
        assert (lines(way), layers(way)) == ({5, 8}, {"layers.0.mlp", "layers.1.norm"})
        assert [node.name for node in way.captured] == ["silu", "norm_1"]
        assert [line.file for line in way.lines] == [FILE, FILE]
        assert {line.code for line in way.lines} == {LINES[8], LINES[5]}

    def test_every_stage_on_the_way(self, dump: Dump) -> None:
        (shown, *_) = lineage(dump, "piece_02/range_8_8/post_grad:div_norm").ways
        assert [(step.leaf, [node.name for node in step.nodes]) for step in shown.steps] == [
            ("captured", ["silu", "norm_1"]),
            ("piece", ["silu", "norm"]),
            ("before_pre_grad", ["silu", "norm"]),
            ("aot_forward", ["div", "norm"]),
            ("post_grad.0.FusePass", ["div_norm"]),
            ("post_grad", ["div_norm"]),
            ("after_split", ["submod_2"]),
        ]

    def test_a_piece_that_was_compiled_with_another_has_its_own_layers(self, dump: Dump) -> None:
        found = lineage(dump, "piece_04/range_8_8/post_grad:div_norm")
        (way,) = found.ways
        assert (lines(way), layers(way)) == ({5, 8}, {"layers.1.mlp", "layers.2.norm"})
        assert [node.name for node in way.captured] == ["silu_1", "norm_2"]
        assert {step.compiled_with for step in way.steps if step.range} == {"piece_02"}
        assert {step.piece for step in way.steps if step.stage != "after_split"} == {None, "piece_04"}

    def test_the_equal_pieces_are_named_with_the_one_that_was_asked_for(self, dump: Dump) -> None:
        (group,) = lineage(dump, "piece_02/range_8_8/post_grad:div_norm").groups
        assert [member.title.split("/")[1] for member in group.members] == ["piece_02", "piece_04"]


class TestAhead:
    def test_from_a_line_to_its_kernels(self, dump: Dump) -> None:
        found = lineage(dump, "tiny.py:8")
        folded, last = found.groups
        assert [layers(member.ways[0]) for member in folded.members] == [{"layers.0.mlp"}, {"layers.1.mlp"}]
        (way,) = folded.shown.ways
        assert {(call.kernel, call.range, call.lines) for call in way.kernels} == {
            ("cpp_fused_neg_0", "1_16", (8,)),
            ("cpp_fused_neg_0", "8_8", (8,)),
        }
        assert {node.name for call in way.kernels for node in call.nodes} == {"neg", "div_norm"}
        assert layers(last.shown.ways[0]) == {"layers.2.mlp"}
        assert last.shown.ways[0].ends == ("backbone/piece_06/piece",)

    def test_what_runs_uncompiled(self, dump: Dump) -> None:
        (group,) = lineage(dump, "tiny.py:6").groups
        assert [way.ends for member in group.members for way in member.ways] == [
            (f"backbone/piece_0{number}/piece",) for number in (1, 3, 5)
        ]
        assert not lineage(dump, "tiny.py:6").kernels

    def test_a_call_of_a_piece_leads_into_it(self, dump: Dump) -> None:
        found = lineage(dump, "after_split:submod_4")
        assert layers(found) == {"layers.1.mlp", "layers.2.norm"}
        assert {call.kernel for call in found.kernels} == {"extern_kernels.mm", "cpp_fused_neg_0"}
        assert {call.piece for call in found.kernels} == {"piece_04"}


def crossed(steps: Sequence[Step]) -> list[tuple[str | None, list[str]]]:
    return [(step.piece, [node.name for node in step.nodes]) for step in steps]


class TestFromPieceToPiece:
    """An input of a piece, and what makes it in another one."""

    @pytest.mark.parametrize(
        ("place", "line", "made"),
        [
            ("piece_02/piece", 6, ("piece_01", ["run"])),
            ("piece_02/range_8_8/post_grad", 6, ("piece_01", ["run"])),
            ("piece_04/piece", 6, ("piece_03", ["run"])),
            ("piece_04/range_1_16/aot_forward", 6, ("piece_03", ["run"])),
            ("piece_05/piece", 5, ("piece_04", ["norm"])),
        ],
    )
    def test_back_to_what_makes_it(self, dump: Dump, place: str, line: int, made: tuple[str, list[str]]) -> None:
        way = lineage(dump, f"{place}:x").ways[0]
        assert crossed(way.made_in) == [made]
        assert (lines(way), way.unknown, way.taken_by) == ({line}, (), ())
        assert way.steps[0].stage == "captured"
        assert not way.kernels
        assert not way.gone

    @pytest.mark.parametrize(
        "place", ["captured:norm_1", "piece_02/piece:norm", "piece_02/range_8_8/post_grad:div_norm"]
    )
    def test_ahead_to_what_takes_it(self, dump: Dump, place: str) -> None:
        """A fused node is what its result is: here the norm, and not the activation that it stems from as well."""
        way = lineage(dump, place).ways[0]
        assert crossed(way.taken_by) == [("piece_03", ["x"])]
        assert not way.made_in

    @pytest.mark.parametrize(
        "place", ["captured:silu", "captured:silu_2", "piece_02/piece:silu", "piece_02/range_8_8/aot_forward:div"]
    )
    def test_what_stays_inside_is_taken_by_none(self, dump: Dump, place: str) -> None:
        way = lineage(dump, place).ways[0]
        assert not way.taken_by
        assert not way.made_in

    def test_an_input_of_the_model_is_made_in_no_piece(self, dump: Dump) -> None:
        (way, *_) = lineage(dump, "piece_00/piece:x").ways
        assert [node.name for node in way.captured] == ["x"]
        assert not way.made_in

    def test_taking_it_as_an_input_is_no_step_of_its_own_way(self, dump: Dump) -> None:
        (way, *_) = lineage(dump, "captured:norm_1").ways
        assert {step.piece for step in way.steps} == {None, "piece_02"}

    def test_a_recording_without_it_says_so(self, dump: Dump, tmp_path: Path) -> None:
        """As it was before inputs were recorded."""
        shutil.copytree(dump.path, tmp_path / "p")
        for path in (tmp_path / "p" / "nodes").glob("*.json"):
            table = json.loads(path.read_text())
            for node in table["nodes"]:
                if node["op"] == "placeholder":
                    node.pop("from", None)
            path.write_text(json.dumps(table))
        events = manifest(dump.path)
        for event in events:
            if event.get("from"):
                event["from"][0] = None
        (tmp_path / "p" / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        old = load(tmp_path / "p")
        (way, *_) = lineage(old, "piece_02/piece:x").ways
        assert (way.made_in, way.captured) == ((), ())
        assert way.unknown[0] == "where it stems from before backbone/piece_02/piece was not recorded"
        assert not lineage(old, "captured:norm_1").ways[0].taken_by


class TestKernels:
    def test_whose_lines_are_in_it(self, dump: Dump) -> None:
        found = lineage(dump, "cpp_fused_neg_0")
        assert (found.kind, lines(found)) == ("kernel", {5, 8})
        (group,) = found.groups
        assert len(group.members) == 4  # two ranges, two pieces
        assert [[node.name for node in way.nodes] for way in group.shown.ways] == [["neg"], ["div_norm"]]
        assert {call.kernel_file for call in found.kernels if call.kernel == "cpp_fused_neg_0"} == {
            "backbone/piece_02/range_1_16/90.kernels/cpp_fused_neg_0.cpp",
            "backbone/piece_02/range_8_8/90.kernels/cpp_fused_neg_0.cpp",
        }

    @pytest.mark.parametrize(
        ("question", "members"),
        [
            ("piece_02/range_8_8:cpp_fused_neg_0", 2),
            ("piece_02/range_8_8/output_code:cpp_fused_neg_0", 2),
            ("range_8_8:extern_kernels.mm", 2),
            ("kernel:extern_kernels.*", 4),
            ("extern_kernels.mm#1", 4),
        ],
    )
    def test_only_some_of_its_calls(self, dump: Dump, question: str, members: int) -> None:
        assert sum(len(group.members) for group in lineage(dump, question).groups) == members

    def test_one_that_the_dump_knows_nothing_of(self, tmp_path: Path) -> None:
        make_lineage_dump(tmp_path / "p", with_kernels=False)
        dump = load(tmp_path / "p")
        assert lineage(dump, "tiny.py:8").coverage.told == 0
        assert lineage(dump, "tiny.py:8").coverage.calls == 4
        way = lineage(dump, "cpp_fused_neg_0").ways[0]
        assert (way.nodes, way.kernels[0].lines) == ((), (8,))
        assert way.unknown == ("which nodes cpp_fused_neg_0 computes was not recorded",)

    def test_a_call_that_was_not_recorded_lowers_the_coverage(self, tmp_path: Path) -> None:
        make_lineage_dump(tmp_path / "p", more_code="buf1 = torch.ops.aten.sort.default(buf0)")
        coverage = lineage(load(tmp_path / "p"), "tiny.py:8").coverage
        assert (coverage.calls, coverage.told) == (6, 4)

    def test_calls_that_cannot_be_told_apart(self, tmp_path: Path) -> None:
        """As in a dump that has all calls of a kernel together."""
        make_lineage_dump(tmp_path / "p", more_code="extern_kernels.mm(buf0, arg2_1, out=buf1)")
        calls = [call for call in lineage(load(tmp_path / "p"), "tiny.py:7").kernels if call.range == "8_8"]
        assert {call.lines for call in calls} == {(7, 9)}

    def test_the_lines_of_calls(self) -> None:
        text = (
            "k = async_compile.triton('k', '''\ndef k(): pass\n''')\n"
            "def call(args):\n    k.run(buf0, 8)\n    buf1 = extern_kernels.mm(a, b)\n"
            "    a, b = torch.ops.x.y.default(c)\n"
            "    assert_size_stride(buf0)\n    other(buf0)\n    if x:\n        known(buf0)\nknown(buf0)\n"
        )
        assert call_lines(text, ["known"]) == {
            "k": [5],
            "extern_kernels.mm": [6],
            "torch.ops.x.y.default": [7],
            "known": [11],
        }


class TestQuestions:
    @pytest.mark.parametrize(
        ("question", "kind"),
        [
            ("div_norm", "node"),
            ("name:norm", "node"),
            ("captured:norm_2", "node"),
            ("model/tiny.py:7", "source"),
            ("source:tiny.py:7", "source"),
            ("layers.1", "layer"),
            ("layer:Mlp", "layer"),
            ("layers.*.mlp", "layer"),
            ("layers.0–1.mlp", "layer"),
            ("cpp_fused_neg_0", "kernel"),
            ("kernel:cpp_*", "kernel"),
        ],
    )
    def test_what_is_meant(self, dump: Dump, question: str, kind: str) -> None:
        found = lineage(dump, question)
        assert found.kind == kind
        assert found.ways

    def test_a_name_that_is_carried_on_is_one_node(self, dump: Dump) -> None:
        starts = [way.start for way in lineage(dump, "name:neg").ways]
        assert starts == [f"backbone/piece_02/range_{name}/aot_forward:neg" for name in ("1_16", "8_8")]

    def test_a_layer_with_all_below_it(self, dump: Dump) -> None:
        found = lineage(dump, "layers.1")
        (member,) = found.groups[0].members
        assert [sorted(layers(way)) for way in member.ways] == [
            ["layers.1.norm"],
            ["layers.1.attn"],
            ["layers.1.mlp"],
            ["layers.1.mlp"],
        ]

    def test_only_some_stages(self, dump: Dump) -> None:
        found = lineage(dump, "tiny.py:8", stage="*FusePass")
        assert {step.leaf for step in found.steps} == {"post_grad.0.FusePass"}
        assert found.kernels

    @pytest.mark.parametrize(
        ("question", "words"),
        [
            ("div_nrom", "did you mean div_norm"),
            ("layers.7.mlp", "did you mean layers."),
            ("tiny.py:9", "try tiny.py:8"),
            ("other.py:9", "no node, line, layer or kernel is called 'other.py:9'"),
            ("captured:div_norm", "nothing is called 'div_norm' in backbone/captured"),
            ("captrued:norm", "did you mean backbone/captured"),
            ("piece_04/range_9_9/post_grad:norm", "piece_02"),
            ("piece_02/range_8_8:nothing", "nothing is called 'nothing' in piece_02/range_8_8"),
            ("", "no node"),
            (":", "nothing in this dump"),
            ("layer:", "no node"),
            ("source:tiny.py", "no node"),
        ],
    )
    def test_nothing_is_called_so(self, dump: Dump, question: str, words: str) -> None:
        with pytest.raises(SelectorError) as caught:
            lineage(dump, question)
        assert words.lower() in str(caught.value).lower()

    def test_no_such_stage(self, dump: Dump) -> None:
        with pytest.raises(SelectorError, match="Did you mean aot_forward"):
            lineage(dump, "tiny.py:8", stage="aot_forwrad")

    def test_a_node_by_its_place(self, dump: Dump) -> None:
        found = node_at(dump, "range_8_8/post_grad:div_norm")
        assert (found.snapshot.selector, found.node.target) == (
            "backbone/piece_02/range_8_8/post_grad",
            "ours.div_norm.default",
        )
        for wrong in ("div_norm", "range_8_8/post_grad:dib_norm", "piece_02/range_8_8/output_code:x", "nowhere:x"):
            with pytest.raises(SelectorError):
                node_at(dump, wrong)


class TestUnknown:
    def changed(self, process: Path, tmp_path: Path, change: Callable[[list[dict[str, object]]], None]) -> Dump:
        """The dump with another manifest."""
        shutil.copytree(process, tmp_path / "p")
        events = manifest(process)
        change(events)
        (tmp_path / "p" / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        return load(tmp_path / "p")

    def test_origins_that_were_not_recorded(self, process: Path, tmp_path: Path) -> None:
        def forget(events: list[dict[str, object]]) -> None:
            for event in events:
                if event.get("selector") == "backbone/piece_04/piece":
                    event.pop("from")

        dump = self.changed(process, tmp_path, forget)
        (way,) = lineage(dump, "piece_04/range_8_8/post_grad:div_norm").ways
        assert not way.captured
        assert way.unknown == ("where it stems from before backbone/piece_04/piece was not recorded",)
        assert lines(way) == {5}  # what the node itself notes
        assert lineage(dump, "piece_04/range_8_8/post_grad:div_norm").coverage.known < 3
        (gone,) = lineage(dump, "captured:mm_1").ways[0].gone
        assert not gone.certain

    def test_a_graph_that_is_not_there(self, process: Path, tmp_path: Path) -> None:
        dump = self.changed(process, tmp_path, lambda _: None)
        table = next(file.path for file in dump.snapshots["backbone/captured"].files if file.kind == "nodes")
        (tmp_path / "p" / table).unlink()
        found = lineage(load(tmp_path / "p"), "piece_02/range_8_8/post_grad:div_norm")
        assert found.ways[0].kernels
        assert found.ways[0].unknown == ("where it stems from before backbone/piece_02/piece was not recorded",)
        with pytest.raises(DumpError, match="missing"):
            lineage(load(tmp_path / "p"), "captured:mm")

    def test_what_a_pass_removed(self, process: Path, tmp_path: Path) -> None:
        def remove(events: list[dict[str, object]]) -> None:
            for event in events:
                if event.get("stage") == "custom_pass":
                    event["from"] = [None, [1], [2], [3], None]

        (way, *_) = lineage(self.changed(process, tmp_path, remove), "range_8_8/aot_forward:norm").ways
        (gone,) = way.gone
        assert (gone.leaf, gone.by_pass, gone.certain) == ("post_grad.0.FusePass", True, True)
        assert not way.kernels


@settings(max_examples=60)
@given(st.text(max_size=24))
def test_any_question_is_answered_or_refused(process: Path, question: str) -> None:
    dump = load(process)
    for text in (question, f"captured:{question}", f"layer:{question}", f"kernel:{question}", f"tiny.py:{question}"):
        try:
            lineage(dump, text)
        except CutawayError:
            continue


@pytest.mark.parametrize("layers", [0, 3])
def test_the_order_is_that_of_the_diff(process: Path, tmp_path: Path, layers: int) -> None:
    """Of every snapshot, the one before it; there it is looked for one by one, here in one go."""
    if layers:
        make_process(tmp_path / "p", layers=layers)
    dump = load(tmp_path / "p" if layers else process)
    trail = Trail(dump)
    for snapshot in dump.snapshots.values():
        before = trail.before(trail.spot(snapshot))
        assert (before.snapshot if before else None) is predecessor(snapshot)


def test_both_ways_agree(dump: Dump) -> None:
    """What a captured node becomes stems from it, and the other way round."""
    for snapshot in dump.snapshots.values():
        if snapshot.stage in ("captured", "after_split"):
            continue
        for node in snapshot.nodes:
            if not node.op.startswith("call_"):
                continue
            (way, *_) = lineage(dump, f"{snapshot.selector}:{node.name}").ways
            for origin in way.captured:
                (ahead, *_) = lineage(dump, f"backbone/captured:{origin.name}").ways
                there = {step.selector: {each.name for each in step.nodes} for step in ahead.steps}
                assert node.name in there[snapshot.selector]

"""What a cold compile by vLLM leaves: Qwen3, 4 layers, two compile ranges and the single size 8."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import SECRET, Finished

from cutaway.dump import load
from cutaway.dump.verify import verify

RANGES = ("8_8", "1_16", "17_4096")
DIFFERENT = ("piece_00", "piece_01", "piece_02", "piece_08")
"""Embedding with the first half of a layer; attention; second half of one layer with the first of the next; the end."""
REPEATED = {
    "piece_03": "piece_01",
    "piece_05": "piece_01",
    "piece_07": "piece_01",
    "piece_04": "piece_02",
    "piece_06": "piece_02",
}
COMPILED = ("piece_00", "piece_02", "piece_08")
"""Pieces that differ and are compiled; attention runs as it is."""
EACH = list(product(COMPILED, RANGES))
CUSTOM_PASSES = [
    "NoOpEliminationPass",
    "PostCleanupPass",
    "VllmIRLoweringPass",
    "UnsafeCloneEliminationPass",
    "PostCleanupPass",
    "KeepFunctionalizedPass",
]
LOWERING = "post_grad.2.VllmIRLoweringPass"
CALLS = ("call_function", "call_method", "call_module")


def snapshots(run: Finished, **wanted: Any) -> list[dict[str, Any]]:
    return run.of("snapshot", compilation="backbone", **wanted)


def codes(run: Finished, **wanted: Any) -> list[dict[str, Any]]:
    return run.of("code", compilation="backbone", **wanted)


def table(run: Finished, graph: str) -> dict[str, Any]:
    return json.loads((run.process / "nodes" / f"{graph}.json").read_text())


def files(run: Finished, kind: str) -> list[Path]:
    return [run.process / file["path"] for step in run.of("snapshot") for file in step["files"] if file["kind"] == kind]


def header(path: Path) -> dict[str, str]:
    """The facts at the top of a file: `# key:   value`."""
    lines = path.read_text().splitlines()
    top = lines[: next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))]
    return dict(re.findall(r"^# ([a-z ]+): +(.*)$", "\n".join(top), re.MULTILINE))


class TestWholeModel:
    @pytest.mark.parametrize("stage", ["captured", "before_split", "after_split"])
    def test_has_each_stage_once_with_its_files(self, recorded: Finished, stage: str) -> None:
        (snapshot,) = snapshots(recorded, stage=stage)
        assert (snapshot["piece"], snapshot["range"]) == (None, None)
        assert {file["kind"] for file in snapshot["files"]} == {"raw", "layers", "nodes"}

    def test_is_called_by_vllms_names(self, recorded: Finished) -> None:
        (compilation,) = recorded.of("compilation", compilation="backbone")
        assert compilation["function"] == "Qwen2Model.forward"
        assert compilation["model"] == "Qwen3ForCausalLM"
        assert compilation["file"].endswith("vllm/model_executor/models/qwen2.py")

    def test_the_stitching_graph_calls_every_piece(self, recorded: Finished) -> None:
        (split,) = snapshots(recorded, stage="after_split")
        called = [node["target"] for node in table(recorded, split["graph"])["nodes"] if node["op"] == "call_module"]
        assert len(called) == 9

    def test_guards_tell_the_sizes_their_ranges_and_constraints(self, recorded: Finished) -> None:
        (guards,) = codes(recorded, kind="guards")
        text = (recorded.process / guards["files"][0]["path"]).read_text()
        assert re.search(
            r"^  s\d+ in \[2, ∞\], captured with 4096  from L\['input_ids'\]\.size\(\)\[0\]$", text, re.MULTILINE
        )
        assert re.search(r"Eq\(s\d+, s\d+\)    at \S+:\d+: \S.*$", text, re.MULTILINE)

    def test_execution_code_names_piece_layers_and_ranges_at_each_call(self, recorded: Finished) -> None:
        (code,) = codes(recorded, kind="execution_code")
        lines = (recorded.process / code["files"][0]["path"]).read_text().splitlines()
        calls = [i for i, line in enumerate(lines) if re.search(r"= __vllm_(inlined_)?submods__", line)]
        comments = [lines[i - 1].strip() for i in calls]
        assert len(calls) == 9
        for number, comment in enumerate(comments):
            kind = "runs as it is" if number % 2 else "compiled for range_1_16, range_8_8, range_17_4096"
            assert comment.startswith(f"# piece_{number:02d} · ")
            assert comment.endswith(kind)
        assert comments[2] == "# piece_02 · layers.0, layers.1 · compiled for range_1_16, range_8_8, range_17_4096"

    def test_index_has_a_row_for_every_piece(self, recorded: Finished) -> None:
        index = (recorded.process / "backbone" / "index.md").read_text()
        assert "| piece_02 | layers.0, layers.1 | piece_04, piece_06 |" in index
        assert "| piece_01 | layers.0 | piece_03, piece_05, piece_07 |" in index
        written = {path.name for path in (recorded.process / "backbone").rglob("*.py")}
        named = set(re.findall(r"\d\d\.[\w.]+\.py", index))
        assert named == written


class TestPieces:
    def test_all_are_there_in_model_order(self, recorded: Finished) -> None:
        assert [step["piece"] for step in snapshots(recorded, stage="piece")] == [f"piece_{i:02d}" for i in range(9)]

    @pytest.mark.parametrize("piece", DIFFERENT)
    def test_one_that_differs_has_its_files(self, recorded: Finished, piece: str) -> None:
        (snapshot,) = snapshots(recorded, stage="piece", piece=piece)
        assert snapshot["same_as"] is None
        assert {file["kind"] for file in snapshot["files"]} == {"raw", "layers", "nodes"}

    @pytest.mark.parametrize("piece", REPEATED)
    def test_a_repeated_one_is_a_row(self, recorded: Finished, piece: str) -> None:
        (snapshot,) = snapshots(recorded, stage="piece", piece=piece)
        assert snapshot["same_as"] == f"backbone/{REPEATED[piece]}/piece"
        assert snapshot["files"] == []
        assert not list((recorded.process / "backbone").glob(f"*{piece}*"))

    def test_a_repeated_one_knows_its_own_layers(self, recorded: Finished) -> None:
        (snapshot,) = snapshots(recorded, stage="piece", piece="piece_06")
        assert {".".join(layer.split(".")[:2]) for layer in snapshot["layers"]} == {"layers.2", "layers.3"}

    def test_a_repeated_one_knows_its_own_origins(self, recorded: Finished) -> None:
        first, repeated = (snapshots(recorded, stage="piece", piece=piece)[0] for piece in ("piece_02", "piece_06"))
        nodes = table(recorded, first["graph"])["nodes"]
        before = table(recorded, snapshots(recorded, stage="before_split")[0]["graph"])["nodes"]
        assert len(repeated["from"]) == len(nodes)
        for node, origins in zip(nodes, repeated["from"], strict=True):
            if node["op"] in CALLS:
                assert [before[origin]["target"] for origin in origins] == [node["target"]]
                assert origins != node["from"]


class TestRanges:
    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_has_the_stages_in_order(self, recorded: Finished, piece: str, sizes: str) -> None:
        expected = ["before_pre_grad", "after_pre_grad", "aot_forward", "before_post_grad", "post_grad"]
        found = [step["stage"] for step in snapshots(recorded, piece=piece, range=sizes)]
        assert [stage for stage in found if stage in expected] == expected

    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_has_every_custom_pass_by_vllms_name_and_number(self, recorded: Finished, piece: str, sizes: str) -> None:
        ran = recorded.of("pass", stage="custom_pass", piece=piece, range=sizes)
        assert [step["pass"] for step in ran] == CUSTOM_PASSES
        assert [step["number"] for step in ran] == list(range(len(CUSTOM_PASSES)))
        assert [step["selector"].rsplit("/", 1)[1] for step in ran] == [
            f"post_grad.{number}.{name}" for number, name in enumerate(CUSTOM_PASSES)
        ]

    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_a_pass_that_changed_nothing_is_an_event_and_no_file(
        self, recorded: Finished, piece: str, sizes: str
    ) -> None:
        ran = recorded.of("pass", piece=piece, range=sizes)
        idle = {step["selector"] for step in ran if not step["changed"]}
        assert f"backbone/{piece}/range_{sizes}/post_grad.0.NoOpEliminationPass" in idle
        assert not idle & {step["selector"] for step in snapshots(recorded)}
        assert f"backbone/{piece}/range_{sizes}/{LOWERING}" not in idle

    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_has_the_output_code_and_all_its_kernels(self, recorded: Finished, piece: str, sizes: str) -> None:
        (code,) = codes(recorded, kind="output_code", piece=piece, range=sizes)
        text = load(recorded.dump).find(code["selector"]).text
        defined = re.findall(r"^(cpp_fused\w+) = async_compile", text, re.MULTILINE)
        kernels = codes(recorded, kind="kernel", piece=piece, range=sizes)
        assert defined
        assert sorted(step["selector"].rsplit("/", 1)[1] for step in kernels) == sorted(defined)
        for step in kernels:
            assert all(step["kernels"].values()), "a kernel knows the nodes that it was made of"

    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_has_its_compile_time(self, recorded: Finished, piece: str, sizes: str) -> None:
        (time,) = recorded.of("metric", kind="compile_time", piece=piece, range=sizes)
        assert 0 < time["values"]["seconds"] < recorded.result["compilation_time"]

    def test_another_range_with_the_same_graph_is_rows(self, recorded: Finished) -> None:
        assert not list(recorded.process.glob("backbone/*/range_17_4096"))
        lowered = snapshots(recorded, piece="piece_02", range="17_4096", stage="custom_pass")[0]
        assert lowered["same_as"] == f"backbone/piece_02/range_1_16/{LOWERING}"

    def test_a_single_size_has_numbers_for_sizes(self, recorded: Finished) -> None:
        (last,) = snapshots(recorded, piece="piece_02", range="8_8", stage="post_grad")
        found = table(recorded, last["graph"])
        assert found["symbols"] == {}
        assert any(node.get("shape", [None])[:1] == [8] for node in found["nodes"])


class TestTimesAndCaches:
    def test_the_whole_compile_took_what_vllm_says(self, recorded: Finished) -> None:
        (time,) = recorded.of("metric", kind="compile_time", compilation="backbone", piece=None)
        assert time["values"]["seconds"] == pytest.approx(recorded.result["compilation_time"], rel=0.1)

    def test_vllm_looked_for_a_whole_model_and_missed(self, recorded: Finished) -> None:
        (asked,) = recorded.of("cache", kind="vllm_aot")
        assert asked["result"] == "miss"
        assert asked["key"] in {name.split("/")[2] for name in recorded.cache_files if "torch_aot_compile" in name}

    def test_every_piece_and_range_was_stored_or_shared(self, recorded: Finished) -> None:
        asked = recorded.of("cache", kind="vllm_piece")
        compiled = [f"piece_{i:02d}" for i in range(0, 9, 2)]
        assert Counter((step["piece"], step["range"]) for step in asked) == Counter(product(compiled, RANGES))
        assert {step["result"] for step in asked if step["piece"] in COMPILED} == {"store"}
        assert {step["result"] for step in asked if step["piece"] not in COMPILED} == {"store", "shared"}

    def test_inductor_missed_for_all_that_was_stored(self, recorded: Finished) -> None:
        asked = [step for step in recorded.of("cache", result="store") if step["kind"] != "recording"]
        stored = [(step["piece"], step["range"], step["key"]) for step in asked]
        missed = recorded.of("cache", kind="aot_autograd", compilation="backbone", result="miss")
        assert [(step["piece"], step["range"], step["key"]) for step in missed] == stored


class TestHeaders:
    @pytest.mark.parametrize("kind", ["raw", "layers"])
    def test_name_model_stage_and_layers(self, recorded: Finished, kind: str) -> None:
        of_model = [path for path in files(recorded, kind) if "/backbone/" in str(path)]
        assert len(of_model) > 40
        for path in of_model:
            facts = header(path)
            assert facts["model"] == "Qwen3ForCausalLM"
            assert facts["layers"]
            assert re.match(r"[0-9a-f]{32} \(\d+ nodes\)", facts["graph"])

    @pytest.mark.parametrize("kind", ["raw", "layers"])
    def test_name_piece_and_range_where_there_is_one(self, recorded: Finished, kind: str) -> None:
        shown = {"8_8": "the single size 8", "1_16": "sizes 1 to 16", "17_4096": "sizes 17 to 4096"}
        for path in files(recorded, kind):
            facts, place = header(path), str(path)
            piece, sizes = re.search(r"\.(piece_\d+)/", place), re.search(r"/range_(\d+_\d+)/", place)
            assert ("piece" in facts, "range" in facts) == (piece is not None, sizes is not None)
            if piece:
                assert facts["piece"].split(";")[0] == piece[1]
            if sizes:
                assert facts["range"] == shown[sizes[1]]

    def test_name_the_pieces_that_are_equal(self, recorded: Finished) -> None:
        (path,) = recorded.process.glob("backbone/*.piece_02/00.piece.py")
        assert header(path)["piece"] == "piece_02; the same graph: piece_04, piece_06"


class TestCoverage:
    """How many of the nodes that compute know their layer and their line; FACTS of torch set the bounds."""

    @pytest.mark.parametrize("stage", ["captured", "before_split", "after_split", "piece"])
    def test_is_complete_before_inductor(self, recorded: Finished, stage: str) -> None:
        assert self.lowest(recorded, stage) >= 99

    def test_survives_aotautograd(self, recorded: Finished) -> None:
        assert self.lowest(recorded, "aot_forward") >= 95

    def test_survives_all_passes(self, recorded: Finished) -> None:
        assert self.lowest(recorded, "post_grad") >= 90

    @pytest.mark.parametrize("stage", ["piece", "aot_forward", "post_grad"])
    def test_is_what_the_node_tables_hold(self, recorded: Finished, stage: str) -> None:
        for snapshot in snapshots(recorded, stage=stage):
            calls = [node for node in table(recorded, snapshot["graph"])["nodes"] if node["op"] in CALLS]
            for key, column in (("layer", "layer"), ("source", "source")):
                known = sum(node.get(column) is not None for node in calls)
                assert snapshot["coverage"][key] == pytest.approx(100 * known / len(calls), abs=0.06)

    def test_origins_reach_back_from_the_last_graph(self, recorded: Finished) -> None:
        for snapshot in snapshots(recorded, stage="post_grad"):
            assert snapshot["coverage"]["origin"] >= 95

    def lowest(self, run: Finished, stage: str) -> float:
        found = [step["coverage"] for step in snapshots(run, stage=stage)]
        assert found
        return min(min(coverage["layer"], coverage["source"]) for coverage in found)


class TestProviders:
    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_lowering_takes_those_that_were_expected(self, recorded: Finished, piece: str, sizes: str) -> None:
        steps = snapshots(recorded, piece=piece, range=sizes)
        at = next(i for i, step in enumerate(steps) if step["selector"].endswith(LOWERING))
        before, lowered = steps[at - 1], steps[at]
        ir = [
            node["name"] for node in table(recorded, before["graph"])["nodes"] if node["target"].startswith("vllm_ir")
        ]
        assert ir
        assert before["providers"] == dict.fromkeys(ir, "native")
        assert lowered["providers"] == before["providers"]
        assert not [n for n in table(recorded, lowered["graph"])["nodes"] if n["target"].startswith("vllm_ir")]

    def test_so_there_is_nothing_to_find(self, recorded: Finished) -> None:
        assert [event for event in recorded.events if event.get("kind") == "finding"] == []

    def test_stand_in_the_structured_text(self, recorded: Finished) -> None:
        (path,) = recorded.process.glob("backbone/*.piece_02/00.piece.layers.txt")
        lines = [line for line in path.read_text().splitlines() if " = ir.rms_norm(" in line]
        assert lines
        assert all(line.endswith("provider: native") for line in lines)


class TestDonatedInputs:
    def test_are_those_that_the_in_place_operators_give_away(self, recorded: Finished) -> None:
        donated = {step["selector"]: step["donated_inputs"] for step in snapshots(recorded)}
        name = "pre_grad.VllmIRInplaceFunctionalizationPass"
        (index,) = donated[f"backbone/piece_02/range_8_8/{name}"]
        found = table(recorded, snapshots(recorded, stage="piece", piece="piece_02")[0]["graph"])
        inputs = [node["name"] for node in found["nodes"] if node["op"] == "placeholder"]
        in_place = next(node for node in found["nodes"] if "maybe_inplace" in node["target"])
        assert {
            "node": found["nodes"].index(next(n for n in found["nodes"] if n["name"] == inputs[index]))
        } in in_place["args"]

    def test_stand_in_the_header(self, recorded: Finished) -> None:
        (path,) = recorded.process.glob(
            "backbone/*.piece_02/range_8_8/*.pre_grad.VllmIRInplaceFunctionalizationPass.py"
        )
        assert "donated" in path.read_text().split("import sys")[0]


class TestWholeness:
    def test_every_announced_file_is_there_and_unchanged(self, recorded: Finished) -> None:
        (report,) = verify(recorded.dump)
        assert report.findings == []
        assert report.complete

    def test_nothing_failed(self, recorded: Finished) -> None:
        assert recorded.of("error") == []
        assert "cutaway:" not in recorded.log

    def test_the_reader_finds_all_of_it(self, recorded: Finished) -> None:
        backbone = load(recorded.dump)["backbone"]
        assert [piece.name for piece in backbone.pieces] == [f"piece_{i:02d}" for i in range(9)]
        assert backbone.piece(4).same_as == "piece_02"
        assert backbone.piece(2).ranges == list(RANGES)

    def test_no_depyf(self, recorded: Finished) -> None:
        assert [name for name in recorded.facts["modules"] if name.startswith("depyf")] == []
        assert [path.name for path in recorded.dump.iterdir() if path.name not in ("README.md", "run_001")] == []


class TestContext:
    @pytest.fixture(name="context")
    def _context(self, recorded: Finished) -> dict[str, Any]:
        return json.loads((recorded.process / "context.json").read_text())

    def test_holds_the_whole_configuration_of_vllm(self, recorded: Finished, context: dict[str, Any]) -> None:
        config = context["configuration"]["vllm"]
        assert set(recorded.facts["config_fields"]) <= set(config)
        assert config["compilation_config"]["mode"] == "VLLM_COMPILE"
        assert config["compilation_config"]["compile_sizes"] == [8]
        assert config["model_config"]["dtype"] == "torch.float32"

    def test_holds_versions_and_the_command_line(self, recorded: Finished, context: dict[str, Any]) -> None:
        assert context["versions"]["torch"] == recorded.result["torch"]
        assert recorded.result["vllm"] in context["versions"].values()
        assert "--ranges" in context["command_line"]

    def test_holds_no_secret(self, recorded: Finished) -> None:
        written = [path for path in recorded.dump.rglob("*") if path.is_file()]
        assert [path for path in written if SECRET.encode() in path.read_bytes()] == []

"""What a dump tells of passes and kernels without torch: where a pass ran, what it saw, what stayed apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, make_dump
from fused_dump import fused_dump
from table_maker import TableMaker

from cutaway.cli import main
from cutaway.dump import Dump, load
from cutaway.errors import ExplainError, SelectorError
from cutaway.explain.patterns import find_unfused, passes_of
from cutaway.explain.patterns.fold import fold
from cutaway.explain.patterns.graphs import choose_graphs, plain_name
from cutaway.explain.patterns.history import history_of
from cutaway.explain.patterns.job import Answer, Attempt, Job, Known, Reason
from cutaway.explain.patterns.launch import launch


@pytest.fixture(name="dump")
def _dump(tmp_path: Path) -> Dump:
    return load(make_dump(tmp_path / "dump"))


class TestHistory:
    def test_runs_and_changes(self, dump: Dump) -> None:
        runs = {each.name: (each.runs, each.changed) for each in passes_of(dump).passes}
        assert runs["VllmIRLoweringPass"] == (2, 2)
        assert runs["NoOpEliminationPass"] == (2, 0)

    def test_names_are_known_in_any_spelling(self, dump: Dump) -> None:
        assert plain_name("AddRMSNormFusionPass") == plain_name("add_rmsnorm_fusion_pass")
        assert history_of(dump, ["vllm_ir_lowering_pass"]).passes[0].runs == 2

    def test_a_range_that_the_pass_does_not_apply_to(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        maker.compilation("backbone")
        maker.ran("backbone/piece_00/range_1_16/post_grad.0.SmallPass", "custom_pass", 3, **{"pass": "SmallPass"})
        maker.ran("backbone/piece_00/range_17_64/post_grad.0.Other", "custom_pass", 3)
        (absence,) = history_of(load(tmp_path), ["SmallPass"], skipped=["17_64"]).absent
        assert absence.places == ("backbone/piece_00/range_17_64",)
        assert absence.reason == "it says of itself that it does not apply to the range 17_64"

    def test_a_piece_that_a_cache_served(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        maker.compilation("backbone")
        maker.code("backbone/piece_00/range_1_16/output_code", "output_code", "backbone/90.py", "x", cached=True)
        (absence,) = history_of(load(tmp_path), ["SomePass"]).absent
        assert absence.reason.startswith("a cache served this piece")

    def test_flags_of_vllm(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        flags = {"fuse_norm_quant": False, "fuse_act_quant": True}
        maker.write(
            "context.json", json.dumps({"configuration": {"vllm": {"compilation_config": {"pass_config": flags}}}})
        )
        maker.compilation("backbone")
        maker.ran("backbone/post_grad.0.NoOpEliminationPass", "custom_pass", 3)
        never = passes_of(load(tmp_path)).never
        assert never["RMSNormQuantFusionPass"] == "pass_config.fuse_norm_quant=False: vLLM does not make it"
        assert never["ActivationQuantFusionPass"] == "vLLM makes it on CUDA, ROCm or XPU only"
        assert "NoOpEliminationPass" not in never

    def test_a_pass_of_ours_that_was_switched_off(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        maker.write("context.json", json.dumps({"configuration": {"cutaway": {"off": ["pass:add_rms_norm_fusion"]}}}))
        maker.compilation("backbone")
        maker.ran("backbone/post_grad.0.other", "custom_pass", 3)
        (absence,) = history_of(load(tmp_path), ["add_rms_norm_fusion"]).absent
        assert absence.reason == "it was switched off: off=['pass:add_rms_norm_fusion']"
        assert passes_of(load(tmp_path)).never == {"add_rms_norm_fusion": absence.reason}


class TestGraphs:
    def test_the_graph_before_the_pass(self, tmp_path: Path) -> None:
        (seen,) = choose_graphs(load(fused_dump(tmp_path / "d")), "some.module:RMSNormQuantFusionPass", None)
        assert seen.snapshot.selector == "backbone/before_post_grad"

    def test_where_passes_like_it_begin(self, dump: Dump) -> None:
        seen = choose_graphs(dump, "mine.py:NeverRan", None)
        assert [each.snapshot.selector for each in seen] == ["backbone/piece_02/range_1_4096/before_post_grad"]
        assert {view.piece for view in seen[0].views} == {"piece_02", "piece_04", "piece_06"}
        assert seen[0].graph().ranges == ["1_4096", "8_8"]

    def test_those_that_are_named(self, dump: Dump) -> None:
        (seen,) = choose_graphs(dump, "x:Y", "backbone/captured")
        assert seen.snapshot.stage == "captured"
        with pytest.raises(SelectorError):
            choose_graphs(dump, "x:Y", "nothing_of_the_kind")


class TestFold:
    def attempt(self, node: str, **facts: Any) -> Attempt:
        known = {"pattern": 0, "graph": 0, "matched": False, "got": 1, "of": 2, "nodes": [node], "reasons": []}
        return Attempt(**{**known, "node": node, **facts})

    def reason(self, wanted: str, node: str) -> Reason:
        text = f"epsilon of {node} is 1e-05, the pattern has {wanted}"
        return Reason("constant", text, node, wanted=wanted, found="1e-05", part="ir.rms_norm")

    def test_layers_once_and_patterns_together(self, tmp_path: Path) -> None:
        dump = load(fused_dump(tmp_path / "d", layers=4, odd={2: "constant"}))
        seen = choose_graphs(dump, "RMSNormQuantFusionPass", None)
        tried = [self.attempt(f"quant_{i}", matched=True, got=2, nodes=[f"quant_{i}", f"norm_{i}"]) for i in (0, 1, 3)]
        tried += [
            self.attempt("quant_2", pattern=i, reasons=[self.reason(eps, "norm_2")])
            for i, eps in ((0, "1e-06"), (1, "1e-07"))
        ]
        tried.append(self.attempt("norm_1", reasons=[Reason("op", "no", "norm_1")]))  # taken by a match
        answer = Answer(patterns=[Known("first", [], ""), Known("second", [], "")], attempts=tried)
        match, miss = fold(answer, seen)
        assert (match.matched, match.where, match.count) == (True, "layers.0–1,3.input_layernorm", 3)
        assert (miss.where, miss.count, miss.patterns) == ("layers.2.input_layernorm", 1, ["first", "second"])
        assert miss.reasons[0].text == "epsilon of norm_2 is 1e-05, the pattern has 1e-06 or 1e-07"
        assert miss.places[0].source == "/x/qwen2.py:402"

    def test_what_got_farthest_is_first(self, tmp_path: Path) -> None:
        dump = load(fused_dump(tmp_path / "d", layers=2))
        tried = [
            self.attempt("norm_0", got=1, of=3, reasons=[Reason("op", "a", "norm_0", "x", "y", "z")]),
            self.attempt("norm_1", got=2, of=3, reasons=[Reason("op", "b", "norm_1", "x", "y", "z")]),
        ]
        found = fold(
            Answer(patterns=[Known("p", [], "")], attempts=tried), choose_graphs(dump, "RMSNormQuantFusionPass", None)
        )
        assert [finding.got for finding in found] == [2, 1]


def apart_dump(root: Path, between: str | None = None, layers: int = 3) -> Path:
    """Per layer: add, norm, quant, each a kernel of its own, then a product of matrices that fuses with nothing."""
    classes = {"": "Model"} | {f"layers.{i}": "Layer" for i in range(layers)}
    maker = TableMaker(classes)
    x = maker.input("x", ["s72", 256])
    weight = maker.input("self.w", [256, 256])
    kernels: dict[str, list[str]] = {}
    for i in range(layers):
        layer = f"layers.{i}"
        total = maker.call("aten.add.Tensor", [x, 1], layer, name=f"add_{i}")
        middle = maker.call(between, [total, weight], layer, name=f"between_{i}") if between else total
        normed = maker.call("demo.norm.default", [middle, total], layer, name=f"norm_{i}")
        quant = maker.call("demo.quant.default", [normed], layer, name=f"quant_{i}", dtype="int8")
        x = maker.call("aten.mm.default", [quant, weight], layer, name=f"mm_{i}")
        mark = f"#{i + 1}" if i else ""
        kernels |= {f"cpp_fused_add_0{mark}": [f"add_{i}"], f"torch.ops.demo.norm.default{mark}": [f"norm_{i}"]}
        kernels |= {f"torch.ops.demo.quant.default{mark}": [f"quant_{i}"], f"extern_kernels.mm{mark}": [f"mm_{i}"]}
        kernels |= {f"extern_kernels.mm#{layers + i + 1}": [f"between_{i}"]} if between else {}
    maker.output(x)
    process = DumpMaker(root / "run_001" / "rank_0_dp_0")
    process.compilation("backbone")
    process.snapshot("backbone/post_grad", "post_grad", maker.table(), "backbone/00.post_grad", phase="inference")
    process.code("backbone/output_code", "output_code", "backbone/90.output_code.py", "pass\n", kernels=kernels)
    process.end("backbone")
    process.end()
    return root


class TestUnfused:
    def test_a_chain_in_each_layer(self, tmp_path: Path) -> None:
        (chain,) = find_unfused(load(apart_dump(tmp_path))).chains
        assert (chain.where, chain.count) == ("layers.0–2", 3)
        assert chain.ops == [("add",), ("norm",), ("quant",)]
        add, norm = sorted(chain.handed, key=lambda each: each.node)
        assert (add.bytes, add.read, add.written) == (17 * 256 * 4, 1, 1)
        assert (norm.reader, norm.bytes, norm.read, norm.written) == (
            norm.node.replace("norm", "quant"),
            17 * 256 * 4,
            1,
            1,
        )
        assert chain.saved == 4 * 17 * 256 * 4

    def test_for_another_size(self, tmp_path: Path) -> None:
        (chain,) = find_unfused(load(apart_dump(tmp_path)), batch=1).chains
        assert chain.saved == 4 * 256 * 4

    def test_what_stands_between_two_of_them(self, tmp_path: Path) -> None:
        """add → mm → norm, and add → norm: one kernel of add and norm would need the mm before and after itself."""
        found = find_unfused(load(apart_dump(tmp_path, between="aten.mm.default")))
        (chain,) = found.chains
        assert chain.ops == [("norm",), ("quant",)]
        assert found.blocked == 3

    def test_kernels_that_are_one_already(self, tmp_path: Path) -> None:
        found = find_unfused(load(make_dump(tmp_path / "d")))
        assert found.chains == []
        assert found.graphs

    def test_no_kernels(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
        maker.compilation("backbone")
        table = TableMaker({"": "M"})
        table.output(table.call("aten.relu.default", [table.input("x", [4])]))
        maker.snapshot("backbone/post_grad", "post_grad", table.table(), "backbone/00.post_grad")
        assert find_unfused(load(tmp_path)).unknown == ["backbone/post_grad"]


class TestCommands:
    def test_unfused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["why", "unfused", str(apart_dump(tmp_path))]) == 1
        text = capsys.readouterr().out
        assert text.startswith("1 chain of memory-bound operators stayed apart in 1 last graph: 208.9 kB\n")
        assert "  69.6 kB each · 3×  layers.0–2\n" in text
        assert "      torch.ops.demo.norm.default" in text

    def test_unfused_as_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["why", "unfused", str(apart_dump(tmp_path)), "--json"])
        found = json.loads(capsys.readouterr().out)
        assert set(found) == {"chains", "blocked", "graphs", "unknown"}
        assert found["chains"][0]["where"] == "layers.0–2"

    def test_nothing_stayed_apart(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["why", "unfused", str(make_dump(tmp_path / "d"))]) == 0
        assert capsys.readouterr().out.startswith("nothing stayed apart")

    def test_passes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["why", "pattern", str(make_dump(tmp_path / "d"))]) == 0
        assert capsys.readouterr().out == (
            "3 passes ran, 1 changed a graph\n"
            "  VllmIRLoweringPass  2 of 2  changed a graph\n"
            "  2 passes changed nothing anywhere (--all lists them)\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["pattern", "--at", "x"], "--at names graphs to look in"),
            (["pattern", "x", "--timeout", "0"], "--timeout is 0"),
            (["unfused", "--batch", "0"], "--batch is 0"),
            (["unfused", "nothing_so"], "nothing in this dump is called 'nothing_so'. Last graphs are "),
            (["shape", "nothing_so"], "nothing in this dump is called 'nothing_so'"),
        ],
        ids=["at", "timeout", "batch", "unfused", "shape"],
    )
    def test_bad_use(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
    ) -> None:
        question, *rest = arguments
        assert main(["why", question, str(make_dump(tmp_path / "d")), *rest]) == 2
        assert f"error: {sentence}" in capsys.readouterr().err


def test_a_child_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(ExplainError, match=r"took longer than 0\.01 seconds, and was stopped"):
        launch(Job("x", []), limit=0.01)

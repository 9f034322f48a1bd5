"""Other models, modes, processes and versions of vLLM."""

from __future__ import annotations

import json
from typing import Any

import pytest
from vllm_runs import RUNS, Finished, read_events

from cutaway.dump.verify import verify

STAGES = {
    "captured",
    "before_split",
    "after_split",
    "piece",
    "before_pre_grad",
    "after_pre_grad",
    "aot_forward",
    "before_post_grad",
    "custom_pass",
    "post_grad",
}
CODES = {"output_code", "kernel", "execution_code", "guards"}


def assert_whole(run: Finished) -> None:
    for report in verify(run.dump):
        assert report.findings == []
        assert report.complete
    assert run.of("error") == []
    assert "cutaway:" not in run.log


def assert_all_stages(run: Finished) -> None:
    assert {step["stage"] for step in run.of("snapshot", compilation="backbone")} >= STAGES
    assert {step["kind"] for step in run.of("code", compilation="backbone")} >= CODES


def names_and_graphs(run: Finished) -> dict[str, str]:
    return {step["selector"]: step["graph"] for step in run.of("snapshot")}


def context(run: Finished) -> dict[str, Any]:
    return json.loads((run.process / "context.json").read_text())


class TestLlama:
    """Another architecture; vLLM's engine in a process of its own, as it is by default."""

    def test_has_all_stages(self, llama: Finished) -> None:
        assert_whole(llama)
        assert_all_stages(llama)

    def test_is_called_by_its_own_names(self, llama: Finished) -> None:
        (compilation,) = llama.of("compilation", compilation="backbone")
        assert (compilation["model"], compilation["function"]) == ("LlamaForCausalLM", "LlamaModel.forward")

    def test_equal_pieces_are_one(self, llama: Finished) -> None:
        pieces = llama.of("snapshot", stage="piece")
        assert [step["piece"] for step in pieces if step["same_as"] is None] == [
            "piece_00",
            "piece_01",
            "piece_02",
            "piece_08",
        ]

    def test_was_recorded_in_the_engines_process(self, llama: Finished) -> None:
        """The process that was started only started another."""
        (run,) = llama.of("run")
        assert llama.result["compilation_time"] is None, "the engine is in another process"
        assert run["pid"] > 0


class TestForkedEngine:
    """The engine's process is forked, as it is on a GPU. vLLM's CPU platform insists on spawn; the test undoes that."""

    def test_has_all_stages(self, forked: Finished) -> None:
        assert context(forked)["environment"]["VLLM_WORKER_MULTIPROC_METHOD"] == "fork"
        assert_whole(forked)
        assert_all_stages(forked)

    def test_dumps_what_another_process_dumps(self, forked: Finished, by_option: Finished) -> None:
        """The same program dumps the same names and graphs, however it was started."""
        assert names_and_graphs(forked) == names_and_graphs(by_option)
        one, other = (
            {str(path.relative_to(run.process)) for path in run.process.rglob("*")} for run in (forked, by_option)
        )
        assert one == other


class TestOption:
    """CompilationConfig(debug_dump_path=...), and no variable."""

    def test_has_all_stages(self, by_option: Finished) -> None:
        assert "VLLM_DEBUG_DUMP_PATH" not in context(by_option)["environment"]
        assert_whole(by_option)
        assert_all_stages(by_option)

    def test_no_depyf(self, by_option: Finished) -> None:
        assert [name for name in by_option.facts["modules"] if name.startswith("depyf")] == []
        assert [path.name for path in by_option.dump.iterdir() if path.name not in ("README.md", "run_001")] == []


class TestTwoRanks:
    """Tensor parallelism: two processes, one run."""

    @pytest.fixture(name="ranks")
    def _ranks(self, two_ranks: Finished) -> list[list[dict[str, Any]]]:
        (run,) = two_ranks.dump.glob("run_*")
        assert sorted(path.name for path in run.iterdir()) == ["rank_0_dp_0", "rank_1_dp_0"]
        return [read_events(run / f"rank_{rank}_dp_0") for rank in (0, 1)]

    def test_each_knows_its_rank(self, ranks: list[list[dict[str, Any]]]) -> None:
        assert [events[0]["rank"] for events in ranks] == [0, 1]

    def test_both_are_whole(self, two_ranks: Finished, ranks: list[list[dict[str, Any]]]) -> None:
        assert [(report.process, report.findings) for report in verify(two_ranks.dump)] == [
            ("rank_0_dp_0", []),
            ("rank_1_dp_0", []),
        ]
        assert [event for events in ranks for event in events if event["event"] == "error"] == []

    def test_have_the_same_graphs_but_for_the_embedding(self, ranks: list[list[dict[str, Any]]]) -> None:
        """Each rank holds a part of the vocabulary, whose first and last number stand in the graph as constants."""
        graphs = [
            {event["selector"]: event["graph"] for event in events if event["event"] == "snapshot"} for events in ranks
        ]
        differ = {name for name in graphs[0] | graphs[1] if graphs[0].get(name) != graphs[1].get(name)}
        embeds = {name for name in graphs[0] | graphs[1] if "/piece_00/" in name}
        assert differ <= embeds | {"backbone/captured", "backbone/before_split"}
        assert "backbone/after_split" in graphs[0]
        assert any("/piece_02/" in name for name in graphs[0])


class TestTraceOnce:
    """What VLLM_COMPILE becomes on vLLM's own CPU platform: Dynamo once, then Inductor, the model in one piece.

    In this mode vLLM's own dump writes nothing.
    """

    def test_is_what_the_platform_chose(self, trace_once: Finished) -> None:
        assert trace_once.result["mode"] == "DYNAMO_TRACE_ONCE"

    def test_has_inductors_stages_and_no_pieces(self, trace_once: Finished) -> None:
        assert_whole(trace_once)
        snapshots = trace_once.of("snapshot", compilation="backbone")
        pieces = {"before_split", "after_split", "piece", "custom_pass"}
        assert {step["stage"] for step in snapshots} >= STAGES - pieces
        assert {step["stage"] for step in snapshots} & pieces == set()
        assert {step["piece"] for step in snapshots} == {None}

    def test_has_the_code(self, trace_once: Finished) -> None:
        kinds = {step["kind"] for step in trace_once.of("code", compilation="backbone")}
        assert kinds >= {"output_code", "kernel", "guards"}

    def test_nodes_know_layers_and_lines(self, trace_once: Finished) -> None:
        for step in trace_once.of("snapshot", compilation="backbone"):
            assert min(step["coverage"]["layer"], step["coverage"]["source"]) >= 90


class TestStockTorchCompile:
    """On a CPU vLLM runs the model itself as it is in this mode, and compiles only small functions of its own."""

    def test_the_model_is_not_compiled(self, stock: Finished) -> None:
        assert stock.result["mode"] == "STOCK_TORCH_COMPILE"
        assert stock.of("compilation", compilation="backbone") == []

    def test_what_is_compiled_is_recorded(self, stock: Finished) -> None:
        assert_whole(stock)
        assert [step["compilation"] for step in stock.of("compilation")] == [
            "SiluAndMul.forward_native",
            "batched_count_greater_than",
        ]
        for name in ("SiluAndMul.forward_native", "batched_count_greater_than"):
            stages = [step["stage"] for step in stock.of("snapshot", compilation=name)]
            assert stages[0] == "captured"
            assert stages[-1] == "post_grad"
            assert stock.of("code", compilation=name, kind="output_code")


class TestOlderVersions:
    @pytest.fixture(name="older", params=["vllm_0_31", "vllm_0_30"])
    def _older(self, request: pytest.FixtureRequest) -> Finished:
        run: Finished = request.getfixturevalue(request.param)
        assert run.result["vllm"] == RUNS[request.param].version
        return run

    def test_has_all_stages(self, older: Finished) -> None:
        assert_whole(older)
        assert_all_stages(older)

    def test_passes_and_providers_bear_vllms_names(self, older: Finished) -> None:
        (lowered,) = older.of("snapshot", stage="custom_pass", piece="piece_02")
        assert lowered["pass"] == "VllmIRLoweringPass"
        assert set(lowered["providers"].values()) == {"native"}

    def test_equal_pieces_are_one(self, older: Finished) -> None:
        same = {step["piece"]: step["same_as"] for step in older.of("snapshot", stage="piece")}
        assert {piece for piece, other in same.items() if other is None} == {
            "piece_00",
            "piece_01",
            "piece_02",
            "piece_08",
        }

    def test_no_depyf(self, older: Finished) -> None:
        assert [name for name in older.facts["modules"] if name.startswith("depyf")] == []

"""A start that finds everything in vLLM's cache: nothing is compiled, and one sees what was compiled all the same."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import Finished, read_events

from cutaway.cli import main
from cutaway.dump import Code, load
from cutaway.dump.compare import compare
from cutaway.dump.verify import verify

RANGES = ("8_8", "1_16", "17_4096")
COMPILED = tuple(f"piece_{number:02d}" for number in range(0, 9, 2))
EACH = list(product(COMPILED, RANGES))

# By name, so that the runs begin ahead like all others.
pytestmark = pytest.mark.usefixtures("warm", "warm_moved", "warm_over_unrecorded", "warm_pieces", "warm_two_ranks")


def tree(process: Path) -> dict[str, str]:
    """Every file but those of the run itself; of a page, what does not say where it comes from."""
    paths = [path for path in sorted(process.rglob("*")) if path.is_file()]
    paths = [path for path in paths if path.name not in ("manifest.jsonl", "context.json")]
    texts = {str(path.relative_to(process)): path.read_text() for path in paths}
    for name in texts:
        if name.endswith("index.md"):
            lines = texts[name].splitlines(keepends=True)
            texts[name] = "".join(line for line in lines if not line.startswith("- not compiled now"))
    return texts


def steps(events: list[dict[str, Any]]) -> list[str]:
    """What is said of each graph, pass and text of the model, without what is of the run."""
    of_a_run = ("seq", "time", "cached", "cached_from")
    found = [event for event in events if event["event"] in ("compilation", "snapshot", "pass", "code")]
    found = [event for event in found if event["compilation"] == "backbone"]
    found = [{**event, "compile_id": None} for event in found]
    return [json.dumps({k: v for k, v in event.items() if k not in of_a_run}, sort_keys=True) for event in found]


def assert_whole(run: Finished) -> None:
    for report in verify(run.dump):
        assert report.findings == []
        assert report.complete
    assert run.of("error") == []


def assert_nothing_was_compiled(run: Finished) -> None:
    """By vLLM's cache, torch's caches, and the log."""
    assert [event["result"] for event in run.of("cache", kind="vllm_aot")] == ["hit"]
    loaded = run.of("cache", kind="vllm_piece")
    assert {step["result"] for step in loaded} == {"load"}
    assert sorted((step["piece"], step["range"]) for step in loaded) == sorted(EACH)
    asked = run.of("cache", kind="fx_graph") + run.of("cache", kind="aot_autograd")
    assert {event["result"] for event in asked} == {"hit"}
    assert "Directly load AOT compilation" in run.log
    assert "Compiling a graph" not in run.log


@pytest.fixture(name="start", params=["warm", "warm_moved"])
def _start(request: pytest.FixtureRequest) -> Finished:
    """Over the cache of the recorded run, where that left it and elsewhere."""
    return request.getfixturevalue(request.param)


class TestAgain:
    """vLLM's second start, and one with the cache's folder moved."""

    def test_nothing_was_compiled(self, start: Finished) -> None:
        assert_nothing_was_compiled(start)

    def test_has_the_tree_of_the_cold_start(self, start: Finished, recorded: Finished) -> None:
        cold, warm = tree(recorded.process), tree(start.process)
        assert len(cold) > 180
        assert list(warm) == list(cold)
        assert [name for name in cold if warm[name] != cold[name]] == []

    def test_has_its_events_in_order(self, start: Finished, recorded: Finished) -> None:
        assert steps(start.events) == steps(recorded.events)

    def test_says_that_they_are_read_back_and_where_from(self, start: Finished, recorded: Finished) -> None:
        (load_event,) = start.of("cache", kind="recording", compilation="backbone")
        (stored,) = recorded.of("cache", kind="recording", compilation="backbone", key=load_event["key"])
        assert (load_event["result"], stored["result"]) == ("load", "store")
        assert load_event["key"].startswith("torch_compile_cache/torch_aot_compile/")
        assert load_event["factors"]["run"] == "run_001/rank_0_dp_0"
        assert recorded.events[0]["time"] - 1 < load_event["factors"]["time"] < recorded.events[-1]["time"] + 1
        found = [event for event in start.events if event["event"] in ("snapshot", "pass", "code")]
        found = [event for event in found if event["compilation"] == "backbone"]
        assert len(found) > 500
        assert {(event["cached"], event["cached_from"]) for event in found} == {(True, load_event["seq"])}

    def test_its_page_says_so(self, start: Finished) -> None:
        page = (start.process / "backbone/index.md").read_text()
        assert "- not compiled now, but read back: all of it, recorded by run_001/rank_0_dp_0 on 20" in page

    def test_compares_as_the_same(self, start: Finished, recorded: Finished) -> None:
        found = compare(load(recorded.dump), load(start.dump))
        assert all(pair.same for pair in found.compilations)

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            (("ls",), "not compiled now, but read back: recorded by run_001/rank_0_dp_0"),
            (("show", "piece_02/range_8_8/post_grad.2.VllmIRLoweringPass"), "VllmIRLoweringPass · Qwen3ForCausalLM"),
            (("diff", "piece_02/range_8_8/post_grad.2.VllmIRLoweringPass"), "rms_norm"),
            (("lineage", "backbone/captured:q_by_head_1"), "layers.0.self_attn.q_norm"),
        ],
        ids=lambda part: part[0] if isinstance(part, tuple) else "",
    )
    def test_commands_answer_as_for_the_cold_start(
        self,
        start: Finished,
        recorded: Finished,
        command: tuple[str, ...],
        said: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        name, *selectors = command
        codes: list[int] = []
        outputs: list[str] = []
        for run in (start, recorded):
            codes.append(main([name, str(run.dump), *selectors]))
            outputs.append(capsys.readouterr().out)
        assert codes[0] == codes[1] < 2
        assert said in outputs[0]
        if name != "ls":
            assert outputs[0] == outputs[1]

    def test_is_whole(self, start: Finished) -> None:
        assert_whole(start)

    def test_results_are_those_of_the_cold_start(self, start: Finished, recorded: Finished) -> None:
        assert start.result["tokens"] == recorded.result["tokens"]
        assert start.result["logprobs"] == recorded.result["logprobs"]


class TestTwoRanks:
    def test_each_has_the_tree_of_its_cold_start(self, two_ranks: Finished, warm_two_ranks: Finished) -> None:
        for rank in ("rank_0_dp_0", "rank_1_dp_0"):
            cold, warm = (tree(run.dump / "run_001" / rank) for run in (two_ranks, warm_two_ranks))
            assert list(warm) == list(cold)
            assert [name for name in cold if warm[name] != cold[name]] == []
            events = read_events(warm_two_ranks.dump / "run_001" / rank)
            assert [e["result"] for e in events if e["event"] == "cache" and e["kind"] == "vllm_aot"] == ["hit"]
            origins = {e["factors"]["run"] for e in events if e["event"] == "cache" and e["kind"] == "recording"}
            assert origins == {f"run_001/{rank}"}


class TestPiecesAlone:
    """vLLM captures and splits anew (a source file was touched); its pieces are in torch's caches."""

    def test_what_was_captured_is_not_cached(self, warm_pieces: Finished) -> None:
        assert [event["result"] for event in warm_pieces.of("cache", kind="vllm_aot")] == ["miss"]
        for stage in ("captured", "before_split", "after_split", "piece"):
            events = warm_pieces.of("snapshot", stage=stage, compilation="backbone")
            assert events
            assert not any(event["cached"] for event in events)

    def test_every_artifact_that_was_served_has_all_its_stages(self, warm_pieces: Finished) -> None:
        served = warm_pieces.of("cache", kind="aot_autograd", result="hit", compilation="backbone")
        assert len(served) > 5
        for event in served:
            where = {"piece": event["piece"], "range": event["range"]}
            assert len(warm_pieces.of("cache", kind="recording", result="load", **where)) == 1
            (graph,) = warm_pieces.of("snapshot", stage="post_grad", **where)
            assert graph["cached"]
            assert warm_pieces.of("pass", **{"pass": "VllmIRLoweringPass"}, **where)
            (code,) = warm_pieces.of("code", kind="output_code", **where)
            assert code["cached"]
        assert warm_pieces.of("cache", kind="recording", result="miss") == []

    def test_is_whole_and_says_what_it_is(self, warm_pieces: Finished) -> None:
        assert_whole(warm_pieces)
        page = (warm_pieces.process / "backbone/index.md").read_text()
        assert "- not compiled now, but read back: piece_00 for the single size 8, " in page

    def test_is_kept_as_a_whole_again(self, warm_pieces: Finished) -> None:
        (stored,) = [event for event in warm_pieces.of("cache", kind="recording", result="store") if not event["piece"]]
        assert stored["key"].endswith("rank_0_0/model.recorded.zip")
        assert (warm_pieces.cache / stored["key"]).is_file()


class TestOverACacheThatNobodyRecorded:
    """What torch keeps of it is there, and a sentence says what is missing and how to get it."""

    def test_nothing_was_compiled(self, warm_over_unrecorded: Finished) -> None:
        assert_nothing_was_compiled(warm_over_unrecorded)

    def test_no_graph_is_made_up(self, warm_over_unrecorded: Finished) -> None:
        assert warm_over_unrecorded.of("snapshot", compilation="backbone") == []

    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_code_and_graphs_as_text_are_there_and_said_to_be_cached(
        self, warm_over_unrecorded: Finished, piece: str, sizes: str
    ) -> None:
        for kind in ("output_code", "aot_graph_text", "post_grad_text"):
            (code,) = warm_over_unrecorded.of("code", kind=kind, piece=piece, range=sizes)
            assert code["cached"] is True
            assert "cached_from" not in code

    @pytest.mark.parametrize(("piece", "sizes"), list(product(("piece_00", "piece_02", "piece_08"), RANGES)))
    def test_output_code_is_what_a_cold_start_made(
        self, warm_over_unrecorded: Finished, recorded: Finished, piece: str, sizes: str
    ) -> None:
        selector = f"backbone/{piece}/range_{sizes}/output_code"
        warm, cold = (load(run.dump).find(selector) for run in (warm_over_unrecorded, recorded))
        assert isinstance(warm, Code)
        assert isinstance(cold, Code)
        assert generated(warm.text) == generated(cold.text)

    def test_execution_code_is_there(self, warm_over_unrecorded: Finished) -> None:
        (code,) = warm_over_unrecorded.of("code", kind="execution_code")
        text = (warm_over_unrecorded.process / code["files"][0]["path"]).read_text()
        assert text.count("# piece_") >= 9

    def test_one_sentence_says_what_is_missing_and_how_to_get_it(
        self, warm_over_unrecorded: Finished, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = (warm_over_unrecorded.process / "backbone/index.md").read_text()
        (sentence,) = (line for line in page.splitlines() if line.startswith("- **not here**"))
        assert sentence == (
            "- **not here**: the graphs of all of it. A cache served it, and nothing was recorded when it was "
            "compiled; what the cache itself holds is here: code, and the last graphs as text. To see all of it, "
            "record one start with VLLM_CACHE_ROOT set to an empty folder."
        )
        assert main(["ls", str(warm_over_unrecorded.dump)]) == 0
        said = "nothing was recorded when it was compiled. To see all, record one start with VLLM_CACHE_ROOT"
        assert said in capsys.readouterr().out

    def test_results_are_those_of_the_cold_start(self, warm_over_unrecorded: Finished, recorded: Finished) -> None:
        assert warm_over_unrecorded.result["tokens"] == recorded.result["tokens"]
        assert warm_over_unrecorded.result["logprobs"] == recorded.result["logprobs"]

    def test_is_whole(self, warm_over_unrecorded: Finished) -> None:
        assert_whole(warm_over_unrecorded)


def generated(text: str) -> str:
    """Without the header, which says whether the code came out of a cache."""
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[first:])

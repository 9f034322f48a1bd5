"""A start that finds everything in vLLM's cache: nothing is compiled, and one sees what will run all the same."""

from __future__ import annotations

from itertools import product

import pytest
from vllm_runs import Finished

from cutaway.dump import Code, load
from cutaway.dump.verify import verify

RANGES = ("8_8", "1_16", "17_4096")
COMPILED = tuple(f"piece_{number:02d}" for number in range(0, 9, 2))
EACH = list(product(COMPILED, RANGES))


@pytest.fixture(name="start", params=["warm", "warm_over_unrecorded"])
def _start(request: pytest.FixtureRequest) -> Finished:
    """Warm over the cache of the recorded run, and over that of the unrecorded one."""
    return request.getfixturevalue(request.param)


# Both by name too, so that the runs begin ahead like all others.
pytestmark = pytest.mark.usefixtures("warm", "warm_over_unrecorded")


class TestWarmStart:
    def test_nothing_is_captured_of_the_model(self, start: Finished) -> None:
        assert start.of("snapshot", compilation="backbone") == []

    def test_vllms_cache_was_hit(self, start: Finished, recorded: Finished) -> None:
        (asked,) = start.of("cache", kind="vllm_aot")
        (missed,) = recorded.of("cache", kind="vllm_aot")
        assert (asked["result"], asked["key"]) == ("hit", missed["key"])

    def test_every_piece_and_range_was_loaded(self, start: Finished) -> None:
        loaded = start.of("cache", kind="vllm_piece")
        assert {step["result"] for step in loaded} == {"load"}
        assert sorted((step["piece"], step["range"]) for step in loaded) == sorted(EACH)

    @pytest.mark.parametrize(("piece", "sizes"), EACH)
    def test_output_code_is_there_and_said_to_be_cached(self, start: Finished, piece: str, sizes: str) -> None:
        (code,) = start.of("code", kind="output_code", piece=piece, range=sizes)
        assert code["cached"] is True

    @pytest.mark.parametrize(("piece", "sizes"), list(product(("piece_00", "piece_02", "piece_08"), RANGES)))
    def test_output_code_is_what_the_cold_start_made(
        self, start: Finished, recorded: Finished, piece: str, sizes: str
    ) -> None:
        selector = f"backbone/{piece}/range_{sizes}/output_code"
        warm, cold = (load(run.dump).find(selector) for run in (start, recorded))
        assert isinstance(warm, Code)
        assert isinstance(cold, Code)
        assert generated(warm.text) == generated(cold.text)

    def test_execution_code_is_there(self, start: Finished) -> None:
        (code,) = start.of("code", kind="execution_code")
        text = (start.process / code["files"][0]["path"]).read_text()
        assert text.count("# piece_") >= 9

    def test_results_are_those_of_the_cold_start(self, start: Finished, recorded: Finished) -> None:
        assert start.result["tokens"] == recorded.result["tokens"]
        assert start.result["logprobs"] == recorded.result["logprobs"]

    def test_the_dump_is_whole(self, start: Finished) -> None:
        (report,) = verify(start.dump)
        assert report.findings == []
        assert report.complete
        assert start.of("error") == []


def generated(text: str) -> str:
    """Without the header, which says whether the code came out of a cache."""
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[first:])

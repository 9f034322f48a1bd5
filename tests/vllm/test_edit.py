"""`cutaway edit` on the real vLLM: what is edited runs, and the cache is as it was.

What the last piece returns is made zero: every token is then as probable as any other.
"""

from __future__ import annotations

import json
import math

import pytest
from vllm_runs import BEFORE, Finished, digests

VOCABULARY = 1024


def assert_every_token_is_as_probable(run: Finished, recorded: Finished) -> None:
    found = [value for values in run.result["logprobs"].values() for value in values]
    assert len(found) == 24
    assert found == pytest.approx([-math.log(VOCABULARY)] * 24)
    assert {token for tokens in run.result["tokens"].values() for token in tokens} == {0}
    assert {token for tokens in recorded.result["tokens"].values() for token in tokens} != {0}


def assert_the_cache_is_as_it_was(run: Finished, recorded: Finished) -> None:
    before = json.loads((run.folder / BEFORE).read_text())
    assert any(name.endswith("/model") for name in before)
    assert digests(run.cache) == before
    assert not (run.folder / "inductor").exists()
    assert "cutaway: your caches are as they were" in run.log
    assert "RuntimeWarning" not in run.log


def test_edited_code_runs_in_its_range(edited: Finished, recorded: Finished) -> None:
    assert_every_token_is_as_probable(edited, recorded)
    assert "cutaway: piece_08 for 1_16: the edited code ran" in edited.log
    assert edited.log.count("the edited code ran") == 1
    assert "Directly load AOT compilation" in edited.log


def test_nothing_of_it_is_in_the_cache(edited: Finished, recorded: Finished) -> None:
    assert_the_cache_is_as_it_was(edited, recorded)


def test_the_next_run_over_that_cache_answers_as_before(warm_moved: Finished, recorded: Finished) -> None:
    """It begins with what the run with edited code has left."""
    assert warm_moved.result["logprobs"] == recorded.result["logprobs"]
    assert warm_moved.result["tokens"] == recorded.result["tokens"]


@pytest.mark.slow
def test_an_edited_graph_runs_in_all_ranges(edited_graph: Finished, recorded: Finished) -> None:
    assert_every_token_is_as_probable(edited_graph, recorded)
    assert_the_cache_is_as_it_was(edited_graph, recorded)
    assert "cutaway: piece_08 for 1_16: the edited code ran" in edited_graph.log
    assert "cutaway: piece_08 for 17_4096: the edited code ran" in edited_graph.log

"""The hands in the real vLLM: every piece held against its eager graph, while vLLM computes what it always does."""

from __future__ import annotations

from typing import Any

import pytest
from vllm_runs import Finished

from cutaway.explain.within.journal import read_journal

Events = list[dict[str, Any]]
COMPILED = {f"piece_{number:02d}" for number in (0, 2, 4, 6, 8)}


@pytest.fixture(scope="module")
def events(watched: Finished) -> Events:
    return read_journal(watched.folder / "inside")


def test_the_tokens_are_those_of_a_run_that_nobody_watches(watched: Finished, unrecorded: Finished) -> None:
    assert watched.result["tokens"] == unrecorded.result["tokens"]
    assert watched.result["logprobs"] == unrecorded.result["logprobs"]


def test_every_piece_computes_what_its_eager_graph_does(events: Events) -> None:
    same = {(event["piece"], event["range"]) for event in events if event["event"] == "same"}
    assert {piece for piece, _ in same if piece.startswith("piece_")} == COMPILED  # the sampler is a graph of its own
    assert {"1_16", "17_4096"} <= {span for _, span in same}


def test_no_fault_is_seen_where_there_is_none(events: Events) -> None:
    faults = ("parted", "overwrote", "passed", "nan", "not_compared")
    assert [event for event in events if event["event"] in faults] == []


def test_the_pieces_between_are_seen_to_run_as_they_are(events: Events) -> None:
    between = {event["piece"] for event in events if event.get("step") == "as it is"}
    assert between == {f"piece_{number:02d}" for number in (1, 3, 5, 7)}


def test_each_pass_is_announced_before_it_runs(events: Events) -> None:
    begun = [event["name"] for event in events if event["event"] == "pass"]
    assert {"NoOpEliminationPass", "VllmIRLoweringPass", "PostCleanupPass"} <= {*begun}
    assert begun == [event["name"] for event in events if event["event"] == "pass_done"]
    compiled = {event["piece"] for event in events if event["event"] == "compile"}
    assert {piece for piece in compiled if piece.startswith("piece_")} == COMPILED

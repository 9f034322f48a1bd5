"""Two processes that each run half of every layer share the compiler's work, and are recorded side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recordings import check, process, recorded

RANKS = 2
DISTINCT = 3 * 2  # pieces x ranges
Counters = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("tensor_parallel.py")
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}")
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(path / "inductor"), "CUTAWAY_DUMP": str(path / "dump")}
    ended = process(*torchrun, str(script), str(path), **caches)
    # A process that had done all, its recording included, was seen to fail while gloo was taken down.
    missing = [rank for rank in range(RANKS) if not (path / f"rank_{rank}.json").exists()]
    assert not missing, f"ranks {missing} did not end: {ended.stdout}\n{ended.stderr}"
    return path


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[list[Counters]]:
    """For each rank, what happened at the first compile and at that of a second copy."""
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(RANKS)]


def test_every_rank_gives_what_the_whole_model_gives(ranks: list[list[Counters]]) -> None:
    assert [start["right"] for rank in ranks for start in rank] == [True] * 2 * RANKS


def test_each_piece_is_compiled_once_over_all_ranks(ranks: list[list[Counters]]) -> None:
    first = [rank[0] for rank in ranks]
    assert sum(counters["backend_compilations"] for counters in first) == DISTINCT
    for counters in first:
        assert counters["backend_compilations"] + counters["artifacts_loaded"] == DISTINCT
        assert counters["artifacts_refused"] == 0


def test_the_next_start_is_warm_on_every_rank(ranks: list[list[Counters]]) -> None:
    for _, again in ranks:
        assert again["models_loaded"] == 1
        assert again["backend_compilations"] == again["graphs_seen"] == 0


def test_each_rank_has_a_dump_of_its_own_in_one_run(folder: Path) -> None:
    dump = folder / "dump"
    assert sorted(path.name for path in (dump / "run_001").iterdir()) == ["rank_0_dp_0", "rank_1_dp_0"]
    check(dump)
    for rank in range(RANKS):
        recording = recorded(dump, process=f"rank_{rank}_dp_0")
        assert recording.of("end", compilation=None)
        assert recording.compilations == ["backbone", "backbone~2"]
        assert recording.of("error") == []
        assert recording.of("snapshot", compilation="backbone", stage="captured")[0]["coverage"]["layer"] == 100


def test_both_captured_one_graph(folder: Path) -> None:
    graphs = [
        event["graph"]
        for rank in range(RANKS)
        for event in recorded(folder / "dump", process=f"rank_{rank}_dp_0").of("snapshot", stage="captured")
        if not event["cached"]  # the second model is a warm start, whose graphs are written again
    ]
    assert len(graphs) == RANKS
    assert len(set(graphs)) == 1

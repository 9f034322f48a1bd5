"""A dump grows with the graphs that differ, not with the layers."""

from __future__ import annotations

from collections import Counter

import pytest
from vllm_runs import Finished

LAYERS = {"by_option": 4, "layers_32": 32}
pytestmark = pytest.mark.usefixtures(*LAYERS)


@pytest.fixture(name="runs")
def _runs(request: pytest.FixtureRequest) -> dict[int, Finished]:
    """Runs of the same model by number of layers."""
    return {layers: request.getfixturevalue(name) for name, layers in LAYERS.items()}


def test_the_models_are_of_different_length(runs: dict[int, Finished]) -> None:
    for layers, run in runs.items():
        assert len(run.of("snapshot", stage="piece")) == 2 * layers + 1


def test_files_of_every_kind_are_as_many(runs: dict[int, Finished]) -> None:
    counts = {
        layers: Counter(path.name.split(".")[-1] for path in run.process.rglob("*") if path.is_file())
        for layers, run in runs.items()
    }
    assert min(counts[4][kind] for kind in ("json", "txt", "py")) > 20
    assert counts[4] == counts[32]


def test_graphs_of_pieces_are_the_same_ones(runs: dict[int, Finished]) -> None:
    """Only the three graphs of the whole model differ."""
    graphs = {layers: {path.name for path in (run.process / "nodes").iterdir()} for layers, run in runs.items()}
    assert len(graphs[4] - graphs[32]) == 3


def test_bytes_grow_less_than_the_model(runs: dict[int, Finished]) -> None:
    """What still grows is the graphs of the whole model and a row for each repeated piece."""
    sizes = {
        layers: sum(p.stat().st_size for p in run.process.rglob("*") if p.is_file()) for layers, run in runs.items()
    }
    assert sizes[32] < 3 * sizes[4]


def test_hooks_take_some_milliseconds_for_a_piece_and_range(runs: dict[int, Finished]) -> None:
    """Three to five of an idle core. The quickest compile of a graph counts; what waits for a core takes longer."""
    spent: dict[str, list[float]] = {}
    for run in runs.values():
        graphs = {step["piece"]: step["graph"] for step in run.of("snapshot", stage="piece")}
        for metric in run.of("metric", kind="hooks", compilation="backbone"):
            if metric["range"] is not None:
                spent.setdefault(graphs[metric["piece"]], []).append(metric["values"]["hook_ms"])
    assert [len(times) for times in spent.values()] == [2, 2, 2], "three pieces that differ, in two runs"
    most = 25 * max(run.crowding for run in runs.values())
    assert {graph: times for graph, times in spent.items() if min(times) >= most} == {}

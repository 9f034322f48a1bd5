"""A pass that breaks one layer is found: the node, its layer and its line; nothing where nothing is wrong."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from programs import line_of
from replay import programs_to_replay as programs
from replay.replays import replayed, stages

from cutaway.dump import load
from cutaway.replay import Replayed, Spot

NAME = "Stack.forward"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sum became a difference; all stages before that are right."""
    path = tmp_path_factory.mktemp("subtract")
    programs.record_stack(path, programs.subtract)
    return path


@pytest.fixture(scope="module")
def constant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("epsilon")
    programs.record_stack(path, programs.other_epsilon)
    return path


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drop")
    programs.record_stack(path, programs.drop)
    return path


def at_fault(found: Replayed) -> Spot:
    assert found.outcome == "apart"
    assert found.part is not None
    return found.part


def stands_at(spot: Spot, layer: str, line: int) -> None:
    """The fault is in this layer, at this line of the model."""
    assert spot.before is not None
    assert spot.before.layer == layer
    assert spot.before.source is not None
    assert spot.before.source.file == programs.__file__
    assert spot.before.source.line == line
    assert spot.before.source.code == inspect.getsource(programs).splitlines()[line - 1].strip()


def test_stages_that_are_right_are_found_right(broken: Path) -> None:
    """Every stage before the broken pass computes what was captured."""
    dump = load(broken)
    every = stages(dump)
    good = [name for name in every if "post_grad_custom_post_pass" not in name]
    assert len(good) >= 4
    assert len(every) == len(good) + 1
    for name in good[1:]:
        found = replayed(broken, name, f"{NAME}/captured")
        assert found.outcome in ("same", "close"), name
        assert found.part is None
        assert found.elsewhere is None, name
        assert sum(found.compared.values()) >= 20
        assert set(found.compared) <= {"same", "close", "unwritten"}, name


@pytest.mark.parametrize("against", ["eager", "aot_forward", "before_post_grad"])
def test_a_sum_that_became_a_difference(broken: Path, against: str) -> None:
    spot = at_fault(replayed(broken, f"{NAME}/post_grad", against))
    stands_at(spot, "layers.1: Layer", line_of(programs.Layer.forward, "x + self.attention"))
    assert spot.before is not None
    assert spot.after is not None
    assert spot.comparison is not None
    assert " + " in spot.before.line or "aten.add.Tensor" in spot.before.line
    assert "aten.sub.Tensor" in spot.after.line
    assert spot.comparison.verdict == "apart"
    assert spot.comparison.types == ("f32[2, 6, 8]", "f32[2, 6, 8]")
    assert spot.comparison.beyond > 40
    assert (spot.comparison.ulp or 0) > 10**6


def test_the_pass_itself_against_the_graph_before_it(broken: Path) -> None:
    (last,) = [name for name in stages(load(broken)) if "post_grad_custom_post_pass" in name]
    before = stages(load(broken))[-2]
    found = replayed(broken, last, before)
    spot = at_fault(found)
    assert found.differ == found.part  # before it, every value has the same bits
    stands_at(spot, "layers.1: Layer", line_of(programs.Layer.forward, "x + self.attention"))
    assert spot.between == ((), ())


def test_the_other_way_round(broken: Path) -> None:
    """The reference is the broken graph, a later one than the other."""
    spot = at_fault(replayed(broken, f"{NAME}/aot_forward", f"{NAME}/post_grad"))
    assert spot.before is not None
    assert spot.after is not None
    assert "aten.sub.Tensor" in spot.before.line
    assert "aten.add.Tensor" in spot.after.line


def test_another_constant(constant: Path) -> None:
    spot = at_fault(replayed(constant, f"{NAME}/post_grad", "eager"))
    stands_at(spot, "layers.1.norm_1: Norm", line_of(programs.Norm.forward, "1e-6"))
    assert spot.before is not None
    assert spot.after is not None
    assert spot.before.line.endswith(" + 1e-06")
    assert spot.after.line.endswith(", 0.01)")
    assert spot.comparison is not None
    assert spot.comparison.absolute == pytest.approx(1e-2 - 1e-6, rel=1e-3)


def test_within_tolerance_it_is_no_fault(constant: Path) -> None:
    found = replayed(constant, f"{NAME}/post_grad", "eager", rtol=10.0, atol=10.0)
    assert (found.outcome, found.part) == ("close", None)
    assert found.differ is not None


def test_a_sum_that_was_dropped(dropped: Path) -> None:
    """Nothing is left of it; what stands in its place is right by itself."""
    spot = at_fault(replayed(dropped, f"{NAME}/post_grad", "eager"))
    stands_at(spot, "layers.1: Layer", line_of(programs.Layer.forward, "x + self.attention"))
    assert spot.after is not None
    assert spot.after.layer == "layers.0: Layer"


def test_with_little_memory_it_runs_more_often(broken: Path) -> None:
    much = replayed(broken, f"{NAME}/post_grad", "eager")
    little = replayed(broken, f"{NAME}/post_grad", "eager", memory=2000)
    assert little == much


def test_with_hardly_any_memory_it_says_what_it_leaves_out(broken: Path) -> None:
    much = replayed(broken, f"{NAME}/post_grad", "eager")
    hardly = replayed(broken, f"{NAME}/post_grad", "eager", memory=1)
    left = sum(much.compared.values()) - sum(hardly.compared.values())
    assert hardly.results == much.results
    assert hardly.notes == (f"{left} pairs of nodes were not compared: they need more memory (--memory)",)


def test_the_same_seed_gives_the_same_numbers(broken: Path) -> None:
    one, two = (replayed(broken, f"{NAME}/captured") for _ in range(2))
    other = replayed(broken, f"{NAME}/captured", seed=1)
    assert one.runs == two.runs
    assert one.runs[0].outputs[0].digest != other.runs[0].outputs[0].digest
    assert one.outcome == "ran"
    assert one.runs[0].outputs[0].type == f"f32[2, {programs.ROWS}, 8]"


def test_sizes(broken: Path) -> None:
    batch, rows = sorted(replayed(broken, f"{NAME}/captured").sizes.items(), key=lambda item: item[1])
    assert (batch[1], rows[1]) == (2, programs.ROWS)  # which are not of one size: they stay as they were
    found = replayed(broken, f"{NAME}/post_grad", "eager", sizes={rows[0]: 3})
    assert found.sizes == {batch[0]: 2, rows[0]: 3}
    assert {output.type for run in found.runs for output in run.outputs} == {"f32[2, 3, 8]"}
    stands_at(at_fault(found), "layers.1: Layer", line_of(programs.Layer.forward, "x + self.attention"))

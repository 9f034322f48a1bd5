"""Stages of what was recorded compute what was captured: our compiler's pieces, training, branches, random numbers."""

from __future__ import annotations

from pathlib import Path

import programs
import pytest
import torch
from compiler.models import SPLITTING, decoder, tokens
from programs import numbers
from replay.replays import replayed, stages

import cutaway
from cutaway.dump import load
from cutaway.errors import ReplayError
from cutaway.replay.choose import eager_of, snapshot_of

RIGHT = ("same", "close")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder that our compiler cut at its attention, for a range and a single size, with Inductor."""
    path = tmp_path_factory.mktemp("pieces")
    config = {"splitting_ops": SPLITTING, "compile_ranges": [(1, 32)], "compile_sizes": [8], "disable_cache": True}
    with torch.compiler.config.patch(cache_key_tag="pieces"), cutaway.record(path), torch.no_grad():
        cutaway.compile(decoder(layers=2, hidden=16), config)(tokens(12))
    return path


def test_every_stage_of_every_piece(pieces: Path) -> None:
    """As the piece was cut out, run operator by operator; with its inputs, and at its place in the whole model."""
    dump = load(pieces)
    checked = 0
    for piece in dump["backbone"].pieces:
        for name in stages(dump, piece=piece.name):
            if dump.snapshots[name].stage == "piece":
                continue
            found = replayed(pieces, name, "eager")
            assert found.against == f"backbone/{piece.name}/piece"
            assert found.outcome in RIGHT, name
            assert (found.part, found.elsewhere) == (None, None), name
            checked += 1
    assert checked >= 10


def test_a_piece_within_the_whole_model(pieces: Path) -> None:
    """Its inputs are what the model computes up to there; buffers are looked at before another piece fills them."""
    for place in ("piece_00/range_1_32", "piece_02/range_1_32", "piece_04/range_1_32", "piece_02/range_8_8"):
        found = replayed(pieces, f"{place}/post_grad", "captured")
        assert found.outcome in RIGHT, place
        assert found.runs[0].nodes >= 2 * found.runs[1].nodes
        assert (found.part, found.elsewhere, found.notes) == (None, None, ()), place


def test_the_stitching_graph(pieces: Path) -> None:
    found = replayed(pieces, "backbone/after_split", "captured")
    assert found.outcome == "same"
    assert [run.outputs[0].type for run in found.runs] == ["f32[12, 128]"] * 2


def test_an_attention_by_itself(pieces: Path) -> None:
    """It returns nothing; what it writes to is compared."""
    found = replayed(pieces, "piece_01/piece")
    assert found.runs[0].changed == [3]
    assert found.runs[0].outputs == []


def test_one_range_against_another(pieces: Path) -> None:
    """The size that one was compiled for is put into the other."""
    for against, name in (("range_1_32", "range_8_8"), ("range_8_8", "range_1_32")):
        found = replayed(pieces, f"piece_02/{name}/post_grad", f"piece_02/{against}/post_grad")
        assert found.outcome in RIGHT
        assert {output.type for run in found.runs for output in run.outputs if output.type} <= {
            "f32[8, 16]",
            "f32[8, 48]",
        }


def test_a_whole_is_not_a_part_of_a_piece(pieces: Path) -> None:
    with pytest.raises(ReplayError, match="Exchange them"):
        replay_of(pieces, "captured", "piece_02/piece")


def replay_of(path: Path, selector: str, against: str) -> None:
    """In this process: what is raised before anything runs is raised here."""
    from cutaway.replay import replay  # noqa: PLC0415

    dump = load(path)
    replay(snapshot_of(dump, selector), snapshot_of(dump, against))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained")
    torch._dynamo.reset()
    with torch.compiler.config.patch(cache_key_tag="replay-trained"), cutaway.record(path):
        torch.compile(programs.Mlp(8))(numbers(4, 8)).sum().backward()
    return path


@pytest.mark.parametrize("stage", ["forward/post_grad", "backward/post_grad", "aot_joint"])
def test_training(trained: Path, stage: str) -> None:
    """A forward graph returns more than was captured; a backward one is a part of the joint graph."""
    dump = load(trained)
    against = eager_of(snapshot_of(dump, stage)).name
    assert against.endswith("aot_joint" if stage.startswith("backward") else "captured")
    found = replayed(trained, stage, "eager")
    assert found.outcome in RIGHT
    assert sum(found.compared.values()) >= 3
    assert found.part is None


def record(path: Path, function: object, *args: torch.Tensor) -> None:
    torch._dynamo.reset()
    with torch.compiler.config.patch(cache_key_tag=str(path)), cutaway.record(path), torch.no_grad():
        torch.compile(function)(*args)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_random_numbers(tmp_path: Path) -> None:
    """Nodes that draw alike draw the same; where they do not, nothing is said of what depends on them."""

    def noisy(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x + torch.rand_like(x), torch.nn.functional.dropout(x, 0.5, True) * 2, x.cos()

    record(tmp_path, noisy, numbers(4, 8))
    found = replayed(tmp_path, "post_grad", "eager")
    assert found.outcome in RIGHT
    assert [result.is_random for result in found.results] == [False, True, False]
    assert found.notes == ("1 of 3 results depend on random numbers that the two draw differently",)
    assert found.part is None
    later = replayed(tmp_path, "post_grad", "aot_forward")  # rand became inductor_random, which draws the same
    assert [result.comparison.verdict for result in later.results] == ["same"] * 3
    assert later.notes == ()


def test_a_branch(tmp_path: Path) -> None:
    record(tmp_path, programs.branching, numbers(4))
    found = replayed(tmp_path, "post_grad", "eager")
    assert found.outcome in RIGHT
    assert found.runs[0].nodes > len(load(tmp_path).find("captured").nodes) - 3  # those of the branch taken are seen


def test_memory_that_is_filled_later(tmp_path: Path) -> None:
    """A buffer that is written to in place is compared as its readers find it; one that is not, is no difference."""

    def filled(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        buffer, blank = torch.empty_like(x), torch.empty_like(x)
        buffer[:2] = x[:2].sin()
        buffer[2:] = x[2:].cos()
        return buffer * 2, blank.view(-1), x.mul_(2)

    record(tmp_path, filled, numbers(4, 8))
    for stage in ("aot_forward", "post_grad"):
        found = replayed(tmp_path, stage, "captured")
        assert found.outcome in RIGHT
        verdicts = [result.comparison.verdict for result in found.results]
        assert verdicts[1] == "unwritten"
        assert set(verdicts) <= {"unwritten", *RIGHT}
        assert [result.index for result in found.results if result.index is None] == [None]  # the input, after the run
        assert (found.part, found.elsewhere) == (None, None)

"""Every part can be switched off, by the configuration or the environment, and then does what its row says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.models import SPLITTING, Block, Decoder, Layer, close, decoder, rows, same, tokens
from recordings import recorded
from torch import fx

import cutaway
from cutaway.compiler import CompiledModel, Part
from cutaway.compiler.passes.inductor_pass import InductorPass

aten = torch.ops.aten
CONFIG: dict[str, Any] = {"splitting_ops": SPLITTING, "max_batch": 64}


def started(model: Decoder, **config: Any) -> CompiledModel:
    """Compiled, after its first call; right for other sizes too."""
    compiled = cutaway.compile(model, {**CONFIG, **config})
    for number in (16, 1, 64):
        same(model, compiled, number)
    return compiled


@pytest.fixture(scope="module")
def model() -> Decoder:
    return decoder(layers=3, hidden=16)


@pytest.mark.parametrize("part", [part.value for part in Part if part not in (Part.PASSES, Part.CACHE)])
def test_results_are_right_whatever_is_off(model: Decoder, part: str) -> None:
    graphs = {"cudagraph_mode": "PIECEWISE", "cudagraph_capture_sizes": [1, 16]} if part == "cuda_graphs" else {}
    started(model, backend="inductor" if part == "inductor" else "eager", off=[part], **graphs)


@pytest.mark.parametrize("part", ["everything", "compile"])
def test_without_compile_the_models_own_forward_runs(model: Decoder, part: str, tmp_path: Path) -> None:
    with cutaway.record(tmp_path):
        compiled = started(model, off=[part])
    assert compiled.counters.graphs_seen == 0
    assert list(tmp_path.rglob("manifest.jsonl")) == []
    same(model, compiled, 65)  # nothing is held to what was compiled


def test_without_inductor_pieces_run_as_they_were_captured(model: Decoder, tmp_path: Path) -> None:
    with cutaway.record(tmp_path):
        compiled = started(model, off=["inductor"])
    assert compiled.counters.pieces_to_compile == 4
    assert compiled.counters.artifacts_saved == 0
    stages = set(recorded(tmp_path).stages("backbone"))
    assert "piece" in stages
    assert "post_grad" not in stages
    ids = tokens(9)
    with torch.no_grad():
        assert compiled(ids).equal(model(ids))


def test_without_split_there_is_one_piece(model: Decoder) -> None:
    compiled = started(model, backend="eager", off=["split"])
    assert (compiled.counters.pieces_seen, compiled.counters.pieces_to_compile) == (1, 1)


def test_without_cache_every_start_is_cold(tmp_path: Path) -> None:
    block = Block()
    for _ in range(2):
        compiled = cutaway.compile(block, {"off": ["cache"], "cache_dir": tmp_path / "kept"})
        x = rows(4)
        close(compiled(x), block(x).detach())
        assert compiled.counters.backend_compilations == 1
        assert compiled.counters.artifacts_saved == compiled.counters.models_saved == 0
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(("off", "traced"), [([], 1), (["regions"], 4)])
def test_without_regions_every_layer_is_traced(off: list[str], traced: int) -> None:
    seen: list[int] = []

    @torch._dynamo.assume_constant_result  # runs while it is traced, once each time
    def note() -> int:
        seen.append(1)
        return 1

    class Noted(Layer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            note()
            return super().forward(x)

    model = decoder(layers=4, hidden=16)
    for layer in model.layers:
        layer.__class__ = Noted
    compiled = cutaway.compile(model, {**CONFIG, "backend": "eager", "off": off})
    compiled(tokens(16))
    assert len(seen) == traced
    same(model, compiled, 5)
    assert compiled.counters.pieces_repeated == 2


class TestTheEnvironment:
    def test_it_adds_to_the_configuration(self, model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUTAWAY_OFF", "split, inductor")
        compiled = started(model, off=["regions"])
        assert compiled.session.config.off == {"split", "inductor", "regions"}
        assert compiled.counters.pieces_seen == 1
        assert compiled.counters.artifacts_saved == 0

    def test_a_word_that_is_no_part_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUTAWAY_OFF", "splt")
        with pytest.raises(cutaway.ConfigError, match=r"'splt'.*split"):
            cutaway.CompilationConfig()

    def test_the_cache_has_a_variable_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUTAWAY_DISABLE_CACHE", "1")
        assert cutaway.CompilationConfig().is_off(Part.CACHE)


class Scale(InductorPass):
    """Multiplies by 3 where the graph multiplies by 2."""

    def __call__(self, graph: fx.Graph) -> None:
        _scaled(graph, 2, 3)


def times_seven(graph: fx.Graph) -> None:
    """Multiplies by 7 where the graph multiplies by 5."""
    _scaled(graph, 5, 7)


def _scaled(graph: fx.Graph, old: int, new: int) -> None:
    for node in graph.find_nodes(op="call_function", target=aten.mul.Tensor):
        if node.args[1] == old:
            node.update_arg(1, new)


class Scaled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 + (x + 1) * 5


class TestPasses:
    """Over the last graph of every piece; that they ran is seen in what they compute."""

    @pytest.mark.parametrize(
        ("off", "by_two", "by_five"),
        [([], 3, 7), (["pass:Scale"], 2, 7), (["pass:times_seven"], 3, 5), (["passes"], 2, 5)],
    )
    def test_each_can_be_off_and_all_of_them(self, off: list[str], by_two: int, by_five: int) -> None:
        config = {"max_batch": 64, "post_grad_passes": [Scale(), times_seven], "off": off}
        compiled = cutaway.compile(Scaled(), config)
        for number in (4, 1):
            x = torch.randn(number, 8)
            torch.testing.assert_close(compiled(x), x * by_two + (x + 1) * by_five)

    def test_off_or_on_they_have_other_artifacts(self, tmp_path: Path) -> None:
        x = torch.randn(4, 8)
        for off, factor in (([], 3), (["passes"], 2), ([], 3)):
            config = {"max_batch": 64, "post_grad_passes": [Scale()], "off": off, "cache_dir": tmp_path}
            compiled = cutaway.compile(Scaled(), config)
            torch.testing.assert_close(compiled(x), x * factor + (x + 1) * 5)
        assert compiled.counters.models_loaded == 1

    def test_one_that_fails_is_named_with_its_piece(self) -> None:
        def failing(graph: fx.Graph) -> None:
            raise ValueError("not like this")

        compiled = cutaway.compile(Scaled(), {"max_batch": 64, "post_grad_passes": [failing]})
        with pytest.raises(cutaway.CompileError, match=r"piece_00 for batch sizes 1_64.*failing.*not like this"):
            compiled(torch.randn(4, 8))

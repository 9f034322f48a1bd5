"""Layers that differ in a name alone become one piece, compiled once and called with each name."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler import experts_by_name
from compiler.experts_by_name import FACTORS
from compiler.graphs_to_split import Builder, called, cutting, inputs, results, split, value_of
from torch import fx, nn

from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.lift import LayerName, lift_constants
from cutaway.compiler.split.same import structural_key

by_name = torch.ops.by_name
WIDTH = 4


class Experts(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.register_buffer("cache", torch.zeros(1))
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.ops.by_name.experts(x.sin(), self.weight, self.name)
        torch.ops.by_name.store(y, self.cache, layer_name=self.name)
        return torch.ops.cutting.scale(y + x)


class Plain(Experts):
    """A layer of custom ops alone: nothing in it needs a C++ compiler."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.ops.by_name.experts(x, self.weight, self.name)
        torch.ops.by_name.store(y, self.cache, layer_name=self.name)
        return torch.ops.cutting.scale(y)


class Model(nn.Module):
    def __init__(self, layer: Callable[[str], nn.Module] = Experts) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(name) for name in FACTORS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.ops.cutting.scale(x)
        for layer in self.layers:
            x = layer(x)
        return x


def captured(model: nn.Module, x: torch.Tensor) -> tuple[fx.GraphModule, list[Any]]:
    """The graph that Dynamo makes of a model, with what it was called with."""
    seen: list[tuple[fx.GraphModule, list[Any]]] = []

    def keep(gm: fx.GraphModule, inputs: list[Any]) -> Any:
        seen.append((gm, inputs))
        return gm.forward

    torch._dynamo.mark_dynamic(x, 0)
    with torch.no_grad():
        torch.compile(model, backend=keep, fullgraph=True)(x)
    gm, inputs = seen[0]
    return gm, [len(x) if isinstance(value, torch.SymInt) else value for value in inputs]


def compiled_pieces(items: list[SplitItem]) -> list[SplitItem]:
    return [item for item in items if not item.is_splitting_graph]


def test_layers_that_differ_in_a_name_become_equal_and_compute_the_same() -> None:
    torch.manual_seed(0)
    model, x = Model(), torch.randn(5, WIDTH)
    expected_model = copy.deepcopy(model)
    gm, args = captured(model, x)
    split_gm, items = split(gm)
    layers = compiled_pieces(items)
    assert len({structural_key(item.graph) for item in layers}) == 3
    assert lift_constants(split_gm, items) == tuple(item.submod_name for item in layers)
    assert len({structural_key(item.graph) for item in layers}) == 1
    assert [inputs(item)[-1] for item in layers] == ["layer_name"] * 3
    given = [node.args[-1] for node in split_gm.graph.find_nodes(op="call_module")[1::2]]
    assert given == [LayerName(name) for name in FACTORS]
    for layer in model.layers:
        layer.cache.zero_()
    with torch.no_grad():
        torch.testing.assert_close(split_gm(*args)[0], expected_model(x))
    for layer, expected in zip(model.layers, expected_model.layers, strict=True):
        torch.testing.assert_close(layer.cache, expected.cache)
    assert lift_constants(split_gm, items) == ()


def test_a_lifted_piece_is_compiled_once_kept_and_loaded_elsewhere(tmp_path: Path) -> None:
    gm, _ = captured(Model(Plain), torch.randn(5, WIDTH))
    split_gm, items = split(gm)
    lift_constants(split_gm, items)
    one = compiled_pieces(items)[0].graph
    fake = [value_of(node) for node in one.graph.find_nodes(op="placeholder")]
    assert [value.shape[1:] for value in fake[1:-1]] == [(WIDTH,), (WIDTH,), ()]  # x, weight, cache
    with torch.no_grad():
        artifact = torch._inductor.standalone_compile(one, fake, dynamic_shapes="from_graph", options={}, aot=True)
    data = artifact.serialize()
    for runnable in (artifact, type(artifact).deserialize(data)):
        for name, factor in FACTORS.items():
            x, weight, cache = torch.randn(3, WIDTH), torch.randn(WIDTH, WIDTH), torch.zeros(1)
            (result,) = runnable(3, x, weight, cache, LayerName(name))
            y = (x @ weight) * factor
            torch.testing.assert_close(result, y)
            torch.testing.assert_close(cache, (y.sum() * factor * 4)[None])
    path = tmp_path / "artifact"
    path.write_bytes(data)
    # Ones of 3 x 4, times 2; their sum times 2 times 4 goes into the cache; and with 3 for the second layer.
    assert _elsewhere(path) == ["2.0 192.0", "3.0 624.0"]


def _elsewhere(path: Path) -> list[str]:
    """What a process that never split anything makes of a saved piece."""
    command = [sys.executable, experts_by_name.__file__, path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class Native(nn.Module):
    """A layer whose op takes a LayerName from the start."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = LayerName(name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.cutting.scale(torch.ops.by_name.native(x.sin(), self.name))


def test_ops_may_take_a_layer_name_from_the_start() -> None:
    model, x = Model(Native), torch.randn(5, WIDTH)
    gm, args = captured(model, x)
    split_gm, items = split(gm)
    assert len({structural_key(item.graph) for item in compiled_pieces(items)}) == 1
    assert lift_constants(split_gm, items) == ()
    torch.testing.assert_close(split_gm(*args)[0], model(x))


def _named(names: list[str], op: Callable[..., Any], *more: Any, **keywords: Any) -> list[SplitItem]:
    """Pieces that call an op with these names, split and lifted."""
    b = Builder()
    x = b.tokens("x")
    for name in names:
        y = b.call(op, b.call("sin", x), name, *more, **keywords)
        x = b.call(cutting.scale.default, b.call("narrow", y, 1, 0, 2) if op is by_name.wide.default else y)
    split_gm, items = split(b.finish(x), ["cutting::scale"])
    lift_constants(split_gm, items)
    return compiled_pieces(items)


def test_names_that_are_the_same_in_all_stay_constants() -> None:
    pieces = _named(["a", "a"], cutting.named.default)
    assert [[node for node in called(item) if node != "sin" and "sin_" not in node] for item in pieces] == [
        ["named_default"],
        ["named_default_1"],
    ]
    assert [inputs(item)[-1] for item in pieces] == ["x", "scale_default"]


def test_a_fake_implementation_that_goes_by_the_name_keeps_its_layers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts_by_name, "WIDTHS", {"a": 2, "b": 4, "c": 4})
    b = Builder()
    for name in "abc":
        b.call(cutting.bump.default, b.call(by_name.wide.default, b.tokens(f"x_{name}"), name))
    split_gm, items = split(b.finish(3))
    assert lift_constants(split_gm, items) == ("piece_02", "piece_04")
    assert len({structural_key(item.graph) for item in compiled_pieces(items)}) == 2


def test_strings_of_torchs_own_ops_stay() -> None:
    b = Builder()
    x = b.tokens("x")
    for mode in ("floor", "trunc"):
        x = b.call(cutting.scale.default, b.call(torch.ops.aten.div.Tensor_mode, x, x, rounding_mode=mode))
    split_gm, items = split(b.finish(x))
    assert lift_constants(split_gm, items) == ()


def test_names_that_differ_alike_share_an_input_and_others_have_their_own() -> None:
    b = Builder()
    x = b.tokens("x")
    for one, other in (("a", "mode"), ("bb", "mode"), ("ccc", "other")):
        y = b.call(cutting.named.default, b.call(cutting.named.default, x, one), one)
        x = b.call(cutting.scale.default, b.call(cutting.named.default, y, other))
    split_gm, items = split(b.finish(x), ["cutting::scale"])
    lift_constants(split_gm, items)
    pieces = compiled_pieces(items)
    assert [inputs(item)[2:] for item in pieces] == [["layer_name", "layer_name_1"]] * 3
    assert len({structural_key(item.graph) for item in pieces}) == 1
    assert len(results(pieces[0])) == 1
    value = torch.randn(2, 8)
    torch.testing.assert_close(split_gm(2, value)[0], value * (1 * 1 * 4 * 2) * (2 * 2 * 4 * 2) * (3 * 3 * 5 * 2))


def test_a_layer_name_is_a_value() -> None:
    name = LayerName("layers.0")
    assert name == LayerName("layers.0")
    assert name != LayerName("layers.1")
    assert name != "layers.0"
    assert {name: 1}[LayerName("layers.0")] == 1
    assert pickle.loads(pickle.dumps(name)) == name
    text, names = name.__fx_repr__()
    assert eval(text, dict(names)) == name


def test_an_op_that_was_never_lifted_is_not_made_up() -> None:
    lifted = torch.ops.cutaway_lifted
    assert not hasattr(lifted, "by_name__nothing__lifted_1")
    assert not hasattr(lifted, "by_name__wide")
    assert not hasattr(lifted, "by_name__wide__lifted_x")
    with pytest.raises(AttributeError, match="stands for an op that is not registered here"):
        _ = lifted.by_name__later__lifted_1
    library = torch.library.Library("by_name", "FRAGMENT")
    library.define("later(Tensor x, str? name=None) -> Tensor", tags=torch.Tag.needs_fixed_stride_order)
    assert lifted.by_name__later__lifted_1.default.tags == torch.ops.by_name.later.default.tags
    text = str(lifted.by_name__store__lifted_2_3.default)
    assert text == "cutaway_lifted.by_name__store__lifted_2_3.default"

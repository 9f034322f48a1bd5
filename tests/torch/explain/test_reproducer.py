"""Reproducers: the smallest graph that shows a fault, as one file that shows it without the model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx

from cutaway.errors import ReplayError
from cutaway.explain.reproducer import Request, make_reproducer, run_reproducer
from cutaway.explain.reproducer.program import Program, extract
from cutaway.explain.reproducer.shrink import Shrinker
from cutaway.explain.reproducer.stitching import write_stitching
from cutaway.explain.reproducer.write import write
from cutaway.replay.job import Graph

aten = torch.ops.aten


def norm_mlp(factor: float) -> Callable[..., Any]:
    """A norm and a gated layer; another factor than 1 is the fault."""

    def forward(x: torch.Tensor, w: torch.Tensor, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = aten.rsqrt.default(aten.mean.dim(aten.pow.Tensor_Scalar(x, 2), [-1], True))
        normed = aten.mul.Tensor(aten.mul.Tensor(x, scale), w)
        hidden = aten.mm.default(normed, up)
        gate = aten.mul.Tensor(aten.sigmoid.default(hidden), hidden)
        wrong = aten.mul.Tensor(gate, factor) if factor != 1 else gate
        return aten.add.Tensor(wrong, x), aten.neg.default(x)

    return forward


def traced(forward: Callable[..., Any]) -> fx.Graph:
    return fx.Tracer().trace(forward)


def inputs() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"x": torch.randn(8, 16), "w": torch.rand(16), "up": torch.randn(16, 16)}


def pair(factor: float = 1.5) -> Program:
    return Program("pair", (traced(norm_mlp(1)), traced(norm_mlp(factor))), inputs())


class TestShrinking:
    def test_a_pair_is_cut_to_where_it_differs(self) -> None:
        shrinker = Shrinker(pair(), 60)
        small = shrinker.run([None, None])
        assert small.shows()
        assert small.size <= 5
        assert shrinker.is_seeded
        assert max(value.numel() for value in small.used().values()) <= 4

    def test_what_does_not_differ_shows_nothing(self) -> None:
        assert not pair(1.0).shows()

    def test_the_node_that_was_found_is_the_result(self) -> None:
        program = pair()
        wrong = next(n for n in program.graphs[1].nodes if n.op == "call_function" and n.args[1:] == (1.5,))
        right = wrong.args[0]
        small = Shrinker(program, 60).run([right.name, wrong.name])
        assert small.size == 1
        assert small.shows()

    def test_a_nan_is_cut_to_the_node_that_makes_it(self) -> None:
        def forward(x: torch.Tensor) -> tuple[torch.Tensor]:
            return (aten.mul.Tensor(aten.sqrt.default(aten.sub.Tensor(x, 10.0)), 2.0),)

        small = Shrinker(Program("nan", (traced(forward),), {"x": torch.rand(64, 4)}), 60).run(["sqrt_default"])
        assert [node.target for node in small.graphs[0].nodes if node.op == "call_function"] == [aten.sqrt.default]
        assert small.shows()

    def test_without_time_nothing_is_tried(self) -> None:
        ticks = count()
        shrinker = Shrinker(pair(), 0, clock=lambda: float(next(ticks)))
        assert shrinker.run([None, None]).size == pair().size
        assert shrinker.tries == 0

    def test_recorded_values_stay_where_seeded_ones_show_nothing(self) -> None:
        def forward(least: float) -> Callable[..., Any]:
            return lambda x: (aten.clamp_max.default(x, least),)

        program = Program("pair", (traced(forward(1e6)), traced(forward(2e6))), {"x": torch.full((4,), 3e6)})
        shrinker = Shrinker(program, 60)
        assert shrinker.run([None, None]).shows()
        assert not shrinker.is_seeded

    def test_what_writes_to_memory_stays_with_what_reads_it(self) -> None:
        def forward(x: torch.Tensor) -> tuple[torch.Tensor]:
            made = aten.clone.default(x)
            aten.add_.Tensor(made, 1.0)
            return (aten.mul.Tensor(made, 2.0),)

        graph = traced(forward)
        (end,) = graph.output_node().all_input_nodes
        part = extract(graph, [end], {})
        assert aten.add_.Tensor in [node.target for node in part.nodes]

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(["neg", "abs", "exp", "tanh", "add", "wrong"]), min_size=1, max_size=12))
    def test_what_is_left_shows_the_fault_and_holds_what_is_wrong(self, steps: list[str]) -> None:
        def chain(factor: float) -> Callable[..., Any]:
            def forward(x: torch.Tensor) -> tuple[torch.Tensor]:
                value = x
                for step in steps:
                    if step == "add":
                        value = aten.add.Tensor(value, x)
                    elif step == "wrong":
                        value = aten.mul.Tensor(value, factor)
                    else:
                        value = getattr(aten, step).default(aten.clamp.default(value, -2.0, 2.0))
                return (value,)

            return forward

        program = Program("pair", (traced(chain(1.0)), traced(chain(-3.0))), {"x": torch.linspace(-1, 1, 8)})
        if not program.shows():
            return
        small = Shrinker(program, 20).run([None, None])
        assert small.shows()
        assert small.size <= program.size
        assert any(node.args[1:] == (-3.0,) for node in small.graphs[1].nodes)


class TestTheFile:
    def test_it_shows_the_fault_by_itself(self, tmp_path: Path) -> None:
        small = Shrinker(pair(), 60).run([None, None])
        path = tmp_path / "reproducer.py"
        write(small, path, ["a fault"], [], is_seeded=True)
        text = path.read_text()
        assert text.startswith("# a fault\n")
        assert not re.search(r"cutaway|vllm", text)
        code, said = run_reproducer(path)
        assert code == 1, said
        assert "instead of" in said

    def test_large_inputs_lie_beside_it_and_odd_numbers_in_it(self, tmp_path: Path) -> None:
        def forward(factor: float) -> Callable[..., Any]:
            return lambda x, odd, size: (aten.mul.Tensor(x, factor), aten.add.Tensor(odd, size))

        given: dict[str, Any] = {"x": torch.randn(20, 20), "odd": torch.tensor([float("inf"), -0.5]), "size": 3}
        program = Program("pair", (traced(forward(1.0)), traced(forward(2.0))), given)
        path = tmp_path / "reproducer.py"
        write(program, path, [], [], is_seeded=False)
        kept = torch.load(tmp_path / "reproducer.pt", weights_only=True)
        assert torch.equal(kept["x"], given["x"])
        assert 'float("inf")' in path.read_text()
        assert run_reproducer(path)[0] == 1

    def test_a_right_pair_does_not_exit_with_1(self, tmp_path: Path) -> None:
        path = tmp_path / "reproducer.py"
        write(pair(1.0), path, [], [], is_seeded=True)
        assert run_reproducer(path)[0] == 0


@pytest.mark.parametrize(("passed", "code"), [("b, a", 1), ("a, b", 0)], ids=["swapped", "right"])
def test_stitching_is_called_with_stand_ins(passed: str, code: int, tmp_path: Path) -> None:
    tensor = {"shape": [4, 8], "dtype": "torch.float32"}

    def node(name: str, op: str, args: list[dict[str, str]], target: str = "", value: Any = tensor) -> dict[str, Any]:
        return {"name": name, "op": op, "target": target, "args": args, "value": value}

    steps = [
        node("x", "placeholder", []),
        node("piece_00", "call_module", [{"name": "x"}], "piece_00", {"items": [tensor, tensor]}),
        node("a", "item", [{"name": "piece_00"}, {"text": "0"}]),
        node("b", "item", [{"name": "piece_00"}, {"text": "1"}]),
        node("piece_01", "call_module", [{"name": "a"}, {"name": "b"}], "piece_01"),
    ]
    text = f"def execution_fn(x):\n    a, b = piece_00(x)\n    return piece_01({passed})\n"
    path = tmp_path / "reproducer.py"
    write_stitching(path, ["a fault"], {"code": text, "called": {}, "steps": steps})
    ended, said = run_reproducer(path)
    assert ended == code, said
    assert ("piece_01 is given another value than a at place 0" in said) is bool(code)


RAW = """import torch
from torch import device, inf, nan


class Graph(torch.nn.Module):
    def forward(self, arg0_1):
        exp = torch.ops.aten.exp.default(arg0_1)
        {line}
        return (add,)


def example_inputs():
    return [torch.linspace(-1, 1, 6)]
"""


def raw(line: str) -> Graph:
    return Graph(RAW.format(line=line), "graph.py")


def test_raw_files_of_a_dump_become_a_reproducer(tmp_path: Path) -> None:
    graphs = [raw(f"add = torch.ops.aten.add.Tensor(exp, {number})") for number in (1, 2)]
    request = Request(fault="pair", graphs=graphs, output=str(tmp_path / "reproducer.py"), nodes=["add", "add"])
    made = make_reproducer(request)
    assert (made.nodes, made.nodes_before) == (2, 4)
    assert "def before(exp)" in Path(made.path).read_text()


def test_what_shows_no_fault_makes_no_file(tmp_path: Path) -> None:
    graphs = [raw("add = torch.ops.aten.add.Tensor(exp, 1)")] * 2
    request = Request(fault="pair", graphs=graphs, output=str(tmp_path / "reproducer.py"))
    with pytest.raises(ReplayError, match="does not show it"):
        make_reproducer(request)
    assert json.dumps([one.name for one in tmp_path.iterdir()]) == "[]"

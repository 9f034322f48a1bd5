"""Views that AOTAutograd makes anew after a write stem from the line that made them, not from one that reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import numbers
from recordings import Recorded, check, recorded
from torch import fx
from torch._dynamo.backends.common import aot_autograd

import cutaway
from cutaway.record.nodes import TableBuilder
from cutaway.record.origins import Remembered, find_origins
from cutaway.torch_internals import is_view

Function = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


@torch.library.custom_op("cutaway_views::fill", mutates_args=("out",))
def fill(out: torch.Tensor, x: torch.Tensor) -> None:
    out.copy_(x)


@fill.register_fake
def _(out: torch.Tensor, x: torch.Tensor) -> None:
    return None


def written_by_an_operator(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    out = torch.empty(4, 16)
    q, k = out.split([8, 8], -1)
    fill(out, x)
    heads = q.view(4, 2, 4)
    norm = torch.rms_norm(heads, (4,))
    product = k[..., :4] * k[..., 4:]
    return norm, product, k


def written_through_a_view(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    y = x.sin()
    top, bottom = y.chunk(2)
    top.relu_()
    bottom.sigmoid_()
    turned = top.t()
    return torch.exp(turned), y.reshape(-1)


def written_in_turns(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    y = x * 2
    z = y.t()
    w = z[1:]
    y.add_(1)
    w.mul_(3)
    return y + 1, torch.exp(w)


def parts_of_a_result(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    values, places = x.sort()
    first, second = values.topk(3)
    return first + 1, second, places


def views_that_change_nothing(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    out = torch.empty(4, 16)
    q, k = out.split([8, 8], -1)
    fill(out, x)
    r = q.reshape(4, 8)
    s = r.view(4, 8)
    t = k.contiguous()
    e = torch.exp(r)
    f = s * 2
    return e, f, t + 1, k


def views_of_a_result(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    values, places = x.sort()
    same = values.reshape(4, 16)
    again = same.view(4, 16)
    return again + 1, places


EXPECTED: dict[Function, dict[str, set[str]]] = {
    written_by_an_operator: {
        "empty": {"out = torch.empty(4, 16)"},
        "auto_functionalized_v2": {"fill(out, x)"},
        "split_with_sizes": {"q, k = out.split([8, 8], -1)"},
        "getitem": {"q, k = out.split([8, 8], -1)", "fill(out, x)"},
        "view": {"heads = q.view(4, 2, 4)"},
        "slice": {"product = k[..., :4] * k[..., 4:]"},
        "rsqrt": {"norm = torch.rms_norm(heads, (4,))"},
    },
    written_through_a_view: {
        "split": {"top, bottom = y.chunk(2)"},
        "getitem": {"top, bottom = y.chunk(2)"},
        "relu": {"top.relu_()"},
        "sigmoid": {"bottom.sigmoid_()"},
        "slice_scatter": {"top.relu_()", "bottom.sigmoid_()"},
        "permute": {"turned = top.t()"},
        "exp": {"return torch.exp(turned), y.reshape(-1)"},
    },
    views_that_change_nothing: {
        "split_with_sizes": {"q, k = out.split([8, 8], -1)"},
        "view": {"r = q.reshape(4, 8)", "s = r.view(4, 8)"},
        "exp": {"e = torch.exp(r)"},
        "mul": {"f = s * 2"},
    },
    views_of_a_result: {
        "sort": {"values, places = x.sort()"},
        "getitem": {"values, places = x.sort()"},
        "view": {"same = values.reshape(4, 16)", "again = same.view(4, 16)"},
    },
    parts_of_a_result: {
        "sort": {"values, places = x.sort()"},
        "topk": {"first, second = values.topk(3)"},
        "getitem": {"values, places = x.sort()", "first, second = values.topk(3)"},
        "add": {"return first + 1, second, places"},
    },
    written_in_turns: {
        "permute": {"z = y.t()", "w.mul_(3)"},  # the write goes back through the views of what it writes to
        "slice": {"w = z[1:]", "w.mul_(3)"},
        "slice_scatter": {"w.mul_(3)"},
        "exp": {"return y + 1, torch.exp(w)"},
    },
}


def lines_of(recording: Recorded, stage: str) -> dict[str, set[str]]:
    """Operator -> the lines that its nodes stem from, by the captured nodes that they name; each node from one line."""
    (captured,) = (recording.table(event) for event in recording.of("snapshot", stage="captured"))
    (traced,) = (recording.table(event) for event in recording.of("snapshot", stage=stage))
    lines: dict[str, set[str]] = {}
    for row in traced["nodes"]:
        if row["op"] != "call_function":
            continue
        parts = row["target"].split(".")
        name = parts[1] if parts[0] != "operator" else "getitem"
        assert row["from"], f"{row['name']} stems from nothing"
        origins = {captured["sources"][captured["nodes"][number]["source"]]["code"] for number in row["from"]}
        assert len(origins) == 1, row["name"]
        assert traced["sources"][row["source"]]["code"] in origins, row["name"]
        lines.setdefault(name, set()).update(origins)
    return lines


@pytest.mark.parametrize("function", EXPECTED, ids=lambda function: function.__name__)
def test_a_view_stems_from_its_own_line(tmp_path: Path, function: Function) -> None:
    with cutaway.record(tmp_path):
        result = torch.compile(function)(numbers(4, 16))
    torch.testing.assert_close(result, function(numbers(4, 16)))
    found = lines_of(recorded(tmp_path), "aot_forward")
    expected = EXPECTED[function]
    assert {name: found[name] for name in expected} == expected
    assert set().union(*found.values()) <= {line.strip() for line in inspect.getsource(function).splitlines()}
    check(tmp_path)


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "t": lambda x: x.t(),
    "half": lambda x: x.chunk(2)[0],
    "rest": lambda x: x[1:],
    "same": lambda x: x.view(x.shape),
    "turned": lambda x: x.unsqueeze(0).transpose(1, 2).squeeze(0),
    "itself": lambda x: x.contiguous(),
    "flat": lambda x: x.reshape(-1).unsqueeze(0),
}
Steps = list[tuple[str, int]]
"""What is done to which of the values so far: a view of it is made, it is written to, or it is read."""


@st.composite
def programs(draw: st.DrawFn) -> Steps:
    kinds = st.sampled_from([*VIEWS, *VIEWS, "write", "write", "read", "read"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 9)), min_size=2, max_size=9))


def program(steps: Steps) -> Function:
    def run(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = [x * 2]
        read: list[torch.Tensor] = []
        for number, (kind, place) in enumerate(steps):
            value = values[place % len(values)]
            if kind == "write":
                value.mul_(number + 3)
            elif kind == "read":
                read.append(torch.exp(value))
            elif value.shape[0] > 1:
                values.append(VIEWS[kind](value))
        return *read, values[-1] + 1

    return run


class Contents(fx.Interpreter):
    """Runs a graph; keeps what every tensor holds after each step."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm, garbage_collect_values=False)
        self.seen: dict[str, list[torch.Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.env[n] = super().run_node(n)
        for node, value in self.env.items():
            if isinstance(value, torch.Tensor):
                self.seen.setdefault(node.name, []).append(value.clone())
        return self.env[n]


@given(programs())
@settings(deadline=None, max_examples=25)
def test_a_view_holds_what_the_one_holds_that_it_is_said_to_be(steps: Steps) -> None:
    """As running shows, at one time or another: a write in between changes it."""
    captured: list[fx.GraphModule] = []
    traced: list[fx.GraphModule] = []
    before: list[Remembered] = []

    def forward(gm: fx.GraphModule, _: object) -> Any:
        traced.append(gm)
        return gm.forward

    def backend(gm: fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        captured.append(gm)
        before.append(Remembered.of(gm, TableBuilder().build(gm)))
        return aot_autograd(fw_compiler=forward)(gm, inputs)

    x = torch.rand(4, 4) + 1
    torch.compiler.reset()
    with torch.no_grad():
        torch.compile(program(steps), backend=backend, fullgraph=True, dynamic=False)(x.clone())
    (gm,), (aot,), (previous,) = captured, traced, before
    whole, after = Contents(gm), Contents(aot)
    whole.run(x.clone())
    after.run(x.clone())
    origins = find_origins(aot, previous)
    for node in aot.graph.nodes:
        if node.op != "call_function" or not is_view(node.target) or not after.seen.get(node.name):
            continue
        (number,) = origins[node].ids
        said = previous.rows[number]
        writes = "mul" in said["target"]  # goes back through the views of what it writes to
        if not writes and "shape" in said and tuple(said["shape"]) == tuple(node.meta["val"].shape):
            assert any(torch.equal(after.seen[node.name][0], held) for held in whole.seen[said["name"]])

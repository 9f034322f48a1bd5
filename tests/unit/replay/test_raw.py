"""A raw file read as text: its nodes, inputs, results and what it says of itself."""

from __future__ import annotations

import pytest

from cutaway.errors import ReplayError
from cutaway.replay.raw import read_raw

RAW = """\
# backbone/piece_02/piece — a piece
# Zeros stand in for vllm::attention: it runs only inside the engine.
# CANNOT RUN: nobody knows which import registers the operator my::op
import sys

import torch
from torch import device, inf, nan


class Graph_cond_0(torch.nn.Module):
    def forward(self, x):
        neg = torch.ops.aten.neg.default(x);  x = None
        return (neg,)


class Graph(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cond_0 = Graph_cond_0()

    def forward(self, s72 : torch.SymInt, L_x_ : torch.Tensor, handle, name):
        l_x_ = L_x_
        mul : int = 2 * s72
        view = l_x_.view(mul, -1);  l_x_ = None
        cond = torch.ops.higher_order.cond(True, self.cond_0, self.cond_0, [view]);  view = None
        getitem = cond[0];  cond = None
        getitem += 1;  iadd = getitem
        getitem[slice(None, 2, None)] = mul;  setitem = getitem;  setitem = None
        linear = torch.ops.my.op(getitem, handle, bias = None);  handle = getitem = None
        return (linear, {'a': iadd, 'b': None}, [mul], s72)


def tensor(shape, stride, dtype, where):
    return torch.zeros(shape)


def example_inputs(s72=4096):
    return [
        s72,  # s72
        tensor((s72, 4,), (4, 1,), torch.float32, 'cpu'),  # l_x_
        torch.tensor(torch.ops.my.handle(torch.randn(2, 2))),  # handle
        LayerName('layers.0'),  # name
    ]
"""


def test_what_it_holds() -> None:
    raw = read_raw(RAW, "00.piece.py")
    assert raw.sizes == {"s72": 4096}
    assert raw.inputs == ("s72", "l_x_", "handle", "name")
    assert raw.made == {"handle", "name"}
    assert raw.results == ("linear", "iadd", None, "mul", "s72")
    assert raw.problems == ("nobody knows which import registers the operator my::op",)
    assert raw.stand_ins == ("vllm::attention",)


def test_nodes_are_those_of_the_graph_itself() -> None:
    raw = read_raw(RAW, "00.piece.py")
    assert list(raw.lines) == ["mul", "view", "cond", "getitem", "iadd", "setitem", "linear"]
    assert raw.lines["view"].text == "view = l_x_.view(mul, -1)"
    assert set(raw.lines["view"].reads) == {"l_x_", "mul"}
    assert RAW.splitlines()[raw.lines["cond"].number - 1].strip().startswith("cond = ")
    assert list(raw.before("view")) == ["mul"]
    assert list(raw.before("linear")) == ["getitem"]
    assert list(raw.before("s72")) == []


def test_nodes_that_write_are_one_line() -> None:
    raw = read_raw(RAW, "00.piece.py")
    assert raw.lines["iadd"].text == "getitem += 1"
    assert raw.lines["setitem"].text == "getitem[slice(None, 2, None)] = mul"
    assert list(raw.before("iadd")) == ["getitem"]
    assert list(raw.before("setitem")) == ["getitem", "mul"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def f(:", "(?i)it is no Python"),
        ("\0", "(?i)it is no Python"),
        ("(" * 5000, "(?i)it is no Python"),
        ("x = 1", "(?i)it has no class Graph"),
        ("class Graph:\n    def forward(self): pass", "no example_inputs"),
        ("def example_inputs(): return []", "(?i)it has no class Graph"),
    ],
    ids=["syntax", "null", "deep", "empty", "inputs", "graph"],
)
def test_what_is_no_raw_file(text: str, why: str) -> None:
    with pytest.raises(ReplayError, match=why) as error:
        read_raw(text, "x.py")
    assert "'x.py' is no raw graph" in str(error.value)


def test_nothing_in_it_is_executed(tmp_path: object) -> None:
    read_raw(f"raise SystemExit\n{RAW}\nopen({str(tmp_path)!r} + '/made', 'w')", "x.py")

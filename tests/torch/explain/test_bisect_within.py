"""The hands in a process, on graphs that need no compile: what they tell of pieces that do other than they should."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx

from cutaway.explain.switches import EVERYWHERE, Place, Switches
from cutaway.explain.within.forward import Forward
from cutaway.explain.within.journal import Journal, read_journal
from cutaway.explain.within.piece import Eye
from cutaway.explain.within.reference import expect, judge
from cutaway.explain.within.stitching import Watched, watch_functions

Events = list[dict[str, Any]]


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2.0, x + w


class Between(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        x.mul_(0.5)
        return (x,)


class Join(torch.nn.Module):
    def forward(self, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.sqrt(one - other),)


def split() -> fx.GraphModule:
    """``piece_00`` makes two values, a splitting piece writes to one, ``piece_02`` reads both."""
    graph = fx.Graph()
    x, w = graph.placeholder("x"), graph.placeholder("w")
    first = graph.call_module("piece_00", (x, w))
    doubled, added = (graph.call_function(operator.getitem, (first, place)) for place in range(2))
    middle = graph.call_module("piece_01", (doubled,))
    halved = graph.call_function(operator.getitem, (middle, 0))
    last = graph.call_module("piece_02", (halved, added))
    graph.output((graph.call_function(operator.getitem, (last, 0)),))
    parts = {"piece_00": Double(), "piece_01": Between(), "piece_02": Join()}
    return fx.GraphModule({name: fx.symbolic_trace(part) for name, part in parts.items()}, graph)


def run(
    folder: Path,
    pieces: dict[str, Callable[..., Any]] | None = None,
    swap: bool = False,
    asked: Switches | None = None,
    w: float = -1.0,
) -> tuple[Events, Any]:
    """Run the model with some pieces replaced; what was told, and the result."""
    gm = split()
    forward = Forward(gm, Eye(asked or Switches(compare=(EVERYWHERE,)), Journal(folder)))
    made = {**{name: child.forward for name, child in gm.named_children()}, **(pieces or {})}
    first, last = (forward.piece(name, lambda args: "1_8", made[name]) for name in ("piece_00", "piece_02"))
    between = forward.between("piece_01", made["piece_01"])

    def stitched(x: torch.Tensor, w: torch.Tensor) -> Any:
        doubled, added = first(x, w)
        (halved,) = between(doubled)
        return last(added, halved) if swap else last(halved, added)

    result = forward.whole(stitched)(torch.arange(4.0) + 1, torch.full((4,), w))
    return read_journal(folder), result


def told(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


FAULTS = ("parted", "overwrote", "passed", "nan")


def test_what_is_right_is_told_to_be_the_same(tmp_path: Path) -> None:
    events, (result,) = run(tmp_path)
    assert [event["piece"] for event in told(events, "same")] == ["piece_00", "piece_02"]
    assert not [event for event in events if event["event"] in FAULTS]
    assert torch.equal(result, torch.ones(4))


def test_a_piece_that_computes_something_else(tmp_path: Path) -> None:
    events, _ = run(tmp_path, {"piece_02": lambda one, other: (torch.sqrt(one - other) * 1.01,)})
    (event,) = told(events, "parted")
    assert (event["piece"], event["range"]) == ("piece_02", "1_8")
    assert event["values"]["output 0"]["compiled_error"] == pytest.approx(0.01)
    assert [torch.load(one["path"]).tolist() for one in event["inputs"]] == [[1, 2, 3, 4], [0, 1, 2, 3]]


def test_another_order_of_sums_is_no_fault(tmp_path: Path) -> None:
    def other_order(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (x.double() * 2.0).float(), ((x + 1e-7) + (w - 1e-7))

    events, _ = run(tmp_path, {"piece_00": other_order})
    assert not told(events, "parted")


def test_an_input_that_is_read_later_is_overwritten(tmp_path: Path) -> None:
    def greedy(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = x * 2.0, x + w
        w.zero_()
        return found

    events, _ = run(tmp_path, {"piece_00": greedy})
    (event,) = told(events, "overwrote")
    assert (event["piece"], event["value"], event["used_by"]) == ("piece_00", "w", ["the caller"])
    assert not told(events, "parted")


def test_a_value_that_nobody_reads_again_may_be_overwritten(tmp_path: Path) -> None:
    def donated(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor]:
        found = torch.sqrt(one - other)
        one.zero_()
        return (found,)

    events, _ = run(tmp_path, {"piece_02": donated})
    assert not [event for event in events if event["event"] in FAULTS]


def test_what_a_splitting_op_writes_to_is_no_fault(tmp_path: Path) -> None:
    events, _ = run(tmp_path)
    assert [event["piece"] for event in told(events, "call") if event["step"] == "as it is"] == ["piece_01"]
    assert not told(events, "overwrote")


def test_arguments_the_wrong_way_round(tmp_path: Path) -> None:
    events, _ = run(tmp_path, swap=True)
    assert [(event["piece"], event["position"], event["argument"]) for event in told(events, "passed")] == [
        ("piece_02", 0, "one"),
        ("piece_02", 1, "other"),
    ]
    assert told(events, "passed")[0]["given"] == "getitem_1"


def test_what_the_split_graph_says_is_passed_where_that_is_asked_for(tmp_path: Path) -> None:
    _, right = run(tmp_path / "right")
    _, swapped = run(tmp_path / "swapped", swap=True)
    assert not torch.equal(swapped[0], right[0])
    _, restored = run(tmp_path / "restored", swap=True, asked=Switches(restored=(Place("piece_02"),)))
    assert torch.equal(restored[0], right[0])
    _, another = run(tmp_path / "another", swap=True, asked=Switches(restored=(Place("piece_00"),)))
    assert torch.allclose(another[0], swapped[0], equal_nan=True)


def test_what_the_caller_is_to_get_is_restored_as_well(tmp_path: Path) -> None:
    forward = Forward(split(), Eye(Switches(restored=(Place(""),)), Journal(tmp_path)))
    last = forward.piece("piece_02", lambda args: "1_8", Join().forward)
    x = torch.arange(4.0) + 1
    (found,) = forward.whole(lambda x, w: (last(x, w), x)[1:])(x, -x)
    assert torch.equal(found, torch.sqrt(2 * x))


def test_nan_of_numbers_is_named_by_its_node(tmp_path: Path) -> None:
    events, _ = run(tmp_path, w=1.0)
    (event,) = told(events, "nan")
    assert (event["piece"], event["node"], event["in_float64"]) == ("piece_02", "sqrt", True)
    assert event["infinite"] is None
    assert not told(events, "parted")


def test_nan_that_comes_of_infinities(tmp_path: Path) -> None:
    events, _ = run(tmp_path, w=float("inf"))
    (event,) = told(events, "nan")
    assert (event["node"], event["infinite"]) == ("sqrt", "other")


def test_a_piece_runs_as_its_eager_graph(tmp_path: Path) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("it was to run eagerly")

    events, (result,) = run(tmp_path, {"piece_02": never}, asked=Switches(eager=(Place("piece_02"),)))
    assert torch.equal(result, torch.ones(4))
    assert [event["step"] for event in told(events, "call") if event["piece"] == "piece_02"] == ["eager"]


def test_calls_are_timed_beside_the_eager_graph(tmp_path: Path) -> None:
    events, _ = run(tmp_path, asked=Switches(times=(Place("piece_00"),)))
    (event,) = told(events, "time")
    assert event["piece"] == "piece_00"
    assert event["compiled"] > 0
    assert event["eager"] > 0


def test_what_is_about_to_run_is_written_before_it_runs(tmp_path: Path) -> None:
    def crash(*args: Any) -> Any:
        raise RuntimeError("a kernel")

    with pytest.raises(RuntimeError, match="a kernel"):
        run(tmp_path, {"piece_02": crash})
    last = read_journal(tmp_path)[-1]
    assert (last["event"], last["piece"], last["step"]) == ("call", "piece_02", "compiled")


@pytest.mark.parametrize(
    ("off", "apart"), [(1.0, False), (1.00003, False), (1.1, True), (float("nan"), True), (float("inf"), True)]
)
def test_float64_is_the_referee(off: float, apart: bool) -> None:
    exact = torch.linspace(-3, 3, 64, dtype=torch.float64)
    eager = exact.bfloat16()  # some units off, as eager code in a short float is
    compiled = (eager.float() * off).bfloat16()
    assert judge(eager, compiled, exact, None, None).is_apart is apart


@pytest.mark.parametrize("referee", [float("nan"), 1.5, 1e30])
def test_a_referee_that_is_wrong_itself_is_not_asked(referee: float) -> None:
    """An engine's operator may compute anything when it is given float64."""
    eager = torch.linspace(1, 3, 64)
    verdict = judge(eager, eager * 1.01, eager.double() * referee, None, None)
    assert verdict.is_apart
    assert verdict.eager_error is None


def test_an_engines_operator_runs_in_the_dtypes_of_the_graph() -> None:
    library = torch.library.Library("cutaway_test_referee", "DEF")
    library.define("double_into(Tensor x, Tensor(a!) out) -> ()")

    def double_into(x: torch.Tensor, out: torch.Tensor) -> None:
        assert x.dtype is out.dtype is torch.bfloat16, "memory of another dtype would be misread"
        out.copy_(x * 2)

    library.impl("double_into", double_into, "CPU")

    class Uses(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = torch.zeros_like(x)
            torch.ops.cutaway_test_referee.double_into.default(x, out)
            return torch.sin(out)

    gm = fx.symbolic_trace(Uses())
    x = torch.linspace(0, 1, 8).bfloat16()
    for node in gm.graph.nodes:
        node.meta["val"] = x
    expected = expect(gm, [x])
    assert expected.exact is not None
    assert torch.allclose(expected.exact[0], torch.sin(x.double() * 2))
    assert any("double_into" in one for one in expected.short)


def test_a_torn_journal_is_read(tmp_path: Path) -> None:
    Journal(tmp_path).write("begin")
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text() + '{"event": "ca')
    assert [event["event"] for event in read_journal(tmp_path)] == ["begin"]


def test_functions_of_stitching_code_are_watched() -> None:
    code = "def make(pieces, consts):\n    def piece_01(x):\n        return x\n\n    def execution_fn(x):\n"
    code += "        return piece_01(x)\n\n    return execution_fn\n"
    namespace: dict[str, Any] = {}
    exec(watch_functions(code, "pieces"), namespace)
    seen: list[str] = []

    def watch(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        seen.append(name)
        return lambda x: function(x) + 1

    assert namespace["make"](Watched([], watch), ())(1) == 2
    assert seen == ["piece_01"]
    assert json.dumps(watch_functions("x = 1\n", "pieces")) == json.dumps("x = 1\n")

"""What is given away to ``maybe_inplace`` is remembered, and never used again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.passes.rewriting import assert_graph, captured, flat_tensors, numbers, run_pass
from torch import Tensor, nn

from cutaway.compiler.passes.functionalization import InplaceFunctionalization, check_donations
from cutaway.errors import CompileError
from cutaway.ops import register_op

aten = torch.ops.aten


@register_op(allow_inplace=True)
def rewriting_add_and_scale(x: Tensor, x_residual: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    total = x + x_residual
    return total * factor, total


give = rewriting_add_and_scale.maybe_inplace
packet = torch.ops.cutaway_ir.rewriting_add_and_scale


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(numbers(4, 3))
        self.register_buffer("table", numbers(4, 3))
        self.state = numbers(4, 3)
        self.part: Callable[..., Any] = lambda x, y: x

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.part(self, x, y)


def captured_model(part: Callable[..., Any]) -> Any:
    model = Model()
    model.part = part
    return captured(model, numbers(4, 3, seed=1), numbers(4, 3, seed=2))


def test_inputs_given_away_are_noted() -> None:
    gm = captured(lambda x, y: give(x * 1, x_residual=y, factor=2.0), numbers(4, 3), numbers(4, 3))
    assert_graph(
        gm,
        """
        %l_x_ = input
        %l_y_ = input
        %mul = operator.mul(%l_x_, 1)
        %rewriting_add_and_scale_maybe_inplace = cutaway_ir.rewriting_add_and_scale.maybe_inplace(%mul, x_residual=%l_y_, factor=2.0)
        %getitem = operator.getitem(%rewriting_add_and_scale_maybe_inplace, 0)
        %getitem_1 = operator.getitem(%rewriting_add_and_scale_maybe_inplace, 1)
        return [%getitem, %getitem_1]
        """,  # noqa: E501
    )
    check_donations(gm)
    report = run_pass(InplaceFunctionalization(), gm)
    assert_graph(
        gm,
        """
        %l_x_ = input
        %l_y_ = input
        %mul = operator.mul(%l_x_, 1)
        %rewriting_add_and_scale_maybe_inplace = cutaway_ir.rewriting_add_and_scale.default(%mul, x_residual=%l_y_, factor=2.0)
        %getitem = operator.getitem(%rewriting_add_and_scale_maybe_inplace, 0)
        %getitem_1 = operator.getitem(%rewriting_add_and_scale_maybe_inplace, 1)
        return [%getitem, %getitem_1]
        """,  # noqa: E501
    )
    assert report.counts == {"functionalized": 1, "rewriting_add_and_scale": 1}
    assert report.notes == {"donated": ["l_y_"]}


# -- what is noted -----------------------------------------------------------------------------------------


def itself(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x, y)


def a_view_of_all(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x.view(2, 6), y.reshape(2, 6))


def turned(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x.t(), y.transpose(0, 1))


def a_part(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x[:2], y[2:])


def used_before(model: Model, x: Tensor, y: Tensor) -> Any:
    total = x.sum() + y.view(-1)[0]
    return total, *give(x, y * 2)


def only_sizes_later(model: Model, x: Tensor, y: Tensor) -> Any:
    out, _ = give(x, y)
    return out * x.size(0) * y.shape[1] * y.numel()


def twice_in_a_row(model: Model, x: Tensor, y: Tensor) -> Any:
    for _ in range(2):
        x, y = give(x, y)
    return x, y


def the_plain_op(model: Model, x: Tensor, y: Tensor) -> Any:
    return rewriting_add_and_scale(x, y), packet(x, x)


DONATED: dict[Callable[..., Any], set[int]] = {
    itself: {0, 1},
    a_view_of_all: {0, 1},
    turned: {0, 1},
    a_part: set(),
    used_before: {0},
    only_sizes_later: {0, 1},
    twice_in_a_row: {0, 1},
    the_plain_op: set(),
}


@pytest.mark.parametrize("part", DONATED, ids=lambda part: part.__name__)
def test_which_inputs_are_noted(part: Callable[..., Any]) -> None:
    gm = captured_model(part)
    check_donations(gm)
    names = [node.name for node in gm.graph.find_nodes(op="placeholder")]
    report = run_pass(InplaceFunctionalization(), gm)
    noted = report.notes.get("donated", [])
    assert {("l_x_", "l_y_").index(name) for name in noted} == DONATED[part]
    assert set(noted) <= set(names)
    targets = {str(node.target) for node in gm.graph.nodes}
    assert "cutaway_ir.rewriting_add_and_scale.maybe_inplace" not in targets
    expected = part(Model(), numbers(4, 3, seed=1), numbers(4, 3, seed=2))
    found = gm(*[numbers(4, 3, seed={"l_x_": 1, "l_y_": 2}[name]) for name in names])
    for one, other in zip(flat_tensors(expected), flat_tensors(found), strict=True):
        assert torch.equal(one, other)


# -- what is refused ---------------------------------------------------------------------------------------


def used_later(model: Model, x: Tensor, y: Tensor) -> Any:
    out, _ = give(x, y)
    return out + y


def a_view_used_later(model: Model, x: Tensor, y: Tensor) -> Any:
    turned = y.transpose(0, 1)
    out, _ = give(x, y)
    return out + turned.sum()


def the_base_used_later(model: Model, x: Tensor, y: Tensor) -> Any:
    out, _ = give(x, y.view(4, 3))
    return out + y


def another_part_used_later(model: Model, x: Tensor, y: Tensor) -> Any:
    first, second = y.chunk(2)
    out, _ = give(x[:2], first)
    return out + second


def returned(model: Model, x: Tensor, y: Tensor) -> Any:
    made = x * 2
    out, _ = give(made, y)
    return out, made


def given_away_again(model: Model, x: Tensor, y: Tensor) -> Any:
    out, _ = give(x, y)
    return give(out, y)


def given_twice(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x, x)


def given_twice_as_a_view(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x, x.view(4, 3))


def written_later(model: Model, x: Tensor, y: Tensor) -> Any:
    out, _ = give(x, y)
    y.add_(1)
    return out


def a_parameter(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x, model.weight)


def a_view_of_a_buffer(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x, model.table.view(4, 3))


def an_attribute(model: Model, x: Tensor, y: Tensor) -> Any:
    return give(x, model.state)


REFUSED = {
    used_later: "it is used after that",
    a_view_used_later: "it is used, as %turned, after that",
    the_base_used_later: "it is used, as %l_y_, after that",
    another_part_used_later: "it is used, as %second, after that",
    returned: "it is a result of the graph",
    given_away_again: "it is used after that",
    given_twice: "op is given it twice",
    given_twice_as_a_view: "which share memory",
    written_later: "it is used after that",
    a_parameter: "outlives the call",
    a_view_of_a_buffer: "which it is a view of, outlives the call",
    an_attribute: "outlives the call",
}


@pytest.mark.parametrize("part", REFUSED, ids=lambda part: part.__name__)
def test_what_breaks_the_promise_is_refused(part: Callable[..., Any]) -> None:
    gm = captured_model(part)
    with pytest.raises(CompileError, match=REFUSED[part]) as whole:
        check_donations(gm)
    with pytest.raises(CompileError) as piece:
        run_pass(InplaceFunctionalization(), gm)
    assert str(whole.value) == str(piece.value)
    assert "%rewriting_add_and_scale_maybe_inplace = " in str(whole.value)


def test_the_error_shows_both_places_in_the_graph_with_their_lines() -> None:
    with pytest.raises(CompileError) as caught:
        check_donations(captured_model(a_view_used_later))
    file = __file__
    first = a_view_used_later.__code__.co_firstlineno
    assert str(caught.value) == (
        "%l_y_ cannot be given away to rewriting_add_and_scale.maybe_inplace. Its memory may have been written to, and "
        "it is used, as %turned, after that. Call the op itself, which leaves its arguments alone, or clone the tensor "
        "before:\n"
        "    ...\n"
        "    %l_x_ = input\n"
        "    %turned = .transpose(%l_y_, 0, 1)\n"
        "  > %rewriting_add_and_scale_maybe_inplace = cutaway_ir.rewriting_add_and_scale.maybe_inplace(%l_x_, %l_y_)\n"
        "      ^ %l_y_ is given away here\n"
        f"      ^ {file}:{first + 2}: out, _ = give(x, y)\n"
        "    %out = operator.getitem(%rewriting_add_and_scale_maybe_inplace, 0)\n"
        "  > %sum_1 = .sum(%turned)\n"
        "      ^ %turned is used here\n"
        f"      ^ {file}:{first + 3}: return out + turned.sum()\n"
        "    %add = operator.add(%out, %sum_1)\n"
        "    return [%add]\n"
        "    (the graph ends here)."
    )


def test_inputs_that_share_memory_are_not_noted() -> None:
    x = numbers(4, 3)
    gm = captured(lambda x, y: (x.sum(), *give(y, y * 2)), x, x.view(4, 3))
    with pytest.raises(CompileError, match="which share memory"):
        run_pass(InplaceFunctionalization(), captured(lambda x, y: give(x, y, 2.0), x, x.view(4, 3)))
    report = run_pass(InplaceFunctionalization(), gm)
    assert "donated" not in report.notes


def test_calls_inside_of_a_branch_are_made_functional_too() -> None:
    def inner(x: Tensor) -> Tensor:
        return give(x * 2, x * 3)[0]

    gm = captured(lambda x: torch.cond(x.sum() > 0, inner, inner, (x,)), numbers(4, 3))
    report = run_pass(InplaceFunctionalization(), gm)
    assert report.counts["functionalized"] == 2

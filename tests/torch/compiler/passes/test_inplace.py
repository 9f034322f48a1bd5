"""In-place implementations, from the captured graph to the last: nobody's tensor changes who did not give it away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from compiler.passes.rewriting import RANGE, assert_rewritten_safely, captured, numbers
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx
from torch._functorch.aot_autograd import aot_module_simplified

from cutaway.compiler.passes.clone_elimination import CloneElimination
from cutaway.compiler.passes.context import PassReport, pass_context
from cutaway.compiler.passes.dead_code import DeadCodeElimination
from cutaway.compiler.passes.defunctionalization import Defunctionalization
from cutaway.compiler.passes.functionalization import InplaceFunctionalization, check_donations
from cutaway.compiler.passes.lowering import IrLowering
from cutaway.compiler.passes.no_op_elimination import NoOpElimination
from cutaway.compiler.passes.split_coalescing import SplitCoalescing
from cutaway.errors import CompileError
from cutaway.ops import register_op, set_priority

own = torch.ops.rewriting


@register_op(allow_inplace=True)
def inplace_sum(x: Tensor, x_residual: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    total = x + x_residual
    return total * factor, total


@inplace_sum.register_impl("over", inplace=True)
def _over(x: Tensor, x_residual: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    x_residual.add_(x)
    x.copy_(x_residual * factor)
    return x, x_residual


@register_op(allow_inplace=True)
def inplace_shift(x: Tensor, number: float) -> Tensor:
    return x + number


@inplace_shift.register_impl("over", inplace=True)
def _shift_over(x: Tensor, number: float) -> Tensor:
    own.add_to_all_([x], number)
    return x


IN_PLACE = {"inplace_sum": ["over", "native"], "inplace_shift": ["over", "native"]}
LAST = (
    NoOpElimination(), SplitCoalescing(), IrLowering(), CloneElimination(), Defunctionalization(), DeadCodeElimination()
)  # fmt: skip


def lowered(
    gm: fx.GraphModule, inputs: Iterable[Tensor]
) -> tuple[fx.GraphModule, fx.GraphModule, set[int], list[PassReport]]:
    """The passes over a captured graph, and over what AOTAutograd makes of it, without Inductor's own.

    Returns:
        the functional graph, what became of it, inputs that were given away, and the reports.
    """
    found: list[fx.GraphModule] = []
    reports: list[PassReport] = []

    def compiler(made: fx.GraphModule, _: Any) -> Callable[..., Any]:
        found.append(made)
        return made.forward

    with pass_context(RANGE) as context, torch.no_grad():
        InplaceFunctionalization()(gm.graph)
        gm.recompile()
        aot_module_simplified(gm, list(inputs), fw_compiler=compiler, keep_inference_input_mutations=True)
        (last,) = found
        functional = copy.deepcopy(last)
        with set_priority(IN_PLACE):
            for one in LAST:
                context.report = PassReport()
                one(last.graph)
                last.graph.lint()
                reports.append(context.report)
        last.recompile()
        return functional, last, set(context.donated_inputs), reports


MOVES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "sum": lambda x, y: inplace_sum(x, y) if x.shape == y.shape else None,
    "give": lambda x, y: inplace_sum.maybe_inplace(x, y, factor=2.0) if x.shape == y.shape else None,
    "give_copies": lambda x, y: inplace_sum.maybe_inplace(x + 1, x_residual=y.sum() + x),
    "shift": lambda x, _: inplace_shift(x, 1.0),
    "give_one": lambda x, _: inplace_shift.maybe_inplace(x, 2.0),
    "give_view": lambda x, _: inplace_shift.maybe_inplace(x.reshape(-1), 2.0),
    "turned": lambda x, _: x.transpose(0, -1),
    "flat": lambda x, _: x.reshape(-1),
    "rows": lambda x, _: x[:2],
    "double": lambda x, _: x * 2,
    "add": lambda x, y: x + y.sum(),
    "write": lambda x, _: x.add_(1),
    "write_custom": lambda x, _: own.double_(x),
}
_recent = st.one_of(st.integers(0, 1), st.integers(0, 6))
_steps = st.lists(st.tuples(st.sampled_from(sorted(MOVES)), _recent, _recent), min_size=1, max_size=7)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(_steps, st.lists(_recent, min_size=1, max_size=3))
@example(
    [("add", 0, 0), ("add", 0, 0), ("rows", 0, 0), ("rows", 0, 0), ("add", 0, 0), ("rows", 1, 0), ("write", 0, 0)], [0]
)  # a copy of all of a copy of all
def test_nobody_can_tell(written: list[tuple[str, int, int]], returned: list[int]) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        there = [x, y]
        for name, one, other in written:
            made = MOVES[name](there[-1 - one % len(there)], there[-1 - other % len(there)])
            there += made if isinstance(made, tuple) else [made] if made is not None else []
        return [there[-1 - which % len(there)] for which in returned]

    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    gm = captured(program, *[x.clone() for x in inputs])
    given = [{"L_x_": inputs[0], "L_y_": inputs[1]}[node.target] for node in gm.graph.find_nodes(op="placeholder")]
    try:
        check_donations(gm)
    except CompileError:
        event("refused")
        assume(False)
    functional, last, donated, reports = lowered(gm, [x.clone() for x in given])
    clones = reports[3].counts
    event(f"{min(clones['removed'], 2)} clones removed, {min(clones['kept'], 2)} kept, {len(donated)} donated")
    assert not any("cutaway_ir" in str(node.target) for node in last.graph.nodes)
    assert_rewritten_safely(functional, last, given, donated)


def decoder(x: Tensor, residual: Tensor) -> Any:
    for layer in range(4):
        x, residual = inplace_sum.maybe_inplace(x, residual, 0.5)
        x = torch.sin(x) + layer
    return inplace_sum.maybe_inplace(x, residual)[0]


def test_a_decoder_that_gives_everything_away_copies_nothing() -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    functional, last, donated, reports = lowered(captured(decoder, *[x.clone() for x in inputs]), inputs)
    assert donated == {0, 1}
    assert reports[3].counts == {"removed": 10, "kept": 0}
    assert_rewritten_safely(functional, last, inputs, donated)


@pytest.mark.parametrize("donate", [False, True], ids=["kept", "given_away"])
def test_what_the_caller_keeps_stays_as_it_was(donate: bool) -> None:
    op = inplace_sum.maybe_inplace if donate else inplace_sum
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    _, last, donated, _ = lowered(captured(lambda x, y: op(x, y, 2.0), *[x.clone() for x in inputs]), inputs)
    given = [x.clone() for x in inputs]
    last(*given)
    unchanged = all(torch.equal(one, other) for one, other in zip(given, inputs, strict=True))
    assert unchanged is not donate
    assert bool(donated) is donate

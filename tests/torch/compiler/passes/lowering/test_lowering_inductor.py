"""What the lowering leaves is compiled by Inductor, whose own passes read the values that it made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.passes.lowering import ir_ops as ops
from torch import Tensor, fx

from cutaway.compiler.passes.lowering import IrLowering, ir_targets
from cutaway.compiler.passes.replacement.cache import ReplacementCache
from cutaway.ops import set_priority

X = torch.linspace(-2, 2, 48).reshape(6, 8)
WEIGHT = torch.linspace(0.5, 1.5, 8)


def chain(x: Tensor) -> Tensor:
    for _ in range(3):
        x = ops.lowering_norm(x, WEIGHT, 1e-5)
    return ops.lowering_norm(x, None, 1e-5, 4) + 1


def views(x: Tensor) -> Tensor:
    return ops.lowering_gated(x, 0.5) + ops.lowering_gated(x.t().contiguous().t(), 2.0, True)


def written_later(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    one, other, third = ops.lowering_given_back(x)
    x.mul_(3)
    return one, other, third


def several(x: Tensor) -> tuple[Tensor, Tensor]:
    one, other = ops.lowering_two(x, x)
    third, _ = ops.lowering_two(x, x + 1)
    return one + third, other


def halved(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    one, other = ops.lowering_halved(x, x, 3.0)
    return one, other, x


def lists(x: Tensor) -> Tensor:
    return ops.lowering_joined([x, x * 2, x], 0) + ops.lowering_joined([x[:, :1]] * 8, 1).sum()


def sizes(x: Tensor) -> Tensor:
    return ops.lowering_shaped(x, x.shape[0]) + ops.lowering_shaped(x * 2, 3)


def nested(x: Tensor) -> Tensor:
    return ops.lowering_nested(x, WEIGHT)


def constants(x: Tensor) -> Tensor:
    return ops.lowering_constant(x[:, :2].contiguous()) + ops.lowering_constant(x[:, 2:4].contiguous())


def in_place(x: Tensor) -> Tensor:
    """Inductor writes index_put into its argument where the values say that nobody else reads that memory."""
    y = ops.lowering_gated(x, 1.0)
    z = torch.index_put(y, (torch.tensor([0, 1]),), torch.tensor(7.0))
    return z + ops.lowering_gated(z.repeat(1, 2), 1.0)


OTHERS = {"lowering_halved": ["inplace"], "lowering_given_back": ["careless"]}
STATIC = (chain, views, written_later, several, halved, lists, sizes, nested, in_place)
CASES = {
    **{f"{program.__name__}-static": (program, {}, False) for program in STATIC},
    "constants-static": (constants, {}, False),
    **{f"{program.__name__}-dynamic": (program, {}, True) for program in (chain, views, sizes, in_place)},
    "written_later-others-dynamic": (written_later, OTHERS, True),
    "halved-others-static": (halved, OTHERS, False),
}


def compiled(program: Callable[..., Any], cache: ReplacementCache, dynamic: bool) -> Callable[..., Any]:
    lowering = IrLowering(cache)
    graphs: list[list[Any]] = []

    def passes(graph: fx.Graph) -> None:
        lowering(graph)
        graphs.append([node for node in graph.nodes if node.target in ir_targets()])

    def run(*args: Any) -> Any:
        torch._dynamo.reset()
        with (
            torch._inductor.config.patch(post_grad_custom_post_pass=passes, force_disable_caches=True),
            torch.no_grad(),
        ):
            found = torch.compile(program, dynamic=dynamic)(*args)
        assert graphs == [[]]
        return found

    return run


@pytest.mark.parametrize(("program", "priority", "dynamic"), CASES.values(), ids=CASES)
def test_lowered_graphs_compile_and_equal_eager(
    program: Callable[..., Any], priority: dict[str, list[str]], dynamic: bool
) -> None:
    cache = ReplacementCache()
    expected = program(X.clone())
    with set_priority(priority):
        for _ in ("cold", "warm"):
            misses, given = cache.misses, X.clone()
            found = compiled(program, cache, dynamic)(given)
            torch.testing.assert_close(found, expected)
            if program is not written_later:
                torch.testing.assert_close(given, X)
    assert cache.misses == misses
    assert (cache.uncached > 0) == (program is constants)

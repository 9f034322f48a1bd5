"""What the tests of rewriting passes share: operators that write, graphs traced from functions, graphs as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._functorch.aot_autograd import aot_module_simplified
from torch.fx.experimental.proxy_tensor import make_fx
from torch.library import custom_op

from cutaway import torch_internals
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.passes.context import PassReport, pass_context
from cutaway.compiler.passes.graph import described
from cutaway.compiler.passes.inductor_pass import InductorPass

RANGE = Range(1, 64)


@custom_op("rewriting::double_", mutates_args=("x",))
def double_(x: Tensor) -> None:
    x.mul_(2)


@custom_op("rewriting::add_to_all_", mutates_args=("xs",))
def add_to_all_(xs: list[Tensor], number: float) -> None:
    for x in xs:
        x.add_(number)


@custom_op("rewriting::sum_into", mutates_args=("out",))
def sum_into(x: Tensor, y: Tensor, out: Tensor) -> None:
    out.copy_(x + y)


@custom_op("rewriting::step_", mutates_args=("x",))
def step_(x: Tensor, by: float) -> Tensor:
    x.add_(by)
    return x * 3


@step_.register_fake
def _(x: Tensor, by: float) -> Tensor:
    return torch.empty_like(x)


def traced(function: Callable[..., Any], *inputs: Any, dynamic: bool = False) -> fx.GraphModule:
    """A function as a graph of ATen ops, writes and views as they are; values are fake tensors."""
    with torch.no_grad():
        return make_fx(function, tracing_mode="symbolic" if dynamic else "fake")(*inputs)


def functional(function: Callable[..., Any], *inputs: Tensor, dynamic: bool = False) -> fx.GraphModule:
    """A function as AOTAutograd hands it to Inductor: functional, writes to inputs at the end."""
    found: list[fx.GraphModule] = []

    def compiler(gm: fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        found.append(gm)
        return gm.forward

    class Model(torch.nn.Module):
        def forward(self, *inputs: Tensor) -> Any:
            results = function(*inputs)
            return results if isinstance(results, tuple) else (results,)

    given = [x.clone() for x in inputs]
    if dynamic:
        mode = torch_internals.fake_mode_with_sizes()
        given = [mode.from_tensor(x) for x in given]
    with torch.no_grad():
        aot_module_simplified(Model(), given, fw_compiler=compiler, keep_inference_input_mutations=True)
    return found[0]


def captured(model: Callable[..., Any], *inputs: Any, dynamic: bool | None = None) -> fx.GraphModule:
    """A model as Dynamo hands it over."""
    found: list[fx.GraphModule] = []

    def backend(gm: fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        found.append(gm)
        return gm.forward

    torch._dynamo.reset()
    with torch.no_grad():
        torch.compile(model, backend=backend, fullgraph=True, dynamic=dynamic)(*inputs)
    return found[0]


def run_pass(one: InductorPass, gm: fx.GraphModule, donated: Iterable[int] = (), piece: str = "piece") -> PassReport:
    """Run a pass alone over a graph; it must leave one that is whole."""
    with pass_context(RANGE, piece) as context:
        context.donated_inputs |= set(donated)
        context.report = PassReport()
        one(gm.graph)
    gm.graph.lint()
    gm.recompile()
    return context.report


def text(gm: fx.GraphModule) -> str:
    """A graph, a node a line."""
    return "\n".join(described(node) for node in gm.graph.nodes)


def assert_graph(gm: fx.GraphModule, expected: str) -> None:
    """Compare with a graph written down; indentation and empty lines around it do not count."""
    lines = [line.strip() for line in expected.strip().splitlines()]
    assert text(gm).splitlines() == lines


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Whole numbers, so that the order of additions does not matter."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 8, shape, generator=generator).to(dtype)


def flat_tensors(results: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(results) if isinstance(leaf, Tensor)]


def overlaps(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors share bytes."""
    if torch_internals.storage_of(one) != torch_internals.storage_of(other):
        return False
    return bool(_bytes(one) & _bytes(other))


def _bytes(value: Tensor) -> set[int]:
    places = {value.storage_offset()}
    for size, stride in zip(value.shape, value.stride(), strict=True):
        places = {place + index * stride for place in places for index in range(size)}
    return places if value.numel() else set()


def runs(gm: fx.GraphModule, inputs: Sequence[Tensor]) -> bool:
    """Whether a graph can be run at all: fake tensors copy between tensors that overlap, real ones do not."""
    try:
        gm(*[x.clone() for x in inputs])
    except RuntimeError:
        return False
    return True


def assert_rewritten_safely(
    before: fx.GraphModule, after: fx.GraphModule, inputs: Sequence[Tensor], donated: Iterable[int] = ()
) -> None:
    """Run both: equal results, inputs that were not donated end up equal, no result lies where none lay before."""
    given_away = set(donated)
    first, second = [[x.clone() for x in inputs] for _ in range(2)]
    expected, found = flat_tensors(before(*first)), flat_tensors(after(*second))
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        assert one.shape == other.shape
        assert one.stride() == other.stride()
        assert torch.equal(one, other)
    for place in set(range(len(inputs))) - given_away:
        assert torch.equal(first[place], second[place]), f"input {place} was changed"
        for one, other in zip(expected, found, strict=True):
            assert overlaps(one, first[place]) or not overlaps(other, second[place]), f"a result lies in input {place}"
    for place in range(len(found)):
        for earlier in range(place):
            assert overlaps(expected[place], expected[earlier]) or not overlaps(found[place], found[earlier])

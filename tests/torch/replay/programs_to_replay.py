"""What is recorded to be replayed: a decoder, and passes that break one layer of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch._inductor import config as inductor_config
from torch._inductor.custom_graph_pass import CustomGraphPass

import cutaway

ROWS = 6


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.o = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.o(torch.softmax(q @ k.mT / 4, -1) @ v)


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1 = Norm(width)
        self.attention = Attention(width)
        self.norm_2 = Norm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.down(nn.functional.silu(self.up(self.norm_2(x))))


class Stack(nn.Module):
    """Two decoder layers and a norm."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width) for _ in range(2))
        self.norm = Norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def stack() -> Stack:
    """The same weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Stack()


def rows() -> torch.Tensor:
    return torch.randn(2, ROWS, 8, generator=torch.Generator().manual_seed(1))


def _sums(graph: fx.Graph) -> list[fx.Node]:
    """The additions of two tensors: two in each layer."""
    adds = [node for node in graph.nodes if node.target is torch.ops.aten.add.Tensor]
    return [node for node in adds if all(isinstance(arg, fx.Node) for arg in node.args)]


def subtract(graph: fx.Graph) -> None:
    """The sum after the attention of layers.1 becomes a difference."""
    wrong = _sums(graph)[2]
    with graph.inserting_before(wrong):
        node = graph.call_function(torch.ops.aten.sub.Tensor, wrong.args)
    node.meta.update(wrong.meta)
    wrong.replace_all_uses_with(node)
    graph.erase_node(wrong)


def other_epsilon(graph: fx.Graph) -> None:
    """The first norm of layers.1 gets another constant."""
    constants = [node for node in graph.nodes if node.op == "call_function" and node.args[1:] == (1e-6,)]
    constants[2].args = (constants[2].args[0], 1e-2)


def drop(graph: fx.Graph) -> None:
    """The sum after the attention of layers.1 goes away: its first operand stands for it."""
    wrong = _sums(graph)[2]
    wrong.replace_all_uses_with(wrong.args[0])
    graph.erase_node(wrong)
    graph.eliminate_dead_code()


class Fault(CustomGraphPass):
    """A pass as somebody may write one, with a mistake in it."""

    def __init__(self, change: Callable[[fx.Graph], None]) -> None:
        self.change = change

    def __call__(self, graph: fx.Graph) -> None:
        self.change(graph)

    def uuid(self) -> Any:
        return self.change.__name__


def record_stack(path: Path, fault: Callable[[fx.Graph], None] | None = None, **options: Any) -> torch.Tensor:
    """Record one call with Inductor, its last pass broken when there is a fault; what the call returned."""
    changed = {"post_grad_custom_post_pass": Fault(fault)} if fault is not None else {}
    torch._dynamo.reset()
    tag = f"{path}"  # nothing of it is in a cache
    with (
        torch.compiler.config.patch(cache_key_tag=tag),
        inductor_config.patch(changed),
        cutaway.record(path, **options),
        torch.no_grad(),
    ):
        found = torch.compile(stack(), dynamic=True)(rows())
    torch._dynamo.reset()
    return found

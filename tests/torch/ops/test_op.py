"""An op: registered, called eagerly and compiled, found again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cutaway.ops import enable_torch_wrap, ir_op_of, register_op


@register_op
def op_scale(x: Tensor, weight: Tensor | None, factor: float = 2.0, groups: list[int] | None = None) -> Tensor:
    """Scale."""
    return x * factor if weight is None else x * weight * factor


@op_scale.register_impl("swapped", supports_args=lambda x, weight, factor=2.0, groups=None: x.dim() == 1)
def op_scale_swapped(x: Tensor, weight: Tensor | None, factor: float = 2.0, groups: list[int] | None = None) -> Tensor:
    return factor * x if weight is None else (factor + 100) * weight * x


@register_op(activations=["x", "x_residual"], allow_inplace=True)
def op_add(x: Tensor, x_residual: Tensor | None) -> tuple[Tensor, Tensor]:
    out = x if x_residual is None else x + x_residual
    return out * 2, out.clone()


@op_add.register_impl("inplace", inplace=True)
def op_add_inplace(x: Tensor, x_residual: Tensor | None) -> tuple[Tensor, Tensor]:
    if x_residual is None:
        residual = x.clone()
        return x.mul_(2), residual
    x_residual.add_(x)
    torch.mul(x_residual, 2, out=x)
    return x, x_residual


@pytest.mark.parametrize("wrap", [True, False])
def test_a_call_runs_what_the_priority_chooses(wrap: bool) -> None:
    x, weight = torch.ones(3), torch.full((3,), 2.0)
    with enable_torch_wrap(wrap):
        assert op_scale(x, weight, 1.0).tolist() == [2, 2, 2]
        with op_scale.set_priority(["swapped", "native"]):
            assert op_scale(x, weight=weight, factor=1.0).tolist() == [202, 202, 202]
            assert op_scale(x[None], weight, 1.0).tolist() == [[2, 2, 2]]
        assert op_scale(x, None).tolist() == [2, 2, 2]


@pytest.mark.parametrize("wrap", [True, False])
def test_the_default_overload_leaves_the_activations_alone(wrap: bool) -> None:
    x, residual = torch.ones(2), torch.ones(2)
    with enable_torch_wrap(wrap), op_add.set_priority(["inplace"]):
        assert [out.tolist() for out in op_add(x, residual)] == [[4, 4], [2, 2]]
        assert [out.tolist() for out in op_add(x, None)] == [[2, 2], [1, 1]]
        assert x.tolist() == residual.tolist() == [1, 1]
        op_add.maybe_inplace(x, residual)
        assert (x.tolist(), residual.tolist()) == ([4, 4], [2, 2])


def test_the_op_behind_a_node_is_found() -> None:
    graph = torch.fx.Graph()
    node = graph.call_function(op_add.maybe_inplace.torch_op, (graph.placeholder("x"), None))
    assert ir_op_of(node) is op_add
    assert ir_op_of(torch.ops.cutaway_ir.op_scale) is op_scale
    assert ir_op_of(torch.ops.aten.add.Tensor) is None
    assert ir_op_of(len) is None


@pytest.mark.parametrize("wrap", [True, False])
def test_dynamo_captures_the_op_or_what_it_chooses(wrap: bool) -> None:
    graphs: list[torch.fx.Graph] = []

    def backend(module: torch.fx.GraphModule, _inputs: object) -> object:
        graphs.append(module.graph)
        return module.forward

    def model(x: Tensor) -> Tensor:
        return op_scale(x, x, 1.0)

    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with enable_torch_wrap(wrap), torch.no_grad():
        assert compiled(torch.ones(2)).tolist() == [1, 1]
        with op_scale.set_priority(["swapped", "native"]):
            assert compiled(torch.ones(2)).tolist() == [101, 101]
        assert compiled(torch.ones(2)).tolist() == [1, 1]
    assert len(graphs) == (1 if wrap else 2)
    assert any(ir_op_of(node) is op_scale for node in graphs[0].nodes) == wrap

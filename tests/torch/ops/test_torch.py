"""The torch operator behind an op: gradients, autocast, fake tensors, tracing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from cutaway import torch_internals
from cutaway.errors import OpError
from cutaway.ops import enable_torch_wrap, ir_op_of, register_op


@register_op(allow_inplace=True)
def torch_norm(x: Tensor, x_residual: Tensor | None, weight: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    total = x.clone() if x_residual is None else x + x_residual
    return total * torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + epsilon) * weight, total


@torch_norm.register_impl("opaque")
def _opaque(x: Tensor, x_residual: Tensor | None, weight: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Wrong by one, so that one sees that it ran; and hidden from autograd, as a kernel is."""
    outputs = torch_norm.impls["native"].function(x.detach(), x_residual, weight.detach(), epsilon)
    return outputs[0] + 1, outputs[1]


@torch_norm.register_impl("inplace", inplace=True)
def _inplace(x: Tensor, x_residual: Tensor | None, weight: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    out, total = torch_norm.impls["native"].function(x, x_residual, weight, epsilon)
    if x_residual is None:
        return x.copy_(out), total
    return x.copy_(out), x_residual.copy_(total)


@register_op
def torch_project(x: Tensor, weight: Tensor, sizes: list[int] | None = None) -> Tensor:
    return x @ weight


@register_op
def torch_joined(x: Tensor, others: list[Tensor], factor: int, dtype: torch.dtype, mode: str = "sum") -> list[Tensor]:
    joined = torch.cat([x, *others]).to(dtype)
    return [joined * factor, joined.sum(0) if mode == "sum" else joined.amax(0)]


@pytest.fixture(params=[True, False], ids=["wrapped", "direct"])
def wrap(request: pytest.FixtureRequest) -> Any:
    with enable_torch_wrap(request.param):
        yield request.param


def arguments(*, grad: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 4, requires_grad=grad), torch.randn(2, 4), torch.rand(4, requires_grad=grad)


def gradients(outputs: tuple[Tensor, Tensor], *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((outputs[0].pow(2) + outputs[1]).sum(), inputs))


class TestGradients:
    """Where they are recorded native runs, whatever the priority, and they flow through it."""

    @pytest.mark.parametrize("provider", ["native", "opaque", "inplace"])
    @pytest.mark.parametrize("overload", ["default", "maybe_inplace"])
    def test_are_those_of_native(self, wrap: bool, provider: str, overload: str) -> None:
        x, residual, weight = arguments(grad=True)
        call = torch_norm if overload == "default" else torch_norm.maybe_inplace
        expected = gradients(torch_norm.impls["native"].function(x, residual, weight), x, weight)
        with torch_norm.set_priority([provider]), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = gradients(call(x, residual, weight), x, weight)
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("provider", ["native", "opaque", "inplace"])
    def test_flow_through_what_is_compiled(self, wrap: bool, provider: str) -> None:
        x, residual, weight = arguments(grad=True)
        expected = gradients(torch_norm.impls["native"].function(x, residual, weight), x, weight)
        compiled = torch.compile(torch_norm, fullgraph=True, backend="aot_eager")
        with torch_norm.set_priority([provider]), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = gradients(compiled(x, residual, weight), x, weight)
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_where_none_are_recorded_the_priority_holds(self, wrap: bool, mode: Any) -> None:
        x, residual, weight = arguments(grad=True)
        with mode(), torch_norm.set_priority(["opaque"]):
            outputs = torch_norm(x, residual, weight)
        torch.testing.assert_close(outputs[0], torch_norm.impls["native"].function(x, residual, weight)[0] + 1)
        assert not any(output.requires_grad for output in outputs)
        assert outputs[0].is_inference() == (mode is torch.inference_mode)

    def test_arguments_that_ask_for_none_leave_the_priority_alone(self, wrap: bool) -> None:
        with torch_norm.set_priority(["opaque"]):
            found = torch_norm(*arguments())
        torch.testing.assert_close(found[0], torch_norm.impls["native"].function(*arguments())[0] + 1)

    def test_are_asked_for_by_a_tensor_in_a_list(self, wrap: bool) -> None:
        other = torch.ones(1, 2, requires_grad=True)
        out, _ = torch_joined(torch.ones(1, 2), [other], 3, torch.float64)
        assert torch.autograd.grad(out.sum(), other)[0].tolist() == [[3, 3]]

    def test_of_functorch(self) -> None:
        x, residual, weight = arguments()
        with torch_norm.set_priority(["opaque"]):
            found = torch.func.grad(lambda x: torch_norm(x, residual, weight)[0].pow(2).sum())(x)
        native = torch_norm.impls["native"].function
        torch.testing.assert_close(found, torch.func.grad(lambda x: native(x, residual, weight)[0].pow(2).sum())(x))


def test_an_in_place_write_to_an_activation_is_counted() -> None:
    """Autograd's own guard against values that are overwritten before they are needed."""
    x, residual, weight = arguments()
    squared = x.clone().requires_grad_()
    kept = squared.pow(2)
    with torch.no_grad(), torch_norm.set_priority(["inplace"]):
        torch_norm.maybe_inplace(squared, residual, weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.sum().backward()


def test_autocast_does_not_reach_inside() -> None:
    x, weight = torch.randn(2, 4), torch.randn(4, 3)
    expected = x @ weight
    compiled = torch.compile(torch_project, fullgraph=True, backend="aot_eager")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ weight).dtype == torch.bfloat16
        torch.testing.assert_close(torch_project(x, weight), expected)
        torch.testing.assert_close(compiled(x, weight), expected)
        with enable_torch_wrap(False):  # then it is as if the implementation stood there
            assert torch_project(x, weight).dtype == torch.bfloat16
    weight.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch_project(x, weight).dtype == torch.float32
        assert torch_project(x, weight).requires_grad


class TestFake:
    def test_is_native_until_another_is_registered(self) -> None:
        calls: list[str] = []

        @register_op
        def torch_fake(x: Tensor, size: int) -> Tensor:
            calls.append("native")
            return x.new_zeros(x.shape[0], size)

        @torch_fake.register_impl("never")
        def never(x: Tensor, size: int) -> Tensor:
            raise AssertionError("asked for an output that has no data")

        with torch_internals.no_tracing_fake_mode(), torch_fake.set_priority(["never"]):
            assert torch_fake(torch.ones(2), 3).shape == (2, 3)
            assert calls == ["native"]

            @torch_fake.register_fake
            def fake(x: Tensor, size: int) -> Tensor:
                calls.append("fake")
                return x.new_empty(x.shape[0], size)

            assert torch_fake(torch.ones(2), 3).shape == (2, 3)
        assert calls == ["native", "fake"]

    def test_is_asked_for_meta_tensors_by_nobody_but_native(self) -> None:
        out, total = torch_norm(torch.ones(2, 4, device="meta"), None, torch.ones(4, device="meta"))
        assert (out.shape, total.device.type) == ((2, 4), "meta")

    @pytest.mark.parametrize("returned", ["x", "x[0]", "x.view(-1)"])
    def test_that_returns_an_argument_is_refused(self, returned: str) -> None:
        name = f"torch_returns_{'_'.join(part for part in ('x', '0', 'view') if part in returned)}"

        @register_op(name=name)
        def returns(y: Tensor, x: Tensor) -> Tensor:
            return eval(returned)

        compiled = torch.compile(returns, fullgraph=True, backend="eager")
        with pytest.raises(Exception, match=f"{name}.*does not return new tensors.*clone"):
            compiled(torch.ones(3), torch.ones(2, 2))
        with (
            torch_internals.no_tracing_fake_mode(),
            refused(f"op '{name}'", "output 0 is memory of argument 'x'", ".clone()"),
        ):
            returns(torch.ones(3), torch.ones(2, 2))

        @returns.register_fake
        def fake(y: Tensor, x: Tensor) -> Tensor:
            return x

        with torch_internals.no_tracing_fake_mode(), pytest.raises(OpError, match="the fake body of op"):
            returns(torch.ones(3), torch.ones(2, 2))

    def test_that_returns_one_tensor_twice_is_refused(self) -> None:
        @register_op
        def torch_twice(x: Tensor) -> tuple[Tensor, Tensor]:
            out = x + 1
            return out, out[0]

        with torch_internals.no_tracing_fake_mode(), refused("op 'torch_twice'", "output 1 is memory of output 0"):
            torch_twice(torch.ones(2))


class TestTracing:
    def test_the_op_stays_whole(self) -> None:
        graphs: list[fx.Graph] = []

        def model(x: Tensor, weight: Tensor) -> Tensor:
            out, total = torch_norm(x * 2, None, weight=weight)
            return torch_project(out + total, weight.diag())

        def keep(module: fx.GraphModule, _inputs: Any) -> Any:
            graphs.append(module.graph)
            return module.forward

        from torch._dynamo.backends.common import aot_autograd  # noqa: PLC0415  (what Inductor is given)

        x, _, weight = arguments()
        compiled = torch.compile(model, fullgraph=True, backend=aot_autograd(fw_compiler=keep), dynamic=True)
        with torch_norm.set_priority(["opaque"]):
            torch.testing.assert_close(compiled(x, weight), model(x, weight))
        assert [op.name for node in graphs[0].nodes if (op := ir_op_of(node))] == ["torch_norm", "torch_project"]

    def test_make_fx_puts_down_one_node(self) -> None:
        graph = make_fx(torch_norm)(*arguments()).graph
        assert next(ir_op_of(node) for node in graph.nodes if node.op == "call_function") is torch_norm

    def test_inductor_runs_it_as_it_is(self) -> None:
        def model(x: Tensor, weight: Tensor) -> Tensor:
            out, total = torch_norm(x * 2, x + 1, weight)
            return out + total

        x, _, weight = arguments()
        with torch.no_grad(), torch_norm.set_priority(["inplace"]):
            kept = x.clone()
            torch.testing.assert_close(torch.compile(model, fullgraph=True)(x, weight), model(x, weight))
            assert torch.equal(x, kept)

    def test_maybe_inplace_is_captured_as_an_op_that_writes(self) -> None:
        graphs: list[fx.Graph] = []

        def keep(module: fx.GraphModule, _inputs: Any) -> Any:
            graphs.append(module.graph)
            return module.forward

        def model(x: Tensor, weight: Tensor) -> Tensor:
            return torch_norm.maybe_inplace(x * 2, None, weight)[0]

        x, _, weight = arguments()
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend=keep)(x, weight), model(x, weight))
        nodes = [node for node in graphs[0].nodes if ir_op_of(node) is torch_norm]
        assert [node.target for node in nodes] == [torch_norm.maybe_inplace.torch_op]

    def test_directly_it_is_the_implementation(self) -> None:
        def model(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
            return torch_norm(x_residual=residual, x=x, weight=weight)

        x, residual, weight = arguments()
        for provider in torch_norm.impls:
            torch._dynamo.reset()
            with torch.no_grad(), enable_torch_wrap(False), torch_norm.set_priority([provider]):
                kept = x.clone(), residual.clone()
                found = torch.compile(model, fullgraph=True, backend="aot_eager")(x, residual, weight)
                torch.testing.assert_close(found, model(x, residual, weight))
                torch.testing.assert_close((x, residual), kept, rtol=0, atol=0)


def test_all_kinds_of_arguments_arrive(wrap: bool) -> None:
    x = torch.ones(1, 2)
    outs = torch_joined(x, [x, x], 2, torch.float64)
    assert [out.tolist() for out in outs] == [[[2, 2]] * 3, [3, 3]]
    assert [out.dtype for out in outs] == [torch.float64] * 2
    _, largest = torch_joined(x, [], factor=2, dtype=torch.bfloat16, mode="max")
    assert (largest.tolist(), largest.dtype) == ([1, 1], torch.bfloat16)


def test_an_in_place_implementation_works_on_copies_unless_they_are_given_away(wrap: bool) -> None:
    x, residual, weight = arguments()
    expected = torch_norm.impls["native"].function(x, residual, weight)
    alone = torch_norm.impls["native"].function(x, None, weight)
    kept = x.clone(), residual.clone()
    with torch_norm.set_priority(["inplace"]):
        for outputs in (torch_norm(x, residual, weight), torch_norm(weight=weight, x_residual=residual, x=x)):
            torch.testing.assert_close(outputs, expected)
        torch.testing.assert_close(torch_norm(x, None, weight), alone)
        torch.testing.assert_close((x, residual), kept, rtol=0, atol=0)
        outputs = torch_norm.maybe_inplace(x, residual, weight)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close((x, residual), expected)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("provider", ["native", "inplace"])
def test_it_is_an_operator_as_torch_wants_one(provider: str, grad: bool) -> None:
    """Torch's own examination: schema, autograd, fake tensors, AOTAutograd with static and dynamic sizes."""
    args = arguments(grad=grad)
    with torch_norm.set_priority([provider]):
        torch.library.opcheck(torch_norm.torch_op, args)
        torch.library.opcheck(torch_norm.torch_op, (args[0], None, args[2]), {"epsilon": 1e-5})
    torch.library.opcheck(torch_joined.torch_op, (args[0], [args[1]], 3, torch.float64))


def test_maybe_inplace_is_one_while_nothing_is_written() -> None:
    """What an in-place implementation returns is memory of its arguments, which torch's schemas cannot say here."""
    torch.library.opcheck(torch_norm.maybe_inplace.torch_op, arguments())

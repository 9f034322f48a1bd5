"""What holds for any signature, and for any way of handing over activations."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cutaway.ops import IrOp, enable_torch_wrap, register_op
from cutaway.ops.signature import difference, schema_of

PLAIN: dict[Any, Any] = {float: 1.5, int: 3, bool: True, str: "a", torch.dtype: torch.float16}
TYPES = [Tensor, Tensor | None, list[Tensor], list[int], *PLAIN, *(kind | None for kind in PLAIN)]


@st.composite
def signatures(draw: st.DrawFn) -> inspect.Signature:
    """Of two to six parameters, the last of which may have defaults."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(TYPES)) for _ in names]
    with_default = draw(st.integers(0, len(names)))
    found: list[inspect.Parameter] = []
    for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        fits = [value for plain, value in PLAIN.items() if kind in (plain, plain | None)]
        options = fits + ([None] if type(None) in getattr(kind, "__args__", ()) else [])
        has = place >= with_default and options and all(p.default is not p.empty for p in found[with_default:])
        default = draw(st.sampled_from(options)) if has else inspect.Parameter.empty
        found.append(parameter(name, kind, default))
    return of(found)


def parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind, default=default)


def of(parameters: list[inspect.Parameter], returned: Any = Tensor) -> inspect.Signature:
    last = next((place for place, one in enumerate(reversed(parameters)) if one.default is one.empty), len(parameters))
    cut = len(parameters) - last
    return inspect.Signature(
        [one.replace(default=one.empty) if place < cut else one for place, one in enumerate(parameters)],
        return_annotation=returned,
    )


@given(signature=signatures())
def test_a_signature_does_not_differ_from_itself(signature: inspect.Signature) -> None:
    assert difference(signature, signature, types=True) == ""
    assert difference(signature, signature, types=False) == ""
    assert schema_of(signature, "it") == schema_of(signature, "it")


@given(signature=signatures(), data=st.data())
def test_a_parameter_that_differs_is_named(signature: inspect.Signature, data: st.DataObject) -> None:
    parameters = list(signature.parameters.values())
    place = data.draw(st.integers(0, len(parameters) - 1))
    one = parameters[place]
    change = data.draw(st.sampled_from(["name", "type", "default", "missing", "more", "order", "returned"]))
    returned: Any = Tensor
    expected = one.name
    if change == "name":
        parameters[place] = one.replace(name="renamed")
        expected = "renamed"
    elif change == "type":
        kind = data.draw(st.sampled_from([kind for kind in TYPES if kind != one.annotation]))
        parameters[place] = parameter(one.name, kind, one.default)
    elif change == "default":
        parameters[place] = one.replace(default="another" if one.default is one.empty else one.empty)
        parameters[place + 1 :] = [
            after if after.default is not one.empty else after.replace(default="another")
            for after in parameters[place + 1 :]
        ]
        expected = "default"
    elif change == "missing":
        del parameters[place]
    elif change == "more":
        parameters.append(parameter("more", int, 1 if parameters[-1].default is not one.empty else one.empty))
        expected = "more"
    elif change == "order":
        other = (place + 1) % len(parameters)
        parameters[place], parameters[other] = parameters[other], parameters[place]
    else:
        returned, expected = tuple[Tensor, Tensor], "returns"
    found = of(parameters, returned) if change != "default" else unchecked(parameters, returned)
    text = difference(signature, found, types=True)
    assert expected in text
    untyped = difference(signature, found, types=False)
    assert bool(untyped) == (change not in ("type", "returned"))


def unchecked(parameters: list[inspect.Parameter], returned: Any) -> inspect.Signature:
    """Python itself refuses defaults before parameters without; what is compared may come from elsewhere."""
    return inspect.Signature(parameters, return_annotation=returned, __validate_parameters__=False)


@register_op(allow_inplace=True)
def any_add(x: Tensor, weight: Tensor, x_residual: Tensor | None = None, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    total = x * scale if x_residual is None else x * scale + x_residual
    return total * weight, total + 0


@any_add.register_impl("inplace", inplace=True)
def _inplace(x: Tensor, weight: Tensor, x_residual: Tensor | None = None, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    x.mul_(scale)
    total = x.clone() if x_residual is None else x_residual.add_(x)
    return torch.mul(total, weight, out=x), total


@any_add.register_impl(
    "careless", inplace=True, supports_args=lambda x, weight, x_residual=None, scale=2.0: x.dim() > 1
)
def _careless(x: Tensor, weight: Tensor, x_residual: Tensor | None = None, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """In place, and leaves any rubbish in the activations that it does not return."""
    outputs = any_add.impls["native"].function(x, weight, x_residual, scale)
    outputs = outputs[0].clone(), outputs[1].clone()
    x.fill_(-1)
    if x_residual is not None:
        x_residual.fill_(-1)
    return outputs


VIEWS = {
    "whole": lambda base: base,
    "rows": lambda base: base[1:3],
    "columns": lambda base: base[:, 1:],
    "transposed": lambda base: base.t(),
    "expanded": lambda base: base[:1].expand(3, -1),
    "row": lambda base: base[0],
    "none of it": lambda base: base[:0],
}


@given(
    view=st.sampled_from(sorted(VIEWS)),
    residual=st.sampled_from(["none", "left out", "own", "the same", "beside"]),
    named=st.booleans(),
    scale=st.sampled_from([None, 0.5]),
    priority=st.sampled_from([["inplace"], ["careless", "native"], ["careless", "inplace"]]),
    wrap=st.booleans(),
    grad=st.booleans(),
)
def test_the_default_overload_never_changes_what_the_caller_has(
    view: str, residual: str, named: bool, scale: float | None, priority: list[str], wrap: bool, grad: bool
) -> None:
    base = torch.arange(16.0).reshape(4, 4)
    x = VIEWS[view](base)
    weight = torch.full((x.shape[-1],), 3.0)
    other = {"none": None, "own": torch.ones_like(x), "the same": x, "beside": VIEWS[view](base.clone())}.get(residual)
    given_away: dict[str, Any] = {"x": x, "weight": weight}
    given_away |= {} if residual == "left out" else {"x_residual": other}
    given_away |= {} if scale is None else {"scale": scale}
    before = base.clone(), weight.clone(), None if other is None else other.clone()
    expected = any_add.impls["native"].function(**given_away)
    with torch.set_grad_enabled(grad), enable_torch_wrap(wrap), any_add.set_priority(priority):
        found = any_add(**given_away) if named or residual == "left out" else any_add(*given_away.values())
        after = base, weight, other
        assert all(one is None or torch.equal(one, two) for one, two in zip(after, before, strict=True))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        for output in found:
            output.fill_(-7)
    assert torch.equal(base, before[0]), "an output lies in the caller's memory"


def test_the_ops_here_are_what_the_tests_take_them_for() -> None:
    assert isinstance(any_add, IrOp)
    assert [impl.inplace for impl in any_add.impls.values()] == [False, True, True]
    assert any_add.activations == ("x", "x_residual")

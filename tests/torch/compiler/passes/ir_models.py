"""Ops whose providers give different results, so that one can see which ran; models with them."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cutaway
from cutaway.compiler.api import CompiledModel
from cutaway.ops import IrOp, register_op

_numbers = itertools.count()
SPLITTING = ("passes_tests::cut",)


@torch.library.custom_op("passes_tests::cut", mutates_args=())
def cut(x: Tensor) -> Tensor:
    """Where models are split."""
    return x.clone()


@cut.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@register_op(allow_inplace=True)
def passes_shift(x: Tensor, offset: float) -> Tensor:
    """Adds; other providers add more, which no honest provider would."""
    return x + offset


@passes_shift.register_impl("hundred")
def _hundred(x: Tensor, offset: float) -> Tensor:
    return x + (offset + 100)


@passes_shift.register_impl("few", supports_args=lambda x, offset: x.shape[0] <= 8)
def _few(x: Tensor, offset: float) -> Tensor:
    return x + (offset + 1000)


@passes_shift.register_impl("inplace", inplace=True)
def _inplace(x: Tensor, offset: float) -> Tensor:
    return x.add_(offset)


@passes_shift.register_impl("moody", supports_args=lambda x, offset: bool([][x.ndim]))
def _moody(x: Tensor, offset: float) -> Tensor:
    return x + offset


class Shifted(nn.Module):
    """Calls an op between other operators, twice, in two pieces when it is split."""

    def __init__(self, op: Any = passes_shift) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        x = self.op(x * 2, 3.0) * 5
        return self.op(torch.ops.passes_tests.cut(x) * 2, 4.0) * 7


class Given(nn.Module):
    """A piece whose input is given away, or not."""

    def __init__(self, give: bool) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Tensor:
        x = torch.ops.passes_tests.cut(x * 2)
        y = torch.ops.passes_tests.cut(x * 1)
        return (passes_shift.maybe_inplace(y, 3.0) if self.give else passes_shift(y, 3.0)) * 5


def compiled(model: nn.Module, **config: Any) -> CompiledModel:
    """The model, compiled for up to 64 rows."""
    return cutaway.compile(model, {"max_batch": 64, **config}, dynamic_arg_dims={"x": 0})


def started(model: nn.Module, **config: Any) -> CompiledModel:
    """The same, after its first call."""
    made = compiled(model, **config)
    made(torch.ones(16, 4))
    return made


def new_op() -> IrOp:
    """An op of a name of its own."""

    def native(x: Tensor, offset: float) -> Tensor:
        return x + offset

    return register_op(name=f"passes_new_{next(_numbers)}")(native)


def provider_in(folder: Path, op: IrOp, provider: str = "edited", more: int = 0) -> Path:
    """Give an op a provider that stands in a file of its own, which can be edited; returns the file."""
    file = folder / f"{op.name}_{provider}.py"
    file.write_text(source(more))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    op.register_impl(provider)(module.shift)
    return file


def source(more: int) -> str:
    """The file of such a provider."""
    head = "from __future__ import annotations\n\nfrom torch import Tensor\n\n\n"
    return f"{head}def shift(x: Tensor, offset: float) -> Tensor:\n    return x + offset + {more}\n"

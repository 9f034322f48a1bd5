"""What an operator is tried with: a table of cases, the arguments that each stands for, and how close is close.

An op's author writes one function that makes arguments, and says which values its parameters run through:

    @rms_norm.register_input_generator(weight=(True, False))
    def inputs(num_tokens: int, hidden: int, dtype: torch.dtype, weight: bool) -> tuple[Any, ...]:
        x = torch.randn(num_tokens, hidden, dtype=dtype)
        return x, torch.rand(hidden, dtype=dtype) if weight else None, 1e-6

`dtype`, `num_tokens` and `hidden` run through `AXES` unless other values are given; the table is the product of all.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cutaway.errors import OpError
from cutaway.ops.names import did_you_mean, listed

InputGenerator = Callable[..., tuple[Any, ...]]

AXES: Mapping[str, tuple[Any, ...]] = {
    "dtype": (torch.float32, torch.bfloat16, torch.float16),
    "num_tokens": (1, 33, 0),  # 0: a rank that got no token
    "hidden": (64, 100),  # 100: not a multiple of any vector's width
}

TOLERANCES: Mapping[torch.dtype, Mapping[str, float]] = {
    # Sums of some thousand products in another order, relative to values of about one.
    torch.float64: {"atol": 1e-10, "rtol": 1e-10},
    torch.float32: {"atol": 1e-5, "rtol": 1e-5},
    # Computed in float32 and rounded once, or twice where an implementation keeps less between its steps: two units in
    # the last place.
    torch.float16: {"atol": 1e-3, "rtol": 2 * torch.finfo(torch.float16).eps},
    torch.bfloat16: {"atol": 1e-3, "rtol": 2 * torch.finfo(torch.bfloat16).eps},
    # Quantised: what lies between two values may be rounded to either. One unit in the last place, which among the
    # subnormal numbers is the smallest of them.
    torch.float8_e4m3fn: {"atol": 2**-9, "rtol": torch.finfo(torch.float8_e4m3fn).eps},
    torch.float8_e5m2: {"atol": 2**-16, "rtol": torch.finfo(torch.float8_e5m2).eps},
    torch.int8: {"atol": 1, "rtol": 0},
    torch.uint8: {"atol": 1, "rtol": 0},
}
EXACT: Mapping[str, float] = {"atol": 0, "rtol": 0}


@dataclass(frozen=True)
class Case:
    """One row of an op's table.

    Attributes:
        values: parameter of the input generator -> its value; hashable, as pairs.
    """

    values: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        """``float32-num_tokens=33-hidden=64``: a name that is the same in every process."""
        return "-".join(_shown(name, value) for name, value in self.values)


def _shown(name: str, value: Any) -> str:
    text = str(value).removeprefix("torch.")
    return text if isinstance(value, torch.dtype) and name == "dtype" else f"{name}={text}"


class Inputs:
    """An op's input generator with the values that its parameters run through.

    Args:
        op: name of the op.
        function: takes the axes that it names as keywords, returns the op's arguments by position. It makes tensors on
            torch's default device and with torch's default generator: both are set around it.
        axes: parameter -> the values that it runs through, the first being the one that is taken when none is said.

    Raises:
        OpError: an axis is no parameter of the function, has no value, or a parameter has no axis.
    """

    def __init__(self, op: str, function: InputGenerator, axes: Mapping[str, Sequence[Any]]) -> None:
        parameters = inspect.signature(function).parameters
        for name, values in axes.items():
            if name not in parameters:
                raise OpError(
                    f"the input generator of op '{op}' has no parameter '{name}' to run through {list(values)}",
                    f"it takes: {listed(parameters)}",
                    did_you_mean(name, parameters, "add the parameter, or leave the axis out"),
                )
            if isinstance(values, str) or not len(values):
                raise OpError(
                    f"axis '{name}' of op '{op}' is {values!r}", "an axis is a list of values", f"write {name}=(…, …)"
                )
        self.op = op
        self.function = function
        self.axes = {name: tuple(axes[name] if name in axes else AXES.get(name, ())) for name in parameters}
        for name in [name for name, values in self.axes.items() if not values]:
            if parameters[name].default is inspect.Parameter.empty:
                raise OpError(
                    f"parameter '{name}' of the input generator of op '{op}' has no values to run through",
                    f"those that have some without saying so: {listed(AXES)}",
                    f"say them: register_input_generator({name}=(…, …))",
                )
            self.axes[name] = (parameters[name].default,)

    def cases(self) -> Iterator[Case]:
        """Every combination of the axes' values."""
        for values in itertools.product(*self.axes.values()):
            yield Case(tuple(zip(self.axes, values, strict=True)))

    def generate(self, values: Mapping[str, Any], device: str | torch.device, seed: int) -> tuple[Any, ...]:
        """Arguments for one case; torch's random generators are left as they were.

        Raises:
            OpError: a value is for something that the generator does not take.
        """
        for name in values:
            if name not in self.axes:
                raise OpError(
                    f"the input generator of op '{self.op}' takes no '{name}'",
                    f"it takes: {listed(self.axes)}, and device and seed",
                    did_you_mean(name, self.axes, "leave it out"),
                )
        complete = {name: values[name] if name in values else axis[0] for name, axis in self.axes.items()}
        place = torch.device(device)
        others = [] if place.type == "cpu" else [place]
        with torch.random.fork_rng(others, device_type=place.type if others else "cuda"), place:
            torch.manual_seed(seed)
            return self.function(**complete)

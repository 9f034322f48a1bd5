"""Which generated code runs in a call of a compiled piece, and which of its values are the piece's inputs and outputs.

What Inductor generates lies deep inside of what a compiler or a cache returns: behind a wrapper of AOTAutograd's, of
an engine's, of CUDA graphs. Whatever they are, in the end a function ``call(args)`` of a generated file runs; it is
seen when it does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.explain.reproducer.job import Passed
from cutaway.replay.values import outputs

_NAME = "call"


@dataclass
class Generated:
    """A call, watched for generated code.

    Attributes:
        inputs: what the piece was called with.
        told: called before the generated code runs, as it may end the process.
        ran: whether generated code ran.
        text: of its file; empty where that is gone, as it is when Inductor's caches are off.
        args: what it was passed, each as an input of the piece or a number; None where that is not known.
        results: for each output of the piece, its place in what the code returned; None for what is another value.
        constants: tensors that the code holds by name.
    """

    inputs: Sequence[Any]
    told: Callable[[Generated], None] = lambda _: None
    ran: bool = False
    text: str = ""
    args: list[Passed] | None = None
    results: list[int | None] = field(default_factory=list[int | None])
    constants: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    _returned: Any = None

    def run(self, function: Callable[..., Any]) -> Any:
        """Call it; what it returns."""
        if sys.gettrace() is not None:  # a debugger's, or that of a tool that counts lines
            return function(*self.inputs)
        sys.settrace(self._enter)
        try:
            result = function(*self.inputs)
        finally:
            sys.settrace(None)
        returned = outputs(self._returned)
        self.results = [_place(one, returned) for one in outputs(result)]
        self._returned = None
        return result

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if self.ran or event != "call" or code.co_name != _NAME or "args" not in code.co_varnames:
            return None
        if not torch_internals.is_generated_code(frame.f_globals):
            return None
        self.ran = True
        with suppress(OSError):
            self.text = Path(code.co_filename).read_text("utf-8")
        self.constants = {name: one for name, one in frame.f_globals.items() if isinstance(one, torch.Tensor)}
        self.args = _passed(frame.f_locals["args"], self.inputs)
        self.told(self)
        frame.f_trace_lines = False
        return self._leave

    def _leave(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "return":
            self._returned = arg
        return self._leave


def _passed(args: Sequence[Any], inputs: Sequence[Any]) -> list[Passed] | None:
    found: list[Passed] = []
    for value in args:
        if isinstance(value, (bool, int, float)):
            found.append(Passed(number=value))
            continue
        place = _place(value, inputs)
        if place is None:
            return None
        found.append(Passed(input=place))
    return found


def _place(value: Any, among: Sequence[Any]) -> int | None:
    """Which of these a value is: the same object, or else a tensor of the same memory."""
    if not isinstance(value, torch.Tensor):
        return None
    for place, one in enumerate(among):
        if one is value:
            return place
    return next((place for place, one in enumerate(among) if _is_same(one, value)), None)


def _is_same(one: Any, other: torch.Tensor) -> bool:
    return (
        isinstance(one, torch.Tensor)
        and one.layout is other.layout is torch.strided
        and one.numel() > 0
        and one.data_ptr() == other.data_ptr()
        and (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
    )

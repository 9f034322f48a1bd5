"""The ways in which a graph is run to be measured: as Python, compiled here, or by what was generated of it."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.replay.compiled import trace
from cutaway.replay.loaded import LoadedGraph, StepError
from cutaway.replay.time_job import How, Timee
from cutaway.replay.values import copy, leaves

_CONSTANT = re.compile(r"^(\w+) = None  # ", re.MULTILINE)

Function = Callable[[list[Any]], Any]
"""Takes all inputs of the graph, as a list that it may empty."""


class Way:
    """A graph, run in one way, on inputs that are put back as they were.

    Args:
        function: what runs.
        inputs: its inputs; not written to.
    """

    def __init__(self, function: Function, inputs: Sequence[Any]) -> None:
        self.function = function
        self.inputs = inputs
        self.given = [copy(value) for value in inputs]
        self.writes = False
        tensors = [leaf for value in inputs for leaf in leaves(value) if isinstance(leaf, torch.Tensor)]
        self._on_accelerator = any(tensor.device.type != "cpu" for tensor in tensors)

    def call(self) -> None:
        self.function([*self.given])

    def prepare(self) -> None:
        if self.writes:
            self.given = [copy(value) for value in self.inputs]

    def wait(self) -> None:
        if self._on_accelerator:
            torch.accelerator.synchronize()


def function_of(how: How, timee: Timee, loaded: LoadedGraph, inputs: Sequence[Any], number: int) -> Function:
    """What runs a graph in this way.

    Args:
        how: the way.
        timee: the graph.
        loaded: the same, loaded.
        inputs: what it will be run with.
        number: which graph it is, for errors.

    Raises:
        StepError: it cannot be run in this way.
    """
    if how == "eager":
        return _plain(timee, number)
    if how == "compiled":
        return _compiled(loaded, inputs, number)
    return _generated(timee, number)


def _plain(timee: Timee, number: int) -> Function:
    """The raw file as it is: each line calls an operator, and nobody watches."""
    names = _executed(timee.graph.text, timee.graph.title, "load", number)
    module = names["Graph"]()
    return lambda given: module(*given)


def _compiled(loaded: LoadedGraph, inputs: Sequence[Any], number: int) -> Function:
    places = [place for place, value in enumerate(inputs) if isinstance(value, torch.Tensor)]
    try:
        graph = trace(loaded, inputs).graph
        tensors = [copy(inputs[place]) for place in places]
        function = torch_internals.inductor_compile(fx.GraphModule(loaded.module, graph), tensors)
    except StepError as error:
        raise StepError("compile", number) from error.__cause__
    except Exception as error:
        raise StepError("compile", number) from error
    return lambda given: function(*[given[place] for place in places])


def _generated(timee: Timee, number: int) -> Function:
    """What was generated: its kernels are compiled here, by the same compilers."""
    try:
        held = _CONSTANT.findall(timee.code)
        if held:
            raise LookupError(f"it holds tensors that are not in the dump: {', '.join(held)}")
        names = _executed(timee.code, timee.code_title, "load", number)
        return names["call"]
    except KeyError as error:
        raise StepError("load", number) from LookupError(f"it has no function {error}: it is that of a C++ wrapper")
    except LookupError as error:
        raise StepError("load", number) from error


def _executed(text: str, title: str, step: str, number: int) -> dict[str, Any]:
    linecache.cache[title] = (len(text), None, text.splitlines(keepends=True), title)  # for tracebacks
    names: dict[str, Any] = {"__name__": "cutaway_replay", "__file__": title}
    try:
        exec(compile(text, title, "exec"), names)
    except Exception as error:
        raise StepError(step, number) from error
    return names

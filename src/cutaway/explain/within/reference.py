"""What a piece should compute: its eager graph, and the same in float64 as the referee between two that differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_aggregate, map_arg

from cutaway import torch_internals
from cutaway.replay.compare import compare
from cutaway.replay.job import Comparison
from cutaway.replay.unwritten import is_unwritten, leaves_memory_unwritten, mark
from cutaway.replay.values import copy, outputs

Values = Sequence[Any]

NEARER = 8.0
"""What was compiled is at fault when it is so many times further from the referee than the eager graph is."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32)


class Eager(fx.Interpreter):
    """Runs a graph as it is, node by node; memory that nobody has written to bears a mark."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op in ("call_function", "call_method") and leaves_memory_unwritten(n.target):
            for leaf in outputs(result):
                if isinstance(leaf, torch.Tensor):
                    mark(leaf)
        return result


class FirstNaN(Eager):
    """Finds the first node that makes a NaN out of numbers.

    Attributes:
        found: the node; None when there is none.
        infinite: the first node or input that is infinite; where there is one, the NaN comes of it.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: fx.Node | None = None
        self.infinite: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if self.found is None and n.op != "output":
            if n.op != "placeholder" and has_nan(outputs(result)):
                self.found = n
            elif self.infinite is None and has_infinity(outputs(result)):
                self.infinite = n
        return result


class Referee(fx.Interpreter):
    """Runs a graph in float64. What may take none (an engine's own operator) runs in the dtypes of the graph.

    Attributes:
        short: names of operators that ran in the dtypes of the graph.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.short: list[str] = []
        self._node: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        self._node = n
        result = super().run_node(n)
        if n.op in ("call_function", "call_method") and leaves_memory_unwritten(n.target):
            for leaf in outputs(result):
                if isinstance(leaf, torch.Tensor):
                    mark(leaf)
        return _wide(result)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._run(super().call_function, target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._run(super().call_method, target, args, kwargs)

    def _run(self, call: Any, target: Any, args: Any, kwargs: Any) -> Any:
        if not _is_of_an_engine(target):
            wide_args, wide_kwargs = map_aggregate((args, kwargs), _wide_dtype)  # pyright: ignore[reportGeneralTypeIssues]
            try:
                return call(target, wide_args, wide_kwargs)
            except Exception:  # noqa: BLE001  (an operator without float64 says so in many ways)
                pass
        self.short.append(str(target))
        return self._as_in_graph(call, target)

    def _as_in_graph(self, call: Any, target: Any) -> Any:
        """Call it with the dtypes that the graph has; what it writes to, it writes to."""
        assert self._node is not None, "a node is running"
        copies: dict[fx.Node, tuple[torch.Tensor, torch.Tensor]] = {}

        def narrow(node: fx.Node) -> Any:
            value, known = self.env[node], node.meta.get("example_value", node.meta.get("val"))
            dtype = known.dtype if isinstance(known, torch.Tensor) else torch.float32
            if not isinstance(value, torch.Tensor) or value.dtype is not torch.float64 or dtype is torch.float64:
                return value
            if node not in copies:
                copies[node] = value, value.to(dtype)
            return copies[node][1]

        args, kwargs = map_arg((self._node.args, self._node.kwargs), narrow)  # pyright: ignore[reportGeneralTypeIssues]
        before = {node: torch_internals.version_of(short) for node, (_, short) in copies.items()}
        result = call(target, args, kwargs)
        for node, (value, short) in copies.items():
            if before[node] is None or torch_internals.version_of(short) != before[node]:
                value.copy_(short)
        return result


def _is_of_an_engine(target: Any) -> bool:
    """Whether an operator is none of torch's: given another dtype than it was made for, it may compute anything."""
    overload = torch_internals.op_overload(target)
    return overload is not None and overload.namespace not in ("aten", "prims", "prim")


def _wide(value: Any) -> Any:
    return torch_internals.map_tensors(lambda one: one.double() if one.dtype in _FLOATS else one, value)


def _wide_dtype(value: Any) -> Any:
    return torch.float64 if value in _FLOATS else value


@dataclass(frozen=True)
class Expected:
    """What a piece should give.

    Attributes:
        outputs: of its eager graph, flattened.
        left: its inputs as the eager graph leaves them.
        exact: outputs in float64; None where that could not be computed.
        exact_left: inputs after that.
        short: operators that were not run in float64.
    """

    outputs: list[Any]
    left: list[Any]
    exact: list[Any] | None
    exact_left: list[Any]
    short: tuple[str, ...] = ()


def expect(graph: fx.GraphModule, inputs: Values) -> Expected:
    """Run an eager graph on copies of these inputs, and in float64."""
    left = [copy(value) for value in inputs]
    with torch.no_grad():
        found = outputs(Eager(graph).run(*left))
        wide = [_wide(copy(value)) for value in inputs]
        referee = Referee(graph)
        try:
            exact = outputs(referee.run(*wide))
        except Exception:  # noqa: BLE001  (no referee is no reason to stop)
            exact = None
    return Expected(found, left, exact, wide, tuple(dict.fromkeys(referee.short)))


@dataclass(frozen=True)
class Verdict:
    """How a value of compiled code compares with what it should be.

    Attributes:
        comparison: with the eager graph's.
        is_apart: whether the compiled code is wrong, as far as can be told.
        compiled_error, eager_error: largest distance to the referee; None without one.
    """

    comparison: Comparison
    is_apart: bool
    compiled_error: float | None = None
    eager_error: float | None = None


def judge(eager: Any, compiled: Any, exact: Any, rtol: float | None, atol: float | None) -> Verdict:
    """Compare a compiled value with the eager one; where they differ beyond tolerance, ask the referee.

    Another order of operations makes both differ from float64 by about as much; a wrong result differs by far more.
    """
    if eager is None and compiled is None:
        return Verdict(Comparison(verdict="skipped", why="there is no value"), False)
    comparison = compare([eager], [compiled], rtol, atol)
    if comparison.fine:
        return Verdict(comparison, False)
    if not isinstance(eager, torch.Tensor) or not isinstance(compiled, torch.Tensor):
        return Verdict(comparison, True)
    if comparison.verdict == "kind" or not isinstance(exact, torch.Tensor) or exact.shape != eager.shape:
        return Verdict(comparison, True)
    known = ~is_unwritten(eager)
    compiled_error, eager_error = (_distance(one, exact, known) for one in (compiled, eager))
    if not eager.is_floating_point():
        return Verdict(comparison, True)
    eps, largest = torch.finfo(eager.dtype).eps, _largest(exact, known)
    is_rounding = not math.isfinite(eager_error) or eager_error <= 4 * eps**0.5 * largest
    if not is_rounding or (has_nan([exact]) and not has_nan([eager])):
        return Verdict(comparison, True)  # that is no rounding: the referee cannot be trusted here
    if not math.isfinite(
        eager_error
    ):  # it overflows where float64 does not: the model's own, unless both do and differ
        return Verdict(comparison, not math.isfinite(compiled_error), compiled_error, eager_error)
    least = eps * largest
    return Verdict(comparison, compiled_error > NEARER * max(eager_error, least), compiled_error, eager_error)


def _distance(one: torch.Tensor, exact: torch.Tensor, known: torch.Tensor) -> float:
    error = (one.double() - exact.double()).abs()[known]
    both = (one.isnan() & exact.isnan())[known]
    error = error.masked_fill(both, 0.0).nan_to_num(nan=math.inf)
    return float(error.max()) if error.numel() else 0.0


def _largest(exact: torch.Tensor, known: torch.Tensor) -> float:
    finite = exact.double()[known & exact.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def has_nan(values: Values) -> bool:
    """Whether any float among these is a NaN that somebody computed."""
    return any(
        isinstance(one, torch.Tensor) and one.dtype in (*_FLOATS, torch.float64) and bool(_nan(one).any())
        for one in values
    )


def has_infinity(values: Values) -> bool:
    """Whether any float among these is infinite."""
    return any(
        isinstance(one, torch.Tensor) and one.dtype in (*_FLOATS, torch.float64) and bool(one.isinf().any())
        for one in values
    )


def _nan(one: torch.Tensor) -> torch.Tensor:
    return one.isnan() & ~is_unwritten(one)


def is_random(graph: fx.GraphModule) -> bool:
    """Whether a graph draws random numbers, so that compiled code may draw others."""
    return any(
        overload is not None and torch_internals.is_random(overload)
        for module in graph.modules()
        if isinstance(module, fx.GraphModule)
        for node in module.graph.nodes
        for overload in [torch_internals.op_overload(node.target)]
    )

"""What a graph demands of symbolic sizes, whether that holds for all sizes that may come, and what a call breaks."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, NamedTuple

import torch

from cutaway.torch_internals.sizes import _location, symbol_facts
from cutaway.torch_internals.swap import patch_method

Span = tuple[int, int]  # the least and the largest value of a symbol, both included
_BOXES = 2000  # how often a range is halved before a demand counts as not decidable
_TRIED = 1 << 17  # as many sizes are tried one by one


class Demand(NamedTuple):
    """What has to be true of sizes for a graph to be right.

    Attributes:
        expr: as a sympy expression, with the equalities put in that the ShapeEnv knows.
        text: the same as it was written down.
        place: ``file:line: code`` that made it; empty when it is not known.
    """

    expr: Any
    text: str
    place: str

    @property
    def symbols(self) -> tuple[Any, ...]:
        """The symbols that it speaks of, by name."""
        return tuple(sorted(self.expr.free_symbols, key=str))


def demands_of(shape_env: Any) -> list[Demand]:
    """Guards of a ShapeEnv, and symbols that it found to be a number.

    Two sizes that an operator takes to be equal demand nothing more: with others, the operator itself is an error.
    """
    found = [
        Demand(shape_env.replace(guard.expr), str(guard.expr), _location(guard.sloc, code=True))
        for guard in shape_env.guards
    ]
    for symbol, value in shape_env.replacements.items():
        if value.is_Integer and _example_is_known(shape_env, symbol):
            place = _location(shape_env.replacements_slocs.get(symbol), code=True)
            found.append(Demand((symbol >= value) & (symbol <= value), f"{symbol} == {value}", place))
    return [demand for demand in found if demand.expr.free_symbols]


def _example_is_known(shape_env: Any, symbol: Any) -> bool:
    """Whether a symbol has the value of an example (backed)."""
    return symbol in shape_env.backed_var_to_val


def own_span(shape_env: Any, symbol: Any, least: int) -> Span:
    """The values that a symbol may have at run time, when nobody says: any size, and what a graph asserts of others.

    The upper end is torch's own for sizes nobody has looked at: ``_maybe_evaluate_static_worker`` of
    torch/fx/experimental/symbolic_shapes.py.
    """
    if _example_is_known(shape_env, symbol):
        return least, 1 << 48
    bounds = shape_env.var_to_range.get(symbol)
    lower, upper = (bounds.lower, bounds.upper) if bounds is not None else (-(1 << 48), 1 << 48)
    return max(int(max(lower, -(1 << 48))), -(1 << 48)), int(min(upper, 1 << 48))


def size_name(shape_env: Any, symbol: Any) -> str:
    """A symbol as its user would write it: ``x.shape[1]``; the symbol's own name when it is no size of an argument."""
    source = symbol_facts(shape_env, symbol)["source"]
    return _in_users_words(source) if source else str(symbol)


_SIZE = re.compile(r"L\['(?P<name>\w+)'\](?P<rest>(?:\.\w+|\[[^\]]*\])*?)\.(?P<what>size|stride)\(\)\[(?P<dim>\d+)\]")


def _in_users_words(code: str) -> str:
    """Code of a guard with ``x.shape[1]`` for ``L['x'].size()[1]``, and the like."""

    def size(match: re.Match[str]) -> str:
        dim = match["dim"]
        return match["name"] + match["rest"] + (f".shape[{dim}]" if match["what"] == "size" else f".stride({dim})")

    return re.sub(r"L\['(\w+)'\]", r"\1", _SIZE.sub(size, code))


# -- whether it holds ------------------------------------------------------------------------------------------


def broken_by(demand: Demand, spans: Mapping[Any, Sequence[Span]]) -> dict[Any, int] | None:
    """Values for which a demand does not hold.

    Ends of ranges first, then interval arithmetic (torch/utils/_sympy/value_ranges.py, ``bound_sympy``) over ranges
    that are halved until it knows; one symbol of few values is tried value by value.

    Args:
        demand: what has to hold.
        spans: for each of its symbols, the values it may have.

    Returns:
        None when it holds for all, symbol -> value where it does not, and nothing where that cannot be told.
    """
    symbols = demand.symbols
    holds = _function(demand.expr, symbols)
    if len(symbols) == 1:
        values = [range(low, high + 1) for low, high in spans[symbols[0]]]
        if sum(map(len, values)) <= _TRIED:
            return next(({symbols[0]: one} for some in values for one in some if not holds(one)), None)
    boxes: list[tuple[Span, ...]] = list(product(*(spans[symbol] for symbol in symbols)))
    expr = _on_one_side(demand.expr)
    for _ in range(_BOXES):
        if not boxes:
            return None
        box = boxes.pop()
        broken = next((corner for corner in _corners(box) if not holds(*corner)), None)
        if broken is not None:
            return dict(zip(symbols, broken, strict=True))
        if not _always(expr, dict(zip(symbols, box, strict=True))):
            boxes += _halves(box)
    return {} if boxes else None


def _corners(box: tuple[Span, ...]) -> Generator[tuple[int, ...]]:
    yield from islice(product(*box), 64)


def _halves(box: tuple[Span, ...]) -> list[tuple[Span, ...]]:
    """A box cut through its longest side; the part with the smaller values last. Nothing of a box of one point."""
    side = max(range(len(box)), key=lambda number: box[number][1] - box[number][0])
    low, high = box[side]
    if low >= high:
        return []
    middle = (low + high) // 2
    return [(*box[:side], part, *box[side + 1 :]) for part in ((middle + 1, high), (low, middle))]


def _on_one_side(expr: Any) -> Any:
    """A relation of two sums as one of their difference and 0, so that what stands on both sides goes."""
    return expr.func((expr.lhs - expr.rhs).expand(), 0) if expr.is_Relational else expr


def _always(expr: Any, box: Mapping[Any, Span]) -> bool:
    """Whether interval arithmetic says that an expression is true all over a box."""
    from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy  # noqa: PLC0415  (sympy)

    if not expr.free_symbols:
        return expr == True  # noqa: E712  (sympy's own truth value)
    try:
        found = bound_sympy(expr, {symbol: ValueRanges(*span) for symbol, span in box.items()})
    except Exception:  # noqa: BLE001  (an operation that it does not know)
        return False
    return found.is_singleton() and bool(found.lower)


def _function(expr: Any, symbols: Sequence[Any]) -> Callable[..., bool]:
    """An expression as a function of its symbols: as Python where torch prints it as such, else interpreted."""
    from torch.utils._sympy.interp import sympy_interp  # noqa: PLC0415  (sympy: only when sizes are symbolic)
    from torch.utils._sympy.printers import PythonPrinter  # noqa: PLC0415
    from torch.utils._sympy.reference import PythonReferenceAnalysis  # noqa: PLC0415

    def interpreted(*values: int) -> bool:
        return bool(sympy_interp(PythonReferenceAnalysis, dict(zip(symbols, values, strict=True)), expr))

    try:
        names = ", ".join(map(str, symbols))
        made = eval(f"lambda {names}: {PythonPrinter().doprint(expr)}", {"math": math, "torch": torch})
        made(*(7 for _ in symbols))
    except Exception:  # noqa: BLE001  (no Python of it: a function that only torch knows)
        return interpreted
    return made


# -- what Python asked -----------------------------------------------------------------------------------------


@dataclass
class Branches:
    """What the Python that Dynamo traced asked of symbolic sizes: (ShapeEnv, what was true, where)."""

    found: list[tuple[Any, Any, str]]

    def demands_of(self, shape_env: Any) -> list[Demand]:
        """Those on sizes of one ShapeEnv.

        An ``assert`` that two sizes are equal is left out, as an operator's demand of that is: with others, the model
        would be an error, not another model.
        """
        return [
            Demand(_as_known(shape_env, expr), str(expr), place)
            for env, expr, place in self.found
            if env is shape_env and expr.free_symbols and not _is_equality_asserted(expr, place)
        ]


def _as_known(shape_env: Any, expr: Any) -> Any:
    """With what the ShapeEnv knows put in; but for an equality, which it may have been told by this very branch."""
    return expr if expr.func.__name__ == "Equality" else shape_env.replace(expr)


def _is_equality_asserted(expr: Any, place: str) -> bool:
    code = place.split(": ", 1)[-1].strip()
    return expr.func.__name__ == "Equality" and len(expr.free_symbols) > 1 and code.startswith("assert")


@contextmanager
def branches_on_sizes() -> Generator[Branches]:
    """Note on what sizes the Python that is traced in the block branches.

    A branch that only a size of 0 or 1 would take another way (``if x.shape[0] == 1``) leaves no guard on a backed
    size: Dynamo holds it to be at least 2 (torch/_dynamo/variables/tensor.py, ``SymNodeVariable.evaluate_expr``).
    And one that asks whether two sizes are equal makes one symbol of them, so it is noted as it was before.
    """
    from torch._dynamo.variables.tensor import SymNodeVariable  # noqa: PLC0415  (Dynamo is heavy)

    branches = Branches([])

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def evaluate_expr(self: Any, *args: Any) -> Any:
            if not isinstance(self.sym_num, torch.SymBool):
                return original(self, *args)
            node = self.sym_num.node
            asked = node.expr
            value = original(self, *args)
            branches.found.append((node.shape_env, asked if value else ~asked, _traced_line()))
            return value

        return evaluate_expr

    undo = patch_method(SymNodeVariable, "evaluate_expr", make)
    try:
        yield branches
    finally:
        undo()


def _traced_line() -> str:
    """The line of the model that Dynamo is at: ``file:line: code``."""
    return _line_of(torch._guards.TracingContext.extract_stack())


def _line_of(stack: Sequence[Any]) -> str:
    """The innermost frame of a stack that is the user's: ``file:line: code``; empty when there is none."""
    from torch.fx.experimental.symbolic_shapes import uninteresting_files  # noqa: PLC0415  (sympy)

    frame = next((frame for frame in reversed(stack) if frame.filename not in uninteresting_files()), None)
    return f"{frame.filename}:{frame.lineno}: {frame.line}" if frame is not None else ""


# -- what a call breaks ----------------------------------------------------------------------------------------


class BrokenGuard(NamedTuple):
    """A guard that does not hold for a call.

    Attributes:
        code: what it demands, in the user's words.
        place: the line that made it and its place, as torch notes them; empty where it does not know.
        values: the sizes in it -> what they are in this call.
    """

    code: str
    place: str
    values: dict[str, Any]


_PLACE = re.compile(r"(?P<code>.*)  # (?P<place>\S+:\d+) in .*", re.DOTALL)


def failed_guard(aot: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BrokenGuard | None:
    """The first guard of an ``AOTCompiledFunction`` that a call breaks; None when all hold.

    torch checks all guards on sizes as one, and then names them all (torch/_dynamo/guards.py, ``SHAPE_ENV``).
    """
    if aot.guard_check(*args, **kwargs):
        return None
    manager, given = aot._artifacts.guard_manager, aot.prepare_f_locals(*args, **kwargs)
    scope = {**(manager.closure_vars or {}), "L": given}
    parts = list(manager.check_verbose(given).verbose_code_parts)
    for part in parts:
        code, _, note = part.partition("  # ")
        if _is_false(code, scope):
            match = _PLACE.fullmatch(note)
            place = f"{match['place']}: {match['code'].strip()}" if match is not None else ""
            sizes = {found.group() for found in _SIZE.finditer(code)}
            values = {_in_users_words(size): eval(size, scope) for size in sorted(sizes)}
            return BrokenGuard(_in_users_words(code), place, values)
    return BrokenGuard(
        _in_users_words(parts[0].partition("  # ")[0]) if parts else "one that torch does not name", "", {}
    )


def _is_false(code: str, scope: dict[str, Any]) -> bool:
    try:
        return not eval(code, scope)
    except Exception:  # noqa: BLE001  (it speaks of what is not there)
        return False

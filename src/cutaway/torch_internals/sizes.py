"""Symbolic sizes, fake tensors, and what a graph demands of them."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx


def expression(size: Any) -> Any:
    """The sympy expression behind a SymInt, SymFloat or SymBool."""
    return size.node.expr


def shape_env_of(gm: fx.GraphModule) -> Any:
    """The ShapeEnv that the graph's symbolic sizes belong to, or None when all sizes are numbers."""
    for node in gm.graph.nodes:
        if node.op != "placeholder":
            break
        value = node.meta.get("val")
        value = node.meta.get("example_value") if value is None else value
        if isinstance(value, torch.SymInt):
            return value.node.shape_env
        if isinstance(value, torch.Tensor):
            for size in value.shape:
                if isinstance(size, torch.SymInt):
                    return size.node.shape_env
    return None


def symbol_facts(shape_env: Any, symbol: Any) -> dict[str, Any]:
    """Range, example value (of an integer) and source of one symbol (sympy Symbol) of a ShapeEnv."""
    facts: dict[str, Any] = {"min": None, "max": None, "hint": None, "source": None}
    bounds = shape_env.var_to_range.get(symbol)
    if bounds is not None:
        facts["min"], facts["max"] = _finite(bounds.lower), _finite(bounds.upper)
    example = example_of(shape_env, symbol)
    facts["hint"] = example if isinstance(example, int) else None
    sources = shape_env.var_to_sources.get(symbol)
    if sources:
        name = sources[0].name
        facts["source"] = name() if callable(name) else name
    return facts


def example_of(shape_env: Any, symbol: Any) -> int | float | None:
    """What a symbol was while tracing; None when nobody has looked at its value (unbacked)."""
    values = getattr(shape_env, "backed_var_to_val", None)
    known = (values if values is not None else shape_env.var_to_val).get(symbol)
    if known is None:
        return None
    return int(known) if symbol.is_integer else float(known)


def symbols_of(shape_env: Any) -> dict[Any, Any]:
    """The symbols of a ShapeEnv by name -> what each was found to equal; None for nothing else."""
    return {symbol: shape_env.replacements.get(symbol) for symbol in sorted(shape_env.var_to_range, key=str)}


def shape_env_of_number(number: Any) -> Any:
    """The ShapeEnv that a SymInt, SymFloat or SymBool belongs to."""
    return number.node.shape_env


def _finite(bound: Any) -> int | None:
    text = str(bound)
    return int(text) if text.lstrip("-").isdigit() and abs(int(text)) < sys.maxsize - 1 else None


def shape_guards(shape_env: Any) -> list[tuple[str, str]]:
    """Every constraint that tracing put on symbolic sizes: (expression, ``file:line: code``), the user's if known."""
    return [(str(guard.expr), _location(getattr(guard, "sloc", None), code=True)) for guard in shape_env.guards]


def where_replaced(shape_env: Any, symbol: Any) -> str:
    """``file:line: code`` of the line by which one symbol came to equal something else; empty when it is not known."""
    return _location(getattr(shape_env, "replacements_slocs", {}).get(symbol), code=True)


_FRAME = re.compile(r"(?:(?P<code>.*?)  # )?(?P<place>\S+:\d+) in (?P<function>.*)", re.DOTALL)


def _location(sloc: Any, code: bool = False) -> str:
    """``file:line`` of a ShapeGuard's SLoc (torch/_guards.py), the user's if known; with ``code``, that line too."""
    text = getattr(sloc, "maybe_user_loc", None)
    if text is not None:
        match = _FRAME.fullmatch(text.strip())
        if match is None:
            return text.strip()
        return f"{match['place']}: {match['code'].strip()}" if code and match["code"] else match["place"]
    frame = getattr(sloc, "framework_loc", None)
    if frame is None or isinstance(frame, str):
        return (frame or "").strip()
    return f"{frame.filename}:{frame.lineno}"


def hint(size: Any) -> int:
    """The number that a size was captured with; a plain number as it is. Adds no guard."""
    if isinstance(size, int):
        return int(size)
    known = size.node.hint
    return int(known) if known is not None else 8


def no_tracing_fake_mode() -> Any:
    """A fake mode of its own, apart from the compile's: tensors in it have sizes and no memory."""
    return torch._subclasses.FakeTensorMode()


def python_expression(size: Any) -> str:
    """A SymInt's expression as Python that computes it from its symbols (torch/utils/_sympy/printers.py)."""
    return _printed(expression(size))


@functools.lru_cache(maxsize=4096)
def _printed(expr: Any) -> str:
    from torch.utils._sympy.printers import PythonPrinter  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    return PythonPrinter().doprint(expr)


def storage_of(value: torch.Tensor) -> int:
    """Identity of a (fake) tensor's memory: equal for views of one tensor."""
    return value.untyped_storage()._cdata


def fake_mode_of(value: torch.Tensor) -> Any:
    """The mode that a fake tensor belongs to; None for a real one."""
    return getattr(value, "fake_mode", None)


def fake_like(value: Any) -> torch.Tensor:
    """A fake tensor of the same kind with memory of its own; made directly, half as dear as by an op in the mode."""
    from torch._subclasses.fake_tensor import FakeTensor  # noqa: PLC0415  (only when capturing)

    meta = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return FakeTensor(value.fake_mode, meta.requires_grad_(value.requires_grad), value.device)


def without_guards(fake_mode: Any) -> Any:
    """Within the block, what is asked of symbolic sizes adds no guard (ShapeEnv.suppress_guards)."""
    shape_env = fake_mode.shape_env
    return shape_env.suppress_guards() if shape_env is not None else contextlib.nullcontext()


def mode_of_inputs(inputs: Sequence[Any]) -> Any:
    """The fake mode that a piece's example inputs belong to, or None when none of them is a fake tensor."""
    modes = (fake_mode_of(value) for value in inputs if isinstance(value, torch.Tensor))
    return next(filter(None, modes), None)


def forget_zero_one(shape_env: Any) -> None:
    """Let no guard say that a backed size is at least 2: that is Dynamo's assumption, not the graph's demand.

    For guards that are made after this (vLLM's ``VllmBackend`` does the same).
    """
    from torch.utils._sympy.value_ranges import ValueRanges  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    for symbol, found in list(shape_env.var_to_range.items()):
        if found.lower == 2:
            shape_env.var_to_range[symbol] = ValueRanges(0, found.upper)
        # torch's own cache adds this one where another run had taken the size to be so.
        shape_env.guards[:] = [guard for guard in shape_env.guards if guard.expr != (symbol >= 2)]


def where_fixed(shape_env: Any) -> str:
    """The line that made a plain number of a symbolic size; empty when none is known."""
    places = [
        _location(shape_env.replacements_slocs.get(symbol), code=True)
        for symbol, value in shape_env.replacements.items()
        if value.is_Integer
    ]
    return next(filter(None, places), "")


def symbols_in(value: Any) -> tuple[Any, ...]:
    """The sympy symbols that a tensor's sizes and strides, or a symbolic number, are made of, as they first appear."""
    if isinstance(value, torch.Tensor):
        if not value._has_symbolic_sizes_strides:
            return ()
        sizes = [*value.shape, *value.stride(), value.storage_offset()]
    else:
        sizes = [value]
    found: dict[Any, None] = {}
    for size in sizes:
        if isinstance(size, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            found.update(dict.fromkeys(sorted(size.node.expr.free_symbols, key=str)))
    return tuple(found)


def shape_env_of_size(size: Any) -> Any:
    """The ShapeEnv that the symbols of a SymInt, SymFloat or SymBool belong to."""
    return size.node.shape_env


def fake_mode_with_sizes() -> Any:
    """A new fake mode with a ShapeEnv: what ``standalone_compile(dynamic_shapes="from_example_inputs")`` asks for."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: PLC0415  (sympy: only when compiling)

    return torch._subclasses.FakeTensorMode(shape_env=ShapeEnv())


def size_with(size: Any, symbol: Any, value: int) -> int | None:
    """A size once ``symbol`` is ``value``; None when other symbols are left in it."""
    if isinstance(size, int):
        return size
    found = expression(size).subs(symbol, value)
    return int(found) if found.is_Integer else None

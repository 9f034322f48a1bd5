"""What a compile assumes about sizes: the symbols, their ranges, every constraint, and Dynamo's guards."""

from __future__ import annotations

import re
from typing import Any

from cutaway import torch_internals
from cutaway.record.compilation import Compilation

# What is different in every process has no place in a file that two runs are compared by.
_LATENCY = re.compile(r"^Guard latency = .*$", re.MULTILINE)  # a metric has it
_ADDRESS = re.compile(r"(___check_\w+_id\([^\n]*?, |\bat 0x)[0-9a-f]+")


def describe(compilation: Compilation) -> str:
    """The text of ``98.guards.txt``; empty when the compile has neither symbolic sizes nor guards."""
    parts: list[str] = []
    if compilation.shape_env is not None:
        parts += [*_symbols(compilation.shape_env), *_constraints(compilation.shape_env)]
    if compilation.guards_text:
        text = _LATENCY.sub("", _ADDRESS.sub(r"\1…", compilation.guards_text))
        parts += ["", "Guards (Dynamo checks them before it uses the compiled code again):", text]
    if not parts:
        return ""
    return "\n".join(parts).strip() + "\n"


def _symbols(shape_env: Any) -> list[str]:
    """The sizes first; then integers that are no size (a value read out of a tensor), then what is no integer."""
    sizes: list[str] = []
    others: list[str] = []
    floats: list[str] = []
    for symbol, equal in torch_internals.symbols_of(shape_env).items():
        source = torch_internals.symbol_facts(shape_env, symbol)["source"]
        is_size = "size()" in str(source) or torch_internals.is_size_like(shape_env, symbol)
        (sizes if is_size else others if symbol.is_integer else floats).append(_symbol(shape_env, symbol, equal))
    lines = ["Symbolic sizes (one graph serves every size in the range):", *(sizes or ["  none: every size is fixed"])]
    lines += ["", "Other symbolic integers:", *others] if others else []
    return lines + (["", "Symbolic floats:", *floats] if floats else [])


def _symbol(shape_env: Any, symbol: Any, equal: Any) -> str:
    facts, example = torch_internals.symbol_facts(shape_env, symbol), torch_internals.example_of(shape_env, symbol)
    lower = "-∞" if facts["min"] is None else facts["min"]
    upper = "∞" if facts["max"] is None else facts["max"]
    known = f", always {equal}" if equal is not None else ""
    line = f"  {symbol} in [{lower}, {upper}]{known}, captured with {example}  from {facts['source']}"
    place = torch_internals.where_replaced(shape_env, symbol) if equal is not None else ""
    return f"{line}    by {place}" if place else line


def _constraints(shape_env: Any) -> list[str]:
    guards = torch_internals.shape_guards(shape_env)
    if not guards:
        return ["", "Constraints: none; no line of the model depends on a size."]
    lines = ["", "Constraints that tracing put on the sizes, and the line that made each:"]
    return lines + [f"  {expression}" + (f"    at {place}" if place else "") for expression, place in guards]

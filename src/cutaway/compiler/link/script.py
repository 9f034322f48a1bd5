"""Values and functions of a graph as Python source, and what a script must import, bind and be given for them."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.link.names import Names, is_identifier
from cutaway.errors import SplitError

# What comes with torch: no import registers these operators.
_TORCH_NAMESPACES = frozenset({"aten", "prims", "prim", "inductor", "_c10d_functional", "c10d", "higher_order"})
# Where functions are found that do not know their module (made in C, methods of tensors).
_HOMES = (("torch", ""), ("torch.nn.functional", ""), ("torch", "Tensor."))
_BY_TEXT = (torch.dtype, torch.layout, torch.memory_format)
_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)

Refs = Mapping[fx.Node, str]


def _names() -> Names:
    return Names({"torch", "make", "pieces", "consts", "execution_fn"})


@dataclass
class Script:
    """The head of a generated script: imports, what is looked up once, and the table of constants.

    Attributes:
        names: identifiers given out so far.
        consts: objects that no text can carry, by the name that the script has for each.
        imports: modules, with the name that the script has for each and the reason of the import.
        bound: expressions that are looked up once, when the script is loaded, with the name of each.
    """

    names: Names = field(default_factory=_names)
    consts: dict[str, Any] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)
    _const_names: dict[int, str] = field(default_factory=dict)

    def fork(self) -> Script:
        """A copy to try something in: dropped when that fails, kept instead of this one when it works."""
        tables = {name: {**value} for name, value in vars(self).items() if isinstance(value, dict)}
        return dataclasses.replace(self, names=self.names.fork(), **tables)

    def head(self) -> list[str]:
        """The lines that the functions of the script need above them."""
        lines = ["import torch"]
        for module, (name, reason) in sorted(self.imports.items()):
            line = f"import {module}" if module == name else f"import {module} as {name}"
            lines.append(f"{line}  # {reason}" if reason else line)
        bound = [f"{name} = {text}" for text, name in self.bound.items()]
        return [*lines, "", *bound] if bound else lines

    def value(self, arg: Any, refs: Refs) -> str:
        """An argument as an expression.

        Args:
            arg: a node, a constant, or lists, tuples, dicts and slices of them.
            refs: what the values of nodes are called.

        Raises:
            SplitError: a symbolic size that is no node, or nodes inside something else than those.
        """
        if isinstance(arg, fx.Node):
            return refs[arg]
        if isinstance(arg, list):
            return f"[{self._listed(arg, refs)}]"
        if type(arg) is tuple:
            return f"({self._listed(arg, refs)}{',' * (len(arg) == 1)})"
        if isinstance(arg, dict):
            return f"{{{', '.join(f'{self.value(k, refs)}: {self.value(v, refs)}' for k, v in arg.items())}}}"
        if isinstance(arg, slice):
            return f"slice({self._listed((arg.start, arg.stop, arg.step), refs)})"
        return self._constant(arg)

    def function(self, function: Any) -> str | None:
        """A function or operator as an expression; None when no import reaches it."""
        found = _place_of(function)
        if found is None:
            return None
        module, path = found
        overload = torch_internals.op_overload(function)
        if overload is not None:
            self._register(overload)
        text = "torch" if module == "torch" else self._module(module)
        for part in path:
            text = f"{text}.{part}" if is_identifier(part) else f"getattr({text}, {part!r})"
        spoken = (module, *path) if overload is None else path
        return self._bind(text, "_".join(part for part in spoken if part not in ("ops", "default")))

    def call(self, function: str, args: Iterable[Any], kwargs: Mapping[str, Any], refs: Refs) -> str:
        """A call as an expression. An argument may have a name that is a keyword of Python (``from``)."""
        parts = [self.value(arg, refs) for arg in args]
        for key, arg in kwargs.items():
            text = self.value(arg, refs)
            parts.append(f"{key}={text}" if is_identifier(key) else f"**{{{key!r}: {text}}}")
        return f"{function}({', '.join(parts)})"

    def const(self, value: Any) -> str:
        """The name of an object that is handed over beside the text."""
        value = torch_internals.opaque_value(value)
        if id(value) not in self._const_names:  # `consts` keeps it alive: no other object gets its id
            name = self.names.of_script(f"const_{len(self.consts)}")
            self.consts[name] = value
            self._const_names[id(value)] = name
        return self._const_names[id(value)]

    def _constant(self, value: Any) -> str:
        """A value without nodes in it: as text if text can carry it."""
        if type(value) is float and not math.isfinite(value):
            name = "nan" if math.isnan(value) else "inf"
            return f"{'-' * (value < 0)}{self._module('math')}.{name}"
        if value is None or value is ... or type(value) in (int, float, bool, bytes, str):
            return ascii(value)
        if isinstance(value, _BY_TEXT):
            return str(value)
        if isinstance(value, torch.device):
            return self._bind(f"torch.device({str(value)!r})", f"device_{value}")
        if isinstance(value, _SYMBOLIC):
            raise SplitError(f"the symbolic size {value} is an argument by itself, not by the node that computes it")
        if isinstance(value, tuple) and any(isinstance(part, (fx.Node, *_SYMBOLIC)) for part in value):
            raise SplitError(f"a {type(value).__name__} holds values of nodes, as only lists, tuples and dicts may")
        text = self.function(value) if callable(value) else None
        return self.const(value) if text is None else text

    def _listed(self, args: Iterable[Any], refs: Refs) -> str:
        return ", ".join(self.value(arg, refs) for arg in args)

    def _bind(self, text: str, wish: str) -> str:
        if text not in self.bound:
            self.bound[text] = self.names.of_script(wish)
        return self.bound[text]

    def _module(self, module: str, reason: str = "") -> str:
        if module not in self.imports:
            self.imports[module] = (self.names.of_script(module), reason)
        return self.imports[module][0]

    def _register(self, overload: Any) -> None:
        """An operator exists once the module that registers it is imported; if nobody knows which, the model does."""
        if overload.namespace in _TORCH_NAMESPACES:
            return
        module = torch_internals.module_that_registers(overload)
        if module is not None and _importable(module):
            self._module(module, f"registers {overload.namespace}")


def attribute_of(start: Any, path: Iterable[str]) -> Any:
    """The attribute of an attribute ... of an object; None when there is none."""
    for part in path:
        start = getattr(start, part, None)
    return start


def _place_of(function: Any) -> tuple[str, tuple[str, ...]] | None:
    """Module and attributes under which a function is found again; None if it is not."""
    overload = torch_internals.op_overload(function)
    if overload is not None:
        namespace, _, name = overload.name().partition("::")
        name, _, kind = name.partition(".")
        return "torch", ("ops", namespace, name, *([kind or "default"] if function is overload else []))
    for module, path in _guesses(function):
        parts = tuple(path.split("."))
        if _importable(module) and attribute_of(sys.modules[module], parts) is function:
            return module, parts
    return None


def _guesses(function: Any) -> Iterator[tuple[str, str]]:
    """Where a function may be found: what it says of itself, then the usual places."""
    if torch_internals.is_higher_order(function):
        yield "torch", f"ops.higher_order.{function.name()}"
    name, module = (getattr(function, attribute, None) for attribute in ("__name__", "__module__"))
    if not isinstance(name, str):
        return
    if isinstance(module, str):
        module = module.removeprefix("_") if module == "_operator" else module
        yield module, getattr(function, "__qualname__", name)
        yield module, name
    for home, prefix in _HOMES:
        yield home, f"{prefix}{name}"


def _importable(module: str) -> bool:
    """Whether another process can import it by this name: ``__main__`` is something else there."""
    return all(map(is_identifier, module.split("."))) and module != "__main__" and module in sys.modules

"""A graph as one Python file that runs again, at any batch size, without the model and without Cutaway.

The file holds the graph as ``torch.nn.Module`` classes (nested graphs and equal pieces once each),
``example_inputs(**sizes)`` and a ``main`` that runs it and prints shapes and checksums. What cannot be run where
it is opened says so in its header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.raw_text import INPUTS, MAIN, PREAMBLE, STAND_IN, WITH_GRAPH
from cutaway.record.values import node_value

_BUILTIN_NAMESPACES = frozenset({"aten", "prims", "prim", "inductor", "_c10d_functional", "c10d", "higher_order"})
_SMALL = 64
_WORD = re.compile(r"\w+")


@dataclass
class Runnable:
    """Renders raw files.

    Attributes:
        engine_ops: ``namespace::name`` of operators that only run inside the engine (attention needs its KV
            cache); a raw file puts zeros in their place and says so.
        same_piece: the fingerprint of a nested graph, so that equal pieces become one class.
        make_input: an expression that makes an input which only means something in the process that compiled (the
            address of a packed weight); None for all others.
        module_of: the module whose import registers an operator, when the host knows better than torch.
    """

    engine_ops: Collection[str] = ()
    same_piece: Callable[[fx.GraphModule], str | None] = field(default=lambda gm: None)
    make_input: Callable[[fx.Node], str | None] = field(default=lambda node: None)
    module_of: Callable[[Any], str | None] = field(default=lambda overload: None)

    def render(self, gm: fx.GraphModule, header: list[str]) -> str:
        """The file's text. ``header`` are lines of context, without the comment sign."""
        return _File(self, gm).render(header)


class _File:
    def __init__(self, options: Runnable, gm: fx.GraphModule) -> None:
        self.options = options
        self.gm = gm
        self.globals: dict[str, Any] = {}
        self.classes: list[str] = []
        self.class_names: dict[str, str] = {}
        self.symbols: dict[str, int] = {}
        self.ops: dict[str, Any] = {}
        self.problems: list[str] = []
        self.imported: dict[str, None] = {}
        self.asks_for_graphs = False
        graphs = (module.graph for module in gm.modules() if isinstance(module, fx.GraphModule))
        self.differentiates = any(
            torch_internals.differentiates(node.target) for graph in graphs for node in graph.nodes
        )

    def render(self, header: list[str]) -> str:
        self.add_class("Graph", self.gm)
        arguments = [self.argument(node) for node in self.gm.graph.nodes if node.op == "placeholder"]
        imports = self.imports()
        modules, stand_ins = self.custom_operators()
        lines = [*header]
        lines += [f"Zeros stand in for {name}: it runs only inside the engine." for name in stand_ins]
        lines += [f"CANNOT RUN: {problem}" for problem in self.problems]
        parts = ["\n".join(map(_comment, lines)), PREAMBLE, imports]
        if imports and not imports.endswith("\n"):
            parts.append("\n")
        parts += [f"{line}\n" for line in self.imported]
        if modules:
            parts.append("\n# these imports register the custom operators used below\n")
            parts += [f"import {name}\n" for name in modules]
        if stand_ins:
            parts += ["\n", STAND_IN, f"_stand_ins = [stand_in(name) for name in {stand_ins!r}]\n"]
        if self.asks_for_graphs:
            parts += ["\n", WITH_GRAPH]
        sizes = ", ".join(f"{name}={value}" for name, value in sorted(self.symbols.items()))
        parts += ["\n\n", "\n\n".join(self.classes), "\n", INPUTS, f"\ndef example_inputs({sizes}):\n"]
        parts += ["    return [\n", *(f"        {text},  # {name}\n" for name, text in arguments), "    ]\n\n", MAIN]
        return "".join(parts)

    def add_class(self, name: str, gm: fx.GraphModule) -> None:
        code = _flat(gm.graph).python_code("self", verbose=False)
        self.globals.update(code.globals)
        children = [(child, module) for child, module in gm.named_children() if isinstance(module, fx.GraphModule)]
        bodies = [node.args[0] for node in gm.graph.nodes if torch_internals.wants_a_graph(node.target)]
        asked = {body.target for body in bodies if isinstance(body, fx.Node)}
        made = {child: f"{self.child_class(name, child, module)}()" for child, module in children}
        self.asks_for_graphs = self.asks_for_graphs or bool(asked)
        setup = [
            f"self.{child} = " + (f"with_graph({text})" if child in asked else text) for child, text in made.items()
        ]
        self.collect(gm)
        setup += self.constants(gm, {child for child, _ in children})
        body = [f"class {name}(torch.nn.Module):"]
        if setup:
            body += [
                "    def __init__(self):",
                "        super().__init__()",
                *(f"        {line}" for line in setup),
                "",
            ]
        if self.differentiates and gm is self.gm:  # whoever runs it has switched gradients off
            body.append("    @torch.enable_grad()")
        body += [f"    {line}".rstrip() for line in code.src.strip("\n").splitlines()]
        self.classes.append("\n".join(body) + "\n")

    def child_class(self, parent: str, child: str, module: fx.GraphModule) -> str:
        key = self.options.same_piece(module) or f"{parent}.{child}"
        if key not in self.class_names:
            name = f"{parent}_{child}" if parent != "Graph" else f"Graph_{child}"
            self.class_names[key] = name
            self.add_class(name, module)
        return self.class_names[key]

    def collect(self, gm: fx.GraphModule) -> None:
        """Note the custom operators, and what keeps the graph from running in another process."""
        for node in gm.graph.nodes:
            if node.op != "call_function":
                continue
            overload = torch_internals.op_overload(node.target)
            if overload is not None and _needs_import(overload):
                self.ops[overload.name().split(".")[0]] = overload
            for part in (*node.args, *node.kwargs.values()):  # e.g. auto_functionalized(op, ...)
                inner = torch_internals.op_overload(part) if callable(part) else None
                if inner is not None and _needs_import(inner):
                    self.ops[inner.name().split(".")[0]] = inner
            if torch_internals.is_higher_order(node.target) and "kernel_idx" in node.kwargs:
                self.problem("a user's Triton kernel is held by number in a table of the process that compiled")

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def constants(self, gm: fx.GraphModule, children: set[str]) -> list[str]:
        """Statements that make the attributes which the graph reads."""
        lines: dict[str, str] = {}
        for node in gm.graph.nodes:
            target = str(node.target)
            if node.op not in ("get_attr", "call_module") or target.split(".")[0] in children or target in lines:
                continue
            held: Any = gm
            for part in target.split("."):
                held = getattr(held, part, None)
            if isinstance(held, torch.Tensor) and "." not in target:
                lines[target] = f"self.register_buffer({target!r}, {self.constant(held)}, persistent=False)"
            else:
                self.problem(f"the graph reads {target!r}, a {type(held).__name__} of the process that compiled")
        return list(lines.values())

    def constant(self, value: torch.Tensor) -> str:
        if value.numel() <= _SMALL and torch_internals.tensor_constant(value) is not None:
            return f"torch.tensor({value.tolist()!r}, dtype={value.dtype})"
        return self.value(value)

    def imports(self) -> str:
        words = set(_WORD.findall("\n".join(self.classes))) - {"torch", "device", "inf", "nan"}
        used = {name: value for name, value in self.globals.items() if name in words}
        try:
            return torch_internals.import_block(used)
        except Exception as error:  # noqa: BLE001  (an object that no import reaches: say so in the header)
            self.problem(f"{type(error).__name__}: {error}")
            return ""

    def custom_operators(self) -> tuple[list[str], list[str]]:
        modules: dict[str, None] = {}
        for name, overload in self.ops.items():
            module = self.registering(overload)
            if module is None or module == "__main__":
                self.problem(f"nobody knows which import registers the operator {name}")
            else:
                modules.setdefault(module)
        return list(modules), [name for name in self.ops if name in self.options.engine_ops]

    def registering(self, overload: Any) -> str | None:
        """The module whose import registers an operator."""
        try:
            known = self.options.module_of(overload)
        except Exception as error:  # noqa: BLE001  (as for an input)
            self.problem(f"the host cannot say what registers {overload.name()} ({type(error).__name__}: {error})")
            known = None
        return known or torch_internals.module_that_registers(overload)

    def argument(self, node: fx.Node) -> tuple[str, str]:
        try:
            made = self.options.make_input(node)
        except Exception as error:  # noqa: BLE001  (the host cannot say: it costs the input, not the file)
            self.problem(f"nobody can say how the input {node.name} is made ({type(error).__name__}: {error})")
            made = None
        return node.name, made or self.value(node_value(node))

    def value(self, value: Any) -> str:
        """An expression that makes a value of the same kind, dtype, shape and stride."""
        if isinstance(value, torch.SymInt):
            return self.size(value)
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            return self.size(value)
        if isinstance(value, torch.Tensor):
            shape = _tuple(self.size(size) for size in value.shape)
            stride = _tuple(self.size(size) for size in value.stride()) if value.layout is torch.strided else shape
            if value.layout is not torch.strided:
                self.problem(f"an input has the layout {value.layout}")
            made = f"tensor({shape}, {stride}, {value.dtype}, {str(value.device)!r})"
            return f"{made}.requires_grad_()" if self.differentiates and value.requires_grad else made
        if isinstance(value, (bool, int, float, str, type(None))):
            return repr(value)
        return self.opaque(value)

    def opaque(self, value: Any) -> str:
        value = torch_internals.opaque_value(value)
        made = torch_internals.opaque_expression(value)
        if made is None:
            self.problem(f"an input is a {type(value).__module__}.{type(value).__qualname__}")
            return "None"
        text, names = made
        for name, held in names.items():
            self.imported.setdefault(f"from {held.__module__} import {held.__qualname__} as {name}")
        return text

    def size(self, size: Any) -> str:
        if isinstance(size, int):
            return repr(int(size))
        expr = torch_internals.expression(size)
        for symbol in getattr(expr, "free_symbols", ()):
            if str(symbol) not in self.symbols:
                hint = torch_internals.symbol_facts(torch_internals.shape_env_of_number(size), symbol)["hint"]
                self.symbols[str(symbol)] = 8 if hint is None else hint
        return torch_internals.python_expression(size)


def _needs_import(overload: Any) -> bool:
    return overload.namespace not in _BUILTIN_NAMESPACES or torch_internals.is_of_inductor(overload)


def _comment(text: str) -> str:
    """A line of the header; a line break in it (in a file's name, in an error) must not end the comment."""
    return f"# {' '.join(text.splitlines())}".rstrip()


def _flat(graph: fx.Graph) -> fx.Graph:
    """The graph with its inputs as plain positional arguments (AOTAutograd's joint graph takes nested lists)."""
    if torch_internals.takes_plain_arguments(graph):
        return graph
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy


def _tuple(parts: Any) -> str:
    texts = list(parts)
    return f"({', '.join(texts)},)" if texts else "()"


def sizes_of(symbols: Mapping[str, Mapping[str, Any]]) -> str:
    """``s72 in [2, 4096]``: the symbolic sizes of a table and their ranges, for a title."""
    shown: list[str] = []
    for name, facts in symbols.items():
        upper = facts.get("max")
        shown.append(f"{name} in [{facts.get('min')}, {'∞' if upper is None else upper}]")
    return ", ".join(shown)

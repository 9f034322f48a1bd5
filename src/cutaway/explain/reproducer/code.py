"""Generated code in a reproducer: its text without what only benchmarks need, loaded, and called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cutaway.errors import ReplayError
from cutaway.explain.reproducer.job import GeneratedCode
from cutaway.replay.values import outputs

_LEFT_OUT = ("get_args", "benchmark_compiled_module")


@dataclass(frozen=True)
class Code:
    """Generated code, and how it is called with the inputs of a graph.

    Attributes:
        text: what Inductor generated.
        args: what its function is passed: names of inputs, or numbers.
        results: for each result of the graph, its place in what the code returns; None where it is another value.
        constants: tensors that it holds, by name.
    """

    text: str = field(repr=False)
    args: tuple[str | int | float | bool, ...]
    results: tuple[int | None, ...]
    constants: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor], repr=False)

    @classmethod
    def of(cls, recorded: GeneratedCode, inputs: Sequence[str | int | float | bool]) -> Code:
        """Code that a trial recorded.

        Args:
            recorded: what the trial kept.
            inputs: what the inputs of the graph are called; of one that is a number, the number.

        Raises:
            ReplayError: it is passed something that is no input.
        """
        args: list[str | int | float | bool] = []
        for one in recorded.args:
            if one.input is not None and one.input < len(inputs):
                args.append(inputs[one.input])
            elif one.number is not None:
                args.append(one.number)
            else:
                raise ReplayError("the generated code is passed a value that is no input of the graph")
        constants = {name: torch.load(path, weights_only=True) for name, path in recorded.constants.items()}
        return cls(Path(recorded.path).read_text("utf-8"), tuple(args), tuple(recorded.results), constants)

    def loaded(self) -> Callable[[Mapping[str, Any]], list[Any]]:
        """A function of the inputs by name: all that the code returns."""
        names: dict[str, Any] = {"__name__": "cutaway_generated"}
        exec(compile(self.section(), "<generated code>", "exec"), names)
        names |= self.constants

        def call(inputs: Mapping[str, Any]) -> list[Any]:
            return outputs(names["call"]([inputs[one] if isinstance(one, str) else one for one in self.args]))

        return call

    def section(self) -> str:
        """The text as it stands in a reproducer: without what only benchmarks need.

        Raises:
            ReplayError: it is no Python, or has no function `call`.
        """
        try:
            body = ast.parse(self.text).body
        except SyntaxError as error:
            raise ReplayError("the generated code is no Python", str(error)) from error
        lines = self.text.splitlines()
        gone: set[int] = set()
        for place, node in enumerate(body):
            is_docstring = not place and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            named = isinstance(node, ast.FunctionDef) and node.name in _LEFT_OUT
            if is_docstring or named or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)):
                gone.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if not any(_defines(node, "call") for node in body):
            raise ReplayError("the generated code has no function call()", "it is that of a wrapper in C++")
        return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone).strip() + "\n"


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(one, ast.Name) and one.id == name for one in targets)

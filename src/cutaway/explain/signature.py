"""How generated code is called: read off its text, which is not executed."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from cutaway.errors import ExplainError


@dataclass(frozen=True)
class Signature:
    """How generated code is called; None for what cannot be read off it.

    Attributes:
        inputs: so many values ``call`` takes.
        outputs: so many it returns.
    """

    inputs: int | None
    outputs: int | None

    def __str__(self) -> str:
        inputs, outputs = ("?" if number is None else number for number in (self.inputs, self.outputs))
        return f"{inputs} inputs and {outputs} outputs"


def signature_of(text: str) -> Signature:
    """The signature of output code (of its ``call``), or of a graph (of the ``forward`` of ``class Graph``).

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(text)
    graphs = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Graph"]
    for function in ast.walk(graphs[0] if graphs else tree):
        if isinstance(function, ast.FunctionDef) and function.name == ("forward" if graphs else "call"):
            returned = [node for node in function.body if isinstance(node, ast.Return)]
            result = returned[-1].value if returned else None
            outputs = len(result.elts) if isinstance(result, ast.Tuple) else None
            return Signature(len(function.args.args) - 1 if graphs else _unpacked(function), outputs)
    return Signature(None, None)


def _unpacked(function: ast.FunctionDef) -> int | None:
    """``a, b = args`` at the beginning of ``call``."""
    for statement in function.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value) == "args":
            target = statement.targets[0]
            return len(target.elts) if isinstance(target, ast.Tuple) else None
    return None


def refuse_other_signature(what: str, wanted: Signature, found: Signature) -> None:
    """Raises ExplainError when both are known and are not the same."""
    if wanted.inputs is not None and found.inputs is None:
        raise ExplainError(
            f"the edited code of {what} cannot be swapped in",
            f"it has no function that takes what is passed: there were {wanted}",
            "keep `call` and the line that unpacks its args (of a graph, `forward` of `class Graph`)",
        )
    for name in ("inputs", "outputs"):
        one, other = getattr(wanted, name), getattr(found, name)
        if one is not None and other is not None and one != other:
            raise ExplainError(
                f"the edited code of {what} cannot be swapped in",
                f"its signature has changed: it had {wanted}, and has {found} now",
                "keep the values that it takes and returns; what is inside may change",
            )

"""No compiler: the piece runs as it was captured (``backend="eager"``)."""

from __future__ import annotations

from typing import Any

from cutaway.compiler.build.interface import Compiled, CompilerInterface, Task


class EagerCompiler(CompilerInterface):
    """Runs pieces as they are: what vLLM's debugging guide calls "Inductor off". Nothing is kept."""

    name = "eager"

    def factors(self) -> dict[str, Any]:
        return {}

    def compile(self, task: Task) -> Compiled:
        return _EagerPiece(task)


class _EagerPiece(Compiled):
    def __init__(self, task: Task) -> None:
        self.graph = task.graph

    def __call__(self, *args: Any) -> Any:
        return self.graph.forward(*args)

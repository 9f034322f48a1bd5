"""Passes over the last graph of every piece, run inside of Inductor."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import fx

from cutaway import torch_internals
from cutaway.errors import CompileError, ConfigError, CutawayError

if TYPE_CHECKING:
    from cutaway.compiler.build.ranges import Range


@dataclass(frozen=True)
class PassContext:
    """What a pass may ask while it runs.

    Attributes:
        compile_range: the batch sizes that the piece is compiled for.
        piece: its name.
    """

    compile_range: Range
    piece: str


_context: ContextVar[PassContext] = ContextVar("cutaway_pass_context")  # Inductor calls a pass with a graph alone


@contextmanager
def pass_context(compile_range: Range, piece: str = "piece") -> Generator[None]:
    """Within the block, passes are asked to rewrite a piece for these batch sizes."""
    token = _context.set(PassContext(compile_range, piece))
    try:
        yield
    finally:
        _context.reset(token)


def get_pass_context() -> PassContext:
    """The context of the pass that is running. Raises LookupError outside of a compile."""
    return _context.get()


class InductorPass(torch_internals.custom_graph_pass()):  # type: ignore[misc]
    """A pass over an fx graph of ATen ops, in place. vLLM's class of that name is the model.

    ``uuid()`` stands in the cache key: by default a digest of the source of the class.
    """

    @property
    def name(self) -> str:
        """What dumps, logs and switches (``pass:NAME``) call it."""
        return type(self).__name__

    def __call__(self, graph: fx.Graph) -> None:
        raise NotImplementedError

    def uuid(self) -> Any:
        """What tells this pass from any other that would rewrite a graph in another way."""
        return self.hash_source(type(self))

    def is_applicable(self, compile_range: Range) -> bool:
        """Whether the pass wants to run for these batch sizes."""
        return True

    @staticmethod
    def hash_source(*sources: Any) -> str:
        """A digest of the source code of classes, functions or texts."""
        found = hashlib.sha256()
        for source in sources:
            found.update((source if isinstance(source, str) else inspect.getsource(source)).encode())
        return found.hexdigest()


class CallablePass(InductorPass):
    """A plain function of a graph, as a pass.

    Args:
        function: changes a graph in place.
    """

    def __init__(self, function: Callable[[fx.Graph], Any]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, graph: fx.Graph) -> None:
        self.function(graph)

    def uuid(self) -> Any:
        try:
            return self.hash_source(self.function)
        except (OSError, TypeError) as error:
            raise ConfigError(
                f"the pass {self.name} has no source to make a cache key of",
                str(error),
                "derive a class from InductorPass and give it a uuid()",
            ) from error


Watch = Callable[[str, fx.GraphModule, str, int], None]


class PostGradPassManager(InductorPass):
    """Runs the passes of a configuration, in order, at the end of Inductor's own.

    Args:
        passes: them; functions are wrapped in a :class:`CallablePass`.
        watch: told of every pass, ``("begin" or "end", graph module, name, number)``: the recorder listens there.
    """

    def __init__(self, passes: Sequence[Any], watch: Watch | None = None) -> None:
        self.passes = [one if isinstance(one, InductorPass) else CallablePass(one) for one in passes]
        self.watch = watch

    def __call__(self, graph: fx.Graph) -> None:
        gm = graph.owning_module
        for number, one in enumerate(self.passes):
            if not one.is_applicable(get_pass_context().compile_range):
                continue
            if self.watch is not None and gm is not None:
                self.watch("begin", gm, one.name, number)
            try:
                one(graph)
            except CutawayError:
                raise
            except Exception as error:
                raise CompileError(
                    f"the pass {one.name} failed",
                    f"{type(error).__name__}: {error}",
                    f'correct it, or switch it off: off=["pass:{one.name}"]',
                ) from error
            if self.watch is not None and gm is not None:
                self.watch("end", gm, one.name, number)

    def uuid(self) -> Any:
        return [[one.name, one.uuid()] for one in self.passes]

    def __getstate__(self) -> dict[str, Any]:
        """torch pickles passes into its own cache keys; who watches is no part of them."""
        return {"passes": self.passes, "watch": None}

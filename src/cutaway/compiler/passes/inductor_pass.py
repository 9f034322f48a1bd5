"""What a pass is: an object whose fields are its options, with a name, and an identity for the cache key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import fx

from cutaway import torch_internals
from cutaway.identity.sources import UncacheableError, digest, top
from cutaway.identity.stable import canonical, stable

if TYPE_CHECKING:
    from cutaway.compiler.build.ranges import Range


@dataclass(frozen=True)
class InductorPass(torch_internals.custom_graph_pass()):  # type: ignore[misc]
    """A pass over an fx graph, in place. vLLM's class of that name is the model, xdsl's passes are for the options.

    Derive a frozen dataclass from it; its fields are the options of the pass:

        @dataclass(frozen=True)
        class ScaleFusion(InductorPass):
            name = "scale_fusion"
            largest: int = 8

            def __call__(self, graph: fx.Graph) -> None: ...

    Attributes:
        name: what dumps, logs and switches (``pass:NAME``) call it; the name of the class where it sets none.
        produces: names of ops (``cutaway.ops``) that it may put into a graph, each with the ops that must all be there
            for that: their implementations are in the cache key of such graphs.
    """

    name: ClassVar[str] = ""
    produces: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def __call__(self, graph: fx.Graph) -> None:
        """Rewrite the graph; :func:`~cutaway.compiler.get_pass_context` says for what, and takes what was counted."""
        raise NotImplementedError

    def uuid(self) -> str | None:
        """What tells this pass from any other that would rewrite a graph in another way: sources and options.

        A source is the whole file of the class, because a pass calls what stands beside it; and what its code reads by
        name counts as it is now. None when the pass cannot be told from its like in another process: what it rewrites
        is then compiled at each start.
        """
        try:
            home = top(type(self).__module__)
            return digest(canonical(stable(self.made_of(), f"the pass {self.name}", home=home)))
        except UncacheableError:
            return None

    def made_of(self) -> Any:
        """What stands for the pass wherever code reads it: its name, its class, its options."""
        return [self.name, type(self), vars(self)]

    def is_applicable_for_range(self, compile_range: Range) -> bool:
        """Whether the pass wants to run for these batch sizes."""
        return True


CutawayPass = InductorPass


@dataclass(frozen=True)
class CallablePass(InductorPass):
    """A plain function of a graph, as a pass.

    Attributes:
        function: changes a graph in place.
    """

    function: Callable[[fx.Graph], Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", getattr(self.function, "__name__", type(self.function).__name__))

    def __call__(self, graph: fx.Graph) -> None:
        self.function(graph)


def as_pass(given: Any) -> InductorPass:
    """A pass as it is, a function as a pass."""
    return given if isinstance(given, InductorPass) else CallablePass(given)

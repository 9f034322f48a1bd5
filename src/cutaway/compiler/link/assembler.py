"""Plan and artifacts -> a function: the one assembler, for a cold and for a warm start."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from cutaway import torch_internals
from cutaway.compiler.build.interface import Runnable
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.link.dispatch import make_dispatch
from cutaway.compiler.link.hold import hold_inputs
from cutaway.compiler.link.plan import Plan, PlannedPiece
from cutaway.compiler.link.stitching import compile_execution_fn
from cutaway.compiler.session import Inspector


class Wrap(Protocol):
    """What a runnable is wrapped in before it is linked (a CUDA graph), or itself."""

    def __call__(self, runnable: Runnable, piece: PlannedPiece) -> Runnable: ...


def assemble(
    plan: Plan,
    runnable: Callable[[PlannedPiece, Range], Runnable],
    wrap: Wrap,
    *,
    filename: str = "<execution_code>",
    inspector: Inspector | None = None,
) -> Callable[..., Any]:
    """The model as a function of its flat inputs.

    For every range the stitching code is linked with what runs the pieces in that range, so that the batch size is
    looked at once a call, not once a piece.

    Args:
        plan: how the pieces are put together.
        runnable: what runs a piece in a range.
        wrap: applied to each compiled piece in each range, before it is linked.
        filename: what tracebacks call the stitching code.
        inspector: sees what is linked, and may put something in its place.
    """
    functions: list[Callable[..., Any]] = []
    for span in plan.ranges:
        # Pieces that share their code are wrapped one by one: each call has its own addresses.
        pieces = [
            runnable(piece, span) if piece.is_splitting else wrap(runnable(piece, span), piece) for piece in plan.pieces
        ]
        code = plan.code
        if inspector is not None:
            code, pieces = inspector.linking(code, [piece.name for piece in plan.pieces], pieces, str(span))
        function = compile_execution_fn(code, pieces, plan.consts, filename=filename)
        functions.append(function if inspector is None else inspector.whole(function))
    if plan.batch is None:
        return functions[0]
    return make_dispatch(plan.ranges, functions, plan.batch)


#: How a plan that torch reads back from a kept model is linked. torch calls the class that it kept with bytes alone;
#: this is how that class reaches the session that is loading.
loading: ContextVar[Callable[[Plan], Callable[..., Any]]] = ContextVar("cutaway_loading")


class LinkedModel(torch_internals.serializable_callable()):  # type: ignore[misc]
    """A linked model, in the form in which torch keeps it with what Dynamo generated around it."""

    def __init__(self, plan: Plan, call: Callable[..., Any]) -> None:
        self.plan = plan
        self.call = hold_inputs(plan.held_inputs, call)

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)

    @classmethod
    def serialize_compile_artifacts(cls, compiled_fn: LinkedModel) -> bytes:
        """The plan; artifacts are in the store, under the keys that it names."""
        return compiled_fn.plan.to_bytes()

    @classmethod
    def deserialize_compile_artifacts(cls, data: bytes) -> LinkedModel:
        """The plan, linked by the session that is loading."""
        plan = Plan.from_bytes(data)
        return cls(plan, loading.get()(plan))

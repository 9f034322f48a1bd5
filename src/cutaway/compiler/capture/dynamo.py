"""Model -> one flat graph, by Dynamo; and the function that calls whatever was made of the graph.

The graph is handed to a backend while Dynamo's tracing context is open. What Dynamo generates around it (reading the
weights out of the model, building the result) is kept with it, by torch's ahead-of-time compile
(``torch._dynamo.aot_compile``), so that a warm start runs none of the model's Python.
"""

from __future__ import annotations

import gc
import inspect
import io
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.capture.questions import owner_of
from cutaway.compiler.capture.regions import inline_regions, repeated_classes, repeated_layers_once
from cutaway.compiler.capture.writes import check_writes
from cutaway.compiler.config import CompilationConfig, DynamicShapes, Part
from cutaway.errors import CaptureError, CutawayError, InputError

Backend = Callable[[fx.GraphModule, list[Any]], Any]


@dataclass
class Captured:
    """A captured model.

    Attributes:
        call: runs it: the arguments of the model's forward, with ``self`` before them.
        aot: torch's own object behind that.
        sources: files whose code was traced, from torch's own record.
        without_regions: why layers that repeat were traced one by one, when they were.
        questions: what was read of globals and of the model's own objects, as guards say (``questions.py``).
    """

    call: Callable[..., Any]
    aot: Any
    sources: tuple[str, ...] = ()
    without_regions: str = ""
    questions: tuple[str, ...] = ()


def _traced(forward: Callable[..., Any]) -> Callable[..., Any]:
    """What Dynamo begins with: the forward itself, or a method around it, where there are hooks on the model itself or
    Dynamo does not look at that forward (torch's own)."""
    if inspect.ismethod(forward) and isinstance(forward.__self__, torch.nn.Module):
        model = forward.__self__
        if forward == model.forward and torch_internals.has_forward_hooks(model):
            return MethodType(torch_internals.call_with_hooks, model)
    if inspect.ismethod(forward) and torch_internals.is_skipped(forward):
        return MethodType(_call_forward, forward.__self__)
    return forward


def _call_forward(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    return self.forward(*args, **kwargs)


def function_of(forward: Callable[..., Any]) -> Any:
    """The plain function that is traced."""
    traced = _traced(forward)
    return traced.__func__ if inspect.ismethod(traced) else traced


@dataclass
class Capture:
    """One capture of one model.

    Args:
        model: the module; its forward is not changed when it is over.
        forward: what is captured: ``model.forward`` or another method of it.
        config: dynamic kind, guards, regions.
        backend: makes a callable of the graph.
    """

    model: torch.nn.Module
    forward: Callable[..., Any]
    config: CompilationConfig
    backend: Backend
    reached: bool = field(default=False, init=False)

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Captured:
        """Capture with these example arguments, their dynamic dimensions marked.

        Raises:
            CaptureError: the model cannot be captured as one graph, with Dynamo's reason and the line.
        """
        if self.config.is_off(Part.REGIONS) or not repeated_classes(self.model):
            return self._capture_or_explain(args, kwargs)
        try:
            with repeated_layers_once(self.model):
                return self._capture(args, kwargs)
        except Exception as error:
            if self.reached or isinstance(error, CutawayError):
                raise
            captured = self._capture_or_explain(args, kwargs)  # without compile regions it may be one graph
            captured.without_regions = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            return captured

    def _capture_or_explain(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Captured:
        try:
            return self._capture(args, kwargs)
        except Exception as error:
            if self.reached or isinstance(error, CutawayError):  # not Dynamo's, but of what came after it
                raise
            raise _explained(error) from error

    def _capture(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Captured:
        def handed_over(gm: fx.GraphModule, inputs: list[Any]) -> Any:
            self.reached = True
            check_writes(written, _traced(self.forward), self.config.uses_cuda_graphs)
            inline_regions(gm)
            collect_again()
            shape_env = torch_internals.shape_env_of(gm)
            compiled = self.backend(gm, inputs)
            if self.config.evaluate_guards and shape_env is not None:
                torch_internals.forget_zero_one(shape_env)
            return compiled

        keep = torch_internals.keep_guards if self.config.evaluate_guards else torch_internals.drop_guards
        read: list[str] = []
        function = function_of(self.forward)

        def filtered(entries: Sequence[Any]) -> list[bool]:
            read.extend(torch_internals.guarded_values(entries, owner_of(function), function.__globals__))
            return keep(entries)

        with (
            _settings(self.config),
            torch.no_grad(),
            torch_internals.python_writes() as written,
            _garbage_left() as collect_again,
        ):
            compiled = torch.compile(
                _traced(self.forward),
                backend=handed_over,
                fullgraph=True,
                dynamic=False,
                options={"guard_filter_fn": filtered},
            )
            aot = compiled.aot_compile((args, dict(kwargs)))  # pyright: ignore[reportFunctionMemberAccess]
        captured = _captured(aot, self.config.evaluate_guards)
        captured.questions = tuple(read)
        return captured


def _captured(aot: Any, evaluate_guards: bool) -> Captured:
    """What runs a captured model. torch would check its guards in a way that says nothing of use when one fails."""
    aot.disable_guard_check()

    def guarded(*args: Any, **kwargs: Any) -> Any:
        failed = torch_internals.failed_guard(aot, args, kwargs)
        if failed is not None:
            now = ", ".join(f"{size} is {value}" for size, value in failed.values.items())
            made = f", made at {failed.place}" if failed.place else ""
            raise InputError(
                "a guard that was made when the model was captured does not hold for this call",
                f"{failed.code}{made}{'; now ' if now else ''}{now}",
                "give a call for which it holds, or compile another copy of the model for this kind of call",
            )
        return aot(*args, **kwargs)

    return Captured(guarded if evaluate_guards else aot, aot, torch_internals.traced_files(aot))


@contextmanager
def _garbage_left() -> Generator[Callable[[], None]]:
    """Leave garbage lying until the function given is called; from then on, look at newer objects only.

    Tracing makes objects by the million and hardly any garbage, while a collection walks over all that a process with
    a large model holds: a quarter of Dynamo's time, and most of a second whenever Inductor sets one off. An engine
    that froze its heap itself (``gc.freeze``) finds it frozen afterwards.
    """
    collecting = gc.isenabled()
    thawed = gc.get_freeze_count() == 0

    def collect_again() -> None:
        if thawed:
            gc.freeze()
        if collecting:
            gc.enable()

    gc.disable()
    try:
        yield collect_again
    finally:
        if thawed:
            gc.unfreeze()
        if collecting:
            gc.enable()


@contextmanager
def _settings(config: CompilationConfig) -> Generator[None]:
    with ExitStack() as stack:
        stack.enter_context(torch_internals.patched_dynamo(enable_cpp_symbolic_shape_guards=False))
        if config.dynamic_shapes is DynamicShapes.BACKED_SIZE_OBLIVIOUS:
            stack.enter_context(torch_internals.size_oblivious())
        yield


_CURES = (
    (
        "force_disable_caches",
        "switch that setting (TORCHINDUCTOR_FORCE_DISABLE_CACHES) off and give disable_cache=True, or set"
        " CUTAWAY_DISABLE_CACHE=1, which stands for torch's caches and ours",
    ),
    (
        "Size-like symbols",
        "nobody may ask for the value of an unbacked size, such as the batch under dynamic_shapes='unbacked': take"
        " backed sizes, use torch.where or torch.cond, or take the branch outside",
    ),
    ("data-dependent", "a value in a tensor decides what runs: use torch.where or torch.cond, or take it outside"),
    ("Graph break", "torch._dynamo.explain(model)(inputs) lists every break; take the call out of the compiled part"),
    ("could not extract specialized", "use torch.where or torch.cond, or take the branch outside"),
    (
        "Constraints violated",
        "the model fixes a dimension that was marked as dynamic: keep it symbolic, or leave it out",
    ),
)


def _explained(error: Exception) -> CaptureError:
    """Dynamo's error as one of ours: what, why in its own words, and the cure."""
    text = str(error).strip()
    cure = next((cure for sign, cure in _CURES if sign.lower() in (type(error).__name__ + text).lower()), "")
    first = text.split("\n\n", 1)[0]
    return CaptureError(
        "the model cannot be captured as one graph", f"{type(error).__name__}: {first}{_line(error)}", cure
    )


def _line(error: Exception) -> str:
    """The line of the model that Dynamo stopped at."""
    stack = getattr(error, "real_stack", None)
    frame = stack[-1] if stack else None
    return f" (at {frame.filename}:{frame.lineno} in {frame.name})" if frame is not None else ""


def keep(captured: Captured, forward: Callable[..., Any]) -> bytes:
    """A captured model as bytes, without the model's own objects: they are found in the live model again.

    Raises:
        Exception: torch cannot keep it; the reason is torch's.
    """
    return torch_internals.serialize_aot(captured.aot, _external(forward))


def revive(data: bytes, forward: Callable[..., Any], evaluate_guards: bool) -> Captured:
    """What :func:`keep` wrote, for the live model. Raises any exception when it cannot be used."""
    aot = torch_internals.deserialize_aot(io.BytesIO(data), function_of(forward).__globals__, _external(forward))
    return _captured(aot, evaluate_guards)


def _external(forward: Callable[..., Any]) -> dict[str, Any]:
    """What the function closes over: not pickled, but taken from the live function."""
    closure = function_of(forward).__closure__ or ()
    return {f"closure_{index}": cell.cell_contents for index, cell in enumerate(closure)}

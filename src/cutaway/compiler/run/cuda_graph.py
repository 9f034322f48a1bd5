"""Capturing and replaying a piece, or the whole model, as a CUDA graph."""

from __future__ import annotations

import difflib
import importlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from cutaway.compiler.config import CompilationConfig, CUDAGraphMode, Part
from cutaway.compiler.counters import CompilationCounter
from cutaway.compiler.run.context import Batch, BatchDescriptor, capture_allowed, current_batch
from cutaway.compiler.run.graphs import Graph, GraphPool
from cutaway.errors import CompileError, ConfigError, InputError
from cutaway.torch_internals import inductor_partition_wrapper, named_leaves

logger = logging.getLogger(__name__)
Runnable = Callable[..., Any]


@dataclass(frozen=True)
class CUDAGraphOptions:
    """How one wrapper captures (vLLM's names and meanings).

    Attributes:
        debug_log_enable: log each capture; on for the first piece alone, the others say the same.
        gc_disable: do not give unused memory back before each capture; off for the first piece alone, since doing it
            again for every layer makes capturing very slow.
        weak_ref_output: give the outputs' memory back to the pool already within the capture; on for the last piece
            alone, since no other graph reads what it returns.
    """

    debug_log_enable: bool = True
    gc_disable: bool = False
    weak_ref_output: bool = True


@dataclass(frozen=True)
class _Entry:
    """A captured graph, the outputs that every replay fills, and what it was captured with, by name."""

    graph: Graph
    output: Any
    inputs: dict[str, Any]


class CUDAGraphWrapper:
    """Runs a runnable plainly, or as a CUDA graph: captured at the first call for a batch, replayed at all others.

    What a call does depends on the batch that the engine set around it (:func:`~.context.batch_context`):

    1. no batch, or one whose mode is not this wrapper's: the runnable is called. So a wrapper around the whole model
       (``FULL``) and those around the pieces in it (``PIECEWISE``) nest: for each batch one kind is awake.
    2. a descriptor that is new to this wrapper: the call is captured, if the engine allows that now
       (:func:`~.context.allow_capture`), and an error if not. Its outputs are as valid as a plain call's.
    3. one that was captured: the graph is replayed, and the outputs of the capture are returned, newly filled.

    The descriptor is trusted: that two batches with equal descriptors may share a graph is the engine's word.

    A graph reads its inputs where they lay at the capture. The wrapper has no buffers and copies nothing, because it
    does not know which dimension of which input varies: the engine passes the same addresses again, or has the model's
    inputs copied into buffers (``cudagraph_copy_inputs``). A splitting op between two pieces must likewise write into
    a tensor that it is given, as vLLM's attention does, and not return a new one. ``debug`` checks all of it at each
    replay. Numbers among the inputs are part of the graph too.

    Outputs live in the pool that all graphs of a session share: they are valid until the next batch is captured or
    replayed. The entries hold weak references to them, so that capturing the next size can reuse this one's memory.

    Each place in the model that calls a piece needs a wrapper of its own, also where two call the same compiled code:
    their parameters lie elsewhere.

    Attributes of the runnable can be reached through the wrapper. A platform of its own names another class with this
    constructor in ``CompilationConfig.cudagraph_wrapper``.

    Args:
        runnable: a piece, or the whole model.
        mode: ``PIECEWISE`` or ``FULL``: for which batches it is awake.
        pool: the session's pool.
        counters: the session's counters.
        options: see :class:`CUDAGraphOptions`.
        debug: check at each replay that the inputs are where they were.
        name: what logs and errors call it.
    """

    def __init__(
        self,
        runnable: Runnable,
        mode: CUDAGraphMode,
        pool: GraphPool,
        counters: CompilationCounter,
        options: CUDAGraphOptions | None = None,
        *,
        debug: bool = False,
        name: str = "the model",
    ) -> None:
        assert mode in (CUDAGraphMode.PIECEWISE, CUDAGraphMode.FULL), mode
        self.runnable = runnable
        self.mode = mode
        self.pool = pool
        self.counters = counters
        self.options = options or CUDAGraphOptions()
        self.debug = debug
        self.name = name
        self.entries: dict[BatchDescriptor, _Entry] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "runnable":  # not there yet (a copy being made): do not look for it in itself
            raise AttributeError(name)
        return getattr(self.runnable, name)

    def unwrap(self) -> Runnable:
        """The runnable, without any wrapper."""
        runnable = self.runnable
        return runnable.unwrap() if isinstance(runnable, CUDAGraphWrapper) else runnable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        batch = current_batch()
        if batch is None or batch.mode is not self.mode:
            return self.runnable(*args, **kwargs)
        entry = self.entries.get(batch.descriptor)
        if entry is None:
            return self._capture(batch, args, kwargs)
        if self.debug:
            self._check(entry, batch, _inputs(args, kwargs))
        entry.graph.replay()
        self.counters.cudagraphs_replayed += 1
        return entry.output

    def _capture(self, batch: Batch, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not capture_allowed():
            raise CompileError(
                f"{self.name} has no CUDA graph for {batch.descriptor} in mode {batch.mode.name}",
                "none was captured, and now is no time for it: capturing waits for the device and takes memory",
                "capture it inside allow_capture() before serving, or run such a batch in mode NONE",
            )
        if self.options.debug_log_enable:
            logger.debug("capturing %s in mode %s for %s", self.name, batch.mode.name, batch.descriptor)
        inputs = _inputs(args, kwargs)  # before the call: Inductor's functions empty the list that they are called with
        call = partial(self.runnable, **kwargs)
        collect, release = not self.options.gc_disable, self.options.weak_ref_output
        try:
            graph, output = self.pool.backend.capture(call, args, self.pool.handle, collect=collect, release=release)
        except Exception as error:
            error.add_note(
                f"cutaway: this happened while {self.name} was captured as a CUDA graph for {batch.descriptor}. An op "
                "that waits for the device cannot be captured: make it a splitting op, or run in mode NONE."
            )
            raise
        self.entries[batch.descriptor] = _Entry(graph, self.pool.backend.weak_references(output), inputs)
        self.counters.cudagraphs_captured += 1
        # The outputs themselves, not the references: as long as the caller needs them, the pieces that are captured
        # next must not allocate over them.
        return output

    def _check(self, entry: _Entry, batch: Batch, inputs: dict[str, Any]) -> None:
        moved = [name for name in {**entry.inputs, **inputs} if entry.inputs.get(name) != inputs.get(name)]
        if moved:
            text = "; ".join(f"{name}: {entry.inputs.get(name)} then, {inputs.get(name)} now" for name in moved)
            raise InputError(
                f"{self.name} cannot be replayed for {batch.descriptor}: other inputs than at its capture: {text}",
                "a CUDA graph reads its inputs where they lay when it was captured",
                "keep inputs in buffers (or set cudagraph_copy_inputs); a splitting op must write into a tensor it is "
                "given, not return a new one",
            )


def _inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a graph takes for granted of each input, by the input's name: a tensor's place, a number's value."""
    facts: dict[str, Any] = {}
    for kind, given in (("args", args), ("kwargs", kwargs)):
        for name, value in named_leaves(given):
            if isinstance(value, torch.Tensor):
                facts[kind + name] = f"{value.data_ptr():#x} {tuple(value.shape)} {value.dtype}"
            elif isinstance(value, int | float | str | None):
                facts[kind + name] = repr(value)
    return facts


def wrap_with_cudagraph_if_needed(
    runnable: Runnable,
    config: CompilationConfig,
    counters: CompilationCounter,
    pool: GraphPool,
    *,
    is_first: bool,
    is_last: bool,
    mode: CUDAGraphMode = CUDAGraphMode.PIECEWISE,
    name: str = "the model",
) -> Runnable:
    """A compiled piece (or, with ``FULL``, the whole model) as the configuration wants it run.

    Args:
        runnable: what to wrap.
        config: its ``cudagraph_mode`` and ``off`` say whether, its ``cudagraph_wrapper`` with what.
        counters: the session's counters.
        pool: the session's pool; it warns, once, when there is no CUDA.
        is_first: whether this is the first piece that is compiled; for the whole model, true.
        is_last: whether it is the last one; for the whole model, true.
        mode: ``PIECEWISE`` for a piece, ``FULL`` for the whole.
        name: what logs and errors call it.

    Returns:
        The wrapped runnable; the runnable itself when CUDA graphs are off, when the mode has no such graphs, when
        there is no CUDA, or when Inductor cuts the graph (see :func:`maybe_use_cudagraph_partition_wrapper`).

    Raises:
        ConfigError: there is no such wrapper class.
    """
    if mode is CUDAGraphMode.PIECEWISE and config.use_inductor_graph_partition:
        return runnable
    if not _is_wanted(config, mode) or not pool.is_available:
        return runnable
    options = CUDAGraphOptions(debug_log_enable=is_first, gc_disable=not is_first, weak_ref_output=is_last)
    wrapper = _wrapper_class(config.cudagraph_wrapper)
    return wrapper(runnable, mode, pool, counters, options, debug=config.debug, name=name)


def maybe_use_cudagraph_partition_wrapper(
    config: CompilationConfig, counters: CompilationCounter, pool: GraphPool
) -> AbstractContextManager[None]:
    """Around compiling and loading: with ``use_inductor_graph_partition``, Inductor's partitions are the pieces.

    They are then wrapped as pieces of ours are, by the hook that Inductor has for it.
    """
    unwrapped = not (config.use_inductor_graph_partition and _is_wanted(config, CUDAGraphMode.PIECEWISE))
    if unwrapped or not pool.is_available:
        return nullcontext()
    wrapper = _wrapper_class(config.cudagraph_wrapper)

    def wrap(partition: Runnable, index: int, number: int) -> Runnable:
        options = CUDAGraphOptions(index == 0, index != 0, index == number - 1)
        name = f"partition {index}"
        return wrapper(partition, CUDAGraphMode.PIECEWISE, pool, counters, options, debug=config.debug, name=name)

    return inductor_partition_wrapper(wrap)


def _is_wanted(config: CompilationConfig, mode: CUDAGraphMode) -> bool:
    wanted = config.cudagraph_mode.whole if mode is CUDAGraphMode.FULL else config.cudagraph_mode.pieces
    return wanted and not config.is_off(Part.CUDA_GRAPHS)


def _wrapper_class(name: str) -> Callable[..., Runnable]:
    """The platform's wrapper class, by its dotted name."""
    module_name, _, attribute = name.rpartition(".")
    known, why = [f"{__name__}.{CUDAGraphWrapper.__name__}"], f"{module_name} has no such class"
    try:
        module = importlib.import_module(module_name)
        if isinstance(found := getattr(module, attribute, None), type):
            return found
        known += [f"{module_name}.{other}" for other, value in vars(module).items() if isinstance(value, type)]
    except (ImportError, ValueError) as error:  # ValueError: a name without a module
        why = str(error)
    near = difflib.get_close_matches(name, known, n=2)
    cure = f"did you mean {' or '.join(near)}" if near else "give the dotted name of a class like CUDAGraphWrapper"
    raise ConfigError(f"there is no CUDA graph wrapper {name!r}", why, cure)

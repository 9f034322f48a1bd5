"""The seam behind which CUDA graphs are captured: what a backend must do, the real one, and one that records."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from cutaway.torch_internals import map_tensors, named_leaves, weak_tensor


class Graph(Protocol):
    """What was captured."""

    def replay(self) -> None:
        """Do it again: read the same inputs, write into the same outputs, at the addresses of the capture."""
        ...


class GraphBackend(Protocol):
    """Who captures. Pools and graphs are opaque to everyone else."""

    def is_available(self) -> bool:
        """Whether graphs can be captured on this machine."""
        ...

    def new_pool(self) -> Any:
        """A pool of memory that several graphs share, as long as they are never replayed at the same time."""
        ...

    def capture(
        self, call: Callable[..., Any], args: tuple[Any, ...], pool: Any, *, collect: bool, release: bool
    ) -> tuple[Graph, Any]:
        """Capture ``call(*args)`` and run it once, so that its outputs hold what a plain call would have given.

        Args:
            call: what to capture.
            args: with what; their addresses become part of the graph.
            pool: where everything that it allocates comes from.
            collect: give unused memory back first (garbage collection and an empty cache). It is slow, and once for
                a whole model is enough.
            release: give the outputs' memory back to the pool within the capture, so that graphs captured later may
                overwrite it. Right only if none of them reads it.

        Returns:
            The graph, and the outputs: weak references if they were released.
        """
        ...

    def weak_references(self, value: Any) -> Any:
        """The same nest of tensors, over the same memory, without keeping it alive; the graph does that."""
        ...


class GraphPool:
    """The memory that all graphs of one session share, and who captures into it. Sessions share nothing.

    Args:
        backend: who captures; default :class:`TorchGraphs`.
    """

    def __init__(self, backend: GraphBackend | None = None) -> None:
        self.backend: GraphBackend = backend or TorchGraphs()

    @functools.cached_property
    def handle(self) -> Any:
        """The pool itself, made when the first graph is captured."""
        return self.backend.new_pool()

    @functools.cached_property
    def is_available(self) -> bool:
        """Whether graphs can be captured; if not, a warning says so, once for the session."""
        available = self.backend.is_available()
        if not available:
            text = "cutaway: CUDA graphs were asked for, and there is no CUDA here: everything runs without them"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return available


class TorchGraphs:
    """CUDA graphs of PyTorch.

    ``torch.cuda.graph`` empties the caches before each capture, which costs far more than the capture of a small
    piece, and has no switch for it (vLLM patches ``empty_cache`` away meanwhile). So this begins and ends captures
    itself, as :class:`torch.cuda.CUDAGraph` allows.
    """

    def __init__(self) -> None:
        self._streams: dict[int, torch.cuda.Stream] = {}
        self._said_strong = False

    def is_available(self) -> bool:
        return torch.cuda.is_available()

    def new_pool(self) -> Any:
        return torch.cuda.graph_pool_handle()

    def capture(
        self, call: Callable[..., Any], args: tuple[Any, ...], pool: Any, *, collect: bool, release: bool
    ) -> tuple[Graph, Any]:
        if collect:
            gc.collect()
            torch.cuda.empty_cache()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream()), _no_collection():
            # thread_local: another thread that allocates, such as a second engine, does not end this capture.
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                output = call(*args)
                if release:  # here and not after the capture: what follows is then allocated over it
                    output = self.weak_references(output)
            except BaseException:
                with contextlib.suppress(RuntimeError):  # it says only that the capture broke; the first error says why
                    graph.capture_end()
                raise
            graph.capture_end()
        graph.replay()  # a capture computes nothing
        return graph, output

    def weak_references(self, value: Any) -> Any:
        return map_tensors(self._weak, value)

    def _weak(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_cuda or tensor.numel() == 0:
            return tensor  # not of the pool
        weak = weak_tensor(tensor)
        if weak is None and not self._said_strong:
            self._said_strong = True
            kind = type(tensor).__name__
            text = f"cutaway: torch makes no weak reference to a {kind}: CUDA graphs will share less memory"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return tensor if weak is None else weak

    def _stream(self) -> torch.cuda.Stream:
        """The engine's own stream; CUDA cannot capture its default one, for which one of ours stands in.

        One for all captures: blocks of a pool are reused within a stream alone.
        """
        current = torch.cuda.current_stream()
        if current != torch.cuda.default_stream():
            return current
        device = torch.cuda.current_device()
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream()
        return self._streams[device]


@contextlib.contextmanager
def _no_collection() -> Generator[None]:
    """No garbage collection by itself: freeing some other CUDA object breaks a capture that is under way."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class RecordingGraphs:
    """Graphs for tests and dry runs on a machine without CUDA: all that is asked of it lands in ``events``.

    A replay calls the function again with the arguments of the capture and copies what it gives into the outputs of
    the capture: whoever passes other tensors gets the old ones' results, as with CUDA.

    Args:
        available: what :meth:`is_available` answers.
    """

    def __init__(self, *, available: bool = True) -> None:
        self.events: list[str] = []
        self._available = available
        self._pools = itertools.count()
        self._graphs = itertools.count()

    def is_available(self) -> bool:
        return self._available

    def new_pool(self) -> Any:
        pool = f"pool {next(self._pools)}"
        self.events.append(f"new {pool}")
        return pool

    def capture(
        self, call: Callable[..., Any], args: tuple[Any, ...], pool: Any, *, collect: bool, release: bool
    ) -> tuple[Graph, Any]:
        graph = _RecordedGraph(f"graph {next(self._graphs)}", call, args, self.events)
        notes = ", collected" * collect + ", output released" * release
        self.events.append(f"capture {graph.name} in {pool}{notes}")
        graph.output = graph.run()
        return graph, self.weak_references(graph.output) if release else graph.output

    def weak_references(self, value: Any) -> Any:
        """References of their own, over the same memory; here they do keep it."""
        return map_tensors(torch.Tensor.detach, value)


@dataclass
class _RecordedGraph:
    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    events: list[str]
    output: Any = None

    def run(self) -> Any:
        # Containers made anew: Inductor's functions empty the list that they are called with.
        return self.call(*map_tensors(lambda tensor: tensor, self.args))

    def replay(self) -> None:
        self.events.append(f"replay {self.name}")
        for (_, old), (_, new) in zip(named_leaves(self.output), named_leaves(self.run()), strict=True):
            if isinstance(old, torch.Tensor):
                old.detach().copy_(new)

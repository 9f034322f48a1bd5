"""The real CUDA graphs: replay equals eager, the pool is shared, addresses are checked, a capture may fail."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cutaway.compiler.config import CompilationConfig, CUDAGraphMode
from cutaway.compiler.counters import CompilationCounter
from cutaway.compiler.run.context import BatchDescriptor, allow_capture, batch_context
from cutaway.compiler.run.cuda_graph import wrap_with_cudagraph_if_needed
from cutaway.compiler.run.dispatch import CUDAGraphDispatcher, make_dispatcher
from cutaway.compiler.run.graphs import GraphPool, TorchGraphs
from cutaway.errors import InputError
from cutaway.torch_internals import weak_tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and this machine has none"),
]

NONE, PIECEWISE, FULL, BOTH = CUDAGraphMode
SIZES = (1, 2, 4, 8, 16)
HIDDEN = 64


class Model:
    """Linear layers as pieces, with a splitting op between them that writes into a buffer of the engine."""

    def __init__(self, config: CompilationConfig, *, layers: int = 3) -> None:
        self.counters, self.pool = CompilationCounter(), GraphPool()
        self.weights = [torch.randn(HIDDEN, HIDDEN, device="cuda") / 8 for _ in range(layers)]
        self.between = torch.empty(config.max_batch, HIDDEN, device="cuda")
        self.x = torch.zeros(config.max_batch, HIDDEN, device="cuda")
        self.pieces = [
            self.wrap(layer, config, is_first=n == 0, is_last=n == layers - 1, name=f"piece_0{2 * n}")
            for n in range(layers)
        ]
        self.whole = self.wrap(self.stitched, config, is_first=True, is_last=True, mode=FULL)

    def wrap(self, runnable: Callable[..., Any], config: CompilationConfig, **kwargs: Any) -> Callable[..., Any]:
        return wrap_with_cudagraph_if_needed(runnable, config, self.counters, self.pool, **kwargs)

    def stitched(self, x: torch.Tensor) -> torch.Tensor:
        for piece, weight in zip(self.pieces, self.weights, strict=True):
            (x,) = piece(x, weight)
            x = splitting_op(x, self.between[: len(x)])
        return x

    def eager(self, x: torch.Tensor) -> torch.Tensor:
        for weight in self.weights:
            (x,) = layer(x, weight)
            x = splitting_op(x, torch.empty_like(x))
        return x

    def __call__(self, descriptor: BatchDescriptor, mode: CUDAGraphMode) -> torch.Tensor:
        with batch_context(descriptor, mode):
            return self.whole(self.x[: descriptor.num_tokens])

    def capture(self, dispatcher: CUDAGraphDispatcher) -> None:
        with allow_capture():
            for descriptor, mode in dispatcher.to_capture():
                self(descriptor, NONE)
                self(descriptor, mode)


def layer(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor]:
    return (torch.nn.functional.silu(x @ weight) + x,)


def splitting_op(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.mul(x, 0.5, out=out)


@pytest.mark.parametrize("mode", [PIECEWISE, FULL, BOTH])
def test_replay_equals_eager_at_every_size(mode: CUDAGraphMode) -> None:
    config = CompilationConfig(cudagraph_mode=mode, cudagraph_capture_sizes=SIZES, max_batch=20, debug=True)
    dispatcher, model = make_dispatcher(config), Model(config)
    model.capture(dispatcher)
    for num_tokens in range(1, 21):
        for uniform in (False, True):
            model.x.normal_()
            expected = model.eager(model.x[:num_tokens])
            found = model(*dispatcher.dispatch(num_tokens, uniform=uniform))
            torch.testing.assert_close(found[:num_tokens], expected, rtol=1e-4, atol=1e-4)
    graphs = {PIECEWISE: 3, FULL: 1, BOTH: 4}[mode] * len(SIZES)
    assert model.counters.cudagraphs_captured == graphs
    assert model.counters.cudagraphs_replayed == {PIECEWISE: 6, FULL: 2, BOTH: 4}[mode] * 16


def test_the_call_that_captures_gives_valid_outputs() -> None:
    config = CompilationConfig(cudagraph_mode=PIECEWISE, max_batch=8)
    model = Model(config)
    model(BatchDescriptor(8), NONE)
    model.x.normal_()
    with allow_capture():
        found = model(BatchDescriptor(8), PIECEWISE).clone()
    torch.testing.assert_close(found, model.eager(model.x), rtol=1e-4, atol=1e-4)


def test_outputs_lie_where_the_capture_put_them() -> None:
    config = CompilationConfig(cudagraph_mode=FULL, cudagraph_capture_sizes=(8,), max_batch=8)
    dispatcher, model = make_dispatcher(config), Model(config)
    model.capture(dispatcher)
    assert model(*dispatcher.dispatch(8)).data_ptr() == model(*dispatcher.dispatch(8)).data_ptr()


def test_a_moved_input_is_named() -> None:
    config = CompilationConfig(cudagraph_mode=PIECEWISE, cudagraph_capture_sizes=(8,), max_batch=8, debug=True)
    dispatcher, model = make_dispatcher(config), Model(config)
    model.capture(dispatcher)
    model.weights[1] = model.weights[1].clone()
    with pytest.raises(InputError, match=r"piece_02 .*args\[1\]"):
        model(*dispatcher.dispatch(8))


def test_a_weak_reference_frees_the_memory() -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    tensor = torch.ones(1 << 20, device="cuda")
    weak = weak_tensor(tensor)
    assert weak is not None
    assert weak.data_ptr() == tensor.data_ptr()
    assert weak.sum().item() == 1 << 20
    del tensor
    assert torch.cuda.memory_allocated() == before


class StrongGraphs(TorchGraphs):
    """What happens without weak references: every output keeps its memory."""

    def weak_references(self, value: Any) -> Any:
        return value


def reserved_by(backend: TorchGraphs, sizes: tuple[int, ...], pieces: int) -> list[int]:
    """Bytes that torch has reserved after each size was captured; 16 KiB a row, so that segments are large."""
    config = CompilationConfig(cudagraph_mode=PIECEWISE, max_batch=sizes[0])
    counters, pool = CompilationCounter(), GraphPool(backend)
    x = torch.ones(sizes[0], 4096, device="cuda")
    wrapped = [
        wrap_with_cudagraph_if_needed(
            lambda x: (x * 2 + 1,), config, counters, pool, is_first=n == 0, is_last=n == pieces - 1
        )
        for n in range(pieces)
    ]
    reserved: list[int] = []
    for size in sizes:
        with allow_capture(), batch_context(BatchDescriptor(size), PIECEWISE):
            given = x[:size]
            for piece in wrapped:
                (given,) = piece(given)
        del given
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    return reserved


def test_smaller_sizes_and_more_pieces_reuse_the_pool() -> None:
    sizes = (4096, 3072, 2048, 1024)
    gc.collect()
    torch.cuda.empty_cache()
    shared = reserved_by(TorchGraphs(), sizes, pieces=4)
    assert shared[1:] == [shared[0]] * 3, "the largest size took all that the others need"
    gc.collect()
    torch.cuda.empty_cache()
    deep = reserved_by(TorchGraphs(), sizes[:1], pieces=12)
    assert deep[0] <= shared[0], "a piece's inputs are free once it has run"
    gc.collect()
    torch.cuda.empty_cache()
    strong = reserved_by(StrongGraphs(), sizes, pieces=4)
    assert strong[-1] > 2 * shared[-1]


def test_what_waits_for_the_device_cannot_be_captured_and_says_so() -> None:
    config = CompilationConfig(cudagraph_mode=PIECEWISE, max_batch=8)
    piece = wrap_with_cudagraph_if_needed(
        lambda x: (x * x.sum().item(),), config, CompilationCounter(), GraphPool(), is_first=True, is_last=True
    )
    with pytest.raises(RuntimeError) as caught, allow_capture(), batch_context(BatchDescriptor(8), PIECEWISE):
        piece(torch.ones(8, device="cuda"))
    assert "make it a splitting op" in caught.value.__notes__[0]
    assert gc.isenabled()
    assert torch.cuda.current_stream() == torch.cuda.default_stream()

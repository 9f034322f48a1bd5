"""Which CUDA graphs an engine captures, and which of them a batch takes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from cutaway.compiler.config import CompilationConfig, CUDAGraphMode, Part
from cutaway.compiler.run.context import BatchDescriptor
from cutaway.errors import ConfigError


def capture_sizes(config: CompilationConfig) -> tuple[int, ...]:
    """The batch sizes to capture, largest first: what the largest took from the pool serves all others.

    Raises:
        ConfigError: a size is below 1 or above ``max_batch``, or no batch would ever have a size that was compiled on
            its own, since padding makes it another.
    """
    sizes = tuple(sorted(set(config.cudagraph_capture_sizes), reverse=True))
    for size in sizes:
        if not 1 <= size <= config.max_batch:
            raise ConfigError(
                f"no CUDA graph can be captured for a batch of {size}",
                f"batches have 1 to {config.max_batch} tokens",
                "leave the size out, or change max_batch",
            )
    for size in config.compile_sizes:
        if sizes and size < sizes[0] and size not in sizes:
            padded = min(other for other in sizes if other > size)
            raise ConfigError(
                f"the compile size {size} would never be run",
                f"batches of {size} are padded to {padded} for their CUDA graph",
                "add it to cudagraph_capture_sizes or leave it out of compile_sizes",
            )
    return sizes


@dataclass(frozen=True)
class CUDAGraphDispatcher:
    """Says for each batch which graph it takes. vLLM's ``CudagraphDispatcher`` is the model.

        dispatcher = make_dispatcher(config)
        with allow_capture():
            for descriptor, mode in dispatcher.to_capture():
                with batch_context(descriptor):
                    model(*inputs[: descriptor.num_tokens])  # compiles kernels, allocates workspaces: not in a graph
                with batch_context(descriptor, mode):
                    model(*inputs[: descriptor.num_tokens])
        ...
        descriptor, mode = dispatcher.dispatch(num_tokens, uniform=is_decode)
        with batch_context(descriptor, mode):
            model(*inputs[: descriptor.num_tokens])

    Attributes:
        mode: what the model is prepared for.
        table: the captured size for each number of tokens up to the largest.
    """

    mode: CUDAGraphMode
    table: tuple[int, ...]

    def dispatch(
        self, num_tokens: int, *, uniform: bool = False, extras: tuple[Hashable, ...] = ()
    ) -> tuple[BatchDescriptor, CUDAGraphMode]:
        """The padded batch and the mode it runs in, in the order that ``batch_context`` takes them; constant time.

        A batch larger than all graphs is not padded and runs without (``NONE``). ``FULL_AND_PIECEWISE`` replays the
        whole for uniform batches, pieces for the others; in the other modes one graph of a size serves both.
        """
        if not 0 < num_tokens < len(self.table):
            return BatchDescriptor(num_tokens, uniform, extras), CUDAGraphMode.NONE
        size = self.table[num_tokens]
        if self.mode is not CUDAGraphMode.FULL_AND_PIECEWISE:
            return BatchDescriptor(size, extras=extras), self.mode
        return BatchDescriptor(size, uniform, extras), CUDAGraphMode.FULL if uniform else CUDAGraphMode.PIECEWISE

    def to_capture(self) -> list[tuple[BatchDescriptor, CUDAGraphMode]]:
        """Every graph to capture: pieces, then the whole; largest first."""
        kinds = (False, True) if self.mode is CUDAGraphMode.FULL_AND_PIECEWISE else (False,)
        sizes = sorted({*self.table} - {0}, reverse=True)
        return [self.dispatch(size, uniform=uniform) for uniform in kinds for size in sizes]


def make_dispatcher(config: CompilationConfig) -> CUDAGraphDispatcher:
    """The dispatcher for a configuration; with CUDA graphs off, every batch runs without.

    Raises:
        ConfigError: see :func:`capture_sizes`.
    """
    mode = CUDAGraphMode.NONE if config.is_off(Part.CUDA_GRAPHS) else config.cudagraph_mode
    table = [0]
    if mode is not CUDAGraphMode.NONE:
        for size in reversed(capture_sizes(config)):
            table += [size] * (size + 1 - len(table))
    return CUDAGraphDispatcher(mode, tuple(table))

"""One start of the model of startup.py, in a process of its own: times of its first call, by what happened in it.

Both sides import the same before the clock starts: torch with Dynamo and Inductor, vLLM's compiler and Cutaway's.
"""

from __future__ import annotations

import contextlib
import cProfile
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import _decoder
import _measure
import torch
import torch._dynamo
import torch._inductor.compile_fx
from torch._inductor import cpu_vec_isa
from vllm.compilation import backends as vllm_backends
from vllm.compilation.counter import compilation_counter
from vllm.compilation.decorators import support_torch_compile
from vllm.config import CompilationConfig as VllmCompilationConfig
from vllm.config import CompilationMode, CUDAGraphMode, VllmConfig, set_current_vllm_config
from vllm.forward_context import set_forward_context
from vllm.utils.torch_utils import LayerName as VllmLayerName

import cutaway.compiler
from cutaway.compiler.api import counters_of
from cutaway.compiler.backend import CutawayBackend
from cutaway.compiler.build.interpreter import PiecewiseCompileInterpreter
from cutaway.compiler.split.lift import LayerName

MAX_BATCH, TOKENS = 2048, 16


@dataclass
class Start:
    """What one start took, in seconds.

    Attributes:
        clock: what is read for all times but one.
        total: from the call to its end.
        cpu: processor time in it, this process and what it started (C++ compilers).
        capture: until the graph is handed to the backend, Dynamo for the most part; 0 when it was not.
        backend: split, compile, link.
        distinct: of the backend, what compiling pieces took that no earlier one equals.
        probe: until Inductor knew which vector instructions this machine has: it builds programs that use them, once
            for each cache folder. Nothing of it depends on the model.
        repeated: of the backend, what the other pieces took; in Cutaway, finding out for all of them that they are.
        pieces: compiled pieces.
        repeats: those of them that equal an earlier one.
        loaded: the model came out of the cache, nothing was captured.
        error: largest difference to the model's own result.
    """

    clock: Callable[[], float]
    total: float = 0
    cpu: float = 0
    capture: float = 0
    backend: float = 0
    distinct: float = 0
    probe: float = 0
    repeated: float = 0
    pieces: int = 0
    repeats: int = 0
    loaded: bool = False
    error: float = 0

    @property
    def rest(self) -> float:
        """After the backend: keeping the model in the cache, the first run."""
        return self.total - self.capture - self.backend

    def as_json(self) -> dict[str, float]:
        """All numbers."""
        return {name: value for name, value in vars(self).items() if name != "clock"} | {"rest": self.rest}


Model = Callable[[torch.Tensor], torch.Tensor]


def main(side: str, layers: int, opaque_names: bool, on_cpu: bool, profile: str | None = None) -> None:
    """Start the model and print the times as JSON.

    Args:
        side: ``vllm`` or ``cutaway``.
        layers: how many the model has.
        opaque_names: whether the attention operator is told its layer's name.
        on_cpu: measure processor time, not time: what others do on the machine counts for less.
        profile: where the profile of the first call is written to.
    """
    name_type = {"vllm": VllmLayerName, "cutaway": LayerName}[side] if opaque_names else None
    _decoder.define_attention(name_type)
    start = Start(clock=_measure.cpu_seconds if on_cpu else perf_counter)
    with torch.no_grad(), contextlib.ExitStack() as stack:
        time_probe(start, stack)
        torch.manual_seed(0)
        model = (by_vllm if side == "vllm" else by_cutaway)(layers, name_type, start, stack)
        ids = torch.arange(TOKENS) * 7
        profiler = cProfile.Profile(process_time) if on_cpu else cProfile.Profile()
        began, cpu = start.clock(), _measure.cpu_seconds()
        with profiler if profile else contextlib.nullcontext():
            model(ids)
        start.total, start.cpu = start.clock() - began, _measure.cpu_seconds() - cpu
        start.capture = start.capture and start.capture - began
        if profile:
            profiler.dump_stats(profile)
        count(side, model, start)
        start.error = difference(layers, name_type, model)
    print(json.dumps(start.as_json()))


def time_probe(start: Start, stack: contextlib.ExitStack) -> None:
    def probed(_: Any, seconds: float) -> None:
        start.probe += seconds

    stack.enter_context(timed(start.clock, cpu_vec_isa, "valid_vec_isa_list", probed))


def by_vllm(layers: int, name_type: type | None, start: Start, stack: contextlib.ExitStack) -> Model:
    """The model under vLLM's decorator."""
    compilation = VllmCompilationConfig(
        mode=CompilationMode.VLLM_COMPILE,
        splitting_ops=[_decoder.SPLITTING],
        cudagraph_mode=CUDAGraphMode.NONE,
        compile_sizes=[],
        compile_ranges_endpoints=[],
    )
    config = VllmConfig(compilation_config=compilation)
    assert config.compilation_config.mode == CompilationMode.VLLM_COMPILE, "the demo platform is not installed"
    spans = [(span.start, span.end) for span in config.compilation_config.get_compile_ranges()]
    assert spans == [(1, MAX_BATCH)], f"vLLM compiles for {spans}"
    time_vllm(start, stack)
    stack.enter_context(set_current_vllm_config(config))
    stack.enter_context(set_forward_context(None, vllm_config=config))
    return support_torch_compile(dynamic_arg_dims={"ids": 0})(_VllmDecoder)(layers, name_type=name_type)


class _VllmDecoder(_decoder.Decoder):
    """What vLLM's decorator changes in place of the class that `difference` needs as it is."""


def time_vllm(start: Start, stack: contextlib.ExitStack) -> None:
    """Have vLLM's backend and its compiler manager timed while `stack` is open."""
    seen: list[Any] = []

    def compiled(result: Any, seconds: float) -> None:
        start.pieces += 1
        if any(result is other for other in seen):
            start.repeats += 1
            start.repeated += seconds
        else:
            start.distinct += seconds
            seen.append(result)

    stack.enter_context(timed(start.clock, vllm_backends.VllmBackend, "__call__", backend_of(start)))
    stack.enter_context(timed(start.clock, vllm_backends.CompilerManager, "compile", compiled))


def by_cutaway(layers: int, name_type: type | None, start: Start, stack: contextlib.ExitStack) -> Model:
    """The model as Cutaway compiles it."""

    def compiled(_: Any, seconds: float) -> None:
        start.distinct += seconds
        start.repeated -= seconds

    def ran(_: Any, seconds: float) -> None:
        start.repeated += seconds

    stack.enter_context(timed(start.clock, CutawayBackend, "__call__", backend_of(start)))
    stack.enter_context(timed(start.clock, CutawayBackend, "_compile_all", compiled))
    stack.enter_context(timed(start.clock, PiecewiseCompileInterpreter, "run", ran))
    config = {"splitting_ops": [_decoder.SPLITTING], "max_batch": MAX_BATCH, "progress": False}
    model = _decoder.Decoder(layers, name_type)
    return cutaway.compiler.compile(model, config, dynamic_arg_dims={"ids": 0})


def backend_of(start: Start) -> Callable[[Any, float], None]:
    def ran(_: Any, seconds: float) -> None:
        start.capture = start.clock() - seconds  # a point in time, until it is known when the call began
        start.backend = seconds

    return ran


@contextlib.contextmanager
def timed(clock: Callable[[], float], owner: Any, name: str, note: Callable[[Any, float], None]) -> Generator[None]:
    """Within the block, tell `note` the result of every call of a function, and its seconds."""
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        result = original(*args, **kwargs)
        note(result, clock() - began)
        return result

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, original)


def count(side: str, model: Any, start: Start) -> None:
    """Fill in what is counted, and whether the start was warm."""
    if side == "vllm":
        start.loaded = model.was_aot_compile_fn_loaded_from_disk
        assert start.loaded or compilation_counter.num_backend_compilations == start.pieces
        return
    counters = counters_of(model)
    start.pieces, start.repeats = counters.pieces_to_compile, counters.pieces_repeated
    start.loaded = counters.models_loaded == 1


def difference(layers: int, name_type: type | None, model: Model) -> float:
    """The largest difference to what the model gives uncompiled, over batches of several sizes."""
    torch.manual_seed(0)
    plain = _decoder.Decoder(layers, name_type)
    batches = [torch.randint(0, _decoder.VOCABULARY, (tokens,)) for tokens in (1, TOKENS, 100)]
    return max(float((model(ids) - plain(ids)).abs().max()) for ids in batches)

"""Everything in torch that the recorder hooks into, to be compared before and after."""

from __future__ import annotations

import sys

import torch
from torch import fx


def watched() -> dict[str, object]:
    """The code or function behind each name, by identity; a module that is not loaded has none."""
    found: dict[str, object] = {
        "trace_structured": torch._logging._internal.trace_structured.__code__,
        "lazy_format_graph_code": fx._utils.lazy_format_graph_code.__code__,
        "print_readable": vars(fx.GraphModule)["print_readable"],
    }
    if "torch.fx.passes.graph_transform_observer" in sys.modules:
        observer = fx.passes.graph_transform_observer.GraphTransformObserver
        found["__enter__"], found["__exit__"] = vars(observer)["__enter__"], vars(observer)["__exit__"]
    if "torch._inductor.output_code" in sys.modules:
        found["post_compile"] = vars(torch._inductor.output_code.CompiledFxGraph)["post_compile"]
    if "torch._inductor.debug" in sys.modules:
        found["kernels"] = torch._inductor.debug.set_kernel_post_grad_provenance_tracing.__code__
    return found

"""Kernels in C++ for the CPU, compiled on the machine where they run: ``torch.ops.cutaway_cpp``.

Importing this defines the operators; the first call of one compiles them all (seconds, once for a machine), or finds
them compiled. They take float32, bfloat16 and float16 with any strides, and share out rows among torch's own threads.
As torch's own operators, they may not be called in a process that was forked off after its parent had used several
threads, unless it has called ``torch.set_num_threads(1)``. They have no gradients.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from cutaway.ops.kernels import build, schemas
from cutaway.ops.kernels.build import find_compiler, has_headers
from cutaway.ops.kernels.schemas import FLOATS, new_like, ops

__all__ = ["FLOATS", "SOURCES", "available", "new_like", "ops", "takes"]


SOURCES = (*build.SOURCES, Path(build.__file__), Path(schemas.__file__))
"""Every file that says what the kernels compute: part of what a provider that calls them is known by."""


def available() -> bool:
    """Whether there is what they are compiled with: a C++ compiler, and torch's headers."""
    return find_compiler() is not None and has_headers()


def takes(*tensors: Tensor | None) -> bool:
    """Whether tensors are such that the kernels can read them; None stands for a tensor that is left out."""
    for tensor in tensors:
        if tensor is not None and not (tensor.device.type == "cpu" and tensor.dtype in FLOATS):
            return False
    return True

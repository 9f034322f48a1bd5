"""Tensors: weights, contents, weak references."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch


def tensor_constant(value: torch.Tensor) -> bytes | None:
    """Bytes of a small real tensor that a graph holds as an attribute; None for fake, meta or large ones."""
    fake = isinstance(value, torch._subclasses.FakeTensor)
    if fake or value.is_meta or value.device.type != "cpu" or value.numel() > 4096:
        return None
    with torch._subclasses.fake_tensor.unset_fake_temporarily(), torch.no_grad():
        flat = value.detach().contiguous().reshape(-1)
        return bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""


def is_ordinary_call(values: Sequence[Any]) -> bool:
    """Whether a call with these inputs computes: with real tensors, and not while a CUDA graph is being captured."""
    fake = any(isinstance(value, torch._subclasses.FakeTensor) for value in values)
    return not fake and not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def version_of(value: torch.Tensor) -> int | None:
    """How often a tensor was written to (``Tensor._version``, which autograd counts); None for an inference tensor."""
    return None if value.is_inference() else value._version


def tensor_guards(values: Sequence[torch.Tensor]) -> Callable[..., bool]:
    """A function of as many tensors: whether type, dtype, device, sizes and strides of each are those of these.

    Dynamo's guards on tensors (torch/csrc/dynamo/guards.cpp), in C++: a twentieth of a microsecond a tensor.
    """
    from torch._C._dynamo.guards import TensorGuards  # noqa: PLC0415  (private: kept in one place)

    sizes: Any = [list(value.shape) for value in values]
    strides: Any = [list(value.stride()) for value in values]
    return TensorGuards(*values, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """A nest of containers (torch/utils/_pytree.py) made anew, with ``function`` of each tensor in it."""
    return torch.utils._pytree.tree_map_only(torch.Tensor, function, value)


def named_leaves(arguments: Any) -> list[tuple[str, Any]]:
    """Everything that is no container in a nest of them, with where it lies, such as ``[0]['mask']``."""
    leaves, _ = torch.utils._pytree.tree_flatten_with_path(arguments)
    return [(torch.utils._pytree.keystr(path), leaf) for path, leaf in leaves]


def weak_tensor(value: torch.Tensor) -> torch.Tensor | None:
    """A tensor over the same memory that does not keep it alive; None when torch can make none of this tensor.

    vLLM has a C++ op for it. torch/_inductor/cudagraph_trees.py makes its outputs anew at each replay from a bare
    address with the function used here; ``set_`` then works on every device.
    """
    construct = getattr(torch._C, "_construct_storage_from_data_pointer", None)
    if construct is None or type(value) not in (torch.Tensor, torch.nn.Parameter):
        return None
    memory = value.untyped_storage()
    storage = construct(memory.data_ptr(), value.device, memory.nbytes())
    empty = torch.empty(0, dtype=value.dtype, device=value.device)
    return empty.set_(storage, value.storage_offset(), value.size(), value.stride())


def tensor_bytes(value: torch.Tensor) -> bytes | None:
    """All bytes of a real tensor, on whatever device; None when they are not all there is to it."""
    plain = type(value) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    if not plain or value.is_meta or value.layout is not torch.strided or value.is_quantized:
        return None
    with torch._subclasses.fake_tensor.unset_fake_temporarily(), torch.no_grad():
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
        return ctypes.string_at(flat.data_ptr(), flat.nbytes) if flat.numel() else b""


def weights_of(module: torch.nn.Module) -> list[tuple[str, torch.Tensor | None]]:
    """Parameters and buffers that a module itself holds, in order, those that are None included."""
    return [*module._parameters.items(), *module._buffers.items()]

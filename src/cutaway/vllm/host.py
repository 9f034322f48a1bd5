"""What vLLM knows of a compile and torch does not: configuration, ranks, providers of its IR, donated inputs."""

from __future__ import annotations

import dataclasses
from enum import Enum
from importlib import import_module
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.context import Host

_DEPTH = 6


class VllmHost(Host):
    """Answers from the ``VllmConfig`` of the model being compiled (None until vLLM has shown it)."""

    def __init__(self) -> None:
        self.config: Any = None
        self._providers: dict[Any, str | None] = {}

    @property
    def engine_ops(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """vLLM's splitting ops: they read the KV cache and the forward context of a running engine."""
        if self.config is None:
            return frozenset()
        return frozenset(self.config.compilation_config.splitting_ops or ())

    @property
    def model(self) -> str | None:
        """The architecture, such as ``Qwen3ForCausalLM``."""
        model_config = getattr(self.config, "model_config", None)
        architectures = getattr(model_config, "architectures", None) or [None]
        return getattr(model_config, "architecture", None) or architectures[0]

    def ranks(self) -> tuple[int, int]:
        parallel = getattr(self.config, "parallel_config", None)
        if parallel is None:
            return super().ranks()
        return parallel.rank, getattr(parallel, "data_parallel_index", parallel.data_parallel_rank)

    def configuration(self) -> dict[str, Any]:
        return {} if self.config is None else {"model": self.model, "vllm": plain(self.config)}

    def donated_inputs(self) -> list[int]:
        context = import_module("vllm.compilation.passes.inductor_pass")._pass_context
        return sorted(context.donated_input_ids) if context is not None else []

    def provider(self, node: fx.Node) -> str | None:
        """The provider to which vLLM will lower this IR node, asked of vLLM's own dispatch.

        Its checks see sizes as plain numbers (the ones captured with), so that asking adds no guard.
        """
        overload = torch_internals.op_overload(node.target)
        if overload is None or overload.namespace != "vllm_ir":
            return None
        op = import_module("vllm.ir.op").IrOp.registry.get(overload._opname)
        if op is None:
            return None
        values = [_value(arg) if isinstance(arg, fx.Node) else arg for arg in node.args]
        key = (op.name, tuple(op.get_priority()), tuple(map(_described, values)))
        if key not in self._providers:
            with torch_internals.no_tracing_fake_mode():
                self._providers[key] = op.dispatch(*map(_concrete, values)).provider
        return self._providers[key]


def _value(node: fx.Node) -> Any:
    value = node.meta.get("val")
    return node.meta.get("example_value") if value is None else value


def _described(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        sizes = (*map(torch_internals.hint, value.shape), *map(torch_internals.hint, value.stride()))
        return value.dtype, str(value.device), sizes
    return repr(value)


def _concrete(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return torch_internals.hint(value) if isinstance(value, torch.SymInt) else value
    hint = torch_internals.hint
    sizes, strides = list(map(hint, value.shape)), list(map(hint, value.stride()))
    return torch.empty_strided(sizes, strides, dtype=value.dtype, device=value.device)


def plain(value: Any, depth: int = 0) -> Any:
    """A configuration as JSON values: dataclasses and mappings as objects, everything unknown as its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return value.name
    if depth >= _DEPTH:
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name, None), depth + 1) for name in names if not name.startswith("_")}
    if isinstance(value, dict):
        return {str(key): plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part, depth + 1) for part in value]
    if hasattr(value, "to_diff_dict"):  # a transformers configuration
        return plain(value.to_diff_dict(), depth + 1)
    return str(value)

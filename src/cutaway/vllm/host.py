"""What vLLM knows of a compile and torch does not: configuration, ranks, providers of its IR, donated inputs."""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from typing import Any

from torch import fx

from cutaway import torch_internals
from cutaway.record.context import Host
from cutaway.record.environment import plain
from cutaway.record.values import called, concrete, described, final_uses, node_value


class VllmHost(Host):
    """Answers from the ``VllmConfig`` of the model being compiled (None until vLLM has shown it)."""

    library_files = ("/vllm/ir/", "/vllm/_custom_ops.py")
    cold_start = "with VLLM_CACHE_ROOT set to an empty folder"

    def __init__(self) -> None:
        self.config: Any = None
        self._providers: dict[Any, str | None] = {}

    @property
    def engine_ops(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """vLLM's splitting ops: they read the KV cache and the forward context of a running engine."""
        return frozenset(self.config.compilation_config.splitting_ops or ()) if self.config else frozenset()

    @property
    def model(self) -> str | None:
        """The architecture, such as ``Qwen3ForCausalLM``."""
        model_config = getattr(self.config, "model_config", None)
        return (
            getattr(model_config, "architecture", None) or (getattr(model_config, "architectures", None) or [None])[0]
        )

    def ranks(self) -> tuple[int, int]:
        parallel = getattr(self.config, "parallel_config", None)
        if parallel is None:
            return super().ranks()
        return parallel.rank, getattr(parallel, "data_parallel_index", parallel.data_parallel_rank)

    def configuration(self) -> dict[str, Any]:
        return {"model": self.model, "vllm": plain(self.config)} if self.config else {}

    def donated_inputs(self) -> list[int]:
        context = import_module("vllm.compilation.passes.inductor_pass")._pass_context
        return sorted(context.donated_input_ids) if context is not None else []

    def is_trial(self) -> bool:
        """vLLM's profiling and warming-up calls have no attention metadata."""
        module: Any = sys.modules.get("vllm.forward_context")
        if module is None or not module.is_forward_context_available():
            return False
        return module.get_forward_context().attn_metadata is None

    def provider(self, node: fx.Node) -> str | None:
        """The provider to which vLLM will lower this IR node, asked of vLLM's own dispatch.

        Its checks see sizes as plain numbers (the ones captured with), so that asking adds no guard.
        """
        op = _ir_op(node.target)
        if op is None:
            return None
        values = [node_value(arg) if isinstance(arg, fx.Node) else arg for arg in node.args]
        key = (op.name, tuple(op.get_priority()), tuple(map(described, values)))
        if key not in self._providers:
            with torch_internals.no_tracing_fake_mode():
                self._providers[key] = op.dispatch(*map(concrete, values)).provider
        return self._providers[key]

    def module_that_registers(self, overload: Any) -> str | None:
        """torch does not know it of vLLM's operators; in ``vllm``, the Python function bears the operator's name."""
        known = {"_C": "vllm._custom_ops", "vllm_ir": "vllm.ir.ops"}
        if overload.namespace in known:
            return known[overload.namespace]
        return _defining_module(overload._opname)

    def make_input(self, node: fx.Node) -> str | None:
        """A packed weight of vLLM's CPU linear is passed as the address of a oneDNN handler: make a new one."""
        call = next(((user, position) for user, position in final_uses(node) if "onednn_mm" in str(called(user))), None)
        if call is None or call[1] not in (3, "handler_tensor"):
            return None
        user, _ = call
        out, activation = (
            user.kwargs.get(name, user.args[i] if i < len(user.args) else None) for i, name in enumerate("ca")
        )
        n, k = (torch_internals.hint(node_value(part).shape[-1]) for part in (out, activation))  # pyright: ignore[reportArgumentType]
        weight = f"(torch.randn({n}, {k}) * 0.1).t()"
        return f"torch.tensor(torch.ops._C.create_onednn_mm_handler({weight}, 32))"


@functools.cache
def _ir_op(target: Any) -> Any:
    """vLLM's IR op behind a node's target, if it is one."""
    overload = torch_internals.op_overload(target)
    if overload is None or overload.namespace != "vllm_ir":
        return None
    return import_module("vllm.ir.op").IrOp.registry.get(overload._opname)


@functools.cache
def _defining_module(function_name: str) -> str | None:
    for name, module in list(sys.modules.items()):
        function = vars(module).get(function_name) if name.startswith("vllm.") else None
        if getattr(function, "__module__", None) == name:
            return name
    return None

"""A plugin of vLLM that adds a pass with a wrong rewrite, in the last decoder layer only: what a trial is to find."""

from __future__ import annotations

import re
from typing import Any

LAST = re.compile(r"layers\W{1,12}(?:_modules)?\W{0,4}1\W.*mlp")


def register() -> None:
    """Entry point ``vllm.general_plugins``."""
    from vllm.compilation.passes.pass_manager import PostGradPassManager  # noqa: PLC0415 - vLLM calls this when ready

    original = PostGradPassManager.configure
    if hasattr(original, "planted"):
        return

    def configure(self: Any, config: Any) -> None:
        original(self, config)
        self.passes.append(_make(config))

    configure.planted = True  # type: ignore[attr-defined]
    PostGradPassManager.configure = configure


def _make(config: Any) -> Any:
    import torch  # noqa: PLC0415 - as above
    from vllm.compilation.passes.vllm_inductor_pass import VllmInductorPass  # noqa: PLC0415

    class GateFusionPass(VllmInductorPass):
        @VllmInductorPass.time_and_log
        def __call__(self, graph: Any) -> None:
            for node in graph.nodes:
                path = " ".join(str(one[0]) for one in (node.meta.get("nn_module_stack") or {}).values())
                if node.target is torch.ops.aten.mul.Tensor and LAST.search(path):
                    node.target = torch.ops.aten.add.Tensor
                    return

    return GateFusionPass(config)

"""A plugin of vLLM with a pass of its own, in which GALLERY_FAULT plants a fault.

wrong_pass: the last layer's gate is added where it should be multiplied.
missing_factor: the pass reads GALLERY_SCALE, and its `uuid()`, which keys vLLM's cache, does not say so.
"""

from __future__ import annotations

import os
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
            for node in graph.find_nodes(op="call_function", target=torch.ops.aten.mul.Tensor):
                path = " ".join(str(one[0]) for one in (node.meta.get("nn_module_stack") or {}).values())
                if LAST.search(path):
                    self.rewrite(graph, node)
                    return

        def rewrite(self, graph: Any, node: Any) -> None:
            if os.environ["GALLERY_FAULT"] == "wrong_pass":
                node.target = torch.ops.aten.add.Tensor
                return
            with graph.inserting_after(node):
                scale = float(os.environ.get("GALLERY_SCALE", "1"))
                made = graph.call_function(torch.ops.aten.mul.Tensor, (node, scale))
            made.meta = dict(node.meta)
            node.replace_all_uses_with(made, delete_user_cb=lambda user: user is not made)

        def uuid(self) -> str:
            return "gate fusion, version 1"

    return GateFusionPass(config)

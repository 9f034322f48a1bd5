"""The pass manager: vLLM's own, without the one pass that names CUDA-only operators."""

from typing import TYPE_CHECKING

from vllm.compilation.passes.pass_manager import PostGradPassManager
from vllm.compilation.passes.vllm_inductor_pass import VllmInductorPass

if TYPE_CHECKING:
    from torch.fx import Graph
    from vllm.config import VllmConfig


class KeepFunctionalizedPass(VllmInductorPass):
    """Stands in for `FixFunctionalizationPass`, and leaves the graph to Inductor's own clean-up."""

    @VllmInductorPass.time_and_log
    def __call__(self, graph: "Graph") -> None:
        pass


class DemoPassManager(PostGradPassManager):
    """`PostGradPassManager` for a CPU."""

    def configure(self, config: "VllmConfig") -> None:
        super().configure(config)
        self.fix_functionalization = KeepFunctionalizedPass(config)

"""The platform class: vLLM's CPU platform, with the compilation mode kept."""

import dataclasses
from typing import TYPE_CHECKING

from vllm.platforms.cpu import CpuPlatform

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.config.compilation import PassConfig


class DemoCpuPlatform(CpuPlatform):
    """`CpuPlatform` that leaves `CompilationMode.VLLM_COMPILE` as it was asked for."""

    @classmethod
    def check_and_update_config(cls, vllm_config: "VllmConfig") -> None:
        from vllm.config import CompilationMode  # noqa: PLC0415 - vllm.config imports the current platform

        compilation = vllm_config.compilation_config
        if compilation.mode != CompilationMode.VLLM_COMPILE:
            super().check_and_update_config(vllm_config)
            return

        compilation.mode = CompilationMode.DYNAMO_TRACE_ONCE  # the parent rewrites VLLM_COMPILE only
        super().check_and_update_config(vllm_config)
        if compilation.mode != CompilationMode.DYNAMO_TRACE_ONCE:
            return  # the parent has a reason of its own not to compile, LoRA for one
        compilation.mode = CompilationMode.VLLM_COMPILE

        # vLLM fills this in with the CUDA graph sizes, which a CPU has none of, and then expects a list.
        if compilation.compile_sizes is None:
            compilation.compile_sizes = []
        _switch_off_gpu_passes(compilation.pass_config)

    @classmethod
    def get_pass_manager_cls(cls) -> str:
        return "cutaway_demo_platform.passes.DemoPassManager"


def _switch_off_gpu_passes(pass_config: "PassConfig") -> None:
    """Switch off the passes that vLLM's pass manager imports on GPUs only (their names vary by version)."""
    for field in dataclasses.fields(pass_config):
        if field.type is bool and field.name.startswith(("fuse_", "enable_")):
            setattr(pass_config, field.name, False)

"""A vLLM platform that compiles with vLLM's own compiler on a CPU.

On a CPU, vLLM turns `CompilationMode.VLLM_COMPILE` into `DYNAMO_TRACE_ONCE`, so that nothing of its
compiler runs there: no split, no pieces, no passes. This plugin keeps the mode, so that people
without a GPU, and the tests, see the real thing. It acts only when `CUTAWAY_DEMO_PLATFORM=1` is set.
"""

import os

SWITCH = "CUTAWAY_DEMO_PLATFORM"


def register() -> str | None:
    """Entry point `vllm.platform_plugins`: name the platform class, or None to stay out.

    vLLM calls this while it looks for a platform, so that nothing of `vllm.platforms` may be imported here.
    """
    if os.environ.get(SWITCH) != "1":
        return None
    return "cutaway_demo_platform.platform.DemoCpuPlatform"

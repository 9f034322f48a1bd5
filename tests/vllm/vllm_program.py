"""Runs demo/generate.py in this process, then writes down what the process holds: patches, modules.

    python vllm_program.py FACTS.json [--fork] [--odd-layer=N] GENERATE.PY [its arguments]

`--fork` lets vLLM fork its engine, as it does by default on a GPU: its CPU platform always asks for spawn.
`--odd-layer=N` gives the first norm of that decoder layer another epsilon, so that one layer is not like the others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    facts, *arguments = sys.argv[1:]
    if fork := arguments[0] == "--fork":
        arguments = arguments[1:]
    odd = ""
    if arguments[0].startswith("--odd-layer="):
        odd, *arguments = arguments
    script = Path(arguments[0])
    sys.path.insert(0, str(script.parent))
    sys.argv = arguments
    if fork:
        _let_vllm_fork()
    if odd:
        _make_odd(int(odd.partition("=")[2]))
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        Path(facts).write_text(json.dumps(describe_process()))


def _let_vllm_fork() -> None:
    from cutaway_demo_platform.platform import DemoCpuPlatform  # noqa: PLC0415 - imports vLLM

    check = DemoCpuPlatform.check_and_update_config

    def check_and_update_config(config: Any) -> None:
        check(config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    DemoCpuPlatform.check_and_update_config = staticmethod(check_and_update_config)


def _make_odd(layer: int) -> None:
    from vllm.model_executor.models.qwen3 import Qwen3DecoderLayer  # noqa: PLC0415 - imports vLLM

    make = Qwen3DecoderLayer.__init__

    def __init__(self: Any, *arguments: Any, prefix: str = "", **options: Any) -> None:  # noqa: N807
        make(self, *arguments, prefix=prefix, **options)
        if prefix.endswith(f"layers.{layer}"):
            self.input_layernorm.variance_epsilon = 1e-5

    Qwen3DecoderLayer.__init__ = __init__


def describe_process() -> dict[str, Any]:
    """What this process holds.

    Returns:
        `torch`: of each function of torch that Cutaway can hook, what tells a patched one (its code and the
        module it says it is from); `modules`: the names of imported modules of Cutaway and depyf;
        `config_fields`: the names of VllmConfig's fields, when vLLM is imported.
    """
    import torch.fx._utils  # noqa: PLC0415 - vLLM sets variables that torch reads when it is imported
    import torch.fx.graph_module  # noqa: PLC0415
    import torch.fx.passes.graph_transform_observer  # noqa: PLC0415

    observer = torch.fx.passes.graph_transform_observer.GraphTransformObserver
    hooked = {
        "trace_structured": torch._logging._internal.trace_structured,
        "lazy_format_graph_code": torch.fx._utils.lazy_format_graph_code,
        "print_readable": torch.fx.GraphModule.print_readable,
        "pass_enter": observer.__enter__,
        "pass_exit": observer.__exit__,
    }
    names = [name for name in sys.modules if name.split(".")[0] in ("cutaway", "depyf")]
    config = sys.modules.get("vllm.config")
    fields = [field.name for field in dataclasses.fields(config.VllmConfig)] if config else []
    return {
        "torch": {name: _identity(function) for name, function in hooked.items()},
        "modules": sorted(names),
        "config_fields": fields,
    }


def _identity(function: Callable[..., Any]) -> list[str]:
    code = function.__code__
    digest = hashlib.sha256(code.co_code + repr(code.co_names).encode()).hexdigest()
    return [function.__module__, digest]


if __name__ == "__main__":
    main()

"""Makes keys of vLLM's compile cache for several settings in one process, through vLLM's own backend.

``VllmBackend`` is called as the decorated model calls it, with the real configuration of a real model and a graph of
one node: key, folder and ``cache_key_factors.json`` are vLLM's doing. Each setting
differs from the first in one thing.

    python vllm_keys.py MODEL FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

MODEL, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])


def main() -> None:
    import torch  # noqa: PLC0415  (the environment is read when vLLM is imported)
    import vllm.model_executor.models.qwen3 as qwen3  # noqa: PLC0415

    from cutaway.vllm.adapter import activate  # noqa: PLC0415

    activate(str(FOLDER / "dump"))
    traced = FOLDER / "site" / "qwen3.py"
    traced.parent.mkdir()
    shutil.copy(str(qwen3.__file__), traced)
    moved = FOLDER / "elsewhere" / MODEL.name
    shutil.copytree(MODEL, moved, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    keys: dict[str, str] = {}

    def make(
        name: str, model: Path = MODEL, around: Callable[[], AbstractContextManager[Any]] = nullcontext, **flags: Any
    ) -> None:
        with around():
            keys[name] = key_of(model, traced, **flags)
        time.sleep(0.05)  # entries are ordered by their times

    make("first")
    make("again")
    make("flag", custom_ops=["all"])
    os.environ["VLLM_USE_TRITON_AWQ"] = "1"
    make("environment")
    del os.environ["VLLM_USE_TRITON_AWQ"]
    make("folder", model=moved)
    make("torch option", around=lambda: torch._inductor.config.patch(shape_padding=False))
    lines = traced.read_text().splitlines()
    lines[213] += "  # edited"
    traced.write_text("\n".join(lines) + "\n")
    make("file")
    (FOLDER / "keys.json").write_text(json.dumps(keys))


def key_of(model: Path, traced: Path, **flags: Any) -> str:
    import torch  # noqa: PLC0415
    from torch._guards import TracingContext, tracing  # noqa: PLC0415
    from torch._subclasses import FakeTensorMode  # noqa: PLC0415
    from vllm.compilation.backends import VllmBackend  # noqa: PLC0415
    from vllm.config import set_current_vllm_config  # noqa: PLC0415
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415

    compilation = {"mode": 3, "cudagraph_mode": "NONE", "custom_ops": ["none"], **flags}
    config = EngineArgs(
        model=str(model), dtype="float32", max_model_len=256, kv_cache_memory_bytes=1 << 28, seed=0,
        compilation_config=compilation, load_format="dummy",
    ).create_engine_config()  # fmt: skip
    config.compilation_config.traced_files.add(str(traced))
    mode = FakeTensorMode()
    value = mode.from_tensor(torch.ones(4, 4))
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    result = graph.call_function(torch.mm, (x, x))  # which Inductor calls as it is: nothing is built
    x.meta["example_value"] = result.meta["example_value"] = value
    graph.output((result,))
    with set_current_vllm_config(config), tracing(TracingContext(mode)):
        VllmBackend(config, "backbone")(torch.fx.GraphModule({}, graph), [value])
    return Path(config.compilation_config.cache_dir).name


if __name__ == "__main__":
    main()

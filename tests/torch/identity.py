"""Compiles and runs one program, and says everything that a recorder might have changed.

python identity.py CACHE_FOLDER...     prints, as JSON, what :func:`compile_in` says of each
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from programs import Mlp, numbers
from torch._dynamo.utils import counters


def compile_in(cache: str) -> dict[str, Any]:
    """Compile in a cache folder, cold or warm: results to the bit, cache counters, generated code.

    Not code: what Inductor compiles once to find out what the processor can do.
    """
    torch.set_num_threads(1)
    torch._dynamo.reset()
    counters.clear()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    torch.manual_seed(0)
    net = Mlp(8)
    compiled = torch.compile(net)
    result = compiled(numbers(4, 8))
    result.sum().backward()
    with torch.no_grad():
        dynamic = compiled(numbers(7, 8))
    texts = [path.read_text() for path in Path(cache).rglob("*") if path.suffix in (".py", ".cpp")]
    values = [result, dynamic, *[parameter.grad for parameter in net.parameters()]]
    return {
        "values": [blake2b(value.detach().numpy().tobytes()).hexdigest() for value in values],
        "hits": counters["inductor"]["fxgraph_cache_hit"],
        "misses": counters["inductor"]["fxgraph_cache_miss"],
        "bypasses": counters["inductor"]["fxgraph_cache_bypass"],
        "aot_hits": counters["aot_autograd"]["autograd_cache_hit"],
        "keys": sorted(path.name for path in Path(cache, "fxgraph").glob("*/*")),
        "aot_keys": sorted(path.name for path in Path(cache, "aotautograd").glob("*")),
        "code": sorted(text for text in texts if "async_compile" in text or "  void  kernel(" in text),
    }


if __name__ == "__main__":
    print(json.dumps([compile_in(cache) for cache in sys.argv[1:]]))

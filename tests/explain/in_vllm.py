"""Faults of the gallery in the real vLLM: a plugin with a pass, and a Qwen3 of two layers. Some minutes each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from exhibits import Answer, Fault, facts_of, run, users_variables
from vllm_plugin import plugin_variables

DEMO = Path(__file__).parents[2] / "demo"
PIECE, RANGE = "^piece_04$", "^1_4096$"

IN_VLLM = (
    Fault(
        "wrong_pass", "in vLLM: a pass of a plugin, wrong in one layer only", "isolate",
        {"part": "^passes$", "pass": "^GateFusionPass$", "piece": PIECE, "layer": r"^layers\.1\.mlp", "source": "silu"},
        {"node": "^mul", "meanwhile": "GateFusionPass", "range": RANGE}, shows=True,
    ),
    Fault(
        "missing_factor", "in vLLM: a variable that is missing from the key of a plugin's pass", "isolate",
        # vLLM keeps graphs without the layers that this pass looks for: compiled anew, it reads nothing.
        {"part": "^caches$", "kind": "^stale artifact$", "piece": PIECE},
        {"layer": r"^layers\.1\.mlp", "node": "^mul", "source": "silu", "meanwhile": "VLLM_DISABLE_COMPILE_CACHE",
         "range": RANGE},
        fill={"GALLERY_SCALE": "3"},
    ),
)  # fmt: skip


def ask_in_vllm(fault: Fault, folder: Path) -> Answer:
    """Plant a fault in vLLM, and ask `cutaway isolate vllm` what it is; as `exhibits.ask`."""
    variables = {**users_variables(folder), **plugin_variables(folder / "plugin", fault.name)}
    sys.path.insert(0, str(DEMO))
    from tiny_model import make_model  # noqa: PLC0415 - imports torch and transformers

    model = make_model(folder / "model", "qwen3", 2)
    arguments = ["--model", str(model), "--dtype", "float32", "--max-model-len", "64"]
    arguments += ["--kv-cache-memory-bytes", str(1 << 26)]
    if fault.fill:
        _start(folder / "fill", arguments, {**variables, **fault.fill})
    began = time.monotonic()
    command = [sys.executable, "-m", "cutaway.cli", "isolate", "--json", "--output", str(folder / "found")]
    text = run([*command, "vllm", *arguments], variables, folder / "errors.txt")
    plain = json.loads(text) if text else {}
    seconds = time.monotonic() - began
    return Answer(fault, facts_of(fault.how, plain), plain, seconds, (folder / "errors.txt").read_text())


def _start(folder: Path, arguments: list[str], variables: Mapping[str, str]) -> None:
    """A start of vLLM as the trials make it, so that it fills the cache under their key."""
    folder.mkdir(parents=True)
    request = {"arguments": arguments, "prompts": [], "max_tokens": 1, "rounds": 1}
    (folder / "request.json").write_text(json.dumps(request))
    run([sys.executable, "-m", "cutaway.explain.trial.vllm_child", str(folder)], variables, folder / "log.txt")

"""What lets one go on working while a part is at fault: vLLM's flag, ours, torch's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cutaway.explain.vllm_passes import VLLM_PASSES

_VLLM: Mapping[str, str] = MappingProxyType(
    {
        "cuda_graphs": "-cc.cudagraph_mode=NONE",
        "caches": "VLLM_DISABLE_COMPILE_CACHE=1",
        "passes": "-cc.pass_config with its flag off",
        "inductor": "-cc.backend=eager",
        "compile": "-cc.mode=0",
        "eager": "--enforce-eager, with native alone for every operator in --ir-op-priority",
    }
)
_OURS: Mapping[str, str] = MappingProxyType(
    {
        "cuda_graphs": "CUTAWAY_OFF=cuda_graphs",
        "caches": "CUTAWAY_DISABLE_CACHE=1",
        "passes": "CUTAWAY_OFF=passes",
        "inductor": "CUTAWAY_OFF=inductor",
        "compile": "CUTAWAY_OFF=compile",
        "eager": 'CUTAWAY_OFF=everything, with ["native"] for every operator in ir_priority',
    }
)
_TORCH: Mapping[str, str] = MappingProxyType(
    {
        "cuda_graphs": 'torch.compile(..., options={"triton.cudagraphs": False})',
        "caches": "TORCHINDUCTOR_FORCE_DISABLE_CACHES=1",
        "passes": "leave torch._inductor.config.post_grad_custom_*_pass at None",
        "inductor": 'torch.compile(..., backend="eager")',
        "compile": "TORCH_COMPILE_DISABLE=1",
        "eager": "TORCH_COMPILE_DISABLE=1",
    }
)
_BY_COMPILER = {"vllm": _VLLM, "cutaway": _OURS, "torch": _TORCH}


def workaround(compilers: tuple[str, ...], part: str, pass_name: str | None = None, op: str | None = None) -> str:
    """What to set, in one line.

    Args:
        compilers: of "vllm", "cutaway", "torch": those that the subject may be compiled by.
        part: that is at fault.
        pass_name: the pass, where it is known.
        op: the operator of vLLM's or our IR whose provider is wrong, where it is known.
    """
    told = [_one(compiler, part, pass_name, op) for compiler in compilers]
    return " or ".join(dict.fromkeys(told))


def _one(compiler: str, part: str, pass_name: str | None, op: str | None) -> str:
    name = (op or "").rpartition("::")[2].partition(".")[0]
    if compiler == "vllm" and op and name:
        return f"""--ir-op-priority '{{"{name}": ["native"]}}'"""
    if compiler == "cutaway" and op and name:
        return f'ir_priority={{"{name}": ["native"]}}'
    if part == "inductor" and pass_name:
        return f"TORCHINDUCTOR_DISABLED_PASSES={pass_name.upper()}"
    if part == "passes" and pass_name and compiler == "vllm":
        known = VLLM_PASSES.get(pass_name)
        if known is None:
            return f"leave the pass {pass_name} out (it is none of vLLM's own)"
        if known.switch is None:
            return f"-cc.backend=eager (vLLM has no flag for {pass_name} alone)"
        return f"-cc.pass_config.{known.switch}=False"
    if part == "passes" and pass_name and compiler == "cutaway":
        return f"CUTAWAY_OFF=pass:{pass_name}"
    return _BY_COMPILER[compiler][part]

"""What an artifact depends on besides its piece: torch and its settings, machine, environment, Cutaway itself."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.identity import sources, stable

_PREFIXES = ("TORCHINDUCTOR_", "AOT_INDUCTOR_", "AOTINDUCTOR_", "TRITON_", "CUTLASS_", "CUTEDSL_", "HALIDE_")
_NAMES = frozenset({
    "ATEN_CPU_CAPABILITY", "CC", "CXX", "CUDACXX", "CPLUS_INCLUDE_PATH", "CPATH", "CUBLAS_WORKSPACE_CONFIG",
    "ENABLE_PERSISTENT_TMA_MATMUL", "ENABLE_TEMPLATE_TMA_STORE", "ENABLE_TMA_LOAD_FOR_TEMPLATE_EPILOGUE",
    "FAKE_ALLOW_META", "NVIDIA_TF32_OVERRIDE", "PYTORCH_REORDER_COLLECTIVES_LIMIT", "PYTORCH_ROCM_ARCH",
    "PYTORCH_SINK_WAITS_LIMIT", "TORCHDYNAMO_AUTO_FUNCTIONALIZED_V2", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT", "TORCH_CUDA_ARCH_LIST",
})  # fmt: skip
# These say where something lies, how many work at it, or what is printed: the code is the same.
_NO_MATTER = (
    "_CACHE", "_CACHE_DEFAULT", "_CACHES", "_DIR", "_HOME", "_HOST", "_PORT", "_URL", "_THREADS", "_TIMEOUT",
    "_TIMEOUT_SECONDS", "_LOGPATH", "_LOGGING", "_LOGGING_FILE", "_WORKER_START", "_LOG", "_PRINT_AUTOTUNING",
    "_NUM_CHOICES_DISPLAYED", "_COMPILE_POOL", "_PROGRESS",
)  # fmt: skip
_SHAPE_ARTIFACTS = ("compiler/build", "compiler/passes", "compiler/cache/graph.py", "ops", "torch_internals")

_FORM_OF_KEYS = 2  # of what keys are made of: 2 has what code reads by name

_KEYED_APART = ("ops/library", "ops/kernels")  # a key names the implementations that its piece may run (cache/ir.py)


def torch_factors(devices: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The ``torch`` section: versions, and what of the process's state changes the code of a piece.

    Args:
        devices: where the piece's tensors lie, such as ``["cpu"]``.
        settings: entries of ``torch._inductor.config`` that the compile will set.
    """
    found: dict[str, Any] = {
        "version": str(torch.__version__),
        "git": torch.version.git_version,
        "python": platform.python_implementation() + " " + platform.python_version(),
        "cache key tag": str(torch.compiler.config.cache_key_tag),
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "grad": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "deterministic": _deterministic(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "autocast": {
            kind: str(torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)
        },
        "backends": _backends(),
        "settings": _settings(),
        "passes": stable.stable(torch_internals.passes_of_inductor(), "a pass in torch._inductor.config"),
    }
    if not devices or any(device.startswith("cpu") for device in devices):
        found["threads"] = _threads(settings)
    if any(not device.startswith("cpu") for device in devices):
        found |= {"cuda": torch.version.cuda, "hip": torch.version.hip, "triton": _version_of("triton")}
    return found


def environment_factors(devices: Sequence[str]) -> dict[str, Any]:
    """The ``environment`` section: variables that compilers read, the processor, and the devices of the piece."""
    variables = {name: value for name, value in sorted(os.environ.items()) if is_a_factor(name)}
    return {
        "variables": variables,
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": {"capability": torch.backends.cpu.get_cpu_capability(), "instructions": _instructions()},
        "devices": {device: _device(device) for device in devices if device.startswith(("cuda", "xpu"))},
    }


def keyed_sources() -> list[Path]:
    """Those of Cutaway's own files that shape every artifact."""
    root = Path(str(sys.modules["cutaway"].__file__)).parent
    paths = [root / name for name in _SHAPE_ARTIFACTS]
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py")))
    apart = [root / name for name in _KEYED_APART]
    return [file for file in files if not any(map(file.is_relative_to, apart))]


@functools.cache
def _own() -> tuple[str, str]:
    """Asked once: the version and the sources of a running process do not change."""
    root = Path(str(sys.modules["cutaway"].__file__)).parent
    lines = [f"{file.relative_to(root)} {sources.file_digest(file, 'Cutaway')}" for file in keyed_sources()]
    return metadata.version("cutaway"), sources.digest("\n".join(lines))


def cutaway_factors() -> dict[str, Any]:
    """The ``cutaway`` section: its version, and a digest of those sources that shape artifacts."""
    version, digest = _own()
    return {"version": version, "sources": digest, "keys": _FORM_OF_KEYS}


def is_a_factor(variable: str) -> bool:
    """Whether an environment variable may change generated code."""
    if variable in _NAMES:
        return True
    return variable.startswith(_PREFIXES) and not variable.endswith(_NO_MATTER)


def _deterministic() -> list[bool]:
    deterministic: Any = torch.utils.deterministic
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        bool(deterministic.fill_uninitialized_memory),
    ]


def _backends() -> dict[str, Any]:
    """Precision of matrix products, and which attention kernels torch may choose when a piece is traced."""
    backends: Any = torch.backends
    matmul = backends.cuda.matmul
    return {
        "precision": {
            "all": backends.fp32_precision,
            "cuda.matmul": _precision(matmul.fp32_precision),
            "cudnn.conv": backends.cudnn.conv.fp32_precision,
            "mkldnn.matmul": _precision(backends.mkldnn.matmul.fp32_precision),
            "mkldnn.conv": backends.mkldnn.conv.fp32_precision,
            "fp16 reduction": str(matmul.allow_fp16_reduced_precision_reduction),
            "bf16 reduction": str(matmul.allow_bf16_reduced_precision_reduction),
        },
        "mkldnn": backends.mkldnn.enabled,
        "cudnn": backends.cudnn.enabled,
        "attention": {
            "flash": backends.cuda.flash_sdp_enabled(),
            "efficient": backends.cuda.mem_efficient_sdp_enabled(),
            "math": backends.cuda.math_sdp_enabled(),
            "cudnn": backends.cuda.cudnn_sdp_enabled(),
        },
    }


def _precision(of_product: str) -> str:
    """What holds: where nothing was set, it is that of all; where that was not either, full precision."""
    every: str = getattr(torch.backends, "fp32_precision", "none")
    return next((known for known in (of_product, every) if known != "none"), "ieee")


def _settings() -> dict[str, Any]:
    """Settings that were changed, by name, and a digest of all: some defaults are made from the environment."""
    found: dict[str, Any] = {}
    for module, values in torch_internals.settings_of_torch().items():
        every = {name: stable.stable(value, f"{module}.{name}") for name, value in values.items()}
        changed = {name: every[name] for name in sorted(every) if not _is_default(module, name, values[name])}
        found[module] = {"changed": changed, "all": sources.digest(stable.canonical(every))}
    return found


def _is_default(module: str, name: str, value: Any) -> bool:
    default = torch_internals.default_of(module, name)
    return type(value) is type(default) and value == default


def _threads(settings: Mapping[str, Any]) -> int | str:
    """Inductor writes the number of threads into its C++ code, unless it is told to ask for it at each call."""
    cpp = torch_internals.settings_of_torch()["torch._inductor.config"]
    if settings.get("cpp.dynamic_threads", cpp["cpp.dynamic_threads"]):
        return "asked for at each call"
    fixed = int(settings.get("cpp.threads", cpp["cpp.threads"]))
    return fixed if fixed > 0 else torch.get_num_threads()


def _instructions() -> str:
    """C++ kernels are built for the machine that builds them (``-march=native``), so every instruction set counts."""
    return " ".join(sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True))


def _device(device: str) -> str:
    """Name and architecture of an accelerator."""
    if device.startswith("cuda"):
        facts: Any = torch.cuda.get_device_properties(device)
        architecture = getattr(facts, "gcnArchName", "") if torch.version.hip else f"sm_{facts.major}{facts.minor}"
        return f"{facts.name} {architecture} {facts.multi_processor_count}"
    return str(torch.xpu.get_device_properties(device))


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

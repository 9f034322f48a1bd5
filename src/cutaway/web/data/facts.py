"""What of a run's configuration is worth a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cutaway.web.data import shapes
from cutaway.web.data.words import cut

_PLAIN = ("", None, [], {}, False)
_VLLM = {
    "model": "model_config.model",
    "dtype": "model_config.dtype",
    "quantization": "model_config.quantization",
    "device": "device_config.device",
    "tensor parallel": "parallel_config.tensor_parallel_size",
    "pipeline parallel": "parallel_config.pipeline_parallel_size",
    "data parallel": "parallel_config.data_parallel_size",
    "mode": "compilation_config.mode",
    "backend": "compilation_config.backend",
    "compile sizes": "compilation_config.compile_sizes",
    "compile ranges end at": "compilation_config.compile_ranges_endpoints",
    "CUDA graphs": "compilation_config.cudagraph_mode",
    "custom ops": "compilation_config.custom_ops",
    "operator priority": "kernel_config.ir_op_priority",
}
_SWITCHES = "compilation_config.pass_config"
_MOST = 200


def facts(context: Mapping[str, Any]) -> list[shapes.Fact]:
    """Settings of the engine that compiled, and the platform.

    Args:
        context: context.json; whatever is not as expected is left out.
    """
    configuration = context.get("configuration")
    known = configuration if isinstance(configuration, dict) else {}
    engine = known.get("vllm")
    found = dict(_vllm(engine)) if isinstance(engine, dict) else {}
    ours = known.get("cutaway")
    if isinstance(ours, dict):
        found |= {str(name).replace("_", " "): _text(value) for name, value in ours.items() if value not in _PLAIN}
    platform = context.get("platform")
    if isinstance(platform, str) and platform:
        found["platform"] = platform
    return [shapes.Fact(cut(name, _MOST), cut(value, _MOST)) for name, value in found.items() if value]


def _vllm(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, path in _VLLM.items():
        value = _at(settings, path)
        if value not in _PLAIN and not (name.endswith("parallel") and value == 1):
            yield name, _text(value)
    switches = _at(settings, _SWITCHES)
    if isinstance(switches, dict):
        on = [str(name) for name, value in switches.items() if value is True]
        yield "passes switched on", ", ".join(on) or "none"


def _at(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_text(each)}" for name, each in value.items())
    return str(value).removeprefix("torch.")

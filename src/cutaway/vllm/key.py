"""What vLLM makes the keys of its caches of: the values behind its digests, asked of vLLM's own functions.

``VllmBackend.__call__`` digests environment, configuration, compiler and traced files into the name of a folder, and
keeps of the configuration and the compiler only their digests. While one of vLLM's ``compute_hash`` runs, the
dictionaries that it is about to digest are seen here (``get_hash_factors`` in vllm/config/utils.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from cutaway import torch_internals
from cutaway.record.environment import masked, plain
from cutaway.record.kept.notes import Notes

_LONGEST_VALUE = 400
_LONGEST_SOURCE = 1 << 21
_TORCH = ("torch._inductor.config", "torch._functorch.config")


def key_notes(vllm_config: Any, files: Iterable[str], forward: Any = None) -> Notes:
    """What the key of a model's compile is made of, and the files that were traced.

    Args:
        vllm_config: vLLM's configuration.
        files: paths of the files that Dynamo traced.
        forward: the model's function, which vLLM's key of a whole model names.
    """
    sources = {path: text for path in sorted(files) if (text := _text(path)) is not None}
    environment = import_module("vllm.envs").compile_factors()
    factors = {
        "versions": {"vllm": str(import_module("vllm").__version__)},
        "env": _shortened(masked(plain(environment))),
        "config": config_factors(vllm_config),
        "compiler": compiler_factors(),
        "files": {path: sha256(text.encode("utf-8", "replace")).hexdigest()[:16] for path, text in sources.items()},
    }
    if forward is not None:
        code = forward.__code__
        factors["forward"] = {"function": forward.__qualname__, "line": code.co_firstlineno}
    model = getattr(getattr(vllm_config, "model_config", None), "model", None)
    kept = {path: text for path, text in sources.items() if len(text) <= _LONGEST_SOURCE}
    root = str(import_module("vllm.envs").VLLM_CACHE_ROOT)
    return Notes(factors, kept, {"model": str(model), "time": time.time(), "folder": root})


def config_factors(vllm_config: Any) -> dict[str, Any]:
    """Class of a part of the configuration -> its fields that vLLM digests.

    A part that digests its fields in its own way has its ``digest`` here, and its fields beside it, digested or not.
    """
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = original(*args, **kwargs)
        seen.append((type(args[0]).__name__ if args else "?", found))
        return found

    undo = torch_internals.swap_code(import_module("vllm.config.utils").get_hash_factors, note)
    try:
        vllm_config.compute_hash()
    finally:
        undo()
    factors: dict[str, Any] = {}
    for name, found in seen:  # vLLM may have added to it since
        unused = next(
            one for number in range(1, 99) if (one := name if number == 1 else f"{name}~{number}") not in factors
        )
        factors[unused] = _shortened(masked(plain(found)))
    for part in vars(vllm_config).values():
        name = type(part).__name__
        if name not in factors and callable(getattr(part, "compute_hash", None)):
            fields = plain(part, 3)
            known = masked(fields) if isinstance(fields, dict) else {}
            factors[name] = {**_shortened(known), "digest": str(part.compute_hash())}
    extra = getattr(vllm_config, "additional_config", None)
    if extra:
        factors["additional_config"] = masked(plain(extra)) if isinstance(extra, dict) else {"value": str(extra)[:400]}
    return factors


def compiler_factors() -> dict[str, Any]:
    """What ``get_inductor_factors`` digests: the machine, torch's sources, settings other than their defaults."""
    system, sources, *settings = import_module("vllm.compilation.compiler_interface").get_inductor_factors()
    found: dict[str, Any] = {
        "system": _flat(plain(system)),
        "torch": {"sources": sources.hex() if isinstance(sources, bytes) else str(sources)},
    }
    for module, values in zip(_TORCH, settings, strict=False):
        changed = {name: value for name, value in values.items() if not _is_default(module, name, value)}
        digest = sha256(repr(sorted(values.items(), key=lambda item: item[0])).encode()).hexdigest()[:16]
        found[module] = {**{name: str(value)[:_LONGEST_VALUE] for name, value in changed.items()}, "all": digest}
    return found


def _is_default(module: str, name: str, value: Any) -> bool:
    try:
        return bool(torch_internals.default_of(module, name) == value)
    except (KeyError, AttributeError):
        return False


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path or "value": value}
    return {
        name: part
        for key, inner in value.items()
        for name, part in _flat(inner, f"{path}.{key}" if path else str(key)).items()
    }


def _shortened(values: dict[str, Any]) -> dict[str, Any]:
    """Values as they are, but for long texts (the whole configuration of a model), of which JSON is taken apart."""
    return {name: _short(value) for name, value in values.items()}


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        taken = _object_of(value)
        if taken is not None:
            return {str(key): _short(part) for key, part in taken.items()}
        return f"{value[:_LONGEST_VALUE]}… {sha256(value.encode()).hexdigest()[:16]}"
    return value


def _object_of(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _text(path: str) -> str | None:
    """A traced file's text; None for what is no file (``<string>``), which vLLM leaves out as well."""
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        return None

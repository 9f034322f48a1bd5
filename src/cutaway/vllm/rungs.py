"""Turns parts of vLLM's compiler off, in the processes of a trial (`cutaway isolate`): what vLLM's guide has flags for.

``CUTAWAY_TRIAL_OFF`` names the parts. The configuration is changed where every way to start vLLM makes it, so that a
program which calls ``LLM(...)``, ``vllm serve`` and a trial of our own need no different care.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import wraps
from importlib import import_module
from typing import Any

VARIABLE = "CUTAWAY_TRIAL_OFF"
_WRAPPED = "_cutaway_rungs"


def install() -> None:
    """Follow ``CUTAWAY_TRIAL_OFF`` from now on."""
    off = tuple(filter(None, os.environ.get(VARIABLE, "").split(",")))
    _wrap_configuration(off)
    if "passes" in off:
        _wrap_passes()


def turn_off(off: Sequence[str], arguments: Any) -> None:
    """Set what vLLM's guide names in an ``EngineArgs``.

    Args:
        off: names of parts.
        arguments: the ``EngineArgs``; changed.
    """
    config = arguments.compilation_config
    compilation = import_module("vllm.config.compilation")
    if "cuda_graphs" in off:
        config.cudagraph_mode = compilation.CUDAGraphMode.NONE
    if "passes" in off:
        for field in dataclasses.fields(config.pass_config):
            if field.name.startswith(("fuse_", "enable_", "eliminate_")):
                setattr(config.pass_config, field.name, False)
    if "inductor" in off:
        config.backend = "eager"
    if "compile" in off:
        config.mode = compilation.CompilationMode.NONE
    if "eager" in off:
        arguments.enforce_eager = True


def _wrap_configuration(off: Sequence[str]) -> None:
    kind = import_module("vllm.engine.arg_utils").EngineArgs
    original = kind.create_engine_config
    if getattr(original, _WRAPPED, False):
        return

    @wraps(original)
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn_off(off, self)
        return original(self, *args, **kwargs)

    setattr(create_engine_config, _WRAPPED, True)
    kind.create_engine_config = create_engine_config


def _wrap_passes() -> None:
    """Passes that a platform or a user adds have no flag: they are taken out of the manager."""
    kind = import_module("vllm.compilation.passes.pass_manager").PostGradPassManager
    original = kind.__call__
    if getattr(original, _WRAPPED, False):
        return

    @wraps(original)
    def __call__(self: Any, graph: Any) -> Any:  # noqa: N807
        self.passes = []
        return original(self, graph)

    setattr(__call__, _WRAPPED, True)
    kind.__call__ = __call__

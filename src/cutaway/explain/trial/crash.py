"""By what a crash is known again: read out of what the process printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from cutaway.explain.trial.observation import Signature

MOST = 5
"""So many of the innermost frames are kept."""

_HEAD = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_ERROR = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_PREFIX = re.compile(r"^\([^)]*\) (?:\w+ \d\d-\d\d [\d:]+ \[[^\]]*\] )?|^\w+ \d\d-\d\d [\d:]+ \[[^\]]*\] ")
_SECOND_HAND = ("RuntimeError: Engine core", "Engine core initialization failed", "EngineDeadError")


def signature_of(text: str, signal: str = "", code: int | None = None) -> Signature:
    """The crash that a process told of before it ended.

    The last traceback counts, unless it only passes on what another process told before (vLLM: "Engine core ...").

    Args:
        text: what it printed, of all its processes.
        signal: name of the signal that ended it, or empty.
        code: its exit code.
    """
    if signal and signal not in ("SIGKILL", "SIGTERM"):
        return Signature(signal, "", _native_frames(text))
    found = _tracebacks(text)
    own = [one for one in found if not f"{one.kind}: {one.message}".startswith(_SECOND_HAND)]
    if own or found:
        return (own or found)[-1]
    kind = signal or f"exit code {code}"
    return Signature(kind, "killed, perhaps for lack of memory" if signal == "SIGKILL" else "")


def short(path: str) -> str:
    """A file by its last two parts: the same in every installation. Generated files have names of no meaning."""
    parts = PurePath(path).parts[-2:]
    if "torchinductor" in path or re.fullmatch(r"c[a-z0-9]{20,}\.(py|cpp)", parts[-1]):
        return "(generated)"
    return "/".join(parts)


def _tracebacks(text: str) -> list[Signature]:
    found: list[Signature] = []
    frames: list[str] | None = None
    for line in text.splitlines():
        line = _PREFIX.sub("", line)
        if line.strip() == _HEAD:
            frames = []
            continue
        if frames is None:
            continue
        if frame := _FRAME.match(line):
            frames.append(f"{short(frame['file'])}:{frame['line']} {frame['function']}")
        elif line[:1].strip() and (error := _ERROR.match(line)):
            found.append(_signature(error["kind"], error["message"] or "", frames))
            frames = None
    return found


def _signature(kind: str, message: str, frames: Sequence[str]) -> Signature:
    return Signature(kind.rpartition(".")[2], message.strip(), list(reversed(frames))[:MOST])


def _native_frames(text: str) -> list[str]:
    """Where Python was when a signal came, as ``faulthandler`` prints it: innermost first."""
    pattern = re.compile(r'^\s+File "([^"]+)", line (\d+) in (\S+)', re.MULTILINE)
    current = text.rpartition("Current thread")[2]
    return [f"{short(file)}:{line} {function}" for file, line, function in pattern.findall(current)][:MOST]

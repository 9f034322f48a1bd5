"""What all trials have in common: a folder each, a process each, caches that are dropped when it is over."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cutaway.errors import IsolateError
from cutaway.explain.trial import caches
from cutaway.explain.trial.crash import signature_of
from cutaway.explain.trial.environment import DUMP, variables_of
from cutaway.explain.trial.observation import Observation
from cutaway.explain.trial.process import Ended, last_lines, run
from cutaway.explain.trial.setting import EVERYTHING_ON, Setting, off

_CACHES, _FRESH, _CLASSES, _NOTE = "caches", "fresh", "classes", "temporary.txt"
FULL = "No space left on device"
_MOST_LOG = 1 << 22


class Runner(ABC):
    """Runs one subject; see `cutaway.explain.trial.Trial`.

    Args:
        folder: where trials have their folders.
        limit: seconds after which a trial is stopped.
        environment: the user's variables; None for those of this process.
        tell: is told what could not be prepared as it should be, one sentence.
    """

    kind = ""
    is_timed = False
    """Whether it is looked at how long a trial takes."""
    times_process = True
    """Whether that is the time of its whole process; else it tells the time itself, of what comes after imports."""

    def __init__(
        self,
        folder: Path,
        limit: float,
        environment: Mapping[str, str] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = folder
        self.limit = limit
        self.environment = environment
        self._tell = tell or (lambda _: None)
        self._told: set[str] = set()
        self._temporary: Path | None = None

    def observe(self, setting: Setting) -> Observation:
        """Run it once.

        Raises:
            IsolateError: the disk is full.
        """
        place = self._place(setting)
        variables, left_out = variables_of(setting, place, self._caches(setting, place), self.environment)
        own_classes = self.is_timed and self.times_process
        caches.share_classes((place if own_classes else self.folder) / _CLASSES, self._inherited(), variables)
        variables |= self._for_temporary_files()
        for why in left_out:
            if why not in self._told:
                self._told.add(why)
                self._tell(why)
        try:
            ended = run(self.command(setting, place), variables, place / "log.txt", self.limit, self.where())
            found = self.read(setting, place, ended)
        finally:
            self._tidy(setting, place)
        if found.outcome != "ok" and FULL in last_lines(found.log, 40):
            raise IsolateError(
                "a disk is full",
                f"a trial could not write its files; {found.log} says more",
                "make room, or give another folder with --output; then go on with --resume",
            )
        dumps = place / DUMP
        return replace(found, dump=dumps if setting.record and dumps.is_dir() else None)

    @abstractmethod
    def command(self, setting: Setting, folder: Path) -> Sequence[str]:
        """What is run for it."""

    @abstractmethod
    def read(self, setting: Setting, folder: Path, ended: Ended) -> Observation:
        """What came of it."""

    def where(self) -> Path | None:
        """The folder in which it runs; None for this process's."""
        return None

    def skipped(self) -> Mapping[str, str]:
        """Parts whose rung changes nothing here, and why."""
        return {}

    def _place(self, setting: Setting) -> Path:
        name = (off(setting) or (EVERYTHING_ON.replace(" ", "-"),))[-1]
        more = "-inside" if setting.switches.changes_something and not setting.eager else ""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            taken = [int(one.name[:3]) for one in self.folder.iterdir() if one.name[:3].isdecimal()]
            place = self.folder / f"{max(taken, default=0) + 1:03d}-{name}{more}"
            place.mkdir()
        except OSError as error:
            raise IsolateError(
                f"nothing can be written to {str(self.folder)!r}",
                error.strerror or str(error),
                "make room, or give another folder with --output",
            ) from error
        return place

    def _caches(self, setting: Setting, place: Path) -> Path:
        """Where a trial has its caches.

        With caches off, torch still looks for compiled C++ by its source: all such trials share one folder, which was
        empty when the search began, and need not ask the compiler anew what the processor can do. Where time is the
        fault, none is to profit from another.
        """
        if not setting.caches and not self.is_timed:
            return self.folder / _FRESH
        own, left = place / _CACHES, self.folder / _CACHES
        if setting.warm and left.is_dir():
            shutil.copytree(left, own, symlinks=True)
        return own

    def _for_temporary_files(self) -> dict[str, str]:
        if self.is_timed or self._temporary is None or not self._temporary.is_dir():
            note = self.folder / _NOTE
            with suppress(OSError):  # of the trial before, or of a search that was killed
                caches.drop(Path(note.read_text()))
            self._temporary = caches.temporary(self._inherited())
            note.write_text(str(self._temporary))
        return {"TMPDIR": str(self._temporary)}

    def _inherited(self) -> Mapping[str, str]:
        return os.environ if self.environment is None else self.environment

    def _tidy(self, setting: Setting, place: Path) -> None:
        """Drop caches; those that the last trial with everything on has left are kept for a warm start."""
        own, kept = place / _CACHES, self.folder / _CACHES
        if not off(setting) and not setting.switches.changes_something and own.is_dir():
            shutil.rmtree(kept, ignore_errors=True)
            own.rename(kept)
        shutil.rmtree(own, ignore_errors=True)

    def close(self) -> None:
        """The search is over: no cache and no temporary file stays. More may be observed afterwards."""
        for folder in (*(self.folder / name for name in (_CACHES, _FRESH, _CLASSES)), self._temporary):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        (self.folder / _NOTE).unlink(missing_ok=True)
        self._temporary = None

    def crash(self, folder: Path, ended: Ended) -> Observation:
        """The observation of a process that did not end well, as far as its log tells."""
        log = folder / "log.txt"
        text = text_of(log)
        if ended.code is None:
            return Observation("timeout", folder, seconds=ended.seconds, why=f"stopped after {self.limit:g} s")
        signature = signature_of(text, ended.signal, ended.code)
        return Observation("crash", folder, None, signature, ended.seconds, why=signature.words)


def text_of(log: Path) -> str:
    """The log, or the end of a long one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _MOST_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""

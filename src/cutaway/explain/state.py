"""What a search has seen so far, written down after every trial: an interrupted one goes on from there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from cutaway.errors import IsolateError
from cutaway.explain.switches import Switches
from cutaway.explain.trial import Observation, Setting, Tensors, Trial

SUBJECT = "isolate.json"
JOURNAL = "trials.jsonl"
SWITCHES = "switches.json"
VERSION = 1


class State:
    """A folder with the subject of a search and the journal of its trials.

    Args:
        folder: where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether a search was begun there."""
        return (self.folder / SUBJECT).is_file()

    def begin(self, subject: Mapping[str, Any]) -> None:
        """Write down what is searched.

        Args:
            subject: JSON values.

        Raises:
            IsolateError: the folder cannot be written to, or holds another search.
        """
        if self.exists and self.entries():
            raise IsolateError(
                f"{str(self.folder)!r} holds a search already",
                "its trials would be taken for those of this one",
                "go on with it by --resume, give another folder with --output, or remove it",
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / SUBJECT).write_text(json.dumps({"version": VERSION, **subject}, indent=1) + "\n")
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def subject(self) -> dict[str, Any]:
        """What is searched.

        Raises:
            IsolateError: there is no search in the folder, or one of another version.
        """
        try:
            found: dict[str, Any] = json.loads((self.folder / SUBJECT).read_text())
        except (OSError, ValueError) as error:
            raise IsolateError(
                f"there is no search to go on with in {str(self.folder)!r}",
                str(error),
                "give the folder that the search named when it was interrupted",
            ) from error
        if found.get("version") != VERSION:
            raise IsolateError(
                f"{str(self.folder)!r} is of another version of Cutaway", "", "begin anew, without --resume"
            )
        return found

    def entries(self) -> list[tuple[Setting, Observation]]:
        """The trials so far; a line that was cut off by an interruption is left out."""
        try:
            lines = (self.folder / JOURNAL).read_text().splitlines()
        except OSError:
            return []
        found: list[tuple[Setting, Observation]] = []
        for line in lines:
            try:
                entry = json.loads(line)
                found.append((_setting(entry["setting"]), _observation(entry["observation"])))
            except (ValueError, KeyError, TypeError, msgspec.ValidationError):
                continue
        return found

    def add(self, setting: Setting, observation: Observation) -> None:
        """Write a trial down.

        Raises:
            IsolateError: the disk is full.
        """
        entry = {"setting": _plain_setting(setting), "observation": _plain(observation)}
        try:
            with (self.folder / JOURNAL).open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise _unwritable(self.folder, error) from error


class Remembering:
    """A trial that is not run again when it was before: the third with a setting is the third that was written down.

    Args:
        trial: runs what is not known.
        state: what is known.
    """

    def __init__(self, trial: Trial, state: State) -> None:
        self.trial = trial
        self.state = state
        self._known: dict[str, list[Observation]] = defaultdict(list)
        for setting, observation in state.entries():
            if _is_whole(setting, observation):
                self._known[_key(setting)].append(observation)
        self.recalled = 0
        self.spent = sum(observation.seconds for _, observation in state.entries())

    @property
    def kind(self) -> str:
        """See `cutaway.explain.trial.Trial`."""
        return self.trial.kind

    def observe(self, setting: Setting) -> Observation:
        """See `cutaway.explain.trial.Trial`."""
        known = self._known[_key(setting)]
        if known:
            self.recalled += 1
            return known.pop(0)
        observation = self.trial.observe(setting)
        if observation.outcome != "unusable":  # what is missing may be there the next time
            self.state.add(setting, observation)
        return observation


def _is_whole(setting: Setting, observation: Observation) -> bool:
    """Whether the files of a trial are still there: of a search that was over, only what trials printed is kept."""
    outputs = observation.outputs
    if isinstance(outputs, Tensors) and not Path(outputs.path).is_file():
        return False
    if observation.dump is not None and not observation.dump.is_dir():
        return False
    return not setting.switches.changes_something or (observation.folder / SWITCHES).is_file()


def _key(setting: Setting) -> str:
    return json.dumps(_plain_setting(setting), sort_keys=True)


def _plain_setting(setting: Setting) -> dict[str, Any]:
    plain: dict[str, Any] = {one.name: getattr(setting, one.name) for one in fields(setting)}
    return {**plain, "switches": setting.switches.to_json()}


def _setting(plain: dict[str, Any]) -> Setting:
    fields_: dict[str, Any] = {**plain, "switches": Switches.from_json(plain["switches"])}
    return Setting(**fields_)


def _plain(observation: Observation) -> Any:
    return msgspec.to_builtins(_fields(observation), enc_hook=str, str_keys=True)


def _fields(observation: Observation) -> dict[str, Any]:
    return {one.name: getattr(observation, one.name) for one in fields(observation)}


def _observation(plain: Any) -> Observation:
    return msgspec.convert(plain, Observation, dec_hook=lambda kind, value: kind(value), strict=False)


def _unwritable(folder: Path, error: OSError) -> IsolateError:
    return IsolateError(
        f"nothing can be written to {str(folder)!r}",
        error.strerror or str(error),
        "make room, or give another folder with --output",
    )

"""What is off within a part of the compiler, and what is watched: read by the hands in the process of a trial.

The one who starts a trial writes the switches into a file, and names it in ``CUTAWAY_SWITCHES``; what the hands see
they write into the folder ``inside`` beside it (`within/journal.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cutaway.errors import UsageError

VARIABLE = "CUTAWAY_SWITCHES"
"""The environment variable that names the file."""

INSIDE = "inside"
"""The folder beside the file into which the hands write."""

ANY = "*"


@dataclass(frozen=True, order=True)
class Place:
    """A piece in a compile range.

    Attributes:
        piece: such as ``piece_02``; ``*`` for all.
        range: as selectors have it, such as ``1_4096``; ``*`` for all.
    """

    piece: str = ANY
    range: str = ANY

    def __str__(self) -> str:
        return self.piece if self.range in (ANY, "") else f"{self.piece}/range_{self.range}"

    def holds(self, piece: str, span: str) -> bool:
        """Whether this names a piece in a range."""
        return self.piece in (ANY, piece) and self.range in (ANY, span)


EVERYWHERE = Place()


@dataclass(frozen=True)
class Errand:
    """What to do within the process, where an operator or a lowering may be another than in a fresh one.

    Attributes:
        place: the piece in a range; its first call that is compared, or that runs as its eager graph, does the errand.
        job: a file with what to replay (`cutaway.replay.job.Job`); empty where its code ends the process.
        request: a file with what a reproducer is to be made of (`reproducer.job.Request`), if the replay parts; empty
            for none.
    """

    place: Place
    job: str
    request: str = ""


@dataclass(frozen=True)
class Keep:
    """A call whose inputs are kept.

    Attributes:
        place: the piece in a range.
        call: which of its calls, from 1 on.
    """

    place: Place
    call: int


@dataclass(frozen=True)
class Edit:
    """Code of a piece that somebody has edited (`cutaway edit`).

    Attributes:
        place: the piece in a range.
        file: the edited file.
        kind: ``code``: Inductor's output code; ``graph``: the piece's graph as a raw file, which runs as it is written.
    """

    place: Place
    file: str
    kind: str = "code"


@dataclass(frozen=True)
class Switches:
    """What is off within a part, and what is watched. Everything at its default changes nothing.

    Attributes:
        eager: pieces that run as their eager graph.
        compare: pieces that are compared with their eager graph, at each call, on the real inputs; they are watched for
            what they overwrite and for what they are passed, too.
        restored: pieces that are passed what the split graph says, whatever the stitching code passes; the caller, of
            what is returned to it, has an empty name.
        compare_calls: so many calls of a piece in a range are compared; all others run as they are.
        keep: calls whose inputs are kept, whatever becomes of them.
        keep_inputs: bytes of inputs that are kept of a piece that does not compute what its eager graph does.
        fresh: pieces that are compiled anew, with no cache, beside what a cache gave, and compared with it.
        errands: replays that are made within the process.
        times: pieces whose calls are timed, beside those of their eager graphs.
        edits: pieces whose code is that of a file.
        passes_off: names of passes that are off (an engine's own, ours, or Inductor's named ones).
        pass_limits: pass -> how many of its runs are let through, counted over all pieces in their order.
        providers: operator (``*`` for all others) -> the providers that it may take, the first preferred.
        rtol, atol: tolerance of comparisons; None for what suits the dtype.
    """

    eager: tuple[Place, ...] = ()
    compare: tuple[Place, ...] = ()
    restored: tuple[Place, ...] = ()
    compare_calls: int = 64
    keep: tuple[Keep, ...] = ()
    keep_inputs: int = 1 << 30
    fresh: tuple[Place, ...] = ()
    errands: tuple[Errand, ...] = ()
    times: tuple[Place, ...] = ()
    edits: tuple[Edit, ...] = ()
    passes_off: tuple[str, ...] = ()
    pass_limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    rtol: float | None = None
    atol: float | None = None

    @property
    def changes_something(self) -> bool:
        """Whether any differs from its default."""
        return self != Switches()

    @property
    def looks_at_pieces(self) -> bool:
        """Whether pieces are run another way, or watched."""
        asked = (self.eager, self.compare, self.restored, self.fresh, self.errands, self.times, self.edits, self.keep)
        return any(asked)

    @property
    def changes_compile(self) -> bool:
        """Whether other code is compiled, so that no cache may be read or written."""
        return bool(self.passes_off or self.pass_limits or self.providers)

    def to_json(self) -> str:
        """As text; what is at its default is left out."""
        plain = {
            one.name: _plain(getattr(self, one.name))
            for one in fields(self)
            if getattr(self, one.name) != getattr(Switches(), one.name)
        }
        return json.dumps(plain, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Switches:
        """What :meth:`to_json` wrote.

        Raises:
            UsageError: it is none of that.
        """
        try:
            found: dict[str, Any] = dict(json.loads(text))
            for name in ("eager", "compare", "restored", "fresh", "times"):
                if name in found:
                    found[name] = tuple(Place(**one) for one in found[name])
            if "errands" in found:
                found["errands"] = tuple(
                    Errand(Place(**one["place"]), one["job"], one.get("request", "")) for one in found["errands"]
                )
            if "keep" in found:
                found["keep"] = tuple(Keep(Place(**one["place"]), one["call"]) for one in found["keep"])
            if "edits" in found:
                found["edits"] = tuple(
                    Edit(Place(**one["place"]), one["file"], one.get("kind", "code")) for one in found["edits"]
                )
            if "passes_off" in found:
                found["passes_off"] = tuple(found["passes_off"])
            if "providers" in found:
                found["providers"] = {op: tuple(names) for op, names in found["providers"].items()}
            return cls(**found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError("these are no switches", str(error), "write them with Switches.to_json") from error

    def write(self, folder: Path) -> dict[str, str]:
        """Write them into a folder; returns the environment variables for the process that is to follow them.

        Args:
            folder: the trial's own, which must be there.
        """
        path = folder / "switches.json"
        path.write_text(self.to_json())
        return {VARIABLE: str(path)}


def read_switches() -> tuple[Switches, Path] | None:
    """The switches of this process, and the folder for what its hands see; None when there are none.

    Raises:
        UsageError: ``CUTAWAY_SWITCHES`` names no file of switches.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    path = Path(name)
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"the switches {name} cannot be read", str(error), f"unset {VARIABLE}") from error
    return Switches.from_json(text), path.parent / INSIDE


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (Place, Errand, Edit, Keep)):
        return asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value

"""What is on and what is off in a trial: the rungs of the ladder, and the finer switches below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from cutaway.explain.switches import ANY, Switches

Slow = Literal["start", "run"]
"""Which time is too long: until a subject is ready, or of what it does then."""


@dataclass(frozen=True)
class Setting:
    """What of the compiler is on in a trial; everything is, as it stands.

    The rungs are those of vLLM's debugging guide. Each turns off what those above it do, too: see :func:`at`.

    Attributes:
        cuda_graphs: replay as CUDA graphs.
        caches: whether artifacts of an earlier start are read. True: a copy of the user's own caches lies in the
            trial's folder. False: the caches are off, and their folders are empty.
        passes: the passes that an engine or a user adds to Inductor's own.
        inductor: pieces are compiled; when off they run as they were captured (``backend="eager"``).
        compile: the model is captured and split at all.
        eager: the engine is told to run eagerly (``--enforce-eager``): nothing of the compiler is there.
        warm: begin with the caches that the last trial with everything on has left.
        rounds: how often the calls are made in the process: a fault that comes and goes shows in one of several.
        switches: what is off within a part, and what is watched; everything at its default changes nothing.
        record: leave a dump.
    """

    cuda_graphs: bool = True
    caches: bool = True
    passes: bool = True
    inductor: bool = True
    compile: bool = True
    eager: bool = False
    warm: bool = False
    rounds: int = 2
    switches: Switches = field(default_factory=Switches)
    record: bool = False


EVERYTHING_ON = "everything on"

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "cuda_graphs": "CUDA graphs",
        "caches": "the caches",
        "passes": "the custom passes",
        "inductor": "Inductor",
        "compile": "the capture and the split",
        "eager": "an implementation of an operator, or what the engine itself changes when it compiles",
    }
)
"""Part -> what people call it, in the order in which the ladder turns them off."""


NATIVE = Switches(providers=MappingProxyType({ANY: ("native",)}))
"""Of the last rung: an engine takes providers eagerly, too; what is right is what its operators are defined to be."""


def at(part: str | None) -> Setting:
    """The setting of a rung: this part off, and all that stand before it; None for everything on."""
    setting = Setting()
    for name in PARTS:
        if part is None:
            break
        setting = replace(setting, **{name: name == "eager"})
        if name == part:
            break
    return replace(setting, switches=NATIVE) if part == "eager" else setting


def before(part: str) -> Setting:
    """The setting of the rung before: this part is the first that is still on.

    Where a fault goes at a rung, it is there in this setting, with as much as possible off: bisection inside of the
    part starts from it. One that goes in eager alone is looked for in compiled pieces all the same, where it has a
    place: it is there whatever is compiled.
    """
    if part == "eager":
        return at("passes")
    names = list(PARTS)
    place = names.index(part)
    return at(names[place - 1] if place else None)


def off(setting: Setting) -> tuple[str, ...]:
    """The parts that are off in a setting, in the order of the ladder."""
    return tuple(name for name in PARTS if getattr(setting, name) is (name == "eager"))

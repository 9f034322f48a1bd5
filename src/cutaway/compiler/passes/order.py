"""In which order the passes run: a table, and where a user's own stand in it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from torch import fx

from cutaway.compiler.config import CompilationConfig, Part
from cutaway.compiler.passes.inductor_pass import InductorPass, as_pass
from cutaway.compiler.passes.manager import Round
from cutaway.errors import ConfigError

Side = Literal["before", "after"]


@dataclass(frozen=True)
class Entry:
    """A pass in the table.

    Attributes:
        name: of the pass; the file that it stands in bears it, too, where it is the only one there.
        home: ``module:Class`` in this folder; imported when a model is compiled.
        always: ``off=["passes"]`` leaves it on: without it, what it stands for is not compiled, or compiled wrongly.
    """

    name: str
    home: str
    always: bool = False

    def make(self) -> InductorPass:
        """The pass, with its options as they are by default."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(f"cutaway.compiler.passes.{module}"), name)()


#: Before AOTAutograd, over a piece as it was captured.
PRE_GRAD: tuple[Entry, ...] = (
    Entry("inplace_functionalization", "functionalization:InplaceFunctionalization", always=True),
)

#: Over the last graph of a piece, functional ATen ops, before Inductor's own patterns: these take an addition into the
#: matrix product before it, where it can no longer be fused into the normalisation behind it.
POST_GRAD_PRE: tuple[Entry, ...] = (
    Entry("no_op_elimination", "no_op_elimination:NoOpElimination"),
    Entry("split_coalescing", "split_coalescing:SplitCoalescing"),
    Entry("add_rms_norm_fusion", "add_rms_norm:AddRmsNormFusion"),
    Entry("rms_norm_quant_fusion", "rms_norm_quant:RmsNormQuantFusion"),
    Entry("scaled_addition", "scaled_addition:ScaledAddition", always=True),
)

#: Over the same graph, after all that Inductor does to it.
POST_GRAD: tuple[Entry, ...] = (
    Entry("ir_lowering", "lowering:IrLowering", always=True),
    Entry("clone_elimination", "clone_elimination:CloneElimination"),
    Entry("defunctionalization", "defunctionalization:Defunctionalization"),
    Entry("dead_code_elimination", "dead_code:DeadCodeElimination"),
)

ROUNDS: dict[Round, tuple[Entry, ...]] = {
    "pre_grad": PRE_GRAD,
    "post_grad_pre": POST_GRAD_PRE,
    "post_grad": POST_GRAD,
}


@dataclass(frozen=True)
class Placed(InductorPass):
    """A pass with the place that it wants in the order. Made by :func:`before` and :func:`after`."""

    side: Side
    anchor: str
    one: InductorPass

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.one.name)

    def __call__(self, graph: fx.Graph) -> None:
        self.one(graph)


def before(name: str, one: InductorPass | Callable[[fx.Graph], Any]) -> Placed:
    """An entry of ``post_grad_passes`` that runs before the pass of that name (the first, if there are several).

    Args:
        name: of a pass of ours, or of another entry.
        one: a pass, or a function of a graph.
    """
    return Placed("before", name, as_pass(one))


def after(name: str, one: InductorPass | Callable[[fx.Graph], Any]) -> Placed:
    """An entry of ``post_grad_passes`` that runs after the pass of that name (the last, if there are several).

    Several after one pass run in the order in which they are given. Arguments as for :func:`before`.
    """
    return Placed("after", name, as_pass(one))


@dataclass
class _Slot:
    """A pass in its place; ``follows`` is the pass that it was put after."""

    one: InductorPass
    always: bool = False
    follows: str | None = None


def arrange(config: CompilationConfig) -> dict[Round, list[InductorPass]]:
    """The passes of each round, in order.

    A user's passes stand at the very end, but for those that are placed; what is switched off is left out, after the
    others have found their places by it.

    Raises:
        ConfigError: a pass is to run beside one that does not exist, or one that does not exist is switched off.
    """
    rounds: dict[Round, list[_Slot]] = {
        name: [_Slot(entry.make(), entry.always) for entry in entries] for name, entries in ROUNDS.items()
    }
    given = [as_pass(one) for one in config.post_grad_passes]
    rounds["post_grad"] += [_Slot(one) for one in given if not isinstance(one, Placed)]
    _place([one for one in given if isinstance(one, Placed)], list(rounds.values()))
    _check_switches(config, [slot.one.name for slots in rounds.values() for slot in slots])
    return {name: [slot.one for slot in slots if not _is_off(config, slot)] for name, slots in rounds.items()}


def _place(waiting: Sequence[Placed], rounds: Sequence[list[_Slot]]) -> None:
    """Put each beside its anchor, which may be another of them."""
    while waiting:
        left = [placed for placed in waiting if not any(_insert(placed, slots) for slots in rounds)]
        if len(left) == len(waiting):
            anchor = left[0].anchor
            known = [slot.one.name for slots in rounds for slot in slots]
            what = f"the pass {left[0].name} is to run {left[0].side} {anchor!r}, which is no pass"
            raise ConfigError(what, *_choice(anchor, known))
        waiting = left


def _insert(placed: Placed, slots: list[_Slot]) -> bool:
    places = [index for index, slot in enumerate(slots) if slot.one.name == placed.anchor]
    if not places:
        return False
    if placed.side == "before":
        slots.insert(places[0], _Slot(placed.one))
        return True
    index = places[-1] + 1
    while index < len(slots) and slots[index].follows == placed.anchor:
        index += 1
    slots.insert(index, _Slot(placed.one, follows=placed.anchor))
    return True


def _is_off(config: CompilationConfig, slot: _Slot) -> bool:
    return f"pass:{slot.one.name}" in config.off or (not slot.always and config.is_off(Part.PASSES))


def _check_switches(config: CompilationConfig, known: Sequence[str]) -> None:
    """The environment may switch off what only another model has; a configuration may not."""
    everywhere = os.environ.get("CUTAWAY_OFF", "").replace(" ", "").split(",")
    for part in sorted(config.off.difference(everywhere)):
        kind, _, name = part.partition(":")
        if kind == "pass" and name not in known:
            raise ConfigError(f"there is no pass {name!r} to switch off", *_choice(name, known))


def _choice(name: str, known: Sequence[str]) -> tuple[str, str]:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "", f"choose of {', '.join(dict.fromkeys(known))}"

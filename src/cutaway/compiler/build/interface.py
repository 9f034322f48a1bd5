"""What a compiler of pieces must do to be one: three methods and a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import fx

from cutaway.compiler.build.ranges import Range
from cutaway.compiler.passes.inductor_pass import InductorPass

Runnable = Callable[..., Any]


@dataclass(frozen=True)
class Task:
    """One piece to compile for one range.

    Attributes:
        graph: the piece; returns a tuple. The compiler may change it: it is nobody else's.
        inputs: its example inputs: fake tensors and symbolic sizes; with the batch size filled in for a single size.
        range: for which batch sizes.
        name: what logs and files call it, such as ``piece_02``.
        options: entries of the backend's own configuration.
    """

    graph: fx.GraphModule
    inputs: Sequence[Any]
    range: Range
    name: str = "piece"
    options: Mapping[str, Any] = field(default_factory=dict)


class Compiled(ABC):
    """What a compiler made of a task: it runs, and may be kept."""

    @abstractmethod
    def __call__(self, *args: Any) -> Any:
        """Run the piece: flat inputs as the graph takes them, a tuple back."""

    def save(self, folder: Path, form: str) -> bool:
        """Write all that :meth:`CompilerInterface.load` needs into an empty folder, with no absolute path in it.

        Args:
            folder: where to.
            form: ``binary`` or ``unpacked`` (files that a person can edit).

        Returns:
            False when this cannot be kept; the folder is then thrown away.
        """
        return False


class CompilerInterface(ABC):
    """A compiler of pieces. vLLM's class of that name is the model; ours is told of no cache.

    Attributes:
        name: what the configuration calls it.
    """

    name: str

    @abstractmethod
    def factors(self) -> dict[str, Any]:
        """All that makes its artifacts differ besides task and options: versions, settings of the process, machine."""

    def prepare(self, devices: Collection[str]) -> None:  # noqa: B027  (most have nothing to begin)
        """Begin what needs no graph (called in a thread of its own, while the model is being captured).

        Args:
            devices: types of the devices that the model is on: ``cpu``, ``cuda``.
        """

    def rewriters(self) -> Sequence[InductorPass]:
        """The passes that it runs over every piece: what they may put into a graph is keyed (most run none)."""
        return ()

    @abstractmethod
    def compile(self, task: Task) -> Compiled:
        """Compile a task."""

    def load(self, folder: Path, form: str) -> Runnable:
        """What :meth:`Compiled.save` wrote, runnable again. Raises any exception when it cannot be used."""
        raise NotImplementedError(f"{self.name} keeps nothing")

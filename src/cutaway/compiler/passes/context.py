"""What a pass may ask while it runs, and where it leaves what it counted.

Inductor calls a pass with a graph and nothing else, so this is one of the few things that are ambient: a
``ContextVar``, entered around the compile of one piece for one range. The passes before AOTAutograd and those over the
last graph see the same object: what the first learn of a piece's inputs, the last may rely on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutaway.compiler.build.ranges import Range


@dataclass
class PassReport:
    """What one run of one pass has to say; the manager hands it to logs, counters and the recorder.

    Attributes:
        counts: how often something happened, such as ``matches``.
        notes: anything else that is worth reading, as JSON.
        providers: node name -> the provider that implements it after the pass.
    """

    counts: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)

    def count(self, name: str, number: int = 1) -> None:
        """Something happened, ``number`` times; 0 says that it was looked for."""
        self.counts[name] += number

    def note(self, name: str, value: Any) -> None:
        """Something worth reading; the last value of a name stays."""
        self.notes[name] = value


@dataclass
class PassContext:
    """One piece while it is compiled for one range.

    Attributes:
        compile_range: the batch sizes that it is compiled for.
        piece: its name.
        donated_inputs: positions of the placeholders whose memory may be written to, because nobody reads the old
            content afterwards.
        state: by what else the outcome of the passes is known besides the graph and themselves: which providers are
            in force.
        report: of the pass that is running; each has one of its own.
    """

    compile_range: Range
    piece: str = "piece"
    donated_inputs: set[int] = field(default_factory=set)
    state: str = ""
    report: PassReport = field(default_factory=PassReport)


_context: ContextVar[PassContext] = ContextVar("cutaway_pass_context")


@contextmanager
def pass_context(compile_range: Range, piece: str = "piece", state: str = "") -> Generator[PassContext]:
    """Within the block, passes are asked to rewrite a piece for these batch sizes (vLLM's function of that name)."""
    context = PassContext(compile_range, piece, state=state)
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)


def get_pass_context() -> PassContext:
    """The context of the pass that is running. Raises LookupError outside of a compile."""
    return _context.get()

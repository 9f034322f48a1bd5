"""Passes, Inductor's own and those of a host: which is going on on which graph, and what it did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import fx

from cutaway.record.frozen import Frozen, freeze, same
from cutaway.record.pass_run import PassRun
from cutaway.record.recorder import Recorder

_STAGES = {"pre_grad": "pre_grad_pass", "joint": "joint_pass"}


@dataclass
class _OpenPass:
    """A pass that has begun.

    Attributes:
        gm: the graph that it works on.
        before: the graph as it was.
        entered: when.
        host: whether it is a host's.
        stop_listening: to what is done to the graph.
        holds_passes: whether a host's pass was inside of it: then it is the frame that runs those.
    """

    gm: fx.GraphModule
    before: Frozen
    entered: float
    host: bool
    stop_listening: Callable[[], None]
    holds_passes: bool = False


class Passes:
    """The passes of one recording, on each thread those that are open."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._on_thread = threading.local()

    # -- Inductor's -------------------------------------------------------------------------------------

    def entered(self, gm: fx.GraphModule) -> None:
        """A pass that has a name begins on ``gm``; the name is told when it ends."""
        self._open(gm, host=False)

    def left(self, gm: fx.GraphModule, name: str, error: type[BaseException] | None) -> None:
        """The pass on ``gm`` that has begun last is over, or raised."""
        *outer, this = [open_pass for open_pass in self._stack() if open_pass.gm is gm] or [None]
        machinery = any(open_pass.host for open_pass in outer if open_pass) or (outer and name == "pattern_matcher")
        if machinery or (this is not None and this.holds_passes):
            self._close(gm)  # the inside of a pass that has a name, or the frame around the engine's passes
            return
        if self.recorder.compilations.known() is None:
            return
        scope = self.recorder.scope()
        part = scope.part or "pass"
        stage = _STAGES.get(part, "post_grad_pass")
        inside = scope.nested(gm)
        if inside is not None:
            self.end(stage, gm, f"{name} in {inside}", f"inductor_{part}.{name}@{inside}", None, whole=False)
            return
        number = scope.pass_numbers["inductor"]
        scope.pass_numbers["inductor"] += 1
        self.end(stage, gm, name, f"inductor_{part}.{number}.{name}", number, failed=error is not None)

    # -- a host's ---------------------------------------------------------------------------------------

    def begin(self, gm: fx.GraphModule) -> None:
        """A host begins a pass on ``gm`` (its end is :meth:`end`)."""
        self._open(gm, host=True)

    def end(
        self,
        stage: str,
        gm: fx.GraphModule,
        name: str,
        leaf: str,
        number: int | None,
        failed: bool = False,
        providers: Mapping[str, str] | None = None,
        whole: bool = True,
        counts: Mapping[str, int] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """A pass is over: a snapshot when it changed the graph, an event always.

        A pass on a graph inside of the graph (a branch of ``torch.cond``; ``whole`` is False) has an event only: what
        it changed shows in the next stage of the whole.
        """
        closed = self._close(gm)
        if closed is None:
            return
        if closed.host:
            for outer in self._stack():
                outer.holds_passes = True
        started = perf_counter()
        frozen = freeze(gm.graph)
        changed = not same(closed.before, frozen)
        self._spent(started)
        if failed:
            self.recorder.metric("pass_failed", {"pass": name, "changed": changed})
        run = PassRun(name, leaf, number, 1e3 * (started - closed.entered), providers, counts or {}, notes or {})
        self.recorder.ran(stage, gm, run, changed, frozen, whole)

    # -- those that are open ----------------------------------------------------------------------------

    def _open(self, gm: fx.GraphModule, host: bool) -> None:
        if self.recorder.compilations.known() is None:  # outside of any compile: torch prepares its patterns
            return
        started = perf_counter()
        scope = self.recorder.scope()
        stop = scope.changes_of(gm).listen() if scope.nested(gm) is None else lambda: None
        self._stack().append(_OpenPass(gm, freeze(gm.graph), started, host, stop))
        self._spent(started)

    def _close(self, gm: fx.GraphModule) -> _OpenPass | None:
        """The innermost open pass on this graph; those inside it that raised never said that they ended."""
        stack = self._stack()
        while any(open_pass.gm is gm for open_pass in stack):
            closed = stack.pop()
            closed.stop_listening()
            if closed.gm is gm:
                return closed
        return None

    def _stack(self) -> list[_OpenPass]:
        if not hasattr(self._on_thread, "stack"):
            self._on_thread.stack = []
        return self._on_thread.stack

    def _spent(self, started: float) -> None:
        self.recorder.scope().hook_seconds += perf_counter() - started

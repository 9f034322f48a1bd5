"""Graphs that torch logs on their way, and the stage that each of them is at."""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from cutaway import torch_internals
from cutaway.record.recorder import Recorder

GraphHandler = Callable[[str, fx.GraphModule], bool]

_LOGGED = {"BEFORE PRE GRAD": "before_pre_grad", "AFTER POST GRAD": "post_grad"}
_AOT = {"Joint graph": "aot_joint", "Forward graph": "aot_forward", "Backward graph": "aot_backward"}
_PARTS = {"before_pre_grad": "pre_grad", "before_joint": "joint", "before_post_grad": "post_grad"}


class Stages:
    """The graphs of one recording, as they come.

    Attributes:
        handlers: of logged graphs, a host's; they are asked first, and the first that returns True has handled it.
        breaks: why Dynamo ended graphs early, by compile id, until the graph is captured.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.handlers: list[GraphHandler] = []
        self.breaks: dict[str | None, list[str]] = {}

    def logged(self, name: str, gm: fx.GraphModule) -> None:
        """A graph was logged under torch's, or a host's, name for it."""
        if any(handler(name, gm) for handler in self.handlers):
            return
        if name.startswith("__compiled_fn_"):
            self._captured(gm)
        elif name in _LOGGED:
            self.at(_LOGGED[name], gm)
        elif name in _AOT:
            self._aot(_AOT[name], gm)

    def _captured(self, gm: fx.GraphModule) -> None:
        found = torch_internals.captured_function()
        code, arguments = found or (None, {})
        compilation = self.recorder.begin(code, arguments, gm)
        self.recorder.graph("captured", gm)
        breaks = self.breaks.pop(compilation.compile_id, [])
        reason = torch_internals.graph_break_of(gm)
        for text in breaks or ([reason] if reason else []):
            self.recorder.metric("graph_break", {"reason": text.strip()}, compilation)

    def _aot(self, stage: str, gm: fx.GraphModule) -> None:
        scope = self.recorder.scope()
        scope.graph_module = gm
        training = "joint" in scope.tracks
        phases = {"aot_joint": "joint", "aot_backward": "backward"}
        scope.phase = phases.get(stage, "forward" if training else "inference")
        scope.part = "joint"
        self.recorder.graph(stage, gm)

    def at(self, stage: str, gm: fx.GraphModule) -> None:
        """A graph of Inductor is at a stage."""
        scope = self.recorder.next_graph() if stage == "before_pre_grad" else self.recorder.scope()
        scope.graph_module = gm
        if stage in _PARTS:
            scope.part = _PARTS[stage]
            scope.pass_numbers.clear()
        if stage == "before_pre_grad":
            scope.phase = None
            scope.tracks = {key: track for key, track in scope.tracks.items() if key is None}
        if stage == "before_post_grad":
            scope.phase = torch_internals.phase_in_inductor() or scope.phase
        scope.generating = stage == "post_grad"
        self.recorder.graph(stage, gm)

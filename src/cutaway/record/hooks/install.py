"""Puts the hooks of one recording in, and takes them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cutaway import torch_internals
from cutaway.record.hooks.artifacts import Artifacts
from cutaway.record.hooks.passes import Passes
from cutaway.record.hooks.stages import Stages
from cutaway.record.hooks.trace import Trace
from cutaway.record.kept.loading import Loads
from cutaway.record.recorder import Recorder

Undo = Callable[[], None]


class Hooks:
    """The hooks of one recording.

    Attributes:
        recorder: what they tell.
        loads: whole models that a cache is serving; what comes of them waits.
        stages, passes, artifacts, trace: what they see. A host adds handlers to some of them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.loads = Loads()
        self.stages = Stages(recorder)
        self.passes = Passes(recorder)
        self.artifacts = Artifacts(recorder, self.loads)
        self.trace = Trace(recorder, self.stages, self.loads)
        self.trace.records |= self.artifacts.records
        self._undo: list[Undo] = []
        self._late: dict[str, Callable[[], Undo | None]] = {}

    def install(self) -> None:
        """Put the hooks in; those into modules that are not loaded yet follow when they are."""
        guarded = self.recorder.guarded
        self._traced, self._logged = guarded(self.trace.traced), guarded(self.stages.logged)
        self._kernel, self._installed_late = guarded(self.artifacts.kernel), guarded(self._install_late)
        swap = torch_internals.swap_code
        for place, put_in in {
            "print_readable": torch_internals.capture_print_readable,
            "trace_structured": lambda: swap(torch_internals.trace_structured(), self._trace_shim),
            "lazy_format_graph_code": lambda: swap(torch_internals.lazy_format_graph_code(), self._log_shim),
        }.items():
            try:
                self._undo.append(put_in())
            except Exception as error:  # noqa: BLE001  (this torch does not have it, or has it otherwise)
                self.recorder.failed(f"putting in the hook {place}", error)
        entered, left = guarded(self.passes.entered), guarded(self.passes.left)
        compiled = guarded(self.artifacts.compiled)
        self._late = {
            "passes": lambda: torch_internals.watch_passes(entered, left),
            "compiled": lambda: torch_internals.watch_artifacts(compiled),
            "kernels": self._install_kernels,
        }
        self._installed_late()

    def remove(self) -> None:
        """Take every hook out, in reverse order; one that cannot be taken out does not keep the others in."""
        self._late.clear()
        self._undo.append(self.artifacts.stop)
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:  # noqa: BLE001  (never end the run)
                self.recorder.failed("taking out a hook", error)

    def _install_late(self) -> None:
        for name, install in list(self._late.items()):
            del self._late[name]  # one that fails is not tried again
            undo = install()
            if undo is not None:
                self._undo.append(undo)
            else:  # not loaded yet
                self._late[name] = install

    def _install_kernels(self) -> Undo | None:
        function = torch_internals.kernel_provenance()
        return torch_internals.swap_code(function, self._kernel_shim) if function else None

    # -- shims: the watched call always happens, with what it returned ----------------------------------

    def _trace_shim(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._late:
            self._installed_late()
        name = args[0] if args else kwargs.get("name")
        if self.trace.listens_to(name):
            metadata = args[1] if len(args) > 1 else kwargs.get("metadata_fn", dict)
            self._traced(name, metadata, kwargs.get("payload_fn", lambda: None))
        return original(*args, **kwargs)

    def _log_shim(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) > 1:
            self._logged(args[0], args[1])
        return original(*args, **kwargs)

    def _kernel_shim(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._kernel(*args, **kwargs)
        return original(*args, **kwargs)

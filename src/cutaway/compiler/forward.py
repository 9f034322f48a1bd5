"""The compiled forward of one model: what happens at its first call, and at every one after it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.compiler.backend import CutawayBackend
from cutaway.compiler.cache.model import ModelCache
from cutaway.compiler.capture.changes import check_change
from cutaway.compiler.capture.contract import InputContract
from cutaway.compiler.capture.dynamic import (
    DynamicArgDims,
    check_dynamic_dims,
    infer_dynamic_dims,
    marked_dynamic,
    widened,
)
from cutaway.compiler.capture.dynamo import Capture, Captured
from cutaway.compiler.config import CompilationConfig, Part
from cutaway.compiler.counters import CompilationCounter
from cutaway.compiler.link.assembler import loading
from cutaway.compiler.observe import Observer
from cutaway.compiler.run.priority import with_priority
from cutaway.compiler.session import Session
from cutaway.ops.priority import set_priority


class CompiledForward:
    """The compiled forward of one model: compiled at the first call, one function after that.

    Args:
        model: the module that the forward reads its weights from.
        forward: the method that is compiled.
        config: how.
        dynamic_arg_dims: which dimensions vary; inferred from the annotations when None.
        tag: what logs and dumps call it.
        on_complete: called once it is compiled or loaded.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        forward: Callable[..., Any],
        config: CompilationConfig,
        dynamic_arg_dims: DynamicArgDims | None,
        tag: str,
        on_complete: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.model = model
        self.forward = forward
        self.dims = dynamic_arg_dims
        self.session = Session(config, tag, on_complete=list(on_complete))
        self._call: Callable[..., Any] | None = None
        self._contract: InputContract | None = None
        self._takes_self = inspect.ismethod(forward)

    def __getstate__(self) -> tuple[Any, ...]:
        """A copy, or one that was pickled with its model, is as one that nobody called yet."""
        return self.model, self.forward, self.session.config, self.dims, self.session.tag

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        CompiledForward.__init__(self, *state)

    @property
    def counters(self) -> CompilationCounter:
        """What happened so far."""
        return self.session.counters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; the first call compiles it for all its ranges.

        Raises:
            CaptureError, SplitError, ConfigError: it cannot be compiled (first call).
            OpError: ``ir_priority`` names an op or a provider that there is not (first call).
            InputError: these arguments break what was assumed when it was captured.
        """
        call = self._call
        if call is None:
            call = self._start(args, kwargs)
        if self._contract is not None:
            args, kwargs = self._contract.check(args, kwargs)
        if torch.is_grad_enabled():
            with torch.no_grad():
                return call(*args, **kwargs)
        return call(*args, **kwargs)

    def check_change(self, name: str, value: Any) -> None:
        """Raises CaptureError when an attribute of the model cannot become this any more."""
        config = self.session.config
        if self._call is not None and not config.is_off(Part.COMPILE):
            check_change(self.model, name, value, config.uses_cuda_graphs)

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        with self.session.lock:
            if self._call is not None:  # another thread was first
                return self._call
            priority = self.session.config.ir_priority
            if self.session.config.is_off(Part.COMPILE):
                self._call = with_priority(self.forward, priority)
                return self._call
            with set_priority(priority):
                captured, contract = self._compile(args, kwargs)
            self._contract = contract
            self._call = functools.partial(captured.call, self.model) if self._takes_self else captured.call
            for callback in self.session.on_complete:
                callback()
            return self._call

    def _prepare(self, backend: CutawayBackend) -> None:
        """Let the compiler begin beside the capture. What goes wrong there goes wrong again where it is needed."""
        if self.session.config.is_off(Part.PARALLEL):
            return

        def prepare() -> None:
            with contextlib.suppress(Exception):
                backend.compiler.prepare({weight.device.type for weight in self.model.parameters()} or {"cpu"})

        threading.Thread(target=prepare, name="cutaway-prepare", daemon=True).start()

    def _compile(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Captured, InputContract]:
        session, dims = self.session, self.dims
        if dims is None:
            dims = infer_dynamic_dims(self.forward)
        check_dynamic_dims(self.forward, dims)
        args, kwargs, by_name = _widened(inspect.signature(self.forward), args, kwargs, dims)
        contract = InputContract(self.forward, args, kwargs, dims)
        observer = Observer.of(session.config, session.tag, type(self.model).__name__)
        with torch_internals.compile_lock(), observer.compiling():
            backend = CutawayBackend(session, observer)
            cache = ModelCache(
                backend.store,
                session,
                backend.compiler,
                self.model,
                self.forward,
                contract.described(),
                observer.cache,
                backend.manager.identities,
            )
            token = loading.set(backend.link_kept)
            try:
                captured = _load(cache, observer)
            finally:
                loading.reset(token)
            if captured is None:
                self._prepare(backend)
                capture = Capture(self.model, self.forward, session.config, backend)
                with (
                    marked_dynamic(by_name, dims, session.config.dynamic_shapes) as backend.marked,
                    torch_internals.branches_on_sizes() as backend.branches,
                ):
                    captured = capture.run(args, kwargs)
                if captured.without_regions:
                    observer.metric("layers_traced_one_by_one", {"reason": captured.without_regions})
                cache.save(captured, backend.is_kept, backend.ir_ops, backend.manager.operators)
            observer.finish()
            if cache.is_kept:
                observer.keep_model(cache.recording())
                if observer.recordings:
                    cache.keep_sources(captured)
        return captured, contract


def _load(cache: ModelCache, observer: Observer) -> Captured | None:
    """The model as it was captured earlier, if there is one, with its recording."""
    with observer.loading():
        captured = cache.load()
        if captured is not None:
            observer.model_loaded(cache.recording())
        return captured


def _widened(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], dims: DynamicArgDims
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """The same call with arguments to capture with (see :func:`widened`), and these by name."""
    positions = [
        name for name, p in signature.parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    names = positions[: len(args)]
    by_name = widened({**dict(zip(names, args, strict=False)), **kwargs}, dims)
    return (*(by_name[name] for name in names), *args[len(names) :]), {name: by_name[name] for name in kwargs}, by_name

"""What a user calls: compile a model, or decorate a class of models."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Generator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, overload

import torch

from cutaway import torch_internals
from cutaway.compiler.backend import CutawayBackend
from cutaway.compiler.cache.model import ModelCache
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
from cutaway.compiler.session import Session
from cutaway.errors import ConfigError

ModelClass = TypeVar("ModelClass", bound=type[torch.nn.Module])

_tag: ContextVar[str] = ContextVar("cutaway_model_tag", default="backbone")
_on_complete: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("cutaway_on_complete", default=())
_config: ContextVar[CompilationConfig | None] = ContextVar("cutaway_config", default=None)


@contextlib.contextmanager
def set_model_tag(tag: str) -> Generator[None]:
    """Models that are made or compiled inside the block are called ``tag``: ``backbone`` (default), ``eagle_head``."""
    token = _tag.set(tag)
    try:
        yield
    finally:
        _tag.reset(token)


@contextlib.contextmanager
def set_on_compilation_complete(callback: Callable[[], None]) -> Generator[None]:
    """Models that are made or compiled inside the block call ``callback`` once each is compiled or loaded."""
    token = _on_complete.set((*_on_complete.get(), callback))
    try:
        yield
    finally:
        _on_complete.reset(token)


@contextlib.contextmanager
def set_compilation_config(config: CompilationConfig | Mapping[str, Any]) -> Generator[None]:
    """Models of classes decorated with :func:`support_torch_compile` that are made inside the block take this one."""
    token = _config.set(CompilationConfig.of(config))
    try:
        yield
    finally:
        _config.reset(token)


class CompiledForward:
    """The compiled forward of one model: compiled at the first call, one function after that.

    Args:
        model: the module that the forward reads its weights from.
        forward: the method that is compiled.
        config: how.
        dynamic_arg_dims: which dimensions vary; inferred from the annotations when None.
        tag: what logs and dumps call it.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        forward: Callable[..., Any],
        config: CompilationConfig,
        dynamic_arg_dims: DynamicArgDims | None,
        tag: str,
    ) -> None:
        self.model = model
        self.forward = forward
        self.dims = dynamic_arg_dims
        self.session = Session(config, tag, on_complete=list(_on_complete.get()))
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

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        with self.session.lock:
            if self._call is not None:  # another thread was first
                return self._call
            if self.session.config.is_off(Part.COMPILE):
                self._call = self.forward
                return self._call
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
            )
            token = loading.set(backend.link_kept)
            try:
                captured = cache.load()
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
                cache.save(captured, backend.is_kept)
            observer.finish()
        return captured, contract


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


class CompiledModel(torch.nn.Module):
    """A model whose calls run compiled. Everything else is the model's own: weights, attributes, ``state_dict``.

    Made by :func:`compile`. ``_orig_mod`` is the model, as in ``torch.compile``'s own wrapper.
    """

    def __init__(self, model: torch.nn.Module, forward: CompiledForward) -> None:
        super().__init__()
        self._orig_mod = model
        self._compiled = forward
        self.register_state_dict_post_hook(_leave_out_prefix)
        self.register_load_state_dict_pre_hook(_put_in_prefix)

    @property
    def session(self) -> Session:
        """Counters, configuration, tag."""
        return self._compiled.session

    @property
    def counters(self) -> CompilationCounter:
        """What happened so far."""
        return self._compiled.counters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        model = self.__dict__.get("_modules", {}).get("_orig_mod")
        if name == "_orig_mod" or model is None:
            return super().__getattr__(name)
        return getattr(model, name)


def _leave_out_prefix(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """State of a compiled model has the names of the model's own."""
    for key in list(state):
        if key.startswith(f"{prefix}_orig_mod."):
            state[prefix + key.removeprefix(f"{prefix}_orig_mod.")] = state.pop(key)


def _put_in_prefix(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in list(state):
        if key.startswith(prefix) and not key.startswith(f"{prefix}_orig_mod."):
            state[f"{prefix}_orig_mod.{key.removeprefix(prefix)}"] = state.pop(key)


def compile(  # noqa: A001  (the name that everybody looks for)
    model: torch.nn.Module,
    config: CompilationConfig | Mapping[str, Any] | None = None,
    *,
    dynamic_arg_dims: DynamicArgDims | None = None,
    tag: str | None = None,
) -> CompiledModel:
    """Compile a model piece by piece, at its first call, for all its ranges at once.

        model = cutaway.compile(model, CompilationConfig(splitting_ops=["attn::unified"]), dynamic_arg_dims={"ids": 0})

    Args:
        model: a module; it is captured as one graph, dynamic in the batch dimension.
        config: how; a mapping of fields will do.
        dynamic_arg_dims: argument of ``model.forward`` -> the dimension (or several) that is the batch, the number of
            tokens. Inferred when left out: dimension 0 of every argument that is annotated as a tensor.
        tag: what logs, dumps and the cache call it; default :func:`set_model_tag`'s, else ``backbone``.

    Returns:
        A module that is called as the model is. It computes without gradients.

    Raises:
        ConfigError: the configuration asks for what cannot be, or there is no module.
    """
    if not isinstance(model, torch.nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"cutaway.compile takes a torch.nn.Module, and was given a {type(model).__name__}",
            cure="make it the forward of a module",
        )
    forward = CompiledForward(model, model.forward, CompilationConfig.of(config), dynamic_arg_dims, tag or _tag.get())
    return CompiledModel(model, forward)


@overload
def support_torch_compile(cls: ModelClass, /) -> ModelClass: ...
@overload
def support_torch_compile(
    *,
    dynamic_arg_dims: DynamicArgDims | None = ...,
    config: CompilationConfig | Mapping[str, Any] | None = ...,
    enable_if: Callable[[CompilationConfig], bool] | None = ...,
) -> Callable[[ModelClass], ModelClass]: ...
def support_torch_compile(
    cls: Any = None,
    /,
    *,
    dynamic_arg_dims: DynamicArgDims | None = None,
    config: CompilationConfig | Mapping[str, Any] | None = None,
    enable_if: Callable[[CompilationConfig], bool] | None = None,
) -> Any:
    """Decorate a class of models: each instance is compiled at its first call. vLLM's decorator is the model.

    Args:
        cls: the class; its instances are called as before, and stay instances of it.
        dynamic_arg_dims: as for :func:`compile`.
        config: how; :func:`set_compilation_config` around the making of an instance wins over it.
        enable_if: asked with the configuration when an instance is made; False leaves it alone.
    """
    if cls is None:
        return functools.partial(_supported, dynamic_arg_dims=dynamic_arg_dims, config=config, enable_if=enable_if)
    return _supported(cls, dynamic_arg_dims=dynamic_arg_dims, config=config, enable_if=enable_if)


def _supported(
    cls: ModelClass,
    *,
    dynamic_arg_dims: DynamicArgDims | None,
    config: CompilationConfig | Mapping[str, Any] | None,
    enable_if: Callable[[CompilationConfig], bool] | None,
) -> ModelClass:
    made, called = cls.__init__, cls.__call__

    @functools.wraps(made)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        made(self, *args, **kwargs)
        if type(self) is not cls and "_cutaway" in self.__dict__:
            return
        wanted = _config.get() or CompilationConfig.of(config)
        if enable_if is None or enable_if(wanted):
            forward = CompiledForward(self, self.forward, wanted, dynamic_arg_dims, _tag.get())
            object.__setattr__(self, "_cutaway", forward)

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        compiled = self.__dict__.get("_cutaway")
        if compiled is None or torch.compiler.is_compiling():
            return called(self, *args, **kwargs)
        return compiled(*args, **kwargs)

    cls.__init__ = __init__
    cls.__call__ = __call__
    return cls


def counters_of(model: torch.nn.Module) -> CompilationCounter:
    """The counters of a model that was compiled or whose class was decorated."""
    return vars(model)["_cutaway"].counters if "_cutaway" in vars(model) else model.counters  # pyright: ignore


__all__ = [
    "CompiledModel", "compile", "counters_of", "set_compilation_config", "set_model_tag",
    "set_on_compilation_complete", "support_torch_compile",
]  # fmt: skip

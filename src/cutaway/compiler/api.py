"""What a user calls: compile a model, or decorate a class of models."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, overload

import torch

from cutaway.compiler.capture.changes import GONE
from cutaway.compiler.capture.dynamic import DynamicArgDims
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.counters import CompilationCounter
from cutaway.compiler.forward import CompiledForward
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

    @property
    def dynamic_arg_dims(self) -> DynamicArgDims | None:
        """As it was given to :func:`compile`."""
        return self._compiled.dims

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        model = self.__dict__.get("_modules", {}).get("_orig_mod")
        if name == "_orig_mod" or model is None:
            return super().__getattr__(name)
        return getattr(model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """An attribute of the model. Once it is compiled, that can only be what the compiled code is right for.

        Raises:
            CaptureError: it is compiled, and with that value other code would have been.
            ConfigError: it is ``forward``, which is another function here than the model's.
        """
        if name == "forward":
            raise ConfigError(
                "the forward of a compiled model cannot be replaced",
                "calls of it run the model's own, compiled",
                "replace it on the model itself, then compile that",
            )
        if name in self.__dict__ or name in _OWN or hasattr(type(self), name):
            super().__setattr__(name, value)
            return
        self._compiled.check_change(name, value)
        setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        """An attribute of the model, too. Raises CaptureError when the model is compiled already."""
        if name in self.__dict__ or name in _OWN or hasattr(type(self), name):
            super().__delattr__(name)
            return
        self._compiled.check_change(name, GONE)
        delattr(self._orig_mod, name)


_OWN = ("_orig_mod", "_compiled")  # of the wrapper itself


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
    wanted = CompilationConfig.of(config)
    forward = CompiledForward(model, model.forward, wanted, dynamic_arg_dims, tag or _tag.get(), _on_complete.get())
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
            forward = CompiledForward(self, self.forward, wanted, dynamic_arg_dims, _tag.get(), _on_complete.get())
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

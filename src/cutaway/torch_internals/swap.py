"""Functions and methods of torch put in the place of others, undone in any order."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import CodeType, FunctionType, ModuleType
from typing import Any

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
_SHIM = """def {name}(*args, **kwargs):
    from cutaway.torch_internals import dispatch
    return dispatch({key}, args, kwargs)
"""
_handlers: dict[int, tuple[Handler, Callable[..., Any]]] = {}
_keys = count()


@dataclass
class _Layer:
    """Something of ours that lies over a function or method, perhaps with another of ours over it."""

    on_top: Callable[[], bool]
    take_off: Callable[[], None]
    over: bool = False


_piles: dict[Any, list[_Layer]] = {}


def _lay(place: Any, layer: _Layer) -> Callable[[], None]:
    """Returns the undo: recordings that overlap may end in any order, and the last one leaves nothing behind."""
    pile = _piles.setdefault(place, [])
    pile.append(layer)

    def undo() -> None:
        layer.over = True
        while pile and pile[-1].over and pile[-1].on_top():
            pile.pop().take_off()

    return undo


def dispatch(key: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the shim of :func:`swap_code` calls: ``handler(original, args, kwargs)``."""
    handler, original = _handlers[key]
    return handler(original, args, kwargs)


def swap_code(function: FunctionType, handler: Handler) -> Callable[[], None]:
    """Let every call of ``function``, through whatever name, go to ``handler(original, args, kwargs)``.

    The shim bears the original's file name, because Dynamo decides by file what it traces. Returns the undo.
    """
    key = next(_keys)
    old = function.__code__
    original = FunctionType(old, function.__globals__, function.__name__, function.__defaults__, None)
    original.__kwdefaults__ = function.__kwdefaults__
    _handlers[key] = (handler, original)
    module = compile(_SHIM.format(name=function.__name__, key=key), old.co_filename, "exec")
    shim = next(const for const in module.co_consts if isinstance(const, CodeType))
    function.__code__ = shim
    take_off = functools.partial(setattr, function, "__code__", old)
    take_away = _lay(function, _Layer(lambda: function.__code__ is shim, take_off))

    def undo() -> None:
        # A thread may be inside the shim, and somebody may have swapped after us: the way through stays open.
        _handlers[key] = (lambda call, args, kwargs: call(*args, **kwargs), original)
        take_away()

    return undo


def patch_method(owner: type, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Replace ``owner.name`` by ``make(original)``. Returns the undo."""
    own = name in vars(owner)
    original = vars(owner)[name] if own else getattr(owner, name)
    replacement = make(original)
    setattr(owner, name, replacement)

    def take_off() -> None:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)

    return _lay((owner, name), _Layer(lambda: vars(owner).get(name) is replacement, take_off))


def loaded(module: str) -> ModuleType | None:
    """A module when it is imported already: a hook never imports what the program did not."""
    return sys.modules.get(module)

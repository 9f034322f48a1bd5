"""Objects of Python, torch and NumPy that code often finds in globals: what is said of each, and what is behind it."""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import re
import sys
import threading
import types
import typing
from collections import deque
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.identity.sources import digest

_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore)
_INERT = (logging.Logger, logging.LoggerAdapter, logging.Handler, *_LOCKS, torch.library.Library)
_CACHED = type(functools.lru_cache(len))
_NUMBERS = (Decimal, Fraction, date, timedelta, torch.finfo, torch.iinfo, torch.Tag)
_TYPING = (types.GenericAlias, types.UnionType, typing.TypeVar)


def without_state(value: Any) -> Any:
    """What says all of an object, as JSON; None for what must be looked into.

    Loggers, locks and torch's libraries of operators change nothing that is computed. The environment is known by the
    variables that the code names.
    """
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (*_INERT, type(os.environ))):
        return {"object of": kind}
    if isinstance(value, re.Pattern):
        return {"pattern": str(value.pattern), "flags": value.flags}
    if isinstance(value, (*_NUMBERS, *_TYPING)) or type(value).__module__ == "typing":
        return {kind: repr(value)}
    overloads = torch_internals.overloads_of(torch_internals.overload_of_custom_op(value) or value)
    if overloads:
        return {"operators": sorted(torch_internals.schema_of_op(overload) for overload in overloads)}
    if torch_internals.is_higher_order(value):
        return {"higher-order operator": f"{kind} {value}"}
    return _of_numpy(value, kind)


def _of_numpy(value: Any, kind: str) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.ufunc):
        return {kind: value.__name__}
    if isinstance(value, numpy.dtype):
        return {kind: repr(value)}
    if isinstance(value, (numpy.ndarray, numpy.generic)) and not value.dtype.hasobject:
        return {kind: f"{value.dtype} {list(value.shape)} {digest(value.tobytes())}"}
    return None


def behind(value: Any) -> Any:
    """What an object stands for, to be looked into in its place; None when it stands for itself.

    Of a cached function the function, of a variable of the context what it holds, of a Triton kernel its Python.
    """
    if isinstance(value, types.SimpleNamespace):
        return {"namespace": vars(value)}
    if isinstance(value, threading.local):
        return {"local to the thread": vars(value), "class": type(value)}
    if isinstance(value, contextvars.ContextVar):
        return {"variable": value.name, "holds": value.get(None)}
    if isinstance(value, deque):
        return {"deque": list(value), "longest": value.maxlen}
    if isinstance(value, _CACHED):
        return {"cached": value.__wrapped__}
    return _of_triton(value)


def _of_triton(value: Any) -> Any:
    kind = type(value)
    function: Callable[..., Any] | None = getattr(value, "fn", None)
    if kind.__module__.partition(".")[0] != "triton" or function is None:
        return None
    return {"triton": kind.__qualname__, "function": function, "configs": getattr(value, "configs", None)}

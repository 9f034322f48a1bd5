"""By what an implementation is known in another process."""

from __future__ import annotations

import enum
import sys
import types
from typing import TYPE_CHECKING, Any

import torch

from cutaway.errors import OpError
from cutaway.identity.sources import (
    UncacheableError,
    code_digest,
    comes_with_python_or_torch,
    digest,
    file_digest,
)
from cutaway.identity.stable import canonical, stable

if TYPE_CHECKING:
    from cutaway.ops.impl import IrOpImpl

_PLAIN = (bool, int, float, complex, str, bytes, enum.Enum, torch.dtype, torch.device, torch.layout)
_DEEPEST = 8  # calls; kernels lie near, and behind them whole libraries


def implementation_uuid(impl: IrOpImpl) -> str:
    """Digest of all that says what an implementation computes, as far as Python can see it.

    The file of a function counts as a whole, because a function calls what stands beside it. What it reaches through
    global names counts too: plain values as they are now (they may come from the environment), functions with what
    they reach in turn, modules and classes by their files. What comes with Python or torch is keyed by their versions.

    Raises:
        OpError: a part cannot be told from its like in another process.
    """
    where = f"provider '{impl.provider}' of op '{impl.op.name}'"
    try:
        facts = {
            "function": stable(impl.function, where),
            "globals": _Reached().of(impl.function, where),
            "takes": None if impl.takes is None else stable(impl.takes, f"supports_args of {where}"),
            "inplace": impl.inplace,
            "sources": [file_digest(source, f"a source of {where}") for source in impl.sources],
        }
    except UncacheableError as error:
        raise OpError(
            f"{where} has no identity that holds in another process",
            str(error),
            "let it be a function in a file, which refers to plain values, functions and modules",
        ) from error
    return digest(canonical(facts))


class _Reached:
    """What functions reach through global names; one walk, which looks at each function once."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()
        self.depth = 0

    def of(self, function: Any, where: str) -> dict[str, Any]:
        """Global name -> what it stands for, as JSON; what lies too deep counts by its file alone."""
        function = _underlying(function)
        if not isinstance(function, types.FunctionType) or id(function) in self.seen or self.depth == _DEEPEST:
            return {}
        self.seen.add(id(function))
        self.depth += 1
        try:
            return self.inside(function, where)
        finally:
            self.depth -= 1

    def inside(self, function: types.FunctionType, where: str) -> dict[str, Any]:
        names = sorted(_names(function.__code__))
        found = self.named(names, function.__globals__, where)
        for index, cell in enumerate(function.__closure__ or ()):
            inner = self.of(_content(cell), where)
            found |= {f"closure {index}": inner} if inner else {}
        return found

    def named(self, names: list[str], among: dict[str, Any], where: str) -> dict[str, Any]:
        """What these names stand for, those that are there and have a part in it."""
        held = {name: self.value(among[name], names, f"{where} ({name})") for name in names if name in among}
        return {name: value for name, value in held.items() if value is not None}

    def value(self, value: Any, names: list[str], where: str) -> Any:
        """None for what has no part in it: objects (loggers, caches), and what comes with Python or torch."""
        if _is_plain(value):
            return stable(value, where)
        if isinstance(value, types.ModuleType):
            return None if comes_with_python_or_torch(value.__name__) else self.module(value, names, where)
        module = getattr(value, "__module__", None)
        if not isinstance(module, str) or comes_with_python_or_torch(module):
            return None
        if isinstance(value, types.FunctionType):
            file = file_digest(value.__code__.co_filename, where)
            return {"file": file, "code": code_digest(value.__code__), "globals": self.of(value, where)}
        impls = getattr(value, "impls", None)
        native = impls.get("native") if isinstance(impls, dict) else value  # of an op, its body
        function = getattr(native, "function", None)
        if isinstance(function, types.FunctionType):
            return self.value(function, names, where)
        return _file_of(sys.modules.get(module), where)

    def module(self, module: types.ModuleType, names: list[str], where: str) -> Any:
        """A module by its file, and by what of it the function may take, for it names attributes as it does globals."""
        looked = (id(module), *names)
        if looked in self.seen:
            return "again"
        self.seen.add(looked)
        return {"file": _file_of(module, where), "names": self.named(names, vars(module), where)}


def _file_of(module: types.ModuleType | None, where: str) -> Any:
    """The digest of a module's file; of what has none (a namespace, ``__main__`` of a session) nothing is known."""
    path = getattr(module, "__file__", None)
    return file_digest(path, where) if path else None


def _underlying(function: Any) -> Any:
    """The function that a decorator with ``functools.wraps``, a partial or a method stands for."""
    for name in ("__wrapped__", "func", "__func__"):
        if callable(getattr(function, name, None)) and not isinstance(function, type):
            return _underlying(getattr(function, name))
    return function


def _names(code: types.CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, _PLAIN)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None

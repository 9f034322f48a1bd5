"""What code is: its name, the file it stands in, and what of it is loaded."""

from __future__ import annotations

import functools
import hashlib
import sys
import sysconfig
import types
from importlib import metadata
from pathlib import Path
from typing import Any


class UncacheableError(Exception):
    """Something cannot be told from its like in another process; never leaves the cache.

    Args:
        what: the thing, and where it was met.
        why: what is missing.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def digest(text: str | bytes) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def is_importable(module: str, path: str, wanted: Any) -> bool:
    """Whether a dotted path in a module that is imported leads to this very object."""
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is wanted


def import_path(function: Any) -> str | None:
    """``module.name`` under which a function or class is found again, or None when it is a local one."""
    module = getattr(function, "__module__", None)
    for name in (getattr(function, "__qualname__", None), getattr(function, "__name__", None)):
        if module and name and is_importable(module, name, function):
            return f"{module}.{name}"
    return None


def comes_with_python_or_torch(module: str | None) -> bool:
    """Whether a module is keyed already by the versions of Python and torch."""
    top = (module or "").partition(".")[0]
    return top in ("torch", "functorch", "torchgen") or top in sys.stdlib_module_names


def top(module: str | None) -> str:
    """The package that a module belongs to."""
    return (module or "").partition(".")[0]


def is_keyed_by_file(module: str | None) -> bool:
    """Whether a module is Cutaway's own: it holds no state that shapes an artifact, so its file says all.

    The ops that come with Cutaway are not: they are looked into as a user's are.
    """
    return top(module) == "cutaway" and not (module or "").startswith("cutaway.ops.library")


@functools.cache
def installed(package: str) -> str | None:
    """``name version`` of a package that was installed; None for one that is worked on where it stands."""
    path = getattr(sys.modules.get(package), "__file__", None)
    places = {str(Path(sysconfig.get_path(name))) for name in ("purelib", "platlib")}
    if path is None or not any(Path(path).is_relative_to(place) for place in places):
        return None
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:  # the distribution has another name
        version = getattr(sys.modules[package], "__version__", None)
        return f"{package} {version}" if isinstance(version, str) else None


def file_digest(path: str | Path, what: str) -> str:
    """Digest of a source file.

    Raises:
        UncacheableError: there is none (code typed in, executed from a string, or compiled into a library).
    """
    try:
        facts = Path(path).stat()
        return _file_digest(str(path), facts.st_mtime_ns, facts.st_size)
    except (OSError, ValueError) as error:
        raise UncacheableError(what, f"its source {str(path)!r} cannot be had") from error


@functools.lru_cache(maxsize=4096)
def _file_digest(path: str, modified: int, size: int) -> str:
    """By time and size, so that a file that is edited while the process runs is read again."""
    return digest(Path(path).read_bytes())


def code_digest(code: types.CodeType) -> str:
    """Digest of what is loaded, which may be older than the source file: names of files and lines do not count."""
    return digest(repr(_code(code)))


def _code(code: types.CodeType) -> Any:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_name)
    return (code.co_code, counts, names, code.co_exceptiontable, [_constant(const) for const in code.co_consts])


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # its order differs from process to process
        return ("frozenset", sorted(repr(_constant(part)) for part in value))
    return tuple(_constant(part) for part in value) if isinstance(value, tuple) else value

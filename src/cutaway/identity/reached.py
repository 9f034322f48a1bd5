"""What code reads by name: what of it counts as it is now, and what is known by its name and version."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from cutaway.identity.plain import NOT_PLAIN, plain
from cutaway.identity.reads import Reads, reads
from cutaway.identity.sources import (
    UncacheableError,
    comes_with_python_or_torch,
    digest,
    file_digest,
    import_path,
    installed,
    is_keyed_by_file,
    top,
)

_MOST = 4096  # functions, classes and objects


class Reaching:
    """That part of a walk which follows names.

    What is found by name is numbered as it is met, and described in a list of its own: each thing once, however many
    functions name it.

    Attributes:
        reaches: whether it does.
        home: the package whose code is being looked into; what another installed package has is known by its version.
    """

    def __init__(self, reaches: bool, home: str) -> None:
        self.reaches = reaches
        self.home = home
        self._numbers: dict[Any, int] = {}
        self._waiting: deque[Callable[[], Any]] = deque()
        self._held: list[Any] = []  # so that no other object gets the ``id`` of one that is numbered

    def value(self, value: Any, where: str) -> Any:
        """The rest of the walk."""
        raise NotImplementedError

    def whole(self, value: Any, where: str) -> Any:
        """The value, and all that its code reaches."""
        found = self.value(value, where)
        listed: list[Any] = []
        while self._waiting:
            if len(listed) == _MOST:
                raise UncacheableError(where, f"its code reaches more than {_MOST} functions and objects by name")
            listed.append(self._waiting.popleft()())
        return {"is": found, "reached": listed} if listed else found

    def source(self, module: str | None, path: str | None, where: str) -> dict[str, str]:
        """The digest of a source file, unless the versions say it all."""
        if comes_with_python_or_torch(module):
            return {}
        return {"source": file_digest(path or "", where)}

    def globals(self, function: types.FunctionType, where: str) -> dict[str, Any]:
        """What the code of a function, and of those within it, reads: of globals, of imports, of the environment."""
        space = function.__globals__
        module = str(space.get("__name__"))
        if not self.reaches or comes_with_python_or_torch(module) or is_keyed_by_file(module):
            return {}
        if top(module) != top(function.__module__) and installed(top(module)):  # a wrapper that a decorator made
            return {"package": installed(top(module))}
        return self.read(reads(function.__code__), space, where)

    def read(self, read: Reads, space: Mapping[str, Any], where: str) -> dict[str, Any]:
        """What code in a module reads, as it is now."""
        named = {name: space[name] for name in read.names if name in space} | _imported(read.imports, space)
        home, self.home = self.home, top(str(space.get("__name__")))
        try:
            found: dict[str, Any] = {"globals": self._named(named, read.attributes, space, where)}
        finally:
            self.home = home
        if read.variables:
            set_to = {name: os.environ.get(name) for name in sorted(read.variables)}
            found["environment"] = {name: value and digest(value) for name, value in set_to.items()}
        return {key: part for key, part in found.items() if part}

    def _named(
        self, values: Mapping[str, Any], attributes: frozenset[str], space: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        return {
            name: self._reach(_beside(values[name], space), attributes, f"{where} ({name})")
            for name in sorted(values)
            if not (name.startswith("__") and name.endswith("__"))
        }

    def _reach(self, value: Any, attributes: frozenset[str], where: str) -> Any:
        """What a name stands for: itself, its name and version, or a number in the list of what is reached."""
        known = plain(value)
        if known is not NOT_PLAIN:
            return known
        outside = self._outside(value, where)
        if outside is not None:
            return outside
        which = (id(value), attributes) if isinstance(value, types.ModuleType) else id(value)
        if which not in self._numbers:
            self._numbers[which] = len(self._numbers)
            self._held.append(value)
            self._waiting.append(functools.partial(self._reached, value, attributes, self.home, where))
        return {"reached": self._numbers[which]}

    def _outside(self, value: Any, where: str) -> Any:
        """A module, class or function of torch, Python or another installed package, by name and version; or None."""
        if isinstance(value, types.ModuleType):
            path = module = value.__name__
        elif isinstance(value, (type, types.FunctionType)):
            path, module = import_path(value), value.__module__
        else:
            return None
        if path is None:
            return None
        if comes_with_python_or_torch(module):
            return {"named": path}
        if is_keyed_by_file(module):
            return {"named": path, **self._file_of(module, where)}
        version = installed(top(module)) if top(module) != self.home else None
        return {"named": path, "package": version} if version else None

    def _file_of(self, module: str, where: str) -> dict[str, Any]:
        """Digest of the source of a module; of a package of kernels all sources, for they are one."""
        file = getattr(sys.modules.get(module), "__file__", None)
        if module.startswith("cutaway.ops.kernels") and file is not None:
            files = sorted(Path(file).parent.glob("*.py"))
            return {"source": digest(" ".join(file_digest(part, where) for part in files))}
        return self.source(module, file, where)

    def _reached(self, value: Any, attributes: frozenset[str], home: str, where: str) -> Any:
        """A thing that was met by name; of a module, what of it the code that named it may take."""
        self.home = home
        if isinstance(value, types.ModuleType):
            file = getattr(value, "__file__", None)
            held = {name: part for name, part in vars(value).items() if name in attributes}
            source = self.source(value.__name__, file, where) if file else {}  # a namespace has no file
            return {"module": value.__name__, **source, "names": self._named(held, attributes, vars(value), where)}
        if type(value) is object:  # a mark that is known by being what the name stands for
            return {"mark": True}
        return self.value(value, where)


def _imported(names: Iterable[str], space: Mapping[str, Any]) -> dict[str, Any]:
    """Modules that code imports when it runs; they are imported now, so that they are the same at each start.

    What cannot be imported is left out, and is not what makes the code fail.
    """
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[f"import {name}"] = importlib.import_module(name, space.get("__package__"))
        except Exception:  # noqa: BLE001  (whatever a module raises: the code will meet it if it comes there)
            continue
    return found


def _beside(value: Any, space: Mapping[str, Any]) -> Any:
    """A path in the folder of the module that has it, as seen from there: a package may be moved."""
    file = space.get("__file__")
    if not isinstance(value, Path) or not isinstance(file, str) or not value.is_relative_to(Path(file).parent):
        return value
    return PurePath("beside the module", value.relative_to(Path(file).parent))

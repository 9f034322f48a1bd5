"""What a live value is, as text that is equal in two processes only where the values are.

Unlike ``identity/stable.py``, which tells what a *constant* is, bytes of tensors included, this tells what Dynamo may
read of the objects around a model: of tensors dtype and layout, of objects their class with its values and all that
they hold, of registered modules their name in the model, which is described elsewhere.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import types
import weakref
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.compiler.capture.files import digest_of_module
from cutaway.compiler.capture.holds import (
    CONTAINERS,
    METHODS,
    NOT_READ,
    PLAIN,
    TORCH_VALUES,
    attributes_of,
    cell_content,
    code_text,
    digest_of,
    holds_no_more,
    in_slots,
    named,
    tensor_text,
    written_out,
)
from cutaway.identity.sources import UncacheableError, comes_with_python_or_torch, import_path

_DEEPEST = 40  # of objects within objects on a module
_AT_RANDOM = "_original_object_hash"  # Hugging Face's GenerationConfig notes hash() there: another in each process


class Texts:
    """Texts of the values around one model.

    Args:
        model: modules registered in it stand for themselves by their name, and so do their weights.
        values_of_classes: whether a class is known by the values on it, and not by its methods alone.
    """

    def __init__(self, model: torch.nn.Module, values_of_classes: bool = True) -> None:
        self.values_of_classes = values_of_classes
        self.names: dict[int, str] = {}
        self.tensors: dict[int, str] = {}  # where a tensor was met first: two names of one are one input of a graph
        self._classes: dict[type, str] = {}
        self._known: dict[int, tuple[Any, str]] = {}
        for name, module in model.named_modules():
            self.names[id(module)] = name
            for weight, value in torch_internals.weights_of(module):
                if value is not None:
                    self.tensors.setdefault(id(value), f"{name}.{weight}")

    def of(self, value: Any, place: str, inside: torch.nn.Module | None = None) -> str:
        """The text of one value.

        Args:
            value: anything.
            place: where it stands, for what is said when it has no text, and for tensors met again.
            inside: the module that it stands on, if it does: modules below that are named from there.

        Raises:
            UncacheableError: it, or something in it, cannot be told from its like.
        """
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        walk = _Walk(self, place, "" if inside is None else self.names.get(id(inside), ""))
        try:
            text = walk.of(value)
        except UncacheableError:
            raise
        except Exception as error:  # properties and the like are the user's: whatever they raise
            raise UncacheableError(place, f"reading it raised {type(error).__name__}: {error}") from error
        if walk.is_memorable and not isinstance(value, PLAIN):
            self._known[id(value)] = (value, text)
        return text

    def of_class(self, kind: type) -> str:
        """What a class is: its name and, unless it comes with Python or torch, its source, and the methods and values
        that stand on it and on its bases now, patched ones as well."""
        if kind not in self._classes:
            name = f"{kind.__module__}.{kind.__qualname__}"
            self._classes[kind] = name  # a class that is met within itself
            own = [base for base in kind.__mro__ if not _is_known(base)]
            if own:
                files = sorted({digest_of_module(base.__module__) for base in own})
                members = [f"{base.__qualname__}:{self._members(base)}" for base in own]
                self._classes[kind] = f"{name} {'+'.join(files)} {digest_of(';'.join(members))}"
        return self._classes[kind]

    def _members(self, kind: type) -> str:
        return ";".join(
            f"{name}={_Walk(self, f'{kind.__qualname__}.{name}').of(value)}"
            for name, value in sorted(vars(kind).items())
            if _counts(name, value) and (self.values_of_classes or isinstance(value, METHODS))
        )


def _is_known(kind: type) -> bool:
    """Whether a class is one of Python's or torch's own: their versions say what it is."""
    return comes_with_python_or_torch(kind.__module__) and import_path(kind) is not None


def _counts(name: str, value: Any) -> bool:
    """Whether something on a class says what its objects do; what :func:`support_torch_compile` puts there does not."""
    if not name.startswith("__"):
        return name != "_abc_impl"
    if not isinstance(value, types.FunctionType):
        return name == "__call__"
    return name == "__call__" or not str(value.__globals__.get("__name__")).startswith("cutaway.")


class _Walk:
    """One value; what is met again in it is written as a number."""

    def __init__(self, texts: Texts, place: str, inside: str = "") -> None:
        self.texts = texts
        self.place = place
        self.inside = inside
        self.is_memorable = True  # whether the text is the same wherever the value is met
        self._met: dict[int, int] = {}
        self._held: list[Any] = []  # so that no number is given to another object

    def of(self, value: Any, depth: int = 0) -> str:
        kind = type(value)
        if kind in PLAIN:
            return repr(value) if kind is not bytes or len(value) < 64 else f"bytes {hashlib.sha256(value).hexdigest()}"
        if isinstance(value, TORCH_VALUES):
            return str(value)
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, type):
            return self.texts.of_class(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        by_name = named(value)
        if by_name is not None:
            return by_name
        if id(value) in self.texts.names:
            return self._registered(value)
        if id(value) in self._met:
            return f"#{self._met[id(value)]}"
        if depth >= _DEEPEST:
            raise UncacheableError(self.place, f"objects are nested more than {_DEEPEST} deep in it")
        self._met[id(value)] = len(self._met)
        self._held.append(value)
        return self._within(value, depth + 1)

    def _registered(self, value: torch.nn.Module) -> str:
        """A module of the model, by its name from the module that is described: equal layers have equal texts."""
        self.is_memorable = False
        name = self.texts.names[id(value)]
        below = name == self.inside or name.startswith(f"{self.inside}.")
        return f"<.{name.removeprefix(self.inside)}>" if self.inside and below else f"<{name}>"

    def _tensor(self, value: torch.Tensor) -> str:
        self.is_memorable = False
        first = self.texts.tensors.setdefault(id(value), self.place)
        return tensor_text(value) if first == self.place else f"{tensor_text(value)} is {first}"

    def _within(self, value: Any, depth: int) -> str:
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, types.MethodType):
            return f"{self.of(value.__func__, depth)} of {self.of(value.__self__, depth)}"
        if isinstance(value, (staticmethod, classmethod)):
            return f"{type(value).__name__} {self.of(value.__func__, depth)}"
        if isinstance(value, property):
            return f"property {self.of(value.fget, depth)}"
        if isinstance(value, functools.partial):
            return f"partial{self.of([value.func, value.args, value.keywords, vars(value)], depth)}"
        if isinstance(value, types.CodeType):
            return code_text(value)
        if isinstance(value, types.CellType):
            return f"cell {self.of(cell_content(value), depth)}"
        if isinstance(value, slice):
            return f"slice{self.of([value.start, value.stop, value.step], depth)}"
        if isinstance(value, types.MappingProxyType):
            return f"proxy {self.of(dict(value), depth)}"
        if isinstance(value, weakref.ReferenceType):
            return f"weak {self.of(value(), depth)}"
        if isinstance(value, enum.Enum):
            return f"{self.of(type(value), depth)}.{value.name}={self.of(value.value, depth)}"
        if type(value).__module__.startswith("triton."):  # what it caches besides is no part of it
            return f"triton {self.of([getattr(value, name, None) for name in ('fn', 'src')], depth)}"
        if isinstance(value, torch.nn.Module):
            return self._module(value, depth)
        return self._object(value, depth)

    def _function(self, value: types.FunctionType, depth: int) -> str:
        if comes_with_python_or_torch(value.__globals__.get("__name__")) and import_path(value) is not None:
            return f"{value.__module__}.{value.__qualname__}"
        parts = [value.__defaults__, value.__kwdefaults__, *map(cell_content, value.__closure__ or ())]
        noted = {name: part for name, part in vars(value).items() if name == "__wrapped__" or not name.startswith("__")}
        parts += [noted] if noted else []  # torch notes things there as well: __marked_compile_region_config__
        return f"{value.__module__}.{value.__qualname__} {code_text(value.__code__)}{self.of(parts, depth)}"

    def _module(self, value: torch.nn.Module, depth: int) -> str:
        """A module that is not registered in the model: with its weights and children, which are nowhere else."""
        weights = ",".join(
            f"{name}:{None if weight is None else self._tensor(weight)}"
            for name, weight in torch_internals.weights_of(value)
        )
        children = self.of(torch_internals.children_of(value), depth)
        return f"{self.of(type(value))}({weights}|{self.of(attributes_of(value), depth)}|{children})"

    def _object(self, value: Any, depth: int) -> str:
        """Its class, what it holds as a container, a number or an object of an extension, and its attributes."""
        if type(value) in CONTAINERS:
            return self._content(value, depth)
        inside = {**(getattr(value, "__dict__", None) or {}), **in_slots(value)}
        inside.pop(_AT_RANDOM, None)
        held = self._held_besides(value, depth)
        return f"{self.of(type(value))}({held}){self.of(inside, depth) if inside else ''}"

    def _held_besides(self, value: Any, depth: int) -> str:
        if isinstance(value, CONTAINERS):
            default = getattr(value, "default_factory", None)
            return self._content(value, depth) + (f" {self.of(default, depth)}" if default is not None else "")
        written = written_out(value)
        if written is not None:
            return written
        return "" if isinstance(value, NOT_READ) or holds_no_more(value) else self._reduced(value, depth)

    def _content(self, value: Any, depth: int) -> str:
        """What is in a container, in its order; read past the methods of a class of the user's."""
        if isinstance(value, dict):
            return "{" + ",".join(f"{self.of(k, depth)}:{self.of(v, depth)}" for k, v in dict.items(value)) + "}"
        if isinstance(value, (set, frozenset)):
            parts = [_Walk(self.texts, self.place, self.inside) for _ in value]  # numbers must not tell their order
            texts = sorted(walk.of(part, depth) for walk, part in zip(parts, value, strict=True))
            self.is_memorable &= all(walk.is_memorable for walk in parts)
            return "{" + ",".join(texts) + "}"
        parts = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
        text = ",".join(self.of(part, depth) for part in parts)
        return f"[{text}]" if isinstance(value, list) else f"({text})"

    def _reduced(self, value: Any, depth: int) -> str:
        """What holds more than Python sees of it, as pickle would write it."""
        try:
            made = copyreg.dispatch_table.get(type(value))
            found: Any = made(value) if made is not None else value.__reduce_ex__(4)
        except Exception as error:
            raise UncacheableError(self.place, f"what is in a {type(value).__qualname__} cannot be read") from error
        if isinstance(found, str):
            return found
        parts = [list(part) if index > 2 and part is not None else part for index, part in enumerate(found)]
        return self.of(parts, depth)

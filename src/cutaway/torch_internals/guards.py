"""Dynamo's guards as questions that can be asked again in another process."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import builtins
import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

_IMPORTED = "__import_"  # Dynamo's names for modules: OutputGraph.import_source, "." written as "_dot_"
_BUILTINS = "__builtins_dict__"  # and for built-in functions: OutputGraph.name_of_builtins_dict_key_in_fglobals
_MADE_UP = re.compile(r"___|.*_\d+_c\d+$")  # names by address, in this process alone: OutputGraph.install_global_by_id
_MADE_UP_GLOBAL = re.compile(r"G\['(\w*_\d+_c\d+)'\]")
_BY_VALUE = {
    "CONSTANT_MATCH", "EQUALS_MATCH", "BOOL_MATCH", "NONE_MATCH", "CONSTANT_SUBCLASS_MATCH", "TENSOR_MATCH",
    "CLOSURE_MATCH", "FUNCTION_MATCH", "BUILTIN_MATCH", "CLASS_MATCH", "MODULE_MATCH", "ID_MATCH", "NN_MODULE",
    "DICT_VERSION", "RANGE_ITERATOR_MATCH", "COUNT_ITERATOR_MATCH", "TUPLE_ITERATOR_LEN", "DISPATCH_KEY_SET_MATCH",
    "OPAQUE_OBJ_GUARD_FN_MATCH",
}  # fmt: skip
_BY_FORM = {
    "TYPE_MATCH": ("type({0})",),
    "FAKE_SCRIPT_TYPE_MATCH": ("type({0})",),
    "SEQUENCE_LENGTH": ("type({0})", "len({0})"),
    "EMPTY_NN_MODULE_HOOKS_DICT": ("len({0})",),
    "DICT_KEYS_MATCH": ("list(dict.keys({0}))",),
    "MAPPING_KEYS_CHECK": ("list({0})",),
    "NOT_NONE_MATCH": ("{0} is not None",),
    "WEAKREF_ALIVE": ("{0} is not None",),
    "HASATTR": ("hasattr({0}, {1})",),
    "NOT_PRESENT_IN_GENERIC_DICT": ("{1} in {0}.__dict__",),
    "DICT_CONTAINS": ("dict.__contains__({0}, {1})",),
    "DICT_NOT_CONTAINS": ("dict.__contains__({0}, {1})",),
    "SET_CONTAINS": ("{1} in {0}",),
    "SET_NOT_CONTAINS": ("{1} in {0}",),
}
_OF_THE_MODEL = {  # the rest of what is asked of the model itself is in its key
    "CONSTANT_MATCH", "EQUALS_MATCH", "CLOSURE_MATCH", "FUNCTION_MATCH", "SEQUENCE_LENGTH", "DICT_KEYS_MATCH",
    "HASATTR", "DICT_CONTAINS", "DICT_NOT_CONTAINS", "SET_CONTAINS", "SET_NOT_CONTAINS",
}  # fmt: skip
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def guarded_values(entries: Sequence[Any], owner: str, own: Mapping[str, Any]) -> list[str]:
    """What a captured model read of globals and of its own objects, as Python expressions over ``G`` and ``L``.

    ``G['SCALE']`` asks for a value, ``len(G['LAYERS'])`` for a length, and so on: what each of Dynamo's guards checks
    (``torch._dynamo.guards``, ``GuardBuilder``), without the addresses that its own code has in it.

    Args:
        entries: all guards (``GuardFilterEntry``).
        owner: the argument of the captured function that is the model.
        own: globals of the captured function.
    """
    found: dict[str, None] = {}
    for entry in entries:
        name = _text(entry.orig_guard.name)
        local = set(re.findall(r"\bL\['(\w+)'\]", name))
        wanted = "G['" in name or (bool(local) and entry.guard_type in _OF_THE_MODEL)
        if wanted and local <= {owner}:
            found.update(
                dict.fromkeys(
                    _MADE_UP_GLOBAL.sub(lambda one: _imported(one, own), question)
                    for question in _questions(entry, name)
                )
            )
    return list(found)


def _imported(made_up: re.Match[str], own: Mapping[str, Any]) -> str:
    """A module for which Dynamo made a name up, as what imports it; what else has such a name keeps it."""
    value: Any = own.get(made_up[1])
    is_module = isinstance(value, ModuleType) and sys.modules.get(value.__name__) is value
    return f"__load_module({value.__name__!r})" if is_module else made_up[0]


def _questions(entry: Any, name: str) -> Iterator[str]:
    given = getattr(entry.orig_guard.create_fn, "keywords", {})
    if entry.guard_type in _BY_VALUE:
        yield name
    elif entry.guard_type == "DUPLICATE_INPUT":
        yield f"{name} is {_text(given['source_b'].name)}"
    elif "attr" in given or "key" in given:
        subject = given.get("attr", given.get("key"))
        forms = _BY_FORM.get(entry.guard_type, ("?",)) if type(subject) in _PLAIN else ("list({0})",)
        yield from (form.format(name, repr(subject)) for form in forms)
    else:  # of a kind that nobody knows here, there is no answer
        yield from (form.format(name) for form in _BY_FORM.get(entry.guard_type, (f"{entry.guard_type}? {{0}}",)))


def _text(name: Any) -> str:
    return str(name() if callable(name) else name)


class _Globals(dict[str, Any]):
    """Globals as Dynamo's guards see them: the function's own, and modules by their import names.

    Others that Dynamo itself put there in this process (the globals of a function that no module holds) have names that
    mean nothing in the next, and what they held when they were put there.
    """

    def __init__(self, own: dict[str, Any]) -> None:
        super().__init__({name: value for name, value in own.items() if not _MADE_UP.match(name)})

    def __missing__(self, name: str) -> Any:
        if name.startswith(_BUILTINS):
            return vars(builtins)
        if not name.startswith(_IMPORTED):
            raise KeyError(name)
        return importlib.import_module(name.removeprefix(_IMPORTED).replace("_dot_", "."))


class GuardScope:
    """Where :func:`guarded_values` can be evaluated. They come out of the cache, which is code anyway.

    Args:
        own: globals of the captured function.
        owner, model: the argument that is the model, and the model.
    """

    def __init__(self, own: dict[str, Any], owner: str, model: Any) -> None:
        from torch._dynamo import guards  # noqa: PLC0415  (Dynamo is heavy)

        self._scope = {**guards._get_closure_vars(), "G": _Globals(own), "L": {owner: model}}

    def value(self, question: str) -> Any:
        """The answer now. Raises any exception where there is none."""
        with torch.no_grad():
            return eval(question, self._scope)

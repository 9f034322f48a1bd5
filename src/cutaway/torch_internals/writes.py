"""What a captured model writes to Python objects that outlive the call."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from cutaway.torch_internals.demands import _in_users_words
from cutaway.torch_internals.swap import patch_method

_TORCH = str(Path(torch.__file__).parent)
_GLOBAL = re.compile(r"^G\['(?:__import_)?|'\]")
_MISSING = object()
_Change = Literal["", "tensor", "other"]  # nothing, a tensor for one of the same kind, anything else


class PythonWrite(NamedTuple):
    """A write to a Python object that was there before the call.

    Attributes:
        source: the object as Dynamo found it: ``L['self'].log``.
        attribute: its attribute that is written; empty when its contents are (a list's, a dict's).
        place: ``file:line: code`` of the write; empty when it is not known.
        is_tensor: whether a tensor is put in the place of one of the same kind, and nothing else happens.
    """

    source: str
    attribute: str
    place: str
    is_tensor: bool

    @property
    def name(self) -> str:
        """What is written, in the user's words: ``self.log``."""
        if self.source.startswith("G["):
            return f"the global {self.attribute or _GLOBAL.sub('', self.source)}"
        if "__closure__" in self.source:
            return f"a variable around the function {_in_users_words(self.source.split('.__closure__')[0])}"
        words = re.sub(r"\.(?:__dict__|_modules|_buffers|_parameters)\['(\w+)'\]", r".\1", _in_users_words(self.source))
        return f"{words}.{self.attribute}" if self.attribute else words


@contextmanager
def python_writes() -> Generator[list[PythonWrite]]:
    """Note what the Python that Dynamo traces in the block writes to objects that outlive the call.

    Dynamo runs such a write at capture, and generates code that does it again with the values that came out
    (torch/_dynamo/side_effects.py, ``SideEffects.codegen_update_mutated``); guards on what was read would have it
    traced anew when that changes. Not noted: writes into tensors, and what is in the end as it was before.
    """
    from torch._dynamo.side_effects import SideEffects  # noqa: PLC0415  (Dynamo is heavy)

    written: list[PythonWrite] = []

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def codegen_update_mutated(self: Any, *args: Any, **kwargs: Any) -> Any:
            written.extend(write for write in _writes(self) if write not in written)
            return original(self, *args, **kwargs)

        return codegen_update_mutated

    undo = patch_method(SideEffects, "codegen_update_mutated", make)
    try:
        yield written
    finally:
        undo()


def _writes(effects: Any) -> Generator[PythonWrite]:
    from torch._dynamo.variables.base import AttributeMutationNew, ValueMutationNew  # noqa: PLC0415  (Dynamo)
    from torch._dynamo.variables.torch_function import TorchFunctionModeStackVariable  # noqa: PLC0415

    for var in effects._get_modified_vars():
        made_here = isinstance(var.mutation_type, (AttributeMutationNew, ValueMutationNew))
        if made_here or isinstance(var, TorchFunctionModeStackVariable):
            continue
        place = _place(effects.mutation_user_stacks.get(var, ()))
        stored = effects.store_attr_mutations.get(var, {})
        for attribute, value in stored.items():
            kind = _change(_attribute(var, attribute), value)
            if kind:
                name = "" if attribute == "cell_contents" else attribute
                yield PythonWrite(_source(var), name, place, kind == "tensor")
        kind = "" if stored else _change_of_contents(var)
        if kind:
            yield PythonWrite(_source(var), "", place, kind == "tensor")


def _source(var: Any) -> str:
    try:
        return str(var.source.name)
    except NotImplementedError:  # a variable of a function around
        return getattr(var, "local_name", None) or "a variable of a function around"


def _attribute(var: Any, name: str) -> Any:
    """The attribute of the real object, as it was before the call."""
    return getattr(getattr(var, "value", None), "__dict__", {}).get(name, _MISSING)


def _change_of_contents(var: Any) -> _Change:
    """What became of a dictionary's values; anything else that is noted as changed is so."""
    before, after = getattr(var, "original_items", None), getattr(var, "items", None)
    if not isinstance(before, dict) or not isinstance(after, dict) or len(before) != len(after):
        return "other"
    kinds: set[_Change] = set()
    for key, value in after.items():
        old = before.get(key.vt)
        if old is not value:
            kinds.add("other" if old is None else _change(_value_before(old), value))
    return "other" if "other" in kinds else "tensor" if "tensor" in kinds else ""


def _value_before(var: Any) -> Any:
    """The real object that a variable was made of, or the fake tensor that stands for it."""
    if hasattr(var, "is_realized") and not var.is_realized():
        return var.original_value()
    return var.as_python_constant() if var.is_python_constant() else _tensor(var)


def _tensor(var: Any) -> Any:
    found = var.as_proxy().node.meta.get("example_value") if var.is_tensor() else _MISSING
    return found if isinstance(found, torch.Tensor) else _MISSING


def _change(before: Any, var: Any) -> _Change:
    """What the next call would find: the same, another tensor of the same kind, or something else."""
    if var.is_python_constant():
        value = var.as_python_constant()
        return "" if type(value) is type(before) and repr(value) == repr(before) else "other"
    after = _tensor(var)
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        return "other"
    kinds = [(tensor.dtype, tensor.device, *tensor.shape, *tensor.stride()) for tensor in (before, after)]
    static = not any(isinstance(size, torch.SymInt) for size in kinds[1])
    return "tensor" if static and kinds[0] == kinds[1] and type(before) is not torch.nn.Parameter else "other"


def _place(stacks: Sequence[Any]) -> str:
    """The model's line of the first write; ``Module.__setattr__`` and the like of torch's own are between."""
    frames = [frame for stack in stacks for frame in reversed(stack) if not frame.filename.startswith(_TORCH)]
    return f"{frames[0].filename}:{frames[0].lineno}: {frames[0].line}" if frames else ""

"""What a captured model may write to: tensors, and the containers that a call gives; not to itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from cutaway.errors import CaptureError
from cutaway.torch_internals import PythonWrite


def check_writes(writes: Sequence[PythonWrite], traced: Callable[..., Any], by_address: bool) -> None:
    """Refuse a model that leaves something else in Python behind for its next call.

    What was read is compiled in, so a model that counts its calls, say, would be at 1 for ever. Contents of lists,
    dictionaries and the like among the arguments may be written: every call is held to what they were before it. And
    a tensor may be put in the place of one of the same kind: tensors are read at every call.

    Args:
        writes: what the model writes to that outlives the call.
        traced: the function that was traced.
        by_address: whether the model's tensors are found by their addresses (CUDA graphs), not read.

    Raises:
        CaptureError: it writes to something else; that is named, with the line.
    """
    arguments = _arguments(traced)
    held = [write for write in writes if _is_of_an_argument(write, arguments) or (write.is_tensor and not by_address)]
    wrong = next((write for write in writes if write not in held), None)
    if wrong is None:
        return
    raise CaptureError(
        f"the model changes {wrong.name}, which is there at its next call as well",
        f"{wrong.place or 'the line is not known'}; what it read at capture is compiled in, and it would write the"
        " same at every call",
        "return it instead, keep what changes from call to call in a tensor (a buffer, written in place), or take the"
        " line outside of the compiled model",
    )


def _arguments(traced: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arguments of the traced function, but for the model itself."""
    code = inspect.unwrap(traced).__code__
    number = code.co_argcount + code.co_kwonlyargcount
    number += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[1 if inspect.ismethod(traced) else 0 : number]


def _is_of_an_argument(write: PythonWrite, arguments: Sequence[str]) -> bool:
    match = re.fullmatch(r"L\['(\w+)'\](?:\[.*\])?", write.source)
    return not write.attribute and match is not None and match[1] in arguments and "." not in write.source

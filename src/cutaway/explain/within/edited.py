"""A piece whose code somebody has edited: put in the place of what was compiled, or refused in clear words.

Of Inductor's output code, the piece is compiled anew and the text that Inductor generates is replaced as it is written,
so that all around it (wrappers, constants, what is checked of inputs) stays Inductor's. A graph runs as it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.errors import ExplainError
from cutaway.explain.signature import Signature, refuse_other_signature, signature_of

Runnable = Callable[..., Any]


def edited_code(what: str, text: str, rebuild: Callable[[], Runnable]) -> Runnable:
    """A piece compiled anew, with this text in the place of what Inductor generates.

    Raises:
        ExplainError: it does not import, its signature is another, or Inductor generates nothing for this piece.
    """
    replaced: list[str] = []

    def replace(generated: str) -> str:
        wanted, found = signature_of(generated), signature_of(text)
        refuse_other_signature(what, wanted, found)
        replaced.append(generated)
        return text

    try:
        with torch_internals.generated_code(replace):
            made = rebuild()
    except ExplainError:
        raise
    except Exception as error:
        cause = _innermost(error)
        if isinstance(cause, ExplainError):
            raise cause from error
        raise _broken(what, cause) from error
    if not replaced:
        raise ExplainError(f"the edited code of {what} cannot be swapped in", "Inductor generates no code for it here")
    return made


def edited_graph(what: str, text: str, graph: fx.GraphModule) -> Runnable:
    """The graph of an edited file, run as it is written, with the tensors that the real graph holds.

    Raises:
        ExplainError: it does not import, takes other inputs, or holds tensors that the real one does not have.
    """
    names: dict[str, Any] = {"__name__": "cutaway_edited"}
    try:
        exec(compile(text, f"<edited {what}>", "exec"), names)
        module: torch.nn.Module = names["Graph"]()
    except Exception as error:
        raise _broken(what, error) from error
    inputs = len(graph.graph.find_nodes(op="placeholder"))
    refuse_other_signature(what, Signature(inputs, None), signature_of(text))
    for name, _ in [*module.named_parameters(), *module.named_buffers()]:
        place, _, leaf = name.rpartition(".")
        try:
            held = getattr(graph.get_submodule(place), leaf)
        except AttributeError as error:
            why = f"it holds a tensor {name!r}, and the graph that runs here has none of that name"
            raise ExplainError(f"the edited graph of {what} cannot be swapped in", why) from error
        setattr(module.get_submodule(place), leaf, held)
    return module.forward


def read_edited(path: str) -> str:
    """Raises ExplainError when the file is not there."""
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise ExplainError(f"the edited file {path!r} cannot be read", str(error)) from error


def _innermost(error: BaseException) -> BaseException:
    """Inductor wraps what code raises that is being compiled."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _broken(what: str, error: BaseException) -> ExplainError:
    return ExplainError(
        f"the edited file of {what} does not import",
        f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}",
        "correct it, and run the command again",
    )

"""What may be put in the place of an attribute of a model that was captured already."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from cutaway.compiler.capture.facts import model_facts
from cutaway.errors import CaptureError
from cutaway.identity.sources import UncacheableError

#: In the place of a value: the attribute is deleted.
GONE = object()


def check_change(model: torch.nn.Module, name: str, value: Any, by_address: bool) -> None:
    """Refuse an attribute that would go on as it was captured, without a word.

    Compiled code reads a model's tensors at every call, wherever they stand. All else was compiled in: a layer may be
    put in the place of one that would have been captured as the same graph, and a value in the place of its like.
    Attributes that the model did not have were not captured either, and are free.

    Args:
        model: the model that was captured.
        name: its attribute that is set.
        value: what it is set to, or :data:`GONE`.
        by_address: whether the model's tensors are found by their addresses (CUDA graphs), not read.

    Raises:
        CaptureError: what was captured would not be true of it.
    """
    if not hasattr(model, name):
        return
    before = getattr(model, name)
    if before is value:
        return
    why = _difference(before, value) or _elsewhere(model, before, by_address)
    if why:
        raise CaptureError(
            f"{name!r} of a model that is compiled cannot be {'deleted' if value is GONE else 'replaced'} like this",
            why,
            "change it before the first call, or change the model itself (._orig_mod) and compile it again",
        )


def _difference(before: Any, value: Any) -> str:
    """Why what was captured with the one is not right for the other; empty when it is."""
    if value is GONE:
        return "it may be compiled in"
    if isinstance(before, torch.Tensor) and isinstance(value, torch.Tensor):
        return ""  # held to its kind at every call
    if isinstance(before, torch.nn.Module) and isinstance(value, torch.nn.Module):
        try:
            same = model_facts(before, before.forward) == model_facts(value, value.forward)
        except UncacheableError as error:
            return f"whether the new layer is the old one's like cannot be told: {error}"
        return "" if same else "the layer that was compiled in has another class, other sizes or other values on it"
    if type(before) is type(value) and repr(before) == repr(value):
        return ""
    return f"{_short(before)} was compiled in"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def _elsewhere(model: torch.nn.Module, before: Any, by_address: bool) -> str:
    """Why the tensors that are replaced would be used all the same; empty when they would not."""
    replaced = Counter(map(id, _tensors(before)))
    if replaced and by_address:
        return "a CUDA graph finds its tensors by their addresses; copy into the old ones: tensor.copy_(new)"
    everywhere = Counter(map(id, _tensors(model)))
    if isinstance(before, (torch.nn.Module, torch.nn.Parameter)) and any(
        everywhere[tensor] > number for tensor, number in replaced.items()
    ):
        return "a tensor of it stands in other places of the model as well, and was captured as one"
    return ""


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if not isinstance(value, torch.nn.Module):
        return []
    return [
        tensor
        for _, tensor in [
            *value.named_parameters(remove_duplicate=False),
            *value.named_buffers(remove_duplicate=False),
        ]
    ]

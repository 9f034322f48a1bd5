"""What a captured model depends on, learnt without capturing it: the key of a warm start that runs no Dynamo.

Dynamo compiles in what the model's Python reads: classes, their sources, numbers and texts on the modules, shapes and
dtypes of weights. All of that is written down here from the live model (``text.py`` says how values are written). What
it reads elsewhere is known when it has been captured (``questions.py``), and so are the files that were traced: where
one has changed, the captured model is void.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.compiler.capture.holds import attributes_of, digest_of, tensor_text
from cutaway.compiler.capture.text import Texts


def model_facts(model: torch.nn.Module, forward: Callable[..., Any]) -> dict[str, Any]:
    """Everything about a live model that its captured graph depends on, as JSON values.

    Layers that are equal up to their names are written once: a list of names for each thing found.

    Raises:
        UncacheableError: something on it cannot be told from its like in another process.
    """
    texts = Texts(model)
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        found.setdefault(_module(module, name, texts), []).append(name)
    return {
        "forward": texts.of(getattr(forward, "__func__", forward), "forward"),
        "training": model.training,
        "modules": {digest_of(text): {"is": text, "names": names} for text, names in found.items()},
        "tied": _tied(model),
    }


def _module(module: torch.nn.Module, name: str, texts: Texts) -> str:
    """One module without its children: class, source, weights, and what stands on it."""
    weights = [f"{weight}:{tensor_text(value)}" for weight, value in torch_internals.weights_of(module)]
    attributes = [
        f"{attribute}={texts.of(value, f'{name}.{attribute}', module)}"
        for attribute, value in attributes_of(module).items()
    ]
    children = [
        f"{child}:{type(value).__qualname__}{texts.of(value, f'{name}.{child}', module)}"
        for child, value in torch_internals.children_of(module).items()
    ]
    return "|".join([texts.of_class(type(module)), ",".join(weights), ",".join(attributes), *children])


def _tied(model: torch.nn.Module) -> list[list[str]]:
    """Weights that are one tensor under several names: Dynamo makes one input of them."""
    names: dict[int, list[str]] = {}
    for name, value in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        names.setdefault(id(value), []).append(name)
    return sorted(group for group in names.values() if len(group) > 1)

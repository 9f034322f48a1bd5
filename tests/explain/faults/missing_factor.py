"""A pass whose key does not hold a variable that it reads; the cache was filled with another value of it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from _decoder import decoder, show
from torch import fx

from cutaway.compiler import InductorPass


@dataclass(frozen=True)
class Cap(InductorPass):
    """The cap of the logits is an option of the deployment."""

    name = "cap"

    def __call__(self, graph: fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=torch.ops.aten.mul.Tensor):
            if node.args[1] == 2.0:
                node.update_arg(1, float(os.environ.get("GALLERY_CAP", "2")))

    def uuid(self) -> str:
        return "cap, version 1"


if __name__ == "__main__":
    show(decoder(), {"post_grad_passes": (Cap(),)})

"""A pass whose rewrite is wrong, in the second layer alone: its gate loses its sign."""

from __future__ import annotations

import torch
from _decoder import decoder, show
from torch import fx


def gate_fusion(graph: fx.Graph) -> None:
    """Meant to simplify a gate."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.neg.default):
        if "layers.1.mlp" in str(node.meta.get("nn_module_stack")):
            node.target = torch.ops.aten.abs.default


if __name__ == "__main__":
    show(decoder(), {"post_grad_passes": (gate_fusion,)})

"""A pass that puts in an operator with a race: now and then it is wrong, one call in three."""

from __future__ import annotations

import json
import sys

import torch
from _decoder import decoder, tokens
from racing_tanh import racing_tanh
from torch import fx

from cutaway.explain import isolate


def fast_tanh(graph: fx.Graph) -> None:
    """Meant to be quicker."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.tanh.default):
        node.target = racing_tanh._opoverload


if __name__ == "__main__":
    config = {"splitting_ops": ("gallery::attention",), "max_batch": 16, "post_grad_passes": (fast_tanh,)}
    found = isolate(decoder(), (tokens(4),), how=config, folder=sys.argv[1])
    print(json.dumps(found.plain()))

"""A pass that takes more time than all else in the compile of a small model."""

from __future__ import annotations

import json
import sys
import time

import torch
from _decoder import WIDTH, Norm
from torch import fx

from cutaway.explain import isolate


def sort_nodes(graph: fx.Graph) -> None:
    """Meant to tidy; it waits, where a real one would compute."""
    time.sleep(15)


def tidy(graph: fx.Graph) -> None:
    """A pass that takes no time."""
    graph.eliminate_dead_code()


if __name__ == "__main__":
    config = {"max_batch": 16, "post_grad_passes": (tidy, sort_nodes)}
    found = isolate(Norm().eval(), (torch.ones(4, WIDTH),), how=config, slow="start", folder=sys.argv[1])
    print(json.dumps(found.plain()))

"""A pass that takes its time, at every piece."""

from __future__ import annotations

import json
import sys
import time

from _decoder import decoder, tokens
from torch import fx

from cutaway.explain import isolate


def sort_nodes(graph: fx.Graph) -> None:
    """Meant to tidy; it waits, where a real one would compute."""
    time.sleep(5)


def tidy(graph: fx.Graph) -> None:
    """A pass that takes no time."""
    graph.eliminate_dead_code()


if __name__ == "__main__":
    config = {"splitting_ops": ("gallery::attention",), "max_batch": 16, "post_grad_passes": (tidy, sort_nodes)}
    found = isolate(decoder(), (tokens(4),), how=config, slow="start", folder=sys.argv[1])
    print(json.dumps(found.plain()))

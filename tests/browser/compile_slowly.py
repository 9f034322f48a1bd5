"""Compiles two functions, recorded; a pass of the first waits for a file: compile_slowly.py DUMP GATE."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
import torch._inductor.config
from torch._inductor.custom_graph_pass import CustomGraphPass

import cutaway


class waits_here(CustomGraphPass):  # noqa: N801 - its name is what the page shows
    """A pass that changes nothing, and takes as long as somebody wants."""

    def __init__(self, gate: Path) -> None:
        self.gate = gate

    def __call__(self, graph: torch.fx.Graph) -> None:
        end = time.monotonic() + 300
        while not self.gate.exists() and time.monotonic() < end:
            time.sleep(0.05)

    def uuid(self) -> None:
        return None


def passed(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x).sum(-1) + 1


def later(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(x) * 2


def main(dump: Path, gate: Path) -> None:
    torch._inductor.config.post_grad_custom_post_pass = waits_here(gate)
    with cutaway.record(dump):
        torch.compile(passed)(torch.ones(4, 8))
        torch.compile(later)(torch.ones(4))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

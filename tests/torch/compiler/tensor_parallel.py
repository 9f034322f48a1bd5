"""A decoder whose layers are shared out over the processes of ``torchrun``; each says what came of compiling it.

    torchrun --nproc-per-node 2 tensor_parallel.py FOLDER

Every process compiles its part with one cache for all (``FOLDER/cache``), then the same model again, and writes
``FOLDER/rank_N.json``: counters of both, and how far the results are from those of the whole model.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from compiler.models import MLP, SPLITTING, TOLERANCE, Attention, Decoder, decoder, tokens
from torch import nn
from torch.distributed._functional_collectives import all_reduce

import cutaway

SIZES = (16, 1, 2, 31, 64)


class AllReduced(nn.Module):
    """A row-parallel layer: every process has some of its inputs, so the results are summed over all of them."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return all_reduce(self.linear(x), "sum", dist.group.WORLD)


def share(linear: nn.Linear, dim: int, parts: int = 1) -> nn.Linear:
    """This process's share of a layer: some outputs (``dim`` 0) or inputs (1) of each of its ``parts``."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    shares = [part.chunk(ranks, dim)[rank] for part in linear.weight.chunk(parts, dim)]
    weight = torch.cat(shares, dim).detach().clone()
    mine = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    mine.weight = nn.Parameter(weight)
    return mine


def share_out(model: Decoder) -> Decoder:
    """Leave each process its heads and its hidden features: column-parallel into a block, row-parallel out of it."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.heads //= dist.get_world_size()
            module.qkv, module.o = share(module.qkv, 0, parts=3), AllReduced(share(module.o, 1))
        elif isinstance(module, MLP):
            module.up, module.down = share(module.up, 0, parts=2), AllReduced(share(module.down, 1))
    return model


def run(folder: Path) -> None:
    whole, mine = decoder(layers=3, hidden=16), share_out(decoder(layers=3, hidden=16))
    config = {
        "splitting_ops": SPLITTING,
        "compile_ranges": [(1, 16), (17, 64)],
        "cache_dir": folder / "cache",
    }
    found = []
    for _ in range(2):
        compiled = cutaway.compile(mine, config)
        wrong = 0.0
        torch.manual_seed(1)  # all processes are given the same tokens
        for number in SIZES:
            ids = tokens(number)
            with torch.no_grad():
                wrong = max(wrong, (compiled(ids) - whole(ids)).abs().max().item())
        found.append({**dataclasses.asdict(compiled.counters), "right": wrong < 10 * TOLERANCE[torch.float32]})
        dist.barrier()
    (folder / f"rank_{dist.get_rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        run(Path(sys.argv[1]))
    finally:
        dist.destroy_process_group()

"""Lineage of Triton kernels: the nodes of each are those that Inductor's comment above its call speaks of."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

import cutaway
from cutaway.dump import load
from cutaway.dump.lineage import lineage

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_decoder import WIDTH, Decoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and this machine has none"),
]
SOURCE_NODES = re.compile(r"Source Nodes: \[([^\]]*)\]")


def test_every_kernel_knows_its_nodes_and_none_a_wrong_one(tmp_path: Path) -> None:
    model = Decoder().cuda()
    with torch.no_grad(), cutaway.record(tmp_path):
        torch.compile(model)(torch.randn(7, WIDTH, device="cuda"))
    dump = load(tmp_path)
    found = lineage(dump, "kernel:*")
    assert found.coverage.known == found.coverage.nodes
    assert found.coverage.told >= 0.95 * found.coverage.calls
    text = dump.codes[found.kernels[0].selector].text.splitlines()
    witnessed = 0
    for call in found.kernels:
        (line,) = call.lines
        assert call.kernel in text[line - 1]
        above = [match for match in map(SOURCE_NODES.search, text[max(line - 6, 0) : line - 1]) if match]
        if not above:
            continue
        last = f"{call.selector.rpartition('/')[0]}/post_grad"
        ours = {node.name for name in call.nodes for node in lineage(dump, f"{last}:{name.name}").captured}
        assert ours <= set(above[-1].group(1).split(", ")), call.name
        witnessed += 1
    assert witnessed

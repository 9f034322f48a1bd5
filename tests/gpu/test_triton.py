"""What only a GPU shows: Triton kernels taken out of the output code, and a dump that names the device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cutaway

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and this machine has none"),
]


def test_triton_kernels_are_recorded_with_the_nodes_they_are_made_of(tmp_path: Path) -> None:
    @torch.compile
    def softmax_of_a_product(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x * 2.0, dim=-1) + 1.0

    x = torch.randn(64, 128, device="cuda")
    with cutaway.record(tmp_path):
        recorded = softmax_of_a_product(x)
    torch._dynamo.reset()
    assert torch.equal(recorded, torch.compile(softmax_of_a_product)(x))

    compilation = next(iter(cutaway.load(tmp_path).compilations.values()))
    kernels = [code for code in compilation.codes if code.kind == "kernel"]
    assert kernels
    for kernel in kernels:
        assert "triton" in kernel.text
        assert any(kernel.kernels.values())
    last = compilation.snapshots[-1]
    assert all(node.device is None or node.device.startswith("cuda") for node in last.nodes)

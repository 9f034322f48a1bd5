"""Measuring on a GPU: calls are only queued there, so a measurement waits for them."""

from __future__ import annotations

import pytest
import torch

from cutaway.replay.job import Graph
from cutaway.replay.launch import launch_timed
from cutaway.replay.time_job import Timee, TimeJob

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and this machine has none"),
]

RAW = """
import torch

class Graph(torch.nn.Module):
    def forward(self, x):
        mm = torch.ops.aten.mm.default(x, x);  x = None
        relu = torch.ops.aten.relu.default(mm);  mm = None
        return (relu,)

def example_inputs():
    return [torch.ones(512, 512, device="cuda")]
"""


def test_both_ways_are_measured_and_the_device_is_named() -> None:
    job = TimeJob(timees=[Timee(Graph(RAW, "raw.py", {}), ways=["eager", "compiled"])], repeats=3)
    answer = launch_timed(job)
    assert [(one.how, one.problem) for one in answer.measured] == [("eager", None), ("compiled", None)]
    assert all(len(one.seconds) == 3 and min(one.seconds) > 0 for one in answer.measured)
    (device,) = answer.devices
    assert device == f"cuda:0 ({torch.cuda.get_device_name(0)})"

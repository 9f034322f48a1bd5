"""Graphs of a dump, run again: alone, against another stage, or against themselves compiled.

    snapshots ──pair──► job ──launch──► child: watch ──► values ──compare──► answer ──locate──► where they part

The parent reads the dump and needs no torch. The child (`python -m cutaway.replay.child`) runs the dump's code; what it
answers is plain JSON. `time_graph` measures in the same way: timing, time_job, launch, time_child, ways, stopwatch.

>>> found = replay(dump.find("piece_02/range_8_8/post_grad"))
>>> [output.type for output in found.runs[0].outputs]
['f32[8, 256]']
"""

from __future__ import annotations

from cutaway.replay.job import Comparison, Ran, Value
from cutaway.replay.result import Replayed, Result, Spot
from cutaway.replay.run import Options, replay
from cutaway.replay.subject import NodeRef, Subject
from cutaway.replay.timing import Spread, Timed, Timing, time_graph

__all__ = [
    "Comparison",
    "NodeRef",
    "Options",
    "Ran",
    "Replayed",
    "Result",
    "Spot",
    "Spread",
    "Subject",
    "Timed",
    "Timing",
    "Value",
    "replay",
    "time_graph",
]

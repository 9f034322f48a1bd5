"""What work costs, counted instead of timed: alike on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def steps(work: Callable[[], object]) -> int:
    """The lines of Python that `work` runs, and the functions that it calls, C's among them.

    What one call into C costs is not seen (`in` on a long list is one step); benchmarks/ measures seconds.
    """
    count = 0

    def line(frame: FrameType, event: str, arg: object) -> Callable[..., object]:
        nonlocal count
        count += 1
        return line

    def call(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "c_call"

    trace, profile = sys.gettrace(), sys.getprofile()
    sys.setprofile(call)
    sys.settrace(line)
    try:
        work()
    finally:
        sys.settrace(trace)
        sys.setprofile(profile)
    return count

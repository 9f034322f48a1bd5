"""A kernel that reads where there is no memory: what Inductor generates for `tanh` is wrong."""

from __future__ import annotations

from _decoder import decoder, show
from torch._inductor.codegen.cpp import CppOverrides, CppVecOverrides

NOWHERE = "*((volatile float*)64)"


def plant() -> None:
    """As a wrong index would have it."""
    CppOverrides.tanh = staticmethod(lambda x: f"std::tanh({x} + {NOWHERE})")
    CppVecOverrides.tanh = staticmethod(lambda x: f"({x} + at::vec::Vectorized<float>({NOWHERE}))")


if __name__ == "__main__":
    plant()
    show(decoder())

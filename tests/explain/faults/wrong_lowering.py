"""Inductor generates wrong code for `tanh`, which stands in the last piece alone."""

from __future__ import annotations

from collections.abc import Callable

from _decoder import decoder, show
from torch._inductor.codegen.cpp import CppOverrides, CppVecOverrides


def plant() -> None:
    """As a bug of Inductor's own would have it: the argument twice as large."""
    for owner in (CppOverrides, CppVecOverrides):
        original = owner.tanh

        def tanh(x: object, original: Callable[[str], str] = original) -> str:
            return original(f"({x} + {x})")

        owner.tanh = staticmethod(tanh)


if __name__ == "__main__":
    plant()
    show(decoder())

"""Kernels that Inductor built for the CPU go with the artifact.

An artifact of Inductor holds the source of its C++ kernels, not the machine code: loaded anywhere else, it asks which
vector instructions the machine has (by building small programs) and runs the C++ compiler again, for seconds. Here
the shared libraries are kept beside the artifact, by a digest of their source, and a load takes them from there.
Triton kernels need none of this: Inductor bundles them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cutaway import torch_internals

FOLDER = "kernels"


def digest_of(argtypes: list[str], source: str) -> str:
    """By what a kernel is known: its source and how it is called."""
    return hashlib.sha256("\0".join([*argtypes, source]).encode()).hexdigest()[:40]


class KernelWatch:
    """The kernels that were built while it watched: digest -> what Inductor got for it."""

    def __init__(self) -> None:
        self.built: dict[str, Any] = {}

    @contextmanager
    def watching(self) -> Generator[None]:
        """Note the kernels of all generated code that runs in the block."""

        def watch(original: Callable[..., Any]) -> Callable[..., Any]:
            def cpp_pybinding(compiler: Any, argtypes: list[str], source: str) -> Any:
                kernel = original(compiler, argtypes, source)
                self.built[digest_of(argtypes, source)] = kernel
                return kernel

            return cpp_pybinding

        undo = torch_internals.patch_cpp_kernels(watch)
        try:
            yield
        finally:
            undo()

    def save(self, folder: Path) -> None:
        """Copy the shared libraries into ``folder/kernels``."""
        for digest, kernel in self.built.items():
            library = torch_internals.library_of_kernel(kernel)
            if library is not None:
                (folder / FOLDER).mkdir(exist_ok=True)
                shutil.copyfile(library, folder / FOLDER / f"{digest}.so")


@contextmanager
def kernels_from(folder: Path) -> Generator[None]:
    """Within the block, generated code finds its kernels in ``folder/kernels``; what is not there is built."""

    def find(original: Callable[..., Any]) -> Callable[..., Any]:
        def cpp_pybinding(compiler: Any, argtypes: list[str], source: str) -> Any:
            digest = digest_of(argtypes, source)
            library = folder / FOLDER / f"{digest}.so"
            if library.exists():
                return torch_internals.load_cpp_kernel(library, digest)
            return original(compiler, argtypes, source)

        return cpp_pybinding

    undo = torch_internals.patch_cpp_kernels(find)
    try:
        yield
    finally:
        undo()

"""What Inductor generated: its identity, the kernels in it, and the names of their calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from cutaway.torch_internals import KernelNodes

_SUFFIXES = {"triton": "py", "cpp_pybinding": "cpp", "cpp": "cpp", "cuda": "cu", "cutedsl": "py", "metal": "metal"}


_AOT_ID = re.compile(r"^# AOT ID: .*$", re.MULTILINE)


def digest(source: str) -> str:
    """Identity of generated code: its text, but for the running number that Inductor gives to each graph."""
    return blake2b(_AOT_ID.sub("", source).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Generated:
    """What an artifact of Inductor holds besides the code that runs.

    Attributes:
        source: the Python that Inductor generated.
        post_grad: its last graph as text.
        aot_graph: the graph that AOTAutograd made, as text, when the artifact came out of AOTAutograd's cache.
        key: of Inductor's cache.
        graph: the artifact itself.
    """

    source: str
    post_grad: str | None = None
    aot_graph: str | None = None
    key: str | None = None
    graph: Any = field(default=None, compare=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """See :func:`digest`."""
        return digest(self.source)


def kernels(source: str) -> dict[str, tuple[str, str]]:
    """``{kernel: (file suffix, text)}`` of every ``name = async_compile.<language>(..., '''text''')``.

    The source is parsed, never run. Text that is not Python yields nothing.
    """
    try:
        module = ast.parse(source)
    except SyntaxError:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for statement in ast.walk(module):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        call, target = statement.value, statement.targets[0]
        maker = call.func
        if not (
            isinstance(maker, ast.Attribute) and isinstance(maker.value, ast.Name) and isinstance(target, ast.Name)
        ):
            continue
        if maker.value.id != "async_compile":
            continue
        texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if texts:
            found[target.id] = (_SUFFIXES.get(maker.attr, "txt"), max(texts, key=len).strip("\n") + "\n")
    return found


def calls(kernels: Mapping[str, Sequence[KernelNodes]]) -> dict[str, list[str]]:
    """Each call of a kernel by name, with its nodes: ``extern_kernels.mm``, then ``extern_kernels.mm#2``, ...

    Args:
        kernels: kernel -> what each of its calls computes, in the order of the calls.
    """
    claimed = {name for each in kernels.values() for call in each for name in call.claimed}
    return {
        kernel if number == 1 else f"{kernel}#{number}": _computed(call, claimed)
        for kernel, each in kernels.items()
        for number, call in enumerate(each, 1)
    }


def _computed(call: KernelNodes, claimed: Collection[str]) -> list[str]:
    """The nodes of a call without those that only asked for it: another call computes them."""
    elsewhere = {name for name in call.doubtful if name in claimed}
    return [name for name in call.nodes if name not in elsewhere] or call.nodes


def nodes_of(kernel: str, kernel_calls: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes in all calls of a kernel.

    Args:
        kernel: its name.
        kernel_calls: as :func:`calls` has them.
    """
    mine = [nodes for call, nodes in kernel_calls.items() if call.partition("#")[0] == kernel]
    return list(dict.fromkeys(name for nodes in mine for name in nodes))

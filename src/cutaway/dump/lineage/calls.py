"""The calls of kernels in generated code: which nodes each computes, and in which line it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cutaway.dump.query.kernels import Kernels
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Code, Snapshot
from cutaway.errors import DumpError

_CALL = re.compile(r"^\s+(?:[\w, ]+ = )?([A-Za-z_][\w.]*?)(?:\.run)?\(")
_MADE = re.compile(r"^(\w+) = async_compile\.\w+\(", re.MULTILINE)
LIBRARIES = ("extern_kernels.", "torch.ops.")
_Place = tuple[str | None, str | None, str | None, str | None]


@dataclass(frozen=True)
class Call:
    """A call of a kernel.

    Attributes:
        name: the kernel.
        number: which of its calls it is, from 1 on.
        code: the generated code that it is in.
        lines: where it stands in the code's file, from 1 on; several where the dump does not tell calls apart, none
            where the text does not have what was recorded.
        nodes: names of the nodes of the last graph that it computes; empty when unknown.
    """

    name: str
    number: int
    code: Code
    lines: tuple[int, ...]
    nodes: tuple[str, ...]

    @property
    def kernel_code(self) -> Code | None:
        """The kernel's own source; None for one of a library."""
        return self.code.dump.codes.get(f"{self.code.selector.rpartition('/')[0]}/kernels/{self.name}")

    @property
    def kernel_file(self) -> str | None:
        """Where the kernel's own source is; None for one of a library."""
        known = self.kernel_code
        return next((file.path for file in known.owner.files), None) if known is not None else None


class Calls:
    """The calls in a dump's output codes.

    Args:
        dump: the dump; texts are read when their calls are asked for.
    """

    def __init__(self, dump: Dump) -> None:
        self._codes: dict[_Place, Code] = {}
        self._kernels = Kernels(dump)
        self._known: dict[str, tuple[Call, ...]] = {}
        self._lines: dict[str, dict[str, list[int]]] = {}
        for code in dump.codes.values():
            if code.kind == "output_code":
                self._codes[_place(code)] = code

    def of(self, snapshot: Snapshot) -> tuple[Call, ...]:
        """The calls in the code that a last graph became, in the order of the text; empty for other snapshots."""
        code = self._codes.get(_place(snapshot))
        if code is None:
            return ()
        if snapshot.selector not in self._known:
            by_call: dict[str, list[str]] = {}
            by_node = self._kernels.of(snapshot)
            for node, calls in by_node.items():
                for call in calls:
                    by_call.setdefault(call, []).append(node)
            self._known[snapshot.selector] = tuple(self._calls(code, by_call) if by_node or not code.kernels else ())
        return self._known[snapshot.selector]

    def of_code(self, code: Code) -> tuple[Call, ...]:
        """The calls in a code, in the order of the text; without their nodes when its graph is not in the dump."""
        last = self._kernels.last(code)
        return self.of(last) if last is not None else tuple(self._calls(code, {}))

    def code(self, snapshot: Snapshot) -> Code | None:
        """The code that a last graph became."""
        return self._codes.get(_place(snapshot))

    def _calls(self, code: Code, nodes: Mapping[str, Sequence[str]]) -> Iterable[Call]:
        lines = self._lines_of(code)
        recorded: dict[str, list[str]] = {}
        for call in code.kernels:
            recorded.setdefault(call.partition("#")[0], []).append(call)
        found: list[Call] = []
        for name in dict.fromkeys([*recorded, *lines]):
            calls, places = recorded.get(name, []), lines.get(name, [])
            for number in range(1, max(len(calls), len(places) if not calls else 0) + 1):
                call = name if number == 1 else f"{name}#{number}"
                if len(calls) == len(places):
                    here = tuple(places[number - 1 : number])
                else:  # a dump that has all calls of a kernel together, or code that was made in another way
                    here = tuple(places) if len(calls) == 1 or not calls else ()
                found.append(Call(name, number, code, here, tuple(nodes.get(call, ()))))
        return sorted(found, key=lambda call: call.lines[:1] or (0,))

    def _lines_of(self, code: Code) -> dict[str, list[int]]:
        """Kernel -> the lines in which it is called."""
        if code.digest not in self._lines:
            try:
                self._lines[code.digest] = call_lines(code.text, {name.partition("#")[0] for name in code.kernels})
            except DumpError:
                self._lines[code.digest] = {}
        return self._lines[code.digest]


def call_lines(text: str, kernels: Iterable[str]) -> dict[str, list[int]]:
    """Kernel -> the lines of Inductor's Python in which it is called, from 1 on.

    Args:
        text: the code.
        kernels: names of kernels that are known; those that the text defines and calls of libraries are found, too.
    """
    known = {*kernels, *_MADE.findall(text)}
    found: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _CALL.match(line)
        if match is not None and (match.group(1) in known or match.group(1).startswith(LIBRARIES)):
            found.setdefault(match.group(1), []).append(number)
    return found


def _place(step: Snapshot | Code) -> _Place:
    return (step.compilation, step.piece, step.range, step.phase)

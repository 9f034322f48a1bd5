"""`why shape`: every compilation of a dump with what it assumes about sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cutaway.dump.compilation import Compilation
from cutaway.dump.reader import Dump
from cutaway.dump.schema import NodeTable
from cutaway.errors import DumpError
from cutaway.explain.shapes.breaks import Break, breaks_of
from cutaway.explain.shapes.read import (
    Constraint,
    FixedInput,
    Size,
    make_constraint,
    read_constraints,
    read_inputs,
    read_sizes,
    readable,
    whole_place,
)

_MISMATCH = re.compile(
    r"tensor '(?P<name>[^']+)' size mismatch at index (?P<index>\d+)\. expected (?P<old>\d+), actual (?P<new>\d+)"
)
_UNBACKED = re.compile(r"u\d+")
_ASSERTED = re.compile(r"Runtime assertion failed for expression (?P<condition>.*) on node")
_NOTE = re.compile(r"(?P<condition>.*?)  # (?:(?P<code>.*?)  # )?(?P<place>[^\s()]+:\d+) in \S+")


@dataclass(frozen=True)
class Recompile:
    """Why a function was compiled again: one guard that failed.

    Attributes:
        kind: `zero_one` (a size is or was 0 or 1), `size` (another number where one was fixed), `constraint` (a
            condition on sizes does not hold any more), or `other`.
        text: in words.
        against: the compilation whose guard failed, as torch numbers it.
        place, code: the model's line that the guard is about.
    """

    kind: str
    text: str
    against: str
    place: str = ""
    code: str = ""


_Placed = TypeVar("_Placed", Size, Constraint, FixedInput, Recompile)


@dataclass(frozen=True)
class Assumptions:
    """What one compilation assumes.

    Attributes:
        compilation: its name.
        function: the function; empty when unknown.
        sizes: its symbolic sizes.
        constraints: conditions on them.
        inputs: inputs with sizes that are held to numbers.
        guarded: whether Dynamo checks its guards before it uses the code again; else (vLLM) nothing compiles anew. None
            when the dump does not say.
        recompiles: why it was compiled again.
        breaks: where the capture stopped.
        failed: why the compile failed; empty when it did not.
        known: whether the dump has the guards at all.
    """

    compilation: str
    function: str
    sizes: list[Size]
    constraints: list[Constraint]
    inputs: list[FixedInput]
    guarded: bool | None
    recompiles: list[Recompile]
    breaks: list[Break] = field(default_factory=list)
    failed: str = ""
    known: bool = True

    def of_kind(self, *kinds: str) -> list[Constraint]:
        """Its constraints of some kinds."""
        return [constraint for constraint in self.constraints if constraint.kind in kinds]

    @property
    def restricts(self) -> bool:
        """Whether it is held to fewer sizes than those that are free: by the model, torch, or a cache."""
        narrowing = [each for each in self.of_kind("model", "torch", "cache") if each.leaves != "every size"]
        return bool(narrowing) or any(size.fixed for size in self.sizes) or bool(self.failed)

    @property
    def finding(self) -> bool:
        """Whether there is something that somebody should look at."""
        return self.restricts or bool(self.recompiles) or bool(self.breaks)


def explain_shapes(dump: Dump, compilation: str | None = None) -> list[Assumptions]:
    """What each compilation of a dump assumes about sizes, and why it broke or was made again.

    Args:
        dump: the dump.
        compilation: only this one; None for all.

    Raises:
        SelectorError: there is no such compilation.
        DumpError: its guards are announced and cannot be read.
    """
    chosen = [dump[compilation]] if compilation is not None else [each for each in dump if not each.restarted_as]
    files = _files(dump)
    return [_assumptions(each, files) for each in chosen if each.started is not None or each.snapshots]


def _assumptions(compilation: Compilation, files: Sequence[str]) -> Assumptions:
    text = next((code.text for code in compilation.codes if code.kind == "guards"), None)
    captured = _captured(compilation)
    sizes = read_sizes(text or "") or _sizes_of_graph(captured)
    sizes = [*sizes, *(each for each in _unbacked(captured) if each.symbol not in {size.symbol for size in sizes})]
    sizes = [_with_source(size, captured) for size in sizes]
    every = [*read_constraints(text or "", sizes), *_asserted(captured, sizes)]
    found = list({constraint.text: constraint for constraint in reversed(every)}.values())[::-1]
    started = compilation.started
    inputs = [each for each in read_inputs(text or "") if any(size is not None for size in each.sizes)]

    def whole(each: _Placed) -> _Placed:
        return replace(each, place=whole_place(each.place, files))

    return Assumptions(
        compilation=compilation.name,
        function=compilation.function or "",
        sizes=[whole(each) for each in sizes],
        constraints=[whole(each) for each in found],
        inputs=[whole(each) for each in inputs],
        guarded="TENSOR_MATCH" in text if text is not None and "TREE_GUARD_MANAGER" in text else None,
        recompiles=[whole(_recompile(reason)) for reason in (started.reason if started else [])],
        breaks=breaks_of(compilation),
        failed=compilation.failed or "",
        known=text is not None,
    )


def _files(dump: Dump) -> list[str]:
    """The files of the program that the dump names: those of functions, and of the first graph of each compilation."""
    found: dict[str, None] = {}
    for compilation in dump:
        if compilation.started is not None and compilation.started.file:
            found[compilation.started.file] = None
        for snapshot in compilation.snapshots[:1]:
            try:
                found.update(dict.fromkeys(source.file for source in snapshot.table.sources))
            except DumpError:
                continue
    return list(found)


def _captured(compilation: Compilation) -> NodeTable | None:
    """The first graph, as far as the dump has it."""
    for snapshot in compilation.snapshots[:1]:
        try:
            return snapshot.table
        except DumpError:
            return None
    return None


def _sizes_of_graph(captured: NodeTable | None) -> list[Size]:
    """Where no guards were recorded (a filter, a cache): the symbols of the first graph."""
    return [
        Size(name, readable(facts.source or ""), facts.min, facts.max, "", facts.hint)
        for name, facts in (captured.symbols if captured is not None else {}).items()
        if "size()" in (facts.source or "")
    ]


def _unbacked(captured: NodeTable | None) -> list[Size]:
    """Sizes of inputs that were marked so that tracing does not look at their value; torch names no source of them."""
    if captured is None:
        return []
    shapes = [node.shape or [] for node in captured.nodes if node.op == "placeholder"]
    names = dict.fromkeys(
        size for shape in shapes for size in shape if isinstance(size, str) and _UNBACKED.fullmatch(size)
    )
    known = {name: captured.symbols[name] for name in names if name in captured.symbols}
    return [Size(name, "", facts.min, facts.max, "", facts.hint) for name, facts in known.items()]


def _with_source(size: Size, captured: NodeTable | None) -> Size:
    """A size of which torch names no source, with the first input that has it."""
    if captured is None or size.source not in ("", "None"):
        return size
    for node in captured.nodes:
        if node.op == "placeholder" and size.symbol in (node.shape or []):
            dimension = (node.shape or []).index(size.symbol)
            return replace(size, source=f"{readable(node.input or node.name)}.size()[{dimension}]")
    return replace(size, source="")


def _asserted(captured: NodeTable | None, sizes: Sequence[Size]) -> list[Constraint]:
    """What the graph checks of sizes while it runs: `torch._check`, and what operators need of unbacked sizes."""
    found: dict[str, Constraint] = {}
    for node in captured.nodes if captured is not None else ():
        said = _ASSERTED.search(str(node.args[1])) if "_assert_scalar" in node.target and len(node.args) > 1 else None
        if said is not None and captured is not None:
            source = captured.source(node)
            place, code = (f"{source.file}:{source.line}", source.code) if source else ("", "")
            constraint = make_constraint(said["condition"], place, code, sizes)
            found.setdefault(constraint.text, constraint)
    return list(found.values())


def _recompile(reason: str) -> Recompile:
    against, _, text = reason.partition(": ")
    mismatch = _MISMATCH.search(text)
    if mismatch is not None:
        old, new = int(mismatch["old"]), int(mismatch["new"])
        kind = "zero_one" if old in (0, 1) or new in (0, 1) else "size"
        words = f"{mismatch['name']}.size()[{mismatch['index']}] was {old}, then {new}"
        return Recompile(kind, words, against)
    noted = _NOTE.match(text)
    condition = noted["condition"] if noted else text.partition("  # ")[0]
    place, code = (noted["place"], (noted["code"] or "").strip()) if noted else ("", "")
    kind = "zero_one" if "0/1 specialization" in text else "constraint" if ".size()" in condition else "other"
    return Recompile(kind, f"{readable(condition)} did not hold any more", against, place, code)

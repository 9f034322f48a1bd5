"""One compiled piece in one range, as it is called: run as its eager graph, timed, or held against it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch
from torch import fx

from cutaway import torch_internals
from cutaway.errors import ExplainError
from cutaway.explain.within.edited import edited_code, edited_graph, read_edited
from cutaway.explain.within.errands import do_errands
from cutaway.explain.within.eye import Eye
from cutaway.explain.within.generated import Generated
from cutaway.explain.within.origin import layer_of, source_of
from cutaway.explain.within.reads import watch_reads
from cutaway.explain.within.reference import Expected, FirstNaN, Verdict, expect, has_nan, is_random, judge
from cutaway.replay.values import copy, outputs

Runnable = Callable[..., Any]


class Piece:
    """One piece in one range.

    Args:
        name: what dumps call it, such as ``piece_02``.
        span: the range, such as ``1_16``.
        graph: its eager graph.
        eye: what to do with it.
        rebuild: compiles it anew for this range with no cache; None where that cannot be done.
        compilation: what dumps call the compilation, as far as it is known.

    Attributes:
        before: what the last call that was compared was given, as it was then.
    """

    def __init__(
        self,
        name: str,
        span: str,
        graph: fx.GraphModule,
        eye: Eye,
        rebuild: Callable[[str, str], Runnable] | None = None,
        compilation: str | None = None,
    ) -> None:
        self.name, self.span, self.graph, self.eye = name, span, graph, eye
        self.rebuild, self.compilation = rebuild, compilation
        self.calls = 0
        self._told: set[str] = set()
        self._edited: Runnable | None = None
        self._is_random = is_random(graph)
        self.before: list[Any] = []
        self._names = [node.name for node in graph.graph.find_nodes(op="placeholder")]

    def is_compared(self) -> bool:
        """Whether the next call is held against the eager graph."""
        asked = self.eye.switches
        here = self.eye.is_among(asked.compare, self.name, self.span) or self._is_errand()
        is_eager = self.eye.is_among(asked.eager, self.name, self.span)
        return here and not is_eager and self.calls < asked.compare_calls

    def argument(self, position: int | None) -> str | None:
        """The name of an input."""
        return self._names[position] if position is not None and position < len(self._names) else None

    def run(self, runnable: Runnable, args: Sequence[Any]) -> Any:
        """A call that is not compared."""
        self.calls += 1
        asked = self.eye.switches
        is_eager = self.eye.is_among(asked.eager, self.name, self.span)
        if any(one.place.holds(self.name, self.span) and one.call == self.calls for one in asked.keep):
            self._say("kept", compilation=self.compilation, inputs=self.kept_inputs(args))
        step = "eager" if is_eager else "compiled"
        self._say("call", step=step)
        function = self._eagerly if is_eager else runnable
        if is_eager:
            self._do_errands()
        if not self.eye.is_among(asked.times, self.name, self.span):
            return function(*args)
        given = [copy(value) for value in args]
        seconds, result = _timed(function, args)
        with torch.no_grad():
            eager, _ = _timed(self._eagerly, given)
        self._say("time", compiled=seconds, eager=eager)
        return result

    def edited(self, runnable: Runnable) -> Runnable:
        """What somebody has edited of it in its place; raises ExplainError where that cannot be."""
        if self._edited is None:
            self._edited = self._swapped_in() or runnable
        return self._edited

    def _swapped_in(self) -> Runnable | None:
        edit = next((one for one in self.eye.switches.edits if one.place.holds(self.name, self.span)), None)
        if edit is None:
            return None
        what = f"{self.name} for {self.span}" if self.span else self.name
        try:
            text = read_edited(edit.file)
            if edit.kind == "graph":
                made = edited_graph(what, text, self.graph)
            elif self.rebuild is None:
                raise ExplainError(f"the edited code of {what} cannot be swapped in", "it cannot be compiled anew here")
            else:
                rebuild = self.rebuild
                made = edited_code(what, text, lambda: rebuild(self.name, self.span))
        except ExplainError as error:
            self._say("edit", file=edit.file, refused=str(error))
            raise
        self._say("edit", file=edit.file, refused=None)
        return made

    def _eagerly(self, *args: Any) -> Any:
        with self.eye.native():
            return self.graph.forward(*args)

    def compare(self, runnable: Runnable, args: Sequence[Any]) -> tuple[Any, list[int]]:
        """A call that is held against the eager graph.

        Returns:
            What the piece returned; which of its inputs the eager graph writes to.
        """
        self.calls += 1
        before = self.before = [copy(value) for value in args]
        self._say("call", step="eager")
        try:
            with self.eye.native():
                expected = expect(self.graph, before)
        except Exception as error:  # noqa: BLE001  (the engine goes on; the piece is not compared)
            self._once("not_compared", why=f"its eager graph fails: {type(error).__name__}: {error}"[:500])
            expected = None
        self._say("call", step="compiled")
        ran = Generated(args, self._code)
        result = ran.run(runnable)
        if expected is None:
            return result, []
        self._look_for_nan(before, expected)
        written = [i for i, old in enumerate(before) if changed_from(old, expected.left[i])]
        found, apart = self._verdicts(expected, outputs(result), args, written)
        if apart:
            self._parted(apart, before, ran)
        else:
            self._once("same", compared=len(found), random=self._is_random)
        asked = self.eye.is_among(self.eye.switches.fresh, self.name, self.span)
        if apart and asked and self.rebuild is not None:
            self._compare_fresh(self.rebuild, before, expected)
        if apart or self.eye.switches.errands:
            self._do_errands()
        return result, written

    def _verdicts(
        self, expected: Expected, found: list[Any], args: Sequence[Any], written: Sequence[int]
    ) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
        """How outputs and written inputs compare; those that are apart."""
        if self._is_random:
            return {}, {}
        asked = self.eye.switches
        verdicts: dict[str, Verdict] = {}
        if len(found) != len(expected.outputs):
            self._once("not_compared", why=f"{len(found)} outputs instead of {len(expected.outputs)}")
            return {}, {}
        exact: list[Any] = expected.exact if expected.exact is not None else [None] * len(found)
        for place, (one, other, wide) in enumerate(zip(expected.outputs, found, exact, strict=True)):
            verdicts[f"output {place}"] = judge(one, other, wide, asked.rtol, asked.atol)
        for place in written:
            wide = expected.exact_left[place] if expected.exact is not None else None
            name = f"input {self.argument(place) or place}"
            verdicts[name] = judge(expected.left[place], args[place], wide, asked.rtol, asked.atol)
        return verdicts, {name: one for name, one in verdicts.items() if one.is_apart}

    def kept_inputs(self, values: Sequence[Any]) -> list[dict[str, Any]]:
        """Inputs, kept as files."""
        return self.eye.keep(values, self._names)

    def _code(self, ran: Generated) -> None:
        """What generated code is about to run; it may end the process."""
        path = self.eye.keep_code(ran.text) if ran.text else None
        args = msgspec.to_builtins(ran.args)
        self._once("code", path=path, args=args, constants=sorted(ran.constants))

    def _parted(self, apart: dict[str, Verdict], before: Sequence[Any], ran: Generated) -> None:
        if "parted" in self._told:
            self._say("parted_again")
            return
        self._told.add("parted")
        self._say(
            "parted",
            compilation=self.compilation,
            values={
                name: {
                    "comparison": msgspec.to_builtins(one.comparison),
                    "compiled_error": one.compiled_error,
                    "eager_error": one.eager_error,
                }
                for name, one in apart.items()
            },
            inputs=self.kept_inputs(before),
            code={
                "args": msgspec.to_builtins(ran.args),
                "results": ran.results,
                "constants": self.eye.keep_constants(ran.constants),
            }
            if ran.ran
            else None,
        )

    def _look_for_nan(self, before: Sequence[Any], expected: Expected) -> None:
        """A NaN that the eager graph makes itself is the model's own."""
        if not has_nan(expected.outputs) or has_nan(before) or "nan" in self._told:
            return
        self._told.add("nan")
        finder = FirstNaN(self.graph)
        with torch.no_grad(), self.eye.native():
            finder.run(*[copy(value) for value in before])
        node = finder.found
        self._say(
            "nan",
            node=node.name if node is not None else None,
            number=list(self.graph.graph.nodes).index(node) if node is not None else None,
            infinite=finder.infinite.name if finder.infinite is not None else None,
            code=node.format_node() if node is not None else None,
            layer=layer_of(node),
            source=source_of(node),
            in_float64=expected.exact is not None and has_nan(expected.exact),
            inputs=self.kept_inputs(before),
        )

    def _compare_fresh(
        self, rebuild: Callable[[str, str], Runnable], before: Sequence[Any], expected: Expected
    ) -> None:
        """Compile the piece anew, and hold that against its eager graph."""
        if "fresh" in self._told:
            return
        self._told.add("fresh")
        self._say("call", step="fresh")
        given = [copy(value) for value in before]
        try:
            with watch_reads() as reads:
                function = rebuild(self.name, self.span)
            made = outputs(function(*given))
        except Exception as error:  # noqa: BLE001  (the engine goes on)
            self._say("fresh", failed=f"{type(error).__name__}: {error}"[:500])
            return
        written = [i for i, old in enumerate(before) if changed_from(old, expected.left[i])]
        _, apart = self._verdicts(expected, made, given, written)
        self._say("fresh", is_apart=bool(apart), reads=reads.told())

    def _is_errand(self) -> bool:
        return any(one.place.holds(self.name, self.span) for one in self.eye.switches.errands)

    def _do_errands(self) -> None:
        """Run what is to be run within this process; each once."""
        mine = [
            one
            for one in self.eye.switches.errands
            if str(one) not in self._told and one.place.holds(self.name, self.span)
        ]
        self._told.update(map(str, mine))
        do_errands(mine, self._say)

    def _once(self, event: str, **facts: Any) -> None:
        if event not in self._told:
            self._told.add(event)
            self._say(event, **facts)

    def _say(self, event: str, **facts: Any) -> None:
        self.eye.journal.write(event, piece=self.name, range=self.span, call=self.calls, **facts)


def changed_from(old: Any, new: Any) -> bool:
    """Whether a tensor was written to since it was copied; by its bits, so that a NaN is itself."""
    if not isinstance(old, torch.Tensor) or old.layout is not torch.strided:
        return False
    if old.shape != new.shape:
        return True
    return torch_internals.tensor_bytes(old) != torch_internals.tensor_bytes(new.detach())


def _timed(function: Runnable, args: Sequence[Any]) -> tuple[float, Any]:
    devices = {one.device.type for one in args if isinstance(one, torch.Tensor)}
    wait = torch.cuda.synchronize if "cuda" in devices else lambda: None
    wait()
    began = time.perf_counter()
    result = function(*args)
    wait()
    return time.perf_counter() - began, result

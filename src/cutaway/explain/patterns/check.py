"""Why a check that a pattern has besides its operators says no: the line of it that did, and what was false there."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from torch import fx

from cutaway import torch_internals
from cutaway.explain.patterns.job import Reason
from cutaway.explain.patterns.match import Comparison
from cutaway.explain.patterns.words import named, typed

_CASTS = ("_to_copy", "convert_element_type", "to.dtype")
_NAMELESS = ("<lambda>", "flag_check")


def refusals(check: Callable[[Any], Any], match: Any, node: fx.Node) -> list[Reason]:
    """Ask a pattern's extra check about a match; what it has against it, nothing when it agrees.

    Args:
        check: of a ``PatternEntry``.
        match: what torch found.
        node: where.
    """
    if is_of_replacement(check):
        return _Retraced(check, match, node).reasons
    answer = _ask(check, match)
    if answer.yes:
        return []
    text = f"the extra check {name_of(check)} says no"
    if answer.why:
        text += f": {answer.why}"
    return [Reason("check", text, named(node), place=answer.place)]


def is_of_replacement(check: Any) -> bool:
    """Whether a check is the one that ``register_replacement`` makes, around the one that it was given."""
    return getattr(check, "__qualname__", "") == "register_replacement.<locals>.check_fn"


def closure(function: Any) -> dict[str, Any]:
    """The cells of a function's free variables, by name."""
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def name_of(check: Any) -> str:
    """What a check is called; of a flag of a configuration, the flag."""
    function = _plain(check)
    name = getattr(function, "__qualname__", type(function).__name__)
    if name.endswith("flag_check"):
        return f"(the setting {closure(function)['name'].cell_contents!r} of torch._inductor.config)"
    name = name.replace("<locals>.", "").removesuffix(".<lambda>")
    return name or "lambda"


@dataclass
class _Retraced:
    """The check of a pattern that was made of a function.

    Its expression leaves numbers, dtypes and lists open; when it fits, the function is traced again with the inputs
    that are really there, and what that gives has to fit exactly.
    """

    check: Callable[[Any], Any]
    match: Any
    node: fx.Node
    patterns: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    said: list[Reason] = field(default_factory=list)

    @property
    def reasons(self) -> list[Reason]:
        try:
            with self._watched():
                agrees = bool(self.check(self.match))
        except Exception as error:  # noqa: BLE001  (tracing runs the pattern's own code)
            return [Reason("other", f"the pattern cannot be traced: {_first_line(error)}", named(self.node))]
        if agrees:
            return []
        inputs = self._inputs()
        if self.failures:
            text = f"the pattern cannot be traced with {inputs}: {self.failures[0]}"
            return [Reason("shape", text, named(self.node))]
        found = Comparison(self.patterns[-1], self.node).reasons if self.patterns else []
        if found:
            return [self._by_inputs(reason, inputs) for reason in found]
        return self.said or [Reason("other", "its check says no", named(self.node))]

    def _by_inputs(self, reason: Reason, inputs: str) -> Reason:
        """A difference in structure that is only there with these inputs is due to their dtypes or sizes."""
        if reason.kind not in ("op", "arguments", "users"):
            return reason
        casts = any(cast in text for cast in _CASTS for text in (reason.wanted, reason.found))
        reason.kind = "dtype" if casts else "shape" if reason.kind != "users" else "users"
        reason.text += f"; so the pattern is with {inputs}"
        return reason

    def _inputs(self) -> str:
        known = {name: value for name, value in self.match.kwargs.items() if isinstance(value, fx.Node)}
        return ", ".join(f"{name}: {typed(value) or named(value)}" for name, value in known.items()) or "its inputs"

    @contextmanager
    def _watched(self) -> Generator[None]:
        """Within the block, what the check traces, and what the check inside of it says, is kept."""
        matcher = torch_internals.pattern_matcher()
        make, log, inner = matcher.fx_to_pattern, matcher.log_trace_failure, closure(self.check)["extra_check"]
        given = inner.cell_contents

        def made(*args: Any, **kwargs: Any) -> Any:
            self.patterns.append(make(*args, **kwargs))
            return self.patterns[-1]

        def failed(_: Any, error: BaseException) -> None:
            self.failures.append(_first_line(error))

        def asked(match: Any) -> bool:
            self.said = refusals(given, match, self.node)
            return not self.said

        matcher.fx_to_pattern, matcher.log_trace_failure, inner.cell_contents = made, failed, asked
        try:
            yield
        finally:
            matcher.fx_to_pattern, matcher.log_trace_failure, inner.cell_contents = make, log, given


@dataclass
class _Asked:
    yes: bool = False
    why: str = ""
    place: str = ""


def _plain(check: Any) -> Any:
    while isinstance(check, functools.partial):
        check = check.func
    return getattr(check, "__wrapped__", check)


def _ask(check: Callable[[Any], Any], match: Any) -> _Asked:
    """Call a check, and watch its own lines, not those of what it calls."""
    code = getattr(_plain(check), "__code__", None)
    answer = _Asked()

    def line(frame: FrameType, event: str, value: Any) -> Any:
        if event == "return" and value is not None and not _is_true(value):
            answer.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            answer.why = _what_was_false(frame)
        return line

    def call(frame: FrameType, *_: Any) -> Any:
        return line if frame.f_code is code else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        answer.yes = _is_true(check(match))
    except Exception as error:  # noqa: BLE001  (a check is the user's code)
        answer.why = f"it raised {_first_line(error)}"
    finally:
        sys.settrace(before)
    return answer


def _is_true(value: Any) -> bool:
    try:
        return torch_internals.guard_or_false(value)
    except (TypeError, RuntimeError, ValueError, AttributeError):
        return bool(value)


def _what_was_false(frame: FrameType) -> str:
    """The part of the statement that a frame returns by, or of the condition around it, that decided; as code."""
    statement, condition = _statement(frame.f_code, frame.f_lineno)
    if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Constant) and condition is not None:
        decided = _first(condition, ast.Or, frame, wanted=True)
        return f"`{ast.unparse(decided)}`"
    if isinstance(statement, (ast.Return, ast.Lambda)):
        value = statement.value if isinstance(statement, ast.Return) else statement.body
        if value is not None:
            return f"`{ast.unparse(_first(value, ast.And, frame, wanted=False))}` is false"
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f"`{text}`" if text else ""


def _statement(code: CodeType, line: int) -> tuple[ast.AST | None, ast.expr | None]:
    """The return statement (or lambda) at a line of a function, and the condition of the `if` right around it."""
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, TypeError):
        return None, None
    at = line - first + 1
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    if code.co_name == "<lambda>":
        return (lambdas[0], None) if len(lambdas) == 1 else (None, None)
    for node in ast.walk(tree):
        if isinstance(node, ast.If):
            inside = [each for each in node.body if isinstance(each, ast.Return) and each.lineno == at]
            if inside:
                return inside[0], node.test
    returns = [node for node in ast.walk(tree) if isinstance(node, ast.Return)]
    covering = [node for node in returns if node.lineno <= at <= (node.end_lineno or node.lineno)]
    return (covering[0] if covering else None), None


def _first(value: ast.expr, kind: type[ast.boolop], frame: FrameType, wanted: bool) -> ast.expr:
    """Of conditions joined by `and` (or `or`), the one that decided; they are evaluated again, in their order."""
    if not isinstance(value, ast.BoolOp) or not isinstance(value.op, kind):
        return value
    for part in value.values:
        try:
            code = compile(ast.fix_missing_locations(ast.Expression(part)), "<check>", "eval")
            found = eval(code, frame.f_globals, dict(frame.f_locals))
        except Exception:  # noqa: BLE001
            return value
        if _is_true(found) is wanted:
            return part
    return value


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

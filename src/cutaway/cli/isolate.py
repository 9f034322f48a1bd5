"""`cutaway isolate`: which part of the compiler is at fault."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from cutaway.cli.output import FINDING, INTERRUPTED, printable, write_json
from cutaway.errors import UsageError
from cutaway.explain.command import VLLM, Asked, run_command
from cutaway.explain.isolate import FOLDER
from cutaway.explain.verdict import Verdict

Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="vllm [LLM ARGUMENTS] | -- PROGRAM",
        help="`vllm --model ...` with any argument of `vllm serve`; or, after two dashes, a program and its arguments.",
    ),
]
Prompt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", metavar="TEXT", help="For vllm: a prompt; as often as there are. Default: three made ones."
    ),
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", metavar="N", help="For vllm: tokens for each prompt.")]
Check = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="REGEX",
        help="For a program: what it prints is right where this (or its first group) matches the same, numbers within "
        "tolerance. Default: its exit code alone.",
    ),
]
Expect = Annotated[
    str | None,
    typer.Option("--expect", metavar="TEXT", help="What --check is to find. Default: what it finds in eager."),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance", metavar="X", help="For log probabilities or printed numbers. Default: what suits the dtype."
    ),
]
SlowOption = Annotated[
    Literal["start", "run"] | None,
    typer.Option("--slow", help="The fault is that it is slow: to start, or to run."),
]
Minutes = Annotated[
    float | None, typer.Option("--budget", metavar="MINUTES", help="Stop after that, and say what is known.")
]
Repeats = Annotated[
    int, typer.Option("--repeats", metavar="N", help="Try it so often before saying that there is no fault.")
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Stop a trial that takes longer.")]
Output = Annotated[str, typer.Option("--output", metavar="FOLDER", help="Where the report and the state go.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the search in --output; nothing else need be said again.")
]
LadderOnly = Annotated[bool, typer.Option("--part-only", help="Name the part, and do not look inside of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the verdict as JSON (docs/dump-format.md has its shape).")]


def isolate(
    command: Command = None,
    prompt: Prompt = None,
    max_tokens: MaxTokens = 8,
    check: Check = None,
    expect: Expect = None,
    tolerance: Tolerance = None,
    slow: SlowOption = None,
    budget: Minutes = None,
    repeats: Repeats = 3,
    timeout: Timeout = 900.0,
    output: Output = FOLDER,
    resume: Resume = False,
    part_only: LadderOnly = False,
    as_json: AsJson = False,
) -> int:
    """Find which part of the compiler makes it wrong, crash or slow.

    Turns CUDA graphs, caches, custom passes, Inductor and the compile off one after another, each in a fresh process
    with caches of its own, then looks inside of the part at which the fault goes. Exits 1 when there is a fault, 0 when
    none was seen.
    """
    given = command or []
    is_vllm = given[:1] == [VLLM]
    if not given and not resume:
        raise UsageError(
            "there is nothing to isolate",
            "",
            "give `vllm --model ...`, or a program after two dashes: -- python script.py",
        )
    _check(is_vllm, prompt, check, expect, budget, timeout)
    asked = Asked(
        given[1:] if is_vllm else given, is_vllm, prompt or [], max_tokens, check, expect, tolerance, slow, repeats,
        timeout, not part_only,
    )  # fmt: skip
    with _terminated_like_interrupted():
        verdict = run_command(asked, Path(output).absolute(), resume, budget, _resume(output), sys.stderr)
    _tell(verdict, as_json)
    if verdict.stopped == "interrupted":
        return INTERRUPTED
    return FINDING if verdict.is_fault else 0


def _check(
    is_vllm: bool, prompt: list[str] | None, check: str | None, expect: str | None, budget: float | None, timeout: float
) -> None:
    if not is_vllm and prompt:
        raise UsageError("--prompt is for vllm", "a program has prompts of its own", "leave it out")
    if is_vllm and check is not None:
        raise UsageError(
            "--check is for programs", "of vLLM, tokens and log probabilities are compared", "leave it out"
        )
    if expect is not None and check is None:
        raise UsageError("--expect needs --check", "it is what the check is to find", "give both")
    if budget is not None and budget <= 0:
        raise UsageError(f"--budget is {budget:g}", "it is a number of minutes", "give more than 0")
    if timeout <= 0:
        raise UsageError(f"--timeout is {timeout:g}", "it is a number of seconds", "give more than 0")


def _resume(output: str) -> str:
    return "cutaway isolate --resume" + ("" if output == FOLDER else f" --output {shlex.quote(output)}")


def _tell(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        write_json(verdict.plain())
        return
    sys.stdout.write(printable("\n".join(verdict.lines())) + "\n")


@contextmanager
def _terminated_like_interrupted() -> Generator[None]:
    """SIGTERM ends a search as Ctrl-C does: what is known is told, and nothing is left running."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

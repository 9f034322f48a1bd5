"""`cutaway why pattern`: where a pattern matched, and what did not fit where it nearly did."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import FINDING, printable, write_json, write_lines
from cutaway.cli.why_pattern_json import passes_json, pattern_json
from cutaway.cli.why_pattern_text import passes_lines, pattern_lines
from cutaway.dump import load
from cutaway.errors import UsageError
from cutaway.explain.patterns import explain_pattern, passes_of
from cutaway.explain.patterns.launch import LIMIT

Asked = Annotated[
    str | None,
    typer.Argument(
        metavar="PATTERN",
        help="A pass by name (ours, vLLM's), module:object or file.py:object. Without it: the passes of the dump.",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="SELECTOR", help="The graphs to look in. Default: those that the pass saw, or would have."
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Show every near miss, and every pass.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Stop it after that long.")]


def pattern(
    path: DumpPath,
    asked: Asked = None,
    at: At = None,
    everything: Everything = False,
    timeout: Timeout = LIMIT,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """Where a pattern matched; and where it nearly did, which part of it did not fit, and at which node.

    PATTERN is imported, in a process of its own, with the modules that the dump names for its operators, and held
    against its graphs: they are data, and nothing of them is executed. It may name a pass or its class (of vLLM, of
    ours, of yours), a PatternMatcherPass of Inductor's, a pattern of it, or a function that makes one of these.

    \b
      cutaway why pattern dump
      cutaway why pattern dump add_rms_norm_fusion
      cutaway why pattern dump vllm.compilation.passes.fusion.add_rms_fusion:AddRMSNormFusionPass
      cutaway why pattern dump torch._inductor.fx_passes.joint_graph:patterns
      cutaway why pattern dump my_pass.py:MyPass --at range_1_16/before_post_grad

    Exits 1 when there are near misses, or when the pass did not run.
    """
    dump = load(path, run, rank)
    if asked is None:
        if at is not None:
            raise UsageError(
                "--at names graphs to look in", "without a PATTERN none is looked in", "give a pattern too"
            )
        history = passes_of(dump)
        write_json(passes_json(history)) if as_json else write_lines(passes_lines(history, everything))
        return 0
    if timeout <= 0:
        raise UsageError(f"--timeout is {timeout:g}", "it is a number of seconds", "give more than 0")

    def say(modules: list[str]) -> None:
        names = printable(", ".join([asked, *modules]))
        sys.stderr.write(f"cutaway: imported in a process of its own: {names}; the dump's graphs are only read\n")
        sys.stderr.flush()

    found = explain_pattern(dump, asked, at, timeout, say)
    if as_json:
        write_json(pattern_json(found))
    else:
        write_lines(pattern_lines(found, everything))
    return FINDING if found.misses or found.history.absent else 0

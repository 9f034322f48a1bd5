"""`why pattern` as a whole: choose graphs, ask the child, fold what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from cutaway.dump.reader import Dump
from cutaway.errors import ExplainError
from cutaway.explain.patterns.fold import Finding, fold
from cutaway.explain.patterns.graphs import choose_graphs
from cutaway.explain.patterns.history import NOT_CONFIGURED, History, history_of, vllm_passes
from cutaway.explain.patterns.job import Job, Known, Ran
from cutaway.explain.patterns.launch import LIMIT, launch

_INDUCTOR = "torch._inductor."
"""Its passes have names of their own in a recording (``pass_pattern_0``), which say nothing of the object."""


@dataclass(frozen=True)
class Explained:
    """What there is to say of a pattern in a dump.

    Attributes:
        asked: what was asked for.
        patterns: what it consists of.
        findings: where they match, and where they nearly do, nearest first.
        history: where the pass ran in the recorded compile, and why not elsewhere.
        graphs: selectors of the graphs that were looked in.
        ran: what a pass without patterns did to each graph.
        unknown: operators of the graphs that nothing here registers: no pattern can match them.
    """

    asked: str
    patterns: list[Known]
    findings: list[Finding]
    history: History
    graphs: list[str]
    ran: list[Ran] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def matches(self) -> list[Finding]:
        """Where patterns match."""
        return [finding for finding in self.findings if finding.matched]

    @property
    def misses(self) -> list[Finding]:
        """Where they nearly match."""
        return [finding for finding in self.findings if not finding.matched]


def explain_pattern(
    dump: Dump,
    asked: str,
    selector: str | None = None,
    limit: float = LIMIT,
    tell: Callable[[list[str]], None] | None = None,
) -> Explained:
    """Hold patterns against graphs of a dump, in a process of its own, which imports them.

    Args:
        dump: the dump; its graphs are data, nothing of them is executed. Modules that it names as those that register
            its operators are imported, as far as they are installed.
        asked: a pass of ours by name, `module:object` or `file.py:object`: a pass or its class, Inductor's
            ``PatternMatcherPass``, a pattern of it, or a function that makes one of these.
        selector: graphs to look in; None for those that the pass saw or would have seen.
        limit: seconds for the process.
        tell: is told, before that happens, which modules the dump has imported.

    Raises:
        ExplainError: the pattern cannot be imported or made, or took too long.
        SelectorError, UsageError: there is no such graph.
        DumpError: a graph cannot be read.
    """
    seen = choose_graphs(dump, asked, selector)
    graphs = [each.graph() for each in seen]
    if tell is not None:
        tell(list(dict.fromkeys(module for graph in graphs for module in graph.modules)))
    try:
        answer = launch(Job(asked, graphs, vllm_passes(dump)), limit)
    except ExplainError as error:  # what the dump itself tells of the pass is worth something without it
        reasons = [each.reason for each in history_of(dump, [re.split(r"[.:]", asked)[-1]]).absent]
        if not reasons or reasons[0] == NOT_CONFIGURED:
            raise
        cure = f"{error.cure}; in the recorded compile it did not run: {reasons[0]}"
        raise ExplainError(error.what, error.why, cure, error.details) from error
    return Explained(
        asked=asked,
        patterns=answer.patterns,
        findings=fold(answer, seen),
        history=History([]) if _INDUCTOR in asked else history_of(dump, answer.names, answer.skipped),
        graphs=[each.snapshot.selector for each in seen],
        ran=answer.ran,
        unknown=answer.unknown,
    )

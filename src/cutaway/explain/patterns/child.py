"""The child of `why pattern`: holds patterns against graphs of a dump, apart from the process that reads it.

    python -m cutaway.explain.patterns.child JOB.json ANSWER.json

It imports the pattern's module and the modules that register the graphs' operators. The graphs are data.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from torch import fx

from cutaway import torch_internals
from cutaway.explain.patterns import sources
from cutaway.explain.patterns.job import Answer, Attempt, Job, Known, Ran, Reason
from cutaway.explain.patterns.match import Comparison, calls_of, parts_of
from cutaway.explain.patterns.rebuild import Rebuilt
from cutaway.explain.patterns.sources import Pattern, Source, SourceError, find_source
from cutaway.explain.patterns.words import called, named, shown


def main() -> None:
    """Read the job, do it, write the answer; the exit code is 0 also when it could not be done."""
    asked, answered = map(Path, sys.argv[1:])
    job = msgspec.json.decode(asked.read_bytes(), type=Job)
    answered.write_bytes(msgspec.json.encode(do(job)))


def do(job: Job) -> Answer:
    """Do a job in this process."""
    missing: list[str] = []
    for module in dict.fromkeys(module for graph in job.graphs for module in graph.modules):
        try:
            import_module(module)
        except Exception as error:  # noqa: BLE001  (whatever a package does when it is imported)
            missing.append(f"{module}: {type(error).__name__}: {error}")
    try:
        source = find_source(job.pattern, job.vllm)
        return _explained(source, job)
    except SourceError as error:
        what, why, cure = error.args
        return Answer(problem=(what, why, cure), details="\n".join([*missing, *_frames(error.__cause__)]))
    except Exception as error:  # noqa: BLE001  (patterns and passes are other people's code)
        what = f"{job.pattern} cannot be held against these graphs"
        return Answer(problem=(what, f"{type(error).__name__}: {error}", ""), details=traceback.format_exc())


def _frames(error: BaseException | None) -> list[str]:
    """Where other people's code raised: a line for each frame of theirs."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    theirs = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != sources.__file__]
    return [f"  {frame.filename}:{frame.lineno}: {frame.line}" for frame in theirs]


def _explained(source: Source, job: Job) -> Answer:
    answer = Answer(names=source.names)
    answer.patterns = [_described(pattern) for pattern in source.patterns]
    ranges = dict.fromkeys(name for graph in job.graphs for name in graph.ranges)
    if source.applies is not None:
        answer.skipped = [name for name in ranges if not _applies(source, name)]
    unknown: dict[str, None] = {}
    for number, graph in enumerate(job.graphs):
        rebuilt = Rebuilt(graph.table)
        unknown.update(dict.fromkeys(rebuilt.unknown))
        if source.run is not None:
            answer.ran.append(_ran(source, number, rebuilt, next(iter(graph.ranges), "1_1")))
        answer.attempts += attempts(source.patterns, rebuilt.gm.graph, number)
    answer.unknown = list(unknown)
    return answer


def _described(pattern: Pattern) -> Known:
    calls = [called(part) for part in calls_of(pattern.expression)]
    return Known(pattern.name, calls, repr(pattern.expression))


def _applies(source: Source, name: str) -> bool:
    assert source.applies is not None
    return source.applies(*_ends(name))


def _ends(name: str) -> tuple[int, int]:
    least, _, most = name.partition("_")
    return int(least), int(most)


def _ran(source: Source, number: int, rebuilt: Rebuilt, compile_range: str) -> Ran:
    """Run a pass that has no patterns over a graph, as for one compile range."""
    assert source.run is not None
    before = _state(rebuilt.gm.graph)
    try:
        with source.around(*_ends(compile_range)):
            source.run(rebuilt.gm.graph)
    except Exception as error:  # noqa: BLE001  (a pass is other people's code)
        return Ran(number, problem=f"{type(error).__name__}: {error}")
    return Ran(number, changed=before != _state(rebuilt.gm.graph))


def _state(graph: fx.Graph) -> list[tuple[Any, ...]]:
    return [(node, node.target, node.args, node.kwargs) for node in graph.nodes]


def attempts(patterns: Sequence[Pattern], graph: fx.Graph, number: int = 0) -> list[Attempt]:
    """Each pattern at each node of a graph where it could be, or where a part of it is."""
    torch_internals.pattern_matcher().compute_mutation_region_ids(graph)
    found: list[Attempt] = []
    for index, pattern in enumerate(patterns):
        at_anchors = [_at(pattern, index, node, number) for node in _calling(pattern.expression, graph)]
        known = {node for _, nodes in at_anchors for node in nodes}
        found += [attempt for attempt, _ in at_anchors]
        found += _beginnings(pattern, index, graph, number, known)
    return found


def _calling(part: Any, graph: fx.Graph) -> list[fx.Node]:
    """The nodes that call what the last call of a pattern may be."""
    wanted = set(part.fns)
    target = torch_internals.pattern_matcher().extract_target
    return [node for node in graph.nodes if node.op == part.op and _hashable(target(node)) in wanted]


def _hashable(target: Any) -> Any:
    try:
        hash(target)
    except TypeError:
        return None
    return target


def _at(pattern: Pattern, index: int, node: fx.Node, number: int) -> tuple[Attempt, list[fx.Node]]:
    """A pattern at a node that calls what its last call is."""
    matcher = torch_internals.pattern_matcher()
    match = pattern.expression.match(node)
    comparison = Comparison(pattern.expression, node)
    reasons, nodes = comparison.reasons, comparison.nodes
    if matcher.is_match(match):
        nodes = list(dict.fromkeys(match.nodes))
        reasons = _against(pattern, match, node)
    elif not reasons:
        reasons = [Reason("other", str(match) or "the matcher says no", named(node))]
    calls = calls_of(pattern.expression)
    of = len(calls)
    got = of if matcher.is_match(match) else sum(id(part) in comparison.fitting for part in calls)
    names = [named(each) for each in nodes]
    return Attempt(index, number, named(node), not reasons, got, of, names, reasons), nodes


def _against(pattern: Pattern, match: Any, node: fx.Node) -> list[Reason]:
    """What is to be said against a match: in the order in which ``PatternMatcherPass.apply`` asks."""
    if torch_internals.patterns_are_skipped_at(node):
        return [
            Reason(
                "dtype", f"Inductor has no code for a dtype at {named(node)}, and tries no pattern there", named(node)
            )
        ]
    nodes = sorted(match.nodes)
    regions = {each.meta["mutation_region_id"] for each in nodes}
    if len(regions) > 1:
        between = list(nodes[0].graph.nodes)
        first, last = between.index(nodes[0]), between.index(nodes[-1])
        writer = next(each for each in between[first + 1 : last + 1] if torch_internals.is_mutation(each))
        return [
            Reason("mutation", f"{shown(writer)} writes to memory between the first and the last of it", named(writer))
        ]
    return pattern.check(match, node)


def _beginnings(pattern: Pattern, index: int, graph: fx.Graph, number: int, known: set[fx.Node]) -> list[Attempt]:
    """Where a part of a pattern fits, and the graph goes on with something else; the largest part at each place."""
    of = calls_of(pattern.expression)
    above = {id(child): part for part in of for child in parts_of(part)}
    parts = sorted(of[1:], key=lambda part: -len(calls_of(part)))
    taken = set(known)
    found: list[Attempt] = []
    for part in parts:
        for node in _calling(part, graph):
            if node in taken:
                continue
            comparison = Comparison(part, node)
            parent = above.get(id(part))
            if parent is None or any(reason.kind != "users" for reason in comparison.reasons):
                continue
            taken.update(comparison.nodes)
            reasons = [*comparison.reasons, _goes_on(node, parent)]
            names = [named(each) for each in comparison.nodes]
            got = sum(id(each) in comparison.fitting for each in of)
            found.append(Attempt(index, number, named(node), False, got, len(of), names, reasons))
    return found


def _goes_on(node: fx.Node, parent: Any) -> Reason:
    wanted = called(parent)
    users = [f"{named(user)} = {called(user)}" if user.op.startswith("call_") else "the output" for user in node.users]
    found = ", ".join(dict.fromkeys(users[:3])) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
    text = f"{named(node)} is read by {found or 'nothing'}, where the pattern goes on with {wanted}"
    ops = ", ".join(dict.fromkeys(called(user) if user.op.startswith("call_") else "output" for user in node.users))
    return Reason("op", text, named(node), wanted=wanted, found=ops, part=wanted)


if __name__ == "__main__":
    main()

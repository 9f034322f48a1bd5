"""What `cutaway find` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.output import Styled, aligned
from cutaway.dump.query.fold import Form, op_text, type_texts
from cutaway.dump.query.labels import label
from cutaway.dump.query.misses import Miss
from cutaway.dump.query.search import Found, Hit

TIMES = "\N{MULTIPLICATION SIGN}"
RUN = 3
"""So many stages in a row are named by their first and last."""


def form_lines(found: Found, forms: Sequence[Form]) -> Iterator[list[Styled]]:
    """What was found, folded: two lines for each form."""
    total = sum(form.count for form in forms)
    yield [(f"{_counted(total, 'node')}, {_counted(len(forms), 'form')}", "bold"), (": ", ""), (_query(found), "")]
    compilation = None
    columns = iter(aligned([_row(form) for form in forms], right=(0,), most=72))
    for form in forms:
        if form.compilation != compilation and len({each.compilation for each in forms}) > 1:
            yield [(form.compilation, "bold")]
        compilation = form.compilation
        yield [("  ".join(next(columns)).rstrip(), "")]
        yield [(f"      {' · '.join(_facts(form))}", "dim")]


def hit_lines(found: Found) -> Iterator[list[Styled]]:
    """Every node in every graph: one line for each."""
    yield [(f"{_counted(len(found.hits), 'node')} in all graphs", "bold"), (": ", ""), (_query(found), "")]
    rows = [[hit.selector, op_text(hit.node), type_texts(hit.node), _layer(hit), _source(hit)] for hit in found.hits]
    for row in aligned(rows, most=96):
        yield [("  ".join(row).rstrip(), "")]


def miss_lines(found: Found, missed: Sequence[Miss]) -> Iterator[list[Styled]]:
    """Why nothing was found."""
    yield [("nothing found", "bold"), (": ", ""), (_query(found), "")]
    for miss in missed:
        if miss.idle:
            yield [(f"  {miss.term}: {', '.join(miss.idle)} ran and changed nothing", "")]
        elif not miss.nodes:
            near = f"; did you mean {' or '.join(miss.near)}?" if miss.near else ""
            yield [(f"  {miss.term} fits no node{near}", "")]
        else:
            yield [(f"  {miss.term} fits {_counted(miss.nodes, 'node')} by itself, in all graphs", "dim")]


def _row(form: Form) -> list[str]:
    types = form.types[0] if form.types else ""
    more = f" and {_counted(len(form.types) - 1, 'other')}" if len(form.types) > 1 else ""
    where = form.where or "?"
    return [f"{form.count}{TIMES}", form.op, types + more, f"{where}: {form.cls}" if form.cls else where, form.source]


def _facts(form: Form) -> Iterator[str]:
    if len(form.of) > 1:
        count = f"all {len(form.of)}" if len(form.stages) == len(form.of) else f"{len(form.stages)} of {len(form.of)}"
        yield f"in {count} stages: {_stages(form.stages, form.of)}"
    elif form.stages:
        yield f"in {form.stages[0]}"
    if form.ranges is not None:
        yield f"only in range {', '.join(form.ranges)}"
    if form.lacking:
        yield f"not in {label(form.lacking)}"
    if form.providers:
        yield f"provider: {', '.join(form.providers)}"
    yield form.example.selector


def _stages(stages: Sequence[str], of: Sequence[str]) -> str:
    """Stages in order; those that follow each other by the first and the last."""
    runs: list[list[str]] = []
    for index, stage in enumerate(of):
        if stage not in stages:
            continue
        if runs and index and of[index - 1] == runs[-1][-1]:
            runs[-1].append(stage)
        else:
            runs.append([stage])
    return ", ".join(f"{run[0]} … {run[-1]}" if len(run) >= RUN else ", ".join(run) for run in runs)


def _layer(hit: Hit) -> str:
    layer = hit.layers[-1] if hit.layers else hit.view.input(hit.node) or "?"
    return f"{layer} (compiled with {hit.view.snapshot.piece})" if hit.view.stands_in else layer


def _source(hit: Hit) -> str:
    return f"{hit.source.file.rpartition('/')[2]}:{hit.source.line}" if hit.source else ""


def _query(found: Found) -> str:
    return " ".join(map(str, found.terms))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

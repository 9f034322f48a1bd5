"""What `cutaway ls` says before it lists: of a dump, and of a compilation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cutaway.cli.output import Styled
from cutaway.dump import Compilation, Dump
from cutaway.dump.fold import fold_ranks
from cutaway.explain.shapes import uncaptured
from cutaway.record.layers.words import reason_line


def head_lines(dump: Dump) -> Iterator[list[Styled]]:
    """Whose recording it is, and what there is besides the one that is listed."""
    info = dump.info
    versions = f" · cutaway {info.cutaway} · torch {info.torch} · python {info.python}" if info else ""
    yield [(str(dump.path), "bold"), (versions, "dim")]
    if info is not None and info.argv:
        yield [(" ".join(info.argv), "dim")]
    if len(dump.runs) > 1:
        yield [(f"other runs: {some([name for name in dump.runs if name != dump.run])} (choose with --run)", "")]
    for same in fold_ranks(dump) if len(dump.processes) > 1 else ():
        names = [same.shown, *same.others]
        graphs = "the same graphs" if dump.process in names else "other graphs"
        others = [name for name in names if name != dump.process]
        if others:
            yield [(f"{graphs}: {some(others)} (choose with --rank)", "")]


def dump_remarks(dump: Dump) -> Iterator[list[Styled]]:
    """What is unusual about a recording as a whole."""
    for note in dump.notes:
        yield [(f"note: {note}", "yellow")]
    if not dump.compilations:
        yield [("nothing was compiled, as far as was recorded", "yellow")]
    for error in dump.errors:
        yield [(f"recording failed in {error.where}: {error.error}", "red")]
    for each in uncaptured(dump):
        what = " at ".join(filter(None, (each.function or "a function", each.place)))
        words = "not compiled, runs eagerly" if each.skipped else "nothing to capture before a graph break"
        yield [(f"{words}: ", "yellow"), (f"{what}: {each.at.reason}", "")]


def title(compilation: Compilation) -> list[Styled]:
    """A compilation's name, and what was compiled."""
    started = compilation.started
    facts: list[str] = []
    where = ""
    if started is not None:
        where = f" ({started.file.rpartition('/')[2]}:{started.line})" if started.file else ""
        function = "" if started.function == compilation.name else started.function or "?"
        facts = [part for part in (f"{function}{where}".strip(), started.model) if part]
    between = " " if facts[:1] == [where.strip()] else ": "
    return [(compilation.name, "bold"), (between + " · ".join(facts) if facts else "", "")]


def remarks(compilation: Compilation) -> Iterator[Styled]:
    """What somebody should look at in a compilation, the worst first."""
    if compilation.failed:
        yield (f"FAILED: {reason_line(compilation.failed)}", "red")
    for error in compilation.errors:
        yield (f"recording failed in {error.where}: {error.error}", "red")
    found: Counter[tuple[str, ...]] = Counter()
    for metric in compilation.metrics:
        if metric.kind == "finding" and metric.values.get("kind") == "provider":
            found[tuple(str(metric.values.get(name)) for name in ("pass", "taken", "expected"))] += 1
    for (name, taken, expected), count in found.items():
        yield (f"finding: {name} took provider {taken} where {expected} was expected{_times(count)}", "yellow")
    for (result, _, reason, cure), count in _read_back(compilation).items():
        if result == "miss":
            said = f"a cache served them, and {reason}. To see all, {cure}."
            yield (f"graphs are missing{_times(count)}: {said}", "yellow")
    if not compilation.finished:
        yield ("did not come to its end", "yellow")


def recompile(compilation: Compilation) -> Iterator[Styled]:
    """Which recompile it is, and why."""
    started = compilation.started
    if started is not None and started.recompile:
        reason = "; ".join(text.strip().split("\n")[0] for text in started.reason) or "reason not recorded"
        yield (f"recompile {started.recompile}, because {reason}", "yellow")


def origin(compilation: Compilation) -> Iterator[Styled]:
    """Whether it was compiled now: what caches said, and what was read back instead."""
    asked: dict[str, Counter[str]] = {}
    for cache in compilation.caches:
        if cache.kind != "recording":
            asked.setdefault(cache.kind, Counter())[cache.result] += 1
    said = [
        f"{kind} {', '.join(f'{count} {result}' for result, count in each.items())}" for kind, each in asked.items()
    ]
    if said:
        yield (f"caches: {'; '.join(said)}", "")
    for (result, run, _, _), count in _read_back(compilation).items():
        if result == "load":
            yield (f"not compiled now, but read back{_times(count)}: recorded by {run}", "")
    if compilation.restarted_as:
        yield (f"Dynamo gave this attempt up: {compilation.restarted_as} is what runs", "dim")


def _read_back(compilation: Compilation) -> Counter[tuple[str, ...]]:
    """What a cache served -> how often: (`load` or `miss`, who recorded it, why not, what to do)."""
    found: Counter[tuple[str, ...]] = Counter()
    for cache in compilation.caches:
        if cache.kind == "recording" and cache.result in ("load", "miss") and isinstance(cache.factors, dict):
            said = (str(cache.factors.get(name, "?")) for name in ("run", "reason", "cure"))
            found[cache.result, *said] += 1
    return found


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


def some(names: Sequence[str], most: int = 4) -> str:
    """Names as a list, cut short in the middle."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, … {names[-1]} ({len(names)})"

"""What somebody should look at first. Only what the dump says; each with the place to open."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from cutaway.dump import Code, Compilation, schema
from cutaway.dump.compare import compare, verdict
from cutaway.dump.schema import NodeTable
from cutaway.errors import DumpError
from cutaway.explain.shapes import Break, breaks_of, uncaptured
from cutaway.record.layers.words import reason_line
from cutaway.web.data import shapes
from cutaway.web.data.process import Process
from cutaway.web.data.shapes.summary import FindingKind, Severity
from cutaway.web.data.words import cut

_FIXED = re.compile(r"^  (\S+) in \[[^\]]*\], always (-?\d{1,18}), captured with (\S+)\s+from (.*)$", re.MULTILINE)
_CONSTRAINT = re.compile(r"^  (.*?)(?:    at (.*))?$")
_NOTHING_DYNAMIC = "none: every size is fixed"
_COMMON = ("aten.", "prims.", "operator.", "torch.", "higher_order.", "builtins.", "math.")
"""Operators that are in every graph: that they are there says nothing about a pattern."""
_WHY = ("reason", "bypass_reason", "cure")
_OF_A_LAYER = " at nn/modules/"
MOST = 6
MOST_FINDINGS = 200


def findings(process: Process, ranks: Sequence[shapes.ProcessName]) -> list[shapes.Finding]:
    """What stands out in a process.

    Args:
        process: what was recorded.
        ranks: the processes of its run, those that compiled the same together.

    Returns:
        The most serious first, otherwise in the order of the compile.
    """
    found = [*_of_the_process(process, ranks)]
    for compilation in process.dump:
        found += _Findings(process, compilation).all()
    found.sort(key=lambda finding: finding.severity != "warn")
    more = len(found) - MOST_FINDINGS
    if more > 0:
        text = f"{more} more findings are left out"
        found[MOST_FINDINGS:] = [shapes.Finding("incomplete", "info", text, "", None, None)]
    return found


def _of_the_process(process: Process, ranks: Sequence[shapes.ProcessName]) -> Iterator[shapes.Finding]:
    dump = process.dump
    if not dump.complete:
        detail = "The process was killed before it said that it had ended, or it still runs."
        yield shapes.Finding("incomplete", "info", "the recording has not ended", detail, None, None)
    for error in dump.errors:
        yield _error(error, None)
    for each in uncaptured(dump):
        what = f"{each.function or 'a function'}{f' ({each.place})' if each.place else ''}"
        said = (
            f"{what} is not compiled: it runs eagerly" if each.skipped else f"{what}: nothing to capture before a break"
        )
        yield shapes.Finding("graph_break", "warn", cut(said, 400), cut(_broken(each.at), 2000), None, None)
    if len(ranks) > 1:
        groups = [", ".join(_some([each.name, *each.same])) for each in ranks]
        text = f"the processes of this run compiled in {len(ranks)} ways"
        said, where, compilation = _parting(process, ranks)
        detail = "\n".join(filter(None, (" | ".join(groups), said)))
        yield shapes.Finding("ranks", "warn", text, cut(detail), where, compilation)


def _parting(process: Process, ranks: Sequence[shapes.ProcessName]) -> tuple[str, str | None, str | None]:
    """Where this process and the first that compiled something else part: in words, and where to look."""
    dump = process.dump
    other = next(each.name for each in ranks if dump.process not in (each.name, *each.same))
    try:
        found = compare(dump, dump.sibling(other))
    except DumpError as error:
        return f"{other} cannot be compared: {error}", None, None
    words = f"Beside {other}: {verdict(found)}"
    for pair in found.compilations:
        courses = [pair.whole.course]
        for group in pair.pieces:
            courses += [group.whole, *(each.course for each in group.compiled)]
        for span in (span for course in courses for span in course.spans[:1]):
            step = span.pairs[0].a
            if step is not None and step.snapshot is not None:
                return words, step.snapshot.selector, pair.a.name if pair.a else None
    return words, None, None


def _error(error: schema.Failure, compilation: str | None) -> shapes.Finding:
    text = f"recording failed in {error.where}: {error.error}"
    return shapes.Finding("error", "warn", cut(text, 400), cut(error.traceback, 2000), None, compilation)


class _Findings:
    """The findings of one compilation."""

    def __init__(self, process: Process, compilation: Compilation) -> None:
        self._process = process
        self._compilation = compilation

    def all(self) -> Iterator[shapes.Finding]:
        """In the order of the compile."""
        yield from self._failures()
        yield from self._capture()
        yield from self._sizes()
        yield from self._providers()
        yield from self._patterns()
        yield from self._refusals()
        yield from self._caches()

    def _make(
        self, kind: FindingKind, severity: Severity, text: str, detail: str = "", where: str | None = None
    ) -> shapes.Finding:
        return shapes.Finding(kind, severity, cut(text, 400), cut(detail, 2000), where, self._compilation.name)

    def _failures(self) -> Iterator[shapes.Finding]:
        compilation = self._compilation
        if compilation.failed:
            text = f"{compilation.name} failed: {reason_line(compilation.failed)}"
            last = compilation.snapshots[-1].selector if compilation.snapshots else None
            yield self._make("error", "warn", text, compilation.failed, last)
        elif compilation.restarted_as:
            text = f"Dynamo gave {compilation.name} up and captured once more: {compilation.restarted_as} is what runs"
            yield self._make("incomplete", "info", text)
        elif not compilation.finished:
            last = compilation.snapshots[-1].selector if compilation.snapshots else None
            text = f"{compilation.name} did not come to its end"
            yield self._make("incomplete", "warn" if self._process.dump.complete else "info", text, "", last)
        for error in compilation.errors:
            yield _error(error, compilation.name)
        for metric in compilation.metrics:
            if metric.kind == "pass_failed":
                name = str(metric.values.get("pass"))
                yield self._make("error", "warn", f"the pass {name} raised an error", _place(metric), self._ran(name))

    def _capture(self) -> Iterator[shapes.Finding]:
        compilation = self._compilation
        started = compilation.started
        first = compilation.snapshots[0].selector if compilation.snapshots else None
        if started is not None and started.recompile:
            reason = "; ".join(text.strip() for text in started.reason) or "the reason was not recorded"
            text = f"{started.function or compilation.name} was compiled again (recompile {started.recompile})"
            yield self._make("recompile", "warn", text, reason, first)
        for each in breaks_of(compilation):
            text = (
                f"graph break{f' at {each.place}' if each.place else ''}: {each.reason or 'for a reason not recorded'}"
            )
            yield self._make("graph_break", "warn", text, _broken(each), first)

    def _sizes(self) -> Iterator[shapes.Finding]:
        guards = next((code for code in self._compilation.codes if code.kind == "guards"), None)
        if guards is None:
            return
        try:
            text = guards.text[:1_000_000]
        except DumpError:
            return
        sizes = text.partition("Symbolic sizes")[2].partition("\n\n")[0]
        for name, value, hint, source in _FIXED.findall(sizes):
            why = _constraints(text, name)
            said = f"the size {name} ({source}) is always {value}: the graph serves no other"
            detail = "\n".join(why) or f"It was captured with {hint}; no line of the model is known to have made it so."
            # A layer of torch's own has that size, whatever the batch: it is rarely news.
            of_a_layer = bool(why) and all(_OF_A_LAYER in line for line in why)
            yield self._make("specialised", "info" if of_a_layer else "warn", said, detail, guards.selector)
        if _NOTHING_DYNAMIC in sizes:
            said = f"every size of {self._compilation.name} is fixed"
            yield self._make("specialised", "info", said, "Another size is compiled again.", guards.selector)

    def _providers(self) -> Iterator[shapes.Finding]:
        counts: Counter[tuple[str, ...]] = Counter()
        places: dict[tuple[str, ...], list[schema.Metric]] = {}
        for metric in self._compilation.metrics:
            if metric.kind == "finding" and metric.values.get("kind") == "provider":
                key = tuple(str(metric.values.get(name)) for name in ("pass", "taken", "expected"))
                counts[key] += 1
                places.setdefault(key, []).append(metric)
        for key, count in counts.items():
            name, taken, expected = key
            nodes = [_node(metric) for metric in places[key]]
            text = f"{name} took provider {taken} where {expected} was expected" + _times(count)
            first = places[key][0]
            where = self._ran(name, first.piece, first.range)
            yield self._make("provider", "warn", text, "\n".join(_some(nodes)), where)

    def _patterns(self) -> Iterator[shapes.Finding]:
        ran: dict[str, list[schema.PassRan]] = {}
        for step in self._compilation.passes:
            if "matches" in step.counts:
                ran.setdefault(step.pass_name or step.selector, []).append(step)
        for name, steps in ran.items():
            if any(step.counts["matches"] for step in steps):
                continue
            text, where = f"{name} ran on {_counted(len(steps), 'graph')} and matched nothing", steps[0].selector
            there = self._operators(name, steps)
            if there is None:
                detail = "Its patterns were not recorded, so the dump does not tell whether their operators are there."
                yield self._make("pattern", "info", text, detail, where)
            elif there:
                detail = f"Operators of its patterns are there: {', '.join(_some(there))}."
                yield self._make(
                    "pattern", "warn", f"{text}, though its operators are there", detail, steps[0].selector
                )

    def _operators(self, name: str, steps: Sequence[schema.PassRan]) -> list[str] | None:
        """Operators of the graphs that a pass ran on which its patterns name; None when those were not recorded."""
        codes = [code for code in self._compilation.codes if code.kind == "patterns" and _leaf(code) == name]
        try:
            texts = [code.text for code in codes]
        except DumpError:
            return None
        if not texts:
            return None
        found: dict[str, None] = {}
        for table in self._tables(steps):
            for node in table.nodes:
                if node.op != "call_function" or node.target.startswith(_COMMON):
                    continue
                operator = node.target.removesuffix(".default")
                if operator not in found and any(operator in text for text in texts):
                    found[operator] = None
        return list(found)

    def _tables(self, steps: Sequence[schema.PassRan]) -> Iterator[NodeTable]:
        """The graphs that a pass ran on, each once."""
        seen: set[str] = set()
        for step in steps:
            before = self._process.left_by(step)
            if before is None or before.graph in seen:
                continue
            seen.add(before.graph)
            try:
                yield self._process.dump.table(before.owner)[0]
            except DumpError:
                continue

    def _refusals(self) -> Iterator[shapes.Finding]:
        """Matches that a pass found and left."""
        found: dict[str, list[schema.PassRan]] = {}
        for step in self._compilation.passes:
            if isinstance(step.notes.get("refused"), dict) and step.notes["refused"]:
                found.setdefault(step.pass_name or step.selector, []).append(step)
        for name, steps in found.items():
            reasons = [f"{node}: {why}" for step in steps for node, why in step.notes["refused"].items()]
            text = f"{name} left {_counted(len(reasons), 'match')} as they were"
            yield self._make("pattern", "warn", text, "\n".join(_some(list(dict.fromkeys(reasons)))), steps[0].selector)

    def _caches(self) -> Iterator[shapes.Finding]:
        results: dict[str, Counter[str]] = {}
        reasons: dict[str, list[str]] = {}
        for cache in self._compilation.caches:
            results.setdefault(cache.kind, Counter())[cache.result] += 1
            if isinstance(cache.factors, dict):
                said = [
                    str(cache.factors[name]) for name in ("reason", "bypass_reason", "cure") if name in cache.factors
                ]
                reasons.setdefault(f"{cache.kind} {cache.result}", []).append("; ".join(said))
        first = self._compilation.steps[0].selector if self._compilation.steps else None
        recording = results.pop("recording", Counter())
        if recording["miss"]:
            why = "\n".join(_some(list(dict.fromkeys(reasons.get("recording miss", [])))))
            text = f"graphs are missing: a cache served them, and they were not recorded{_times(recording['miss'])}"
            yield self._make("incomplete", "warn", text, why, first)
        for kind in ("recording refused", *(f"{kind} refused" for kind in results)):
            if kind in reasons:
                text = f"cache {kind.rpartition(' ')[0]}: an entry was refused{_times(len(reasons[kind]))}"
                yield self._make("cache", "warn", text, "\n".join(_some(list(dict.fromkeys(reasons[kind])))), first)
        served = sum(some["hit"] + some["load"] for some in results.values())
        for kind, some in results.items():
            if some["miss"] and served:
                text = f"cache {kind}: {some['miss']} missed on a warm start"
                why = "\n".join(_some(list(dict.fromkeys(filter(None, reasons.get(f"{kind} miss", []))))))
                yield self._make("cache", "warn", text, why or "Other entries of this start were served.", first)

    def _ran(self, name: str, piece: str | None = None, compile_range: str | None = None) -> str | None:
        """Where a pass ran."""
        steps = [step for step in self._compilation.passes if step.pass_name == name]
        there = [step for step in steps if (step.piece, step.range) == (piece, compile_range)]
        return next((step.selector for step in (*there, *steps)), None)


def _constraints(text: str, symbol: str) -> list[str]:
    """The constraints on a symbol, each with the line that made it."""
    _, _, part = text.partition("Constraints that tracing put on the sizes")
    lines = part.partition("\n\n")[0].splitlines()[1:]
    named = re.compile(rf"\b{re.escape(symbol)}\b")
    found = (_CONSTRAINT.match(line) for line in lines if named.search(line))
    return [f"{match[1]}{f' at {match[2]}' if match[2] else ''}" for match in found if match is not None][:MOST]


def _broken(found: Break) -> str:
    """Torch's words for a graph break, the place first."""
    hint = f"Hint: {found.hint}" if found.hint else ""
    return "\n".join(filter(None, (f"at {found.place}" if found.place else "", found.reason, found.explanation, hint)))


def _leaf(code: Code) -> str:
    return code.selector.rpartition("/")[2]


def _node(metric: schema.Metric) -> str:
    layer = metric.values.get("layer")
    return ", ".join(part for part in (f"{metric.values.get('node')} in {layer or 'no layer'}", _place(metric)) if part)


def _place(metric: schema.Metric) -> str:
    return " ".join(part for part in (metric.piece, f"range {metric.range}" if metric.range else "") if part)


def _some(texts: list[str]) -> list[str]:
    return texts if len(texts) <= MOST else [*texts[:MOST], f"and {len(texts) - MOST} more"]


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


def _counted(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"

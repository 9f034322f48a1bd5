"""Why torch's own caches did not serve a plain ``torch.compile``: FxGraphCache and AOTAutogradCache.

torch keeps of a key its digest alone. What it was made of is known of starts that were recorded, since torch lists that
when it asks: ``[digest] name: value`` for each part (``FxGraphHashDetails`` in torch/_inductor/codecache.py). So a miss
is held against what earlier runs of the same dump had asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cutaway.dump import Dump, load
from cutaway.errors import CutawayError
from cutaway.explain.cache.differences import KINDS, Difference, distance
from cutaway.explain.cache.miss import Miss, Neighbour
from cutaway.explain.cache.words import changed

_LINE = re.compile(r"\[(\w+)\] ([^:\n]+): ?(.*)", re.DOTALL)
_PART = re.compile(r"(\w+)\[(.*)\]$")
_FIELD = re.compile(r"(\w+)=(torch\.Size\(\[.*?\]\)|\([^()]*\)|[^,()]+(?:\([^()]*\))?)")
_OP = re.compile(r"torch\.ops\.([\w.]+)")
_RUNS = 8
_NEAREST = 3
_KINDS = {
    "inductor_config": "torch option", "fx_kwargs": "torch option", "torch_version": "version",
    "triton_version": "version", "system_info": "machine", "cpp_runtime_thread_count": "machine",
}  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """What FxGraphCache was asked for.

    Attributes:
        key, of, time: its key; the compilation; when.
        parts: what the key is made of, by name: digest and text.
        dump: where the graph lies, of which the key has the digest.
        graph: the stage that this is.
    """

    key: str
    of: str
    time: float
    parts: Mapping[str, tuple[str, str]]
    dump: Dump
    graph: tuple[str, str]

    def ops(self) -> Counter[str] | None:
        """How many of each operator are in the graph; None when it was not recorded."""
        name, stage = self.graph
        found = [one for one in self.dump.snapshots.values() if one.stage == stage and one.selector.startswith(name)]
        try:
            return Counter(_OP.findall(found[0].raw)) if len(found) == 1 else None
        except CutawayError:
            return None


def misses_of_torch(dump: Dump) -> list[Miss]:
    """Everything that torch's caches did not serve, or passed by, in the order in which it was asked for."""
    earlier = {one.key: (f"{one.of} in {run.run}", one) for run in _earlier(dump) for one in _asked(run)}
    found: list[Miss] = []
    for compilation in dump:
        events = [event for event in compilation.caches if event.kind in ("fx_graph", "aot_autograd")]
        asked = {event.key: _read(dump, compilation.name, event) for event in events if event.kind == "fx_graph"}
        passed = dict.fromkeys(_why_passed(event.factors) for event in events if event.result == "bypass")
        found += [Miss("torch", (compilation.name,), "", f"torch passed its caches by: {why}") for why in passed]
        missed = [event for event in events if event.result == "miss"]
        graphs = [event for event in missed if event.kind == "fx_graph"]
        found += [_miss(asked[event.key], list(earlier.values()), dump) for event in graphs]
        if missed and not graphs and not passed:
            why = "the graph that Inductor is given was there: what AOTAutograd does around it is another"
            found.append(Miss("aot_autograd", (compilation.name,), str(missed[0].key or ""), why))
    return found


def _earlier(dump: Dump) -> Iterator[Dump]:
    """The runs before this one, the newest first."""
    before = dump.runs[: dump.runs.index(dump.run)] if dump.run in dump.runs else ()
    for run in before[: -_RUNS - 1 : -1]:
        with suppress(CutawayError):
            yield load(dump.path.parent.parent, run, dump.process)


def _asked(dump: Dump) -> Iterator[_Asked]:
    for compilation in dump:
        for event in compilation.caches:
            if event.kind == "fx_graph" and event.key and isinstance(event.factors, list):
                yield _read(dump, compilation.name, event)


def _read(dump: Dump, name: str, event: Any) -> _Asked:
    lines: Sequence[Any] = event.factors if isinstance(event.factors, list) else ()
    found = {match[2]: (match[1], match[3]) for line in lines if (match := _LINE.match(str(line)))}
    backward = found.get("fx_kwargs[is_backward]", ("", ""))[1] == "True"
    graph = (f"{name}/", "aot_backward" if backward else "aot_forward")
    return _Asked(str(event.key or ""), f"{name} backward" if backward else name, event.time, found, dump, graph)


def _why_passed(factors: Any) -> str:
    reason = factors.get("bypass_reason") if isinstance(factors, Mapping) else None
    return str(reason or "it does not say why")


def _miss(asked: _Asked, earlier: Iterable[tuple[str, _Asked]], dump: Dump) -> Miss:
    near: list[tuple[list[Difference], Neighbour]] = []
    for of, one in earlier:
        if one.key == asked.key:
            why = f"the key is the same as that of {of}: its entry went since, or the cache's folder is another"
            return Miss("fx_graph", (asked.of,), asked.key, why)
        if asked.parts:
            found = _differences(one, asked)
            near.append((found, Neighbour(one.key, of, one.time, tuple(found))))
    near.sort(key=lambda pair: (distance(pair[0]), -pair[1].made))
    nearest = tuple(neighbour for _, neighbour in near[:_NEAREST])
    first = "" if nearest else f"no earlier run in {dump.path.parent.parent} asked for a graph: record both starts"
    return Miss("fx_graph", (asked.of,), asked.key, first, nearest=nearest)


def _differences(old: _Asked, new: _Asked) -> list[Difference]:
    """Parts of two keys with other digests, the telling ones first."""
    found: list[Difference] = []
    for name in dict.fromkeys((*old.parts, *new.parts)):
        before, after = (known.parts.get(name, ("", "")) for known in (old, new))
        if before[0] != after[0]:
            texts = (before[1] or None, after[1] or None)
            kind, words = ("graph", _graph(old, new)) if name == "gm" else _words(name, *texts)
            found.append(Difference(kind, name, *texts, words))
    return sorted(found, key=lambda one: KINDS.index(one.kind))


def _words(name: str, old: str | None, new: str | None) -> tuple[str, str]:
    match = _PART.match(name)
    section, leaf = (match[1], match[2]) if match else (name, "")
    if section == "example_inputs":
        fields = [dict(_FIELD.findall(text or "")) for text in (old, new)]
        apart = [one for one in {**fields[0], **fields[1]} if fields[0].get(one) != fields[1].get(one)]
        said = [f"{one} {fields[0].get(one, 'none')} → {fields[1].get(one, 'none')}" for one in apart]
        return "inputs", f"input {leaf}: {', '.join(said) or 'another'}"
    if section == "inductor_config":
        return "torch option", changed(f"torch._inductor.config.{leaf}", _plain(old), _plain(new))
    if section in ("torch_version", "triton_version"):
        return "version", f"another build of {section.partition('_')[0]}"
    return _KINDS.get(section, "other"), changed(leaf or name, _plain(old), _plain(new))


def _plain(text: str | None) -> Any:
    """Numbers and truth values as such, so that they are shown without quotes."""
    known = {"True": True, "False": False}
    return known.get(text, int(text) if text.isdecimal() else text) if text is not None else None


def _graph(old: _Asked, new: _Asked) -> str:
    before, after = old.ops(), new.ops()
    if before is None or after is None:
        return "another graph"
    said = [f"{op} {before[op]} → {after[op]}" for op in {**before, **after} if before[op] != after[op]]
    return "another graph: " + ", ".join(said) if said else "another graph of the same operators"

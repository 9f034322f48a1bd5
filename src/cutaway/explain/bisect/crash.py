"""Where a process crashed: the last line of the hands, the Python stack, and the generated code that it names."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from cutaway.dump.lineage.calls import Calls
from cutaway.dump.reader import Dump
from cutaway.errors import ReplayError
from cutaway.explain.bisect.errand import run_errand
from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.reproduced import (
    Shown,
    generated_by,
    out_of_stages,
    reproduced,
    request_for,
    with_file,
)
from cutaway.explain.bisect.seen import Event, Seen
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.bisect.trials import Trials
from cutaway.explain.reproducer import Made, checked
from cutaway.explain.switches import Keep, Place, Switches
from cutaway.explain.trial import Observation

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_CALLED = re.compile(
    r"^\s*(?:[\w, ]+ = )?(?P<name>(?:cpp|triton)_\w+|extern_kernels\.\w+|torch\.ops\.[\w.]+)(?:\.run)?\("
)
_ANNOUNCED = re.compile(r"^Error in op: torch\.ops\.(?P<op>[\w.]+)$", re.MULTILINE)
_PASS_FAILED = re.compile(r"the pass (?P<name>\w+) failed")


def crashed(trials: Trials, observation: Observation, seen: Seen, dump: Dump | None) -> Finding:
    """What a process was at when it crashed, confirmed by a trial without it, and the code that crashes as a file.

    Args:
        trials: of the search.
        observation: of the trial that crashed.
        seen: what its hands wrote.
        dump: its recording.
    """
    found = crash(trials.part, observation, seen, dump)
    trials.progress.learn(found.sentence())
    if found.pass_name is not None:
        return trials.confirm(found, Switches(passes_off=(found.pass_name,)), f"without the pass {found.pass_name}")
    last = seen.last()
    if found.kind == "announced":
        return found
    if found.piece is None or last is None or last["event"] != "call" or last.get("step") != "compiled":
        return found
    keep = Keep(Place(found.piece, found.range or ""), int(last.get("call", 1)))
    switches = Switches(eager=(Place(found.piece),), keep=(keep,))
    found, without = trials.without(found, switches, f"with {found.piece} run eagerly")
    kept = Seen.of(without.folder).first("kept") if without is not None else None
    if observation.outcome != "crash" or found.confidence != "confirmed" or kept is None:
        return found
    return out_of_stages(found, dump, kept, lambda stages: _with_file(trials, found, stages, seen, kept))


def _with_file(trials: Trials, finding: Finding, stages: Stages, seen: Seen, kept: Event) -> Finding:
    """With the smallest graph whose code crashes, compiled in a fresh process, or in the engine's; or else the whole.

    Each smaller graph runs in a copy of a process, which cannot use a GPU.
    """
    last = Shown("crash", stages, [stages.last], [finding.node])
    if any(node.device not in (None, "cpu") for node in stages.last.nodes):
        return _as_it_ran(trials, finding, stages, seen, kept)
    found = reproduced(trials, finding, last)
    if found.reproducer is not None:
        return found
    if trials.budget.allows(trials.took):
        with suppress(ReplayError):
            return with_file(finding, _made_in_engine(trials, finding, last, kept), last)
    return _as_it_ran(trials, finding, stages, seen, kept)


def _made_in_engine(trials: Trials, finding: Finding, last: Shown, kept: Event) -> Made:
    """The file, made in the engine's process. Raises ReplayError."""
    place = Place(kept["piece"], kept["range"])
    step = f"the last graph of {place} made smaller, in the engine's process"
    told = run_errand(trials, place, step, Switches(eager=(place,)), request_for(trials, finding, last))
    made = told.first("made")
    if made is None:
        raise ReplayError("the engine's process ended before a file was made")
    return checked(msgspec.convert(made["made"], Made))


def _as_it_ran(trials: Trials, finding: Finding, stages: Stages, seen: Seen, kept: Event) -> Finding:
    code = generated_by(stages, seen, kept)
    return reproduced(trials, finding, Shown("crash", stages, [stages.captured], code=code))


def crash(part: str, observation: Observation, seen: Seen, dump: Dump | None) -> Finding:
    """What a process was at when it crashed, or when its time was over.

    Args:
        part: the rung at which the fault goes.
        observation: of the trial that crashed.
        seen: what its hands wrote.
        dump: its recording.
    """
    last = seen.last()
    what = observation.signature.kind if observation.signature is not None else observation.outcome
    said = observation.why.strip().splitlines()[-1:] if observation.why else []
    finding = Finding(part, "crash", evidence=(f"it ended with {what}", *said))
    if observation.outcome == "timeout":
        finding = replace(finding, evidence=("it did not end in time",))
    if last is None or last["event"] == "begin":
        return finding.without("the process ended before anything was compiled")
    finding = _at(finding, last, observation)
    announced = _ANNOUNCED.search(_text(observation))
    if announced is not None:
        return _other_than_announced(finding, announced["op"], dump)
    if finding.kind == "crash" and last["event"] == "call" and last.get("step") == "compiled":
        return _kernel(finding, _stack(observation, seen), dump)
    return finding


def _at(finding: Finding, last: Event, observation: Observation) -> Finding:
    """What the last line says."""
    piece, span = last.get("piece"), last.get("range")
    finding = replace(finding, piece=piece or None, range=span or None, confidence="likely")
    if last["event"] == "pass":
        return replace(finding, pass_name=last["name"]).with_evidence(
            f"the last that began was the pass {last['name']}"
        )
    if last["event"] == "pass_done":
        told = f"the pass {last['name']} had ended: what comes after it in the compile of {finding.place} is at fault"
        return finding.with_evidence(told)
    if last["event"] == "compile":
        said = _PASS_FAILED.search(_text(observation))
        if said is not None:
            return replace(finding, pass_name=said["name"]).with_evidence(said[0])
        return finding.with_evidence(f"the last that began was the compile of {finding.place}")
    if last["event"] == "call" and last.get("step") == "eager":
        return replace(finding, confidence="unknown").with_evidence(
            f"the last that began was the eager graph of {finding.place}: it is the model's own fault, or an operator's"
        )
    if last["event"] == "call":
        return finding.with_evidence(f"the last that began was call {last.get('call', '?')} of {finding.place}")
    told = f"{finding.place} had returned" if piece else "nothing of the model was running"
    return replace(finding, confidence="unknown").with_evidence(told)


def _other_than_announced(finding: Finding, op: str, dump: Dump | None) -> Finding:
    """Inductor's code checks sizes and strides of what custom operators return, and torch names the operator."""
    told = "Inductor made its code for what the fake implementation (register_fake) says, and checks what is returned"
    finding = replace(finding, kind="announced", op=op).with_evidence(told)
    for snapshot in dump.snapshots.values() if dump is not None else ():
        if snapshot.stage == "captured":
            table = snapshot.table
            nodes = [node for node in table.nodes if _plain_op(node.target) == _plain_op(op)]
            if len(nodes) == 1:
                return finding.at_table(table, nodes[0])
    return finding


def _plain_op(target: str) -> str:
    return target.replace("::", ".").removesuffix(".default")


def _kernel(finding: Finding, stack: str, dump: Dump | None) -> Finding:
    """The kernel that the innermost frame of generated code calls."""
    for frame in _FRAME.finditer(stack):
        path, line = Path(frame["file"]), int(frame["line"])
        if "site-packages" in frame["file"] or not re.fullmatch(r"c\w{20,}\.py", path.name) or not path.is_file():
            continue
        lines = path.read_text("utf-8", "replace").splitlines()
        called = _CALLED.match(lines[line - 1]) if line <= len(lines) else None
        if called is None:
            continue
        found = replace(finding, kernel=called["name"]).with_evidence(
            f"line {line} of its code: {lines[line - 1].strip()}"
        )
        return _nodes(found, dump)
    return finding.without("which kernel it was: the stack names no line of generated code")


def _nodes(finding: Finding, dump: Dump | None) -> Finding:
    """The layer and source of the nodes that a kernel computes, where they have but one."""
    if dump is None:
        return finding
    calls = Calls(dump)
    for snapshot in dump.snapshots.values():
        if snapshot.stage != "post_grad" or snapshot.piece != finding.piece or snapshot.range != finding.range:
            continue
        names = {name for call in calls.of(snapshot) if call.name == finding.kernel for name in call.nodes}
        table = snapshot.table
        nodes = [node for node in table.nodes if node.name in names]
        layers = {table.layer(node)[-1] for node in nodes if table.layer(node)}
        if len(layers) == 1:
            finding = replace(finding, layer=layers.pop())
        if len(nodes) == 1:
            finding = replace(finding, node=nodes[0].name)
        elif nodes:
            finding = finding.with_evidence(f"it computes {', '.join(node.name for node in nodes[:8])}")
    return finding


def _stack(observation: Observation, seen: Seen) -> str:
    return seen.stack() or _text(observation)


def _text(observation: Observation) -> str:
    try:
        return observation.log.read_text("utf-8", "replace")
    except OSError:
        return ""

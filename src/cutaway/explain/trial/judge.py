"""Whether a trial shows the fault: its outputs against the reference, its crash against the fault's, its time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from msgspec import Struct

from cutaway.explain.trial.observation import Completion, Completions, Observation, Outputs, Printed, Tensors

What = Literal["outputs", "crash", "time"]

LOGPROB_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.15, "float16": 0.05}
"""What another order of summation does to the log probability of a token, and a wrong constant does not."""

_FACTOR = 1.25


class Assessment(Struct, frozen=True):
    """What is to be said of a trial.

    Attributes:
        faulty: whether the fault is there.
        words: what makes it so, or that it is as it should be.
        times: in how many of the `rounds` within the process it was there.
        rounds: how often the calls were made in it.
        usable: False: it tells nothing of this fault (it crashed elsewhere, or could not be tried).
    """

    faulty: bool
    words: str
    times: int = 0
    rounds: int = 1
    usable: bool = True


@dataclass(frozen=True)
class ReferenceJudge:
    """Judges by a reference.

    Attributes:
        fault: the observation that shows the fault; None before one is known, when anything wrong is the fault.
        reference: one that is right: eager's, or made of what the user says is right.
        tolerance: for outputs; None for what suits the dtype.
        slow: whether the fault is that it is slow.
        named: what the reference is called in words.
    """

    reference: Observation | None
    fault: Observation | None = None
    tolerance: float | None = None
    slow: bool = False
    named: str = "eager"

    def faulty(self, observation: Observation) -> bool:
        """See `cutaway.explain.trial.Judge`."""
        return self.assess(observation).faulty

    def why(self, observation: Observation) -> str:
        """See `cutaway.explain.trial.Judge`."""
        return self.assess(observation).words

    def assess(self, observation: Observation) -> Assessment:
        """All that is to be said of a trial."""
        if observation.outcome == "unusable":
            return Assessment(False, observation.why, usable=False)
        if observation.outcome == "timeout":
            return self._stopped(observation)
        if observation.outcome == "crash":
            return self._crashed(observation)
        if self.slow:
            return self._timed(observation)
        if self.fault is not None and self.fault.outcome in ("crash", "timeout"):
            return Assessment(False, "it ran to its end")
        return self._compared(observation)

    def _stopped(self, observation: Observation) -> Assessment:
        is_fault = self.slow or self.fault is None or self.fault.outcome == "timeout"
        return Assessment(is_fault, observation.why, int(is_fault), usable=is_fault)

    def _crashed(self, observation: Observation) -> Assessment:
        signature = observation.signature
        assert signature is not None, "a crash has a signature"
        words = cut(f"{signature.kind}: {signature.message}".rstrip(": "))
        if signature.frames:
            words += f", at {signature.frames[0]}"
        if self.slow:
            return Assessment(False, words, usable=False)
        if self.fault is None:
            return Assessment(True, words, 1)
        known = self.fault.signature
        if known is None:
            return Assessment(False, f"another fault: {words}", usable=False)
        same = known.is_same_as(signature)
        return Assessment(same, words if same else f"another crash: {words}", int(same), usable=same)

    def _timed(self, observation: Observation) -> Assessment:
        took = observation.took
        if took is None:
            return Assessment(False, "no time was measured", usable=False)
        words = f"{took:.3g} s"
        if self.fault is None or self.reference is None or self.fault.took is None or self.reference.took is None:
            return Assessment(False, words, usable=False)  # what is too long is not known yet
        # More than half of what is too long: as times fall from rung to rung, one part has the largest share of that.
        return Assessment(took > (self.fault.took + self.reference.took) / 2, words, 1)

    def _compared(self, observation: Observation) -> Assessment:
        if observation.outputs is None:
            return Assessment(False, "it gave no outputs", usable=False)
        if (own := wrong_by_itself(observation.outputs)) and not self._has_it_too(own):
            return Assessment(True, own, 1)
        if self.reference is None or self.reference.outputs is None:
            return Assessment(False, "it ran; what is right is not known yet", usable=False)
        return compared(observation.outputs, self.reference.outputs, self.tolerance, self.named)

    def _has_it_too(self, words: str) -> bool:
        """Whether it is so in the reference, too: then it is not this fault."""
        known = self.reference.outputs if self.reference is not None else None
        return known is not None and wrong_by_itself(known) == words


def cut(text: str, most: int = 100) -> str:
    """A text for a line of a table."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def compared(outputs: Outputs, reference: Outputs, tolerance: float | None, named: str) -> Assessment:
    """Outputs against those that are right."""
    if isinstance(outputs, Completions) and isinstance(reference, Completions):
        return _completions(outputs, reference, tolerance, named)
    if isinstance(outputs, Printed) and isinstance(reference, Printed):
        return _printed(outputs, reference, tolerance, named)
    if isinstance(outputs, Tensors) and isinstance(reference, Tensors):
        return import_module("cutaway.explain.trial.tensors").compared(outputs, reference, tolerance, named)
    return Assessment(False, "the outputs are of another kind", usable=False)


def wrong_by_itself(outputs: Outputs) -> str:
    """What is wrong whatever is right, in words: NaNs, infinities, an exit code; empty when there is nothing."""
    if isinstance(outputs, Tensors) and any(outputs.not_finite):
        first = next(index for index, count in enumerate(outputs.not_finite) if count)
        return f"output {first} has {outputs.not_finite[first]} elements that are NaN or infinite"
    if isinstance(outputs, Completions):
        for one in outputs.completions:
            if None in one.logprobs:
                return f"the log probability of token {one.logprobs.index(None)} of {one.prompt!r} is NaN"
    if isinstance(outputs, Printed) and outputs.exit_code:
        return f"exit code {outputs.exit_code}"
    if isinstance(outputs, Printed) and any(not math.isfinite(value) for value in outputs.values):
        return "it prints a value that is NaN or infinite"
    return ""


# -- an LLM's answers -------------------------------------------------------------------------------------


def _completions(found: Completions, right: Completions, tolerance: float | None, named: str) -> Assessment:
    most = tolerance if tolerance is not None else LOGPROB_TOLERANCES.get(right.dtype, 1e-3)
    known: dict[tuple[str, int], Completion] = {}
    for one in right.completions:
        known.setdefault((one.prompt, one.batch), one)
    seen: dict[tuple[str, int], int] = {}
    worst: list[str] = []
    bad: set[int] = set()
    largest = 0.0
    for one in found.completions:
        key = (one.prompt, one.batch)
        other = known.get(key) or known.get((one.prompt, 0))
        if other is None:
            continue
        round_ = seen[key] = seen.get(key, 0) + 1
        words, apart = _completion(one, other, most, named)
        largest = max(largest, apart)
        if words:
            worst.append(words)
            bad.add(round_)
    rounds = max(seen.values(), default=1)
    if worst:
        return Assessment(True, worst[0], len(bad), rounds)
    return Assessment(False, f"the same tokens; log probabilities within {largest:.2g}", 0, rounds)


def _completion(one: Completion, right: Completion, most: float, named: str) -> tuple[str, float]:
    """What is wrong with an answer, or empty; and how far log probabilities are apart at most."""
    where = f"{_shown(one.prompt)}{'' if one.batch <= 1 else f' in a batch of {one.batch}'}"
    largest = 0.0
    for index, (token, known) in enumerate(zip(one.tokens, right.tokens, strict=False)):
        ours = one.logprobs[index] if index < len(one.logprobs) else 0.0
        theirs = right.logprobs[index] if index < len(right.logprobs) else ours
        if token != known:
            if _is_tie(token, known, index, one, right, most):
                return "", largest  # from here on both go ways of their own
            return f"{where}: token {index} is {token}, and {known} in {named}", largest
        if ours is None or theirs is None:
            if ours is not theirs:
                return f"{where}: the log probability of token {index} is NaN", largest
            continue
        largest = max(largest, abs(ours - theirs))
        if abs(ours - theirs) > most:
            return (
                f"{where}: the log probability of token {index} is {ours:.4f}, and {theirs:.4f} in {named} "
                f"(tolerance {most:g})"
            ), largest
    if len(one.tokens) != len(right.tokens):
        return f"{where}: {len(one.tokens)} tokens, and {len(right.tokens)} in {named}", largest
    return "", largest


def _is_tie(token: int, known: int, index: int, one: Completion, right: Completion, most: float) -> bool:
    """Whether two tokens were as probable, within tolerance, on both sides: then either is right."""
    for side in (one, right):
        row = side.top[index] if index < len(side.top) else {}
        first, second = row.get(token), row.get(known)
        if first is None or second is None or abs(first - second) > 2 * most:
            return False
    return True


def _shown(prompt: str) -> str:
    text = prompt if len(prompt) <= 40 else prompt[:37] + "..."
    return repr(text)


# -- what a program prints --------------------------------------------------------------------------------


def _printed(found: Printed, right: Printed, tolerance: float | None, named: str) -> Assessment:
    if found.exit_code != right.exit_code:
        return Assessment(True, f"exit code {found.exit_code}, and {right.exit_code} in {named}", 1)
    if found.texts != right.texts:
        one, other = _first_apart(found.texts, right.texts)
        return Assessment(True, f"it prints {one}, and {other} in {named}", 1)
    if len(found.values) != len(right.values):
        return Assessment(True, f"it prints {len(found.values)} values, and {len(right.values)} in {named}", 1)
    most = 1e-4 if tolerance is None else tolerance
    for value, known in zip(found.values, right.values, strict=True):
        if not math.isclose(value, known, rel_tol=most, abs_tol=most) and not (math.isnan(value) and math.isnan(known)):
            return Assessment(True, f"it prints {value:g}, and {known:g} in {named} (tolerance {most:g})", 1)
    return Assessment(False, "it prints the same" if right.texts else "exit code 0")


def _first_apart(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    for left, right in zip(one, other, strict=False):
        if left != right:
            return _shown(left), _shown(right)
    return f"{len(one)} lines", f"{len(other)}"
